"""Majorities and joint majorities answer as etcd-io/raft recorded them: all 127 directives."""

import pytest
from raft_datadriven import DATA, Directive, read_directives

from cluster.raft.quorum import EVERYTHING, committed_index, vote_result

_NAMES = {1: "VotePending", 2: "VoteLost", 3: "VoteWon"}
_FILES = sorted((DATA / "quorum").glob("*.txt"))


def _ids(directive: Directive, name: str) -> list[int]:
    return [int(value) for value in directive.values(name) if value.isdigit()]


def _chart(voters: list[int], acked: dict[int, int]) -> list[str]:
    if not voters:
        return ["<empty majority quorum>"]
    count = len(voters)
    values = [acked.get(voter, 0) for voter in voters]
    bars = {voter: sum(v < acked.get(voter, 0) for v in values) for voter in voters}
    lines = [" " * count + "    idx"]
    for voter in voters:
        bar = bars[voter]
        mark = "x" * bar + ">" + " " * (count - bar) if voter in acked else "?" + " " * count
        lines.append(f"{mark} {acked.get(voter, 0):5d}    (id={voter})")
    return lines


def _answer(directive: Directive) -> list[str]:
    first = _ids(directive, "cfg")
    second = _ids(directive, "cfgj")
    voters = list(dict.fromkeys(first + second))
    if directive.command == "vote":
        given = directive.values("votes")
        votes = {voter: v == "y" for voter, v in zip(voters, given, strict=False) if v != "_"}
        assert vote_result(first, second, votes) == vote_result(second, first, votes)
        return [_NAMES[vote_result(first, second, votes)]]
    given = directive.values("idx")
    acked = {voter: int(v) for voter, v in zip(voters, given, strict=False) if v != "_"}
    index = committed_index(first, second, acked)
    assert index == committed_index(second, first, acked)
    number = "∞" if index == EVERYTHING else str(index)
    chart = _chart(sorted(voters), acked)
    return [chart[0] + number] if not voters else [*chart, number]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_majorities_decide_as_recorded(path):
    """Every committed index and every vote of the file comes out, charts included."""
    for directive in read_directives(path):
        assert [line.rstrip() for line in _answer(directive)] == [
            line.rstrip() for line in directive.expected
        ], directive.place


def test_all_127_quorum_directives_are_replayed():
    """No file and no directive is left out."""
    assert sum(len(read_directives(path)) for path in _FILES) == 127
