"""Changes of members go as etcd-io/raft recorded them: all 58 directives."""

import pytest
from raft_datadriven import DATA, Directive, read_directives
from raft_interaction import describe_configuration, describe_progress, parse_changes

from cluster.base.errors import ConfChangeRefused
from cluster.raft.membership import Changer, Configuration
from cluster.raft.progress import Progress

_FILES = sorted((DATA / "confchange").glob("*.txt"))


class _Scene:
    def __init__(self) -> None:
        self.configuration = Configuration()
        self.progress: dict[int, Progress] = {}
        self.last_index = 0

    def answer(self, directive: Directive) -> list[str]:
        changer = Changer(
            self.configuration,
            self.progress,
            last_index=self.last_index,
            inflight_max=10,
            inflight_bytes_max=0,
        )
        self.last_index += 1
        changes = parse_changes(directive.body)
        try:
            if directive.command == "simple":
                result = changer.simple(changes)
            elif directive.command == "enter-joint":
                result = changer.enter_joint(changes, auto_leave=directive.flag("autoleave"))
            else:
                result = changer.leave_joint()
        except ConfChangeRefused as refusal:
            return [str(refusal)]
        self.configuration, self.progress = result
        return [
            describe_configuration(self.configuration),
            *(
                f"{node}: {describe_progress(known)}"
                for node, known in sorted(self.progress.items())
            ),
        ]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_members_change_as_recorded(path):
    """Every configuration, progress and refusal of the file comes out."""
    scene = _Scene()
    for directive in read_directives(path):
        assert scene.answer(directive) == directive.expected, directive.place


def test_all_58_confchange_directives_are_replayed():
    """No file and no directive is left out."""
    assert sum(len(read_directives(path)) for path in _FILES) == 58
