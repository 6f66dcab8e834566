"""The documentation is complete, its links lead somewhere, and it names what exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rs3gwd.daemon.figures import (
    register_blobs,
    register_engine,
    register_front,
    register_log,
    register_workers,
)
from rs3gwd.daemon.gossiping import register_gossip
from rs3gwd.observe.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
METRIC = re.compile(r"rs3gw_[a-z0-9_]*[a-z0-9]")


def pages() -> list[Path]:
    """Every page for readers."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def links_of(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            yield (page.parent / target).resolve()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    """No page links to what is not in the tree."""
    assert [str(target) for target in links_of(page) if not target.exists()] == []


def test_every_page_is_in_the_index() -> None:
    """Every page is linked from docs/README.md, a decision from the index of decisions."""
    indexed = {DOCS / "README.md", *links_of(DOCS / "README.md")}
    decisions = DOCS / "decisions" / "README.md"
    indexed |= set(links_of(decisions))
    missing = [page for page in DOCS.rglob("*.md") if page not in indexed]
    assert [page.relative_to(ROOT).as_posix() for page in missing] == []


def register_all(metrics: Metrics) -> None:
    """What a core and its workers register; nothing is read before the first scrape, so the parts
    can be stand-ins."""
    absent: Any = object()
    register_engine(metrics, absent, absent)
    register_blobs(metrics, absent)
    register_gossip(metrics, absent)
    register_front(metrics, absent, absent)
    register_log(metrics, absent)
    register_workers(metrics, absent)


def test_every_metric_is_documented() -> None:
    """The page has a row for each metric that the daemon registers, as it registers it."""
    page = (DOCS / "operate" / "metrics.md").read_text()
    metrics = Metrics()
    register_all(metrics)
    rows = [
        f"| `{source.name}` | {source.kind} | {source.label or '-'} | {source.help} |"
        for source in metrics.sources()
    ]
    assert len(rows) > 20
    assert [row for row in rows if row not in page] == []


def test_no_metric_is_documented_that_does_not_exist() -> None:
    """Whatever the page names comes out of a scrape or is registered by the daemon."""
    metrics = Metrics()
    metrics.observe_request("GetObject", 404, "NoSuchKey", 0.001, 0, 0)
    scraped = set(METRIC.findall(metrics.render().decode()))
    register_all(metrics)
    known = scraped | {source.name for source in metrics.sources()}
    named = set(METRIC.findall((DOCS / "operate" / "metrics.md").read_text()))
    assert named - known == set()


def test_every_command_of_dev_is_documented() -> None:
    """Each of dev.py's commands is in the table of those who work on it."""
    page = (DOCS / "extend" / "working.md").read_text()
    commands = re.findall(r'^    "(\w+)": run_', (ROOT / "tools" / "dev.py").read_text(), re.M)
    assert len(commands) == 6
    assert all(f"tools/dev.py {command}" in page for command in commands)
