"""The page of planted bugs has every one of them, with its budget, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from chaos.node_bugs import BUGS as NODE_BUGS
from cluster.testing.authority_world import BUGS as AUTHORITY_BUGS
from cluster.testing.host_bugs import BUGS as HOST_BUGS
from cluster.testing.layout_world import BUGS as LAYOUT_BUGS
from cluster.testing.quorum_bugs import BUGS as QUORUM_BUGS
from cluster.testing.raft_bugs import BUGS as RAFT_BUGS
from cluster.testing.swim_bugs import BUGS as SWIM_BUGS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "understand" / "planted-bugs.md"
ROW = re.compile(r"^\| `([^`]+)` \| (?:at most )?(\d+) \| (\d+) \| [^|]+ \|$", re.MULTILINE)

AUTHORITY_BUDGET = 400
HOST_BUDGET = 400
LAYOUT_BUDGET = 400
NODE_BUDGET = 200
COUNT_MIN = 25

ELSEWHERE = {
    *("raft_plan", "raft_checks", "members_at"),
    *("campaign_learner_must_vote", "test_raft_node"),
}
"""What the first table names and is no planted bug: modules and a recorded history."""


def planted() -> dict[str, int]:
    """Every planted bug, with the seeds within which it must be noticed."""
    budgets = {name: bug.seeds_max for name, bug in RAFT_BUGS.items()}
    budgets |= dict.fromkeys(HOST_BUGS, HOST_BUDGET)
    budgets |= dict.fromkeys(NODE_BUGS, NODE_BUDGET)
    budgets |= {bug.name: bug.seeds_max for bug in QUORUM_BUGS}
    budgets |= {name: bug.seeds_max for name, bug in SWIM_BUGS.items()}
    budgets |= dict.fromkeys(LAYOUT_BUGS, LAYOUT_BUDGET)
    budgets |= dict.fromkeys(AUTHORITY_BUGS, AUTHORITY_BUDGET)
    return budgets


def test_the_page_of_planted_bugs_is_that_of_the_code() -> None:
    """Name by name with its budget, which holds several times what was needed or at least that."""
    rows = {
        name: (int(needed), int(budget)) for name, needed, budget in ROW.findall(PAGE.read_text())
    }
    budgets = planted()
    assert {name: budget for name, (_, budget) in rows.items()} == budgets
    assert [name for name, (needed, budget) in rows.items() if not 0 < needed <= budget] == []
    assert len(rows) >= COUNT_MIN


def test_the_list_of_known_bugs_names_planted_ones() -> None:
    """What stands against a known bug is there: every name in the first table is a planted bug."""
    table = PAGE.read_text().split("## The list of known bugs")[1].split("\n## ")[0]
    cells = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
    names = {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}
    elsewhere = {"raft_plan", "raft_checks", "members_at", "campaign_learner_must_vote"}
    assert [
        name for name in sorted(names - planted().keys() - elsewhere) if "test_" not in name
    ] == []
