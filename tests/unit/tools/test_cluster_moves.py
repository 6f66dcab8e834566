"""`rs3gwctl cluster drain | replace | remove`: the right steps in the right order, and again."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from layout_cluster import LayoutCluster

from cluster.layout.layout import Layout
from rs3gwd.base.admin import ClusterLayoutApply, ClusterRemove
from rs3gwd.base.cluster_admin import LayoutChange, RoleWanted
from tools.rs3gwctl import cluster_asking, cluster_moves, cluster_waiting
from tools.rs3gwctl.main import main

EMPTY_3 = RoleWanted(3, capacity_bytes=0)


class Moves:
    """A cluster and the commands that are said to it."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch, *, holders: int = 3) -> None:
        self.cluster = LayoutCluster(count, holders=holders)
        self.interrupt_after: int | None = None
        monkeypatch.setattr(cluster_asking, "administer", self.cluster.administer)
        monkeypatch.setattr(cluster_waiting.time, "sleep", self._sleep)
        monkeypatch.setattr(cluster_moves.time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self.interrupt_after is not None:
            self.interrupt_after -= 1
            if self.interrupt_after < 0:
                raise KeyboardInterrupt

    def say(self, *words: str, status: int = 0) -> Result:
        """What people see, with the exit status that is expected."""
        said = CliRunner().invoke(main, ["cluster", *words])
        assert said.exit_code == status, said.output
        return said

    def values(self, *words: str, status: int = 0) -> object:
        """What programs get."""
        said = CliRunner().invoke(main, ["--json", "cluster", *words])
        assert (said.exit_code, said.stderr) == (status, "")
        return json.loads(said.stdout)

    @property
    def layout(self) -> Layout:
        """The newest version."""
        assert self.cluster.history is not None
        return self.cluster.history.current

    def changes(self) -> list[LayoutChange]:
        """What was asked of the layout."""
        return [each.change for each in self.cluster.asked if isinstance(each, ClusterLayoutApply)]

    def removals(self) -> list[ClusterRemove]:
        """Who was asked to be removed, where it was done."""
        return [each for each in self.cluster.asked if isinstance(each, ClusterRemove)]

    def settle(self) -> None:
        """Time passes."""
        while not self.cluster.is_settled():
            self.cluster.move()


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Moves:
    """Three nodes, each of which holds everything."""
    return Moves(3, monkeypatch)


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> Moves:
    """The same, and a fourth one that has joined and holds nothing."""
    return Moves(4, monkeypatch)


def hold(four: Moves) -> None:
    """The fourth node comes in."""
    four.say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert set(four.layout.counts()) == {1, 2, 3, 4}


def test_a_drained_node_holds_nothing_and_stays(four: Moves) -> None:
    """Waited for with progress; said again it has nothing to do."""
    hold(four)
    said = four.say("drain", "3")
    assert said.stdout == "node 3 holds no copies\n"
    assert "left to fetch" in said.stderr
    assert set(four.layout.counts()) == {1, 2, 4}
    assert 3 in four.layout.roles
    assert four.changes()[-1] == LayoutChange([EMPTY_3])
    count = len(four.cluster.asked)
    assert four.values("drain", "3") == {"node": 3, "drained": True}
    assert len(four.cluster.asked) == count


def test_draining_goes_on_without_the_command(four: Moves) -> None:
    """--no-wait and Ctrl-C leave it under way; whoever says it again waits for the same change."""
    hold(four)
    assert four.values("drain", "3", "--no-wait") == {"node": 3, "drained": False}
    count = len(four.cluster.asked)
    four.interrupt_after = 1
    said = four.say("drain", "3", status=1)
    assert "node 3 goes on giving its copies away; to look:" in said.stderr
    four.interrupt_after = None
    four.say("drain", "3")
    assert len(four.cluster.asked) == count
    assert four.cluster.is_settled()


def test_too_few_nodes_are_told_in_numbers(three: Moves) -> None:
    """What is missing and what can be said instead, which then works."""
    said = three.say("drain", "3", status=1)
    assert (
        "3 copies of each body need 3 nodes, and 2 would be left to hold any: let another node in "
        "first; fewer copies: --copies 2"
    ) in said.stderr
    assert three.cluster.asked == []
    three.say("drain", "3", "--copies", "2")
    assert three.layout.replicas == 2
    assert set(three.layout.counts()) == {1, 2}


def test_the_last_node_keeps_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no number of copies that it could be drained with."""
    one = Moves(1, monkeypatch, holders=1)
    said = one.say("drain", "1", status=1)
    assert "no node would be left to hold any body: let another one in first" in said.stderr


def test_a_silent_or_unknown_node_is_not_drained(four: Moves) -> None:
    """A change would wait for the one, and cannot name the other."""
    hold(four)
    four.cluster.down.add(3)
    for words in (("drain", "3"), ("remove", "3"), ("replace", "3", "4")):
        assert "node 3 does not answer" in four.say(*words, status=1).stderr
    assert "node 9 is not in the layout" in four.say("drain", "9", status=1).stderr
    assert "there is no node 9" in four.say("remove", "9", status=1).stderr
    assert "does not remove itself" in four.say("remove", "1", status=1).stderr
    assert len(four.changes()) == 1
    assert four.removals() == []


def test_a_removed_node_is_drained_first(four: Moves) -> None:
    """The copies go, then the node, then its place in the layout."""
    hold(four)
    assert four.say("remove", "3").stdout == "node 3 is removed\n"
    assert four.changes()[-1] == LayoutChange([EMPTY_3])
    assert four.removals() == [ClusterRemove(3)]
    assert set(four.layout.roles) == {1, 2, 4}
    assert four.layout.replicas == 3
    assert four.values("remove", "3") == {"removed": 3}


def test_a_removal_that_is_not_waited_for_is_said_until_it_is_done(four: Moves) -> None:
    """Status 1 while copies move, and then 0: a script says it until it does not fail."""
    hold(four)
    assert four.values("remove", "3", "--no-wait", status=1) == {"removed": None}
    said = four.say("remove", "3", "--no-wait", status=1)
    assert "is not removed yet: say it again; to look:" in said.stdout
    assert four.removals() == []
    four.settle()
    assert four.values("remove", "3", "--no-wait") == {"removed": 3}
    assert len(four.changes()) == 2


def test_an_end_of_waiting_says_that_nothing_is_removed(four: Moves) -> None:
    """Ctrl-C in the middle of draining; said again it goes on from there."""
    hold(four)
    four.interrupt_after = 1
    said = four.say("remove", "3", status=1)
    assert "node 3 goes on giving its copies away, and is not removed; to look:" in said.stderr
    four.interrupt_after = None
    four.say("remove", "3")
    assert len(four.changes()) == 2


def test_a_node_that_drained_a_moment_ago_is_asked_again(
    four: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node behind the address may not have heard yet that it holds nothing."""
    hold(four)
    four.say("drain", "3")
    refusals = iter(["NodeHoldsCopies"] * 3)
    administer = four.cluster.administer

    def behind(data, request):  # type: ignore[no-untyped-def]
        code = next(refusals, None) if isinstance(request, ClusterRemove) else None
        if code is not None:
            raise cluster_asking.SessionError(f"{code}: it holds copies", code=code)
        return administer(data, request)

    monkeypatch.setattr(cluster_asking, "administer", behind)
    assert four.values("remove", "3") == {"removed": 3}


def test_a_lost_node_is_removed_while_others_make_its_copies_anew(four: Moves) -> None:
    """Only one that is silent; it is waited for until the layout is without it."""
    hold(four)
    said = four.say("remove", "3", "--lost", status=1)
    assert "node 3 answers: leave --lost away" in said.stderr
    four.cluster.down.add(3)
    said = four.say("remove", "3", "--lost")
    assert "nodes make the copies of node 3 anew" in said.stderr
    assert four.removals() == [ClusterRemove(3, is_lost=True)]
    assert set(four.layout.counts()) == {1, 2, 4}
    assert four.cluster.is_settled()


def test_one_node_takes_the_place_of_another(four: Moves) -> None:
    """In one change, and then the old one is removed."""
    before = {node: count for node, count in four.layout.counts().items() if node != 3}
    assert four.values("replace", "3", "4") == {"removed": 3, "by": 4}
    assert four.changes() == [LayoutChange([RoleWanted(4), EMPTY_3])]
    assert four.removals() == [ClusterRemove(3)]
    assert four.layout.counts() == {**before, 4: 1024}
    assert set(four.layout.roles) == {1, 2, 4}


def test_a_replacement_can_be_said_again(four: Moves) -> None:
    """Not waited for, interrupted, after its change, and when all of it is done."""
    assert four.values("replace", "3", "4", "--no-wait", status=1) == {"removed": None, "by": 4}
    said = four.say("replace", "3", "4", "--no-wait", status=1)
    assert "node 4 takes the place of node 3, which is not removed yet" in said.stdout
    four.interrupt_after = 0
    said = four.say("replace", "3", "4", status=1)
    assert "node 4 goes on taking the place of node 3, which is not removed" in said.stderr
    four.interrupt_after = None
    four.settle()
    assert four.values("replace", "3", "4", "--no-wait") == {"removed": 3, "by": 4}
    four.settle()
    assert four.values("replace", "3", "4") == {"removed": 3, "by": 4}
    assert len(four.changes()) == 1


def test_a_lost_node_is_replaced(four: Moves) -> None:
    """It goes first, the others go on with two copies each, and the new one gets the third."""
    four.cluster.down.add(2)
    said = four.say("replace", "2", "4", "--lost")
    assert said.stdout == "node 4 has the place of node 2, which is removed\n"
    assert four.removals() == [ClusterRemove(2, is_lost=True)]
    assert four.changes() == [LayoutChange([RoleWanted(4)], copies=3)]
    assert four.layout.counts() == {1: 1024, 3: 1024, 4: 1024}


def test_a_lost_node_is_replaced_in_steps(four: Moves) -> None:
    """What is to be said again has the number of copies, which is two in between."""
    four.cluster.down.add(2)
    words = ("replace", "2", "4", "--lost", "--no-wait")
    said = four.say(*words, status=1)
    assert "node 2 is removed, and node 4 is yet to come in" in said.stdout
    assert "say it again with --lost --copies 3" in said.stdout
    four.settle()
    assert four.layout.replicas == 2
    assert four.values(*words, "--copies", "3", status=1) == {"removed": 2, "by": None}
    four.settle()
    assert four.values(*words, "--copies", "3") == {"removed": 2, "by": 4}
    assert four.layout.counts() == {1: 1024, 3: 1024, 4: 1024}


def test_a_replacement_needs_two_nodes(four: Moves) -> None:
    """Not a node by itself, nor one that is not there."""
    assert "does not replace itself" in four.say("replace", "3", "3", status=2).stderr
    assert "let it join first" in four.say("replace", "3", "7", status=1).stderr
    assert "node 3 answers" in four.say("replace", "3", "4", "--lost", status=1).stderr
    four.cluster.down.add(4)
    assert "node 4 does not answer" in four.say("replace", "3", "4", status=1).stderr
    for words in (("drain", "0"), ("remove", "x"), ("replace", "1", "-2"), ("drain", "1", "2")):
        four.say(*words, status=2)
    assert four.cluster.asked == []
