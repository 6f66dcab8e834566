"""Whole histories of groups go as etcd-io/raft recorded them, compared fact by fact."""

import pytest
from raft_datadriven import DATA, read_directives
from raft_interaction import Interaction, facts

_FILES = sorted((DATA / "interaction").glob("*.txt"))

SKIPPED: dict[str, str] = {}
"""Files that are not replayed, each with its reason."""


@pytest.mark.parametrize(
    "path", [path for path in _FILES if path.stem not in SKIPPED], ids=lambda path: path.stem
)
def test_a_group_behaves_as_recorded(path):
    """Every batch, message, stored entry, state and progress of the file comes out."""
    environment = Interaction()
    for directive in read_directives(path):
        assert facts(environment.handle(directive)) == facts(directive.expected), directive.place


def test_every_interaction_file_is_replayed_or_its_absence_explained():
    """At least 24 of the 28 files are replayed; the table names the others."""
    for name, reason in SKIPPED.items():
        print(f"{name}: {reason}")
    assert len(_FILES) == 28
    assert len(_FILES) - len(SKIPPED) >= 24
    assert set(SKIPPED) <= {path.stem for path in _FILES}
