"""What the cluster does to its layout by itself: few steps, each from one history."""

from __future__ import annotations

from collections.abc import Collection

from cluster.base.ids import NodeId
from cluster.layout.keeping import fit, next_step
from cluster.layout.layout import LayoutHistory, NodeRole, first_layout

TIB = 1 << 40
PARTITIONS = 16


def role_of(node: NodeId) -> NodeRole | None:
    """Zones of two nodes each, capacities alike; nothing was heard of node 9."""
    return None if node == 9 else NodeRole(f"z{node // 2}", TIB)


def step(
    history: LayoutHistory | None,
    members: Collection[int],
    removed: Collection[int] = (),
    *,
    copies: int = 3,
) -> LayoutHistory | None:
    """The next step."""
    return next_step(
        history,
        members=members,
        removed=removed,
        told=role_of,
        copies=copies,
        partitions=PARTITIONS,
    )


def settled(history: LayoutHistory | None) -> LayoutHistory:
    """After everybody has followed."""
    assert history is not None
    version = history.current.version
    for node in history.participants():
        history = history.acknowledge(node, version)
    for node in history.current.roles:
        history = history.report_synced(node, version)
    assert len(history.versions) == 1
    return history


def test_the_first_layout_waits_until_every_member_has_told() -> None:
    """Then each holds what it can, with as many copies as there are nodes, at most those wanted."""
    assert step(None, ()) is None
    assert step(None, (1, 9)) is None
    alone = step(None, (1,))
    assert alone is not None
    assert alone.current.replicas == 1
    five = step(None, (1, 2, 3, 4, 5))
    assert five is not None
    assert five.current.replicas == 3
    assert five.current.zone_copies_max == 1
    assert set(five.current.counts()) == {1, 2, 3, 4, 5}


def test_new_members_hold_copies_until_there_are_enough() -> None:
    """The second and the third come in whole, the fourth stands by with a role alone."""
    history = settled(step(None, (1,)))
    for node, copies in ((2, 2), (3, 3)):
        history = settled(step(history, range(1, node + 1)))
        assert history.current.replicas == copies
        assert history.current.counts() == dict.fromkeys(range(1, node + 1), PARTITIONS)
    sets = history.current.sets
    history = settled(step(history, (1, 2, 3, 4)))
    assert history.current.sets == sets
    assert history.current.roles[4].capacity_bytes == 0
    assert step(history, (1, 2, 3, 4)) is None


def test_nothing_else_is_begun_while_a_change_is_under_way() -> None:
    """One change at a time, and a member that has told nothing is waited for."""
    history = settled(step(None, (1,)))
    changing = step(history, (1, 2))
    assert step(changing, (1, 2, 3)) is None
    assert step(history, (1, 9)) is None


def test_a_drained_node_stays_so() -> None:
    """Who has a role with no capacity was given it: by an operator, or because others hold all."""
    history = settled(step(None, (1, 2, 3, 4)))
    drained = history.apply(fit(history.current, {2: NodeRole("z1", 0)}))
    assert step(settled(drained), (1, 2, 3, 4)) is None


def test_a_removed_node_is_taken_out_and_not_waited_for() -> None:
    """With fewer copies where there are not nodes enough."""
    history = settled(step(None, (1, 2, 3)))
    out = step(history, (1, 2), (3,))
    assert out is not None
    assert set(out.current.roles) == {1, 2}
    assert out.current.replicas == 2
    forgotten = step(out, (1, 2), (3,))
    assert forgotten is not None
    for node in (1, 2):
        forgotten = forgotten.acknowledge(node, out.current.version)
    for node in (1, 2):
        forgotten = forgotten.report_synced(node, out.current.version)
    assert len(forgotten.versions) == 1
    assert step(forgotten, (1, 2), (3,)) is None


def test_no_node_is_waited_for_when_several_are_removed() -> None:
    """Each is forgotten in a step of its own, and then there is nothing left to do but to wait."""
    gone = (4, 5)
    history: LayoutHistory | None = settled(step(None, (1, 2, 3, 4, 5)))
    for _ in range(3):
        history = step(history, (1, 2, 3), gone)
    assert history is not None
    assert step(history, (1, 2, 3), gone) is None
    version = history.current.version
    for node in (1, 2, 3):
        history = history.acknowledge(node, version)
    for node in (1, 2, 3):
        history = history.report_synced(node, version)
    assert len(history.versions) == 1
    assert set(history.current.roles) == {1, 2, 3}


def test_a_change_that_waits_for_a_removed_node_is_taken_back_first() -> None:
    """A node comes in, dies and is removed: back to the former sets, then without it."""
    history: LayoutHistory | None = settled(step(None, (1, 2)))
    history = step(history, (1, 2, 3))
    for _ in range(3):
        history = step(history, (1, 2), (3,))
    assert history is not None
    assert 3 not in history.current.roles
    assert history.current.replicas == 2
    for node in (1, 2):
        history = history.acknowledge(node, history.current.version)
    for node in (1, 2):
        history = history.report_synced(node, history.current.version)
    assert len(history.versions) == 1


def test_the_last_node_is_not_taken_out() -> None:
    """A layout has somebody who holds the bytes."""
    assert step(settled(step(None, (1,))), (), (1,)) is None


def test_as_few_copies_in_one_zone_as_the_zones_allow() -> None:
    """Three copies in two zones: two in one of them."""
    roles = {NodeId(node): NodeRole("ab"[node % 2], TIB) for node in range(1, 7)}
    before = first_layout(roles, replicas=2, zone_copies_max=1, partitions=PARTITIONS).current
    assert fit(before, {}, copies=2).layout.zone_copies_max == 1
    assert fit(before, {}, copies=3).layout.zone_copies_max == 2
