"""The layout: spread, balance, the fewest moves, and a transition that obeys both sets."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.layout import codec
from cluster.layout.assignment import assign
from cluster.layout.errors import (
    LayoutDamaged,
    NotEnoughNodes,
    NotEnoughZones,
    NoTransition,
    TransitionUnderWay,
    TransitionUnfinished,
)
from cluster.layout.layout import LayoutHistory, NodeRole, first_layout, plan

TIB = 1 << 40


def three(partitions: int = 8) -> LayoutHistory:
    """Three equal nodes in three zones."""
    roles = {node: NodeRole(f"z{node}", TIB) for node in (1, 2, 3)}
    return first_layout(roles, replicas=3, zone_copies_max=1, partitions=partitions)


def fewest_moves(
    before: tuple[tuple[int, ...], ...],
    zones: dict[int, str],
    counts: dict[int, int],
    replicas: int,
    zone_max: int,
) -> int:
    """By trying everything: the fewest gained copies at exactly these counts."""
    options = [
        found
        for found in itertools.combinations(sorted(zones), replicas)
        if all(sum(zones[n] == z for n in found) <= zone_max for z in set(zones.values()))
    ]
    states: dict[tuple[int, ...], int] = {(0,) * len(zones): 0}
    order = sorted(zones)
    for old in before:
        following: dict[tuple[int, ...], int] = {}
        for state, cost in states.items():
            for found in options:
                state_next = tuple(c + (n in found) for c, n in zip(state, order, strict=True))
                total = cost + len(set(found) - set(old))
                following[state_next] = min(following.get(state_next, total), total)
        states = following
    return states[tuple(counts.get(n, 0) for n in order)]


CAPACITIES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), min_size=3, max_size=5)


@settings(deadline=None, max_examples=150)
@given(CAPACITIES, CAPACITIES, st.integers(1, 3), st.integers(1, 2))
def test_a_change_moves_as_little_as_trying_everything_finds(
    first: list[tuple[int, str]], second: list[tuple[int, str]], replicas: int, zone_max: int
) -> None:
    """Sets keep their spread, and no assignment with the same counts moves fewer copies."""
    sets: tuple[tuple[int, ...], ...] = ()
    for nodes in (first, second):
        capacities = {index: size for index, (size, _) in enumerate(nodes, 1)}
        zones = {index: zone for index, (_, zone) in enumerate(nodes, 1)}
        room = [min(zone_max, list(zones.values()).count(z)) for z in set(zones.values())]
        arguments = {"partitions": 4, "replicas": replicas, "zone_copies_max": zone_max}
        if sum(room) < replicas:
            with pytest.raises(NotEnoughZones):
                assign(capacities, zones, sets, **arguments)
            return
        before, sets = sets, assign(capacities, zones, sets, **arguments)
        assert sets == assign(dict(reversed(capacities.items())), zones, before, **arguments)
        counts = {n: sum(n in found for found in sets) for n in zones}
        for found in sets:
            assert len(set(found)) == replicas
            assert all(sum(zones[n] == z for n in found) <= zone_max for z in zones.values())
        if before:
            moved = sum(len({*new} - {*old}) for old, new in zip(before, sets, strict=True))
            assert moved == fewest_moves(before, zones, counts, replicas, zone_max)


def test_counts_follow_capacity() -> None:
    """Where no bound is met, a node holds its share of the capacity to within one copy a level."""
    roles = {n: NodeRole(f"z{n % 4}", n * TIB) for n in range(5, 17)}
    layout = first_layout(roles, replicas=3, zone_copies_max=1).current
    total = sum(role.capacity_bytes for role in roles.values())
    for node, count in layout.counts().items():
        assert abs(count - 3072 * roles[node].capacity_bytes / total) < 2


def test_a_node_more_gains_its_share_and_nothing_else_moves() -> None:
    """Ten equal nodes become eleven: only the new one gains copies."""
    roles = {n: NodeRole(f"z{n % 5}", TIB) for n in range(10)}
    layout = first_layout({n + 1: r for n, r in roles.items()}, replicas=3, zone_copies_max=2)
    change = plan(layout.current, {20: NodeRole("z0", TIB)})
    gains = [node for _, gained, _ in change.moves for node in gained]
    assert set(gains) == {20}
    assert len(gains) == change.layout.counts()[20]


def test_an_impossible_layout_says_what_is_missing() -> None:
    """Too few nodes and too few zones are told apart."""
    history = three()
    with pytest.raises(NotEnoughNodes):
        plan(history.current, {3: None})
    with pytest.raises(NotEnoughZones):
        plan(history.current, {3: NodeRole("z1", TIB)})


def test_a_transition_obeys_both_sets_until_all_are_synced() -> None:
    """Both sets need a quorum, reads try the new one first, and the last word drops the old."""
    start = three()
    change = plan(start.current, {4: NodeRole("z4", TIB), 1: None})
    history = start.apply(change)
    assert history.write_sets(0) == (((2, 3, 4), 2), ((1, 2, 3), 2))
    assert history.read_order(0, "z3") == (3, 2, 4, 1)
    with pytest.raises(TransitionUnderWay):
        history.apply(change)
    with pytest.raises(TransitionUnfinished):
        history.report_synced(4, 2)
    for node in (1, 2, 3, 4):
        history = history.acknowledge(node, 2)
    for node in (2, 3):
        history = history.report_synced(node, 2)
    assert len(history.versions) == 2
    history = history.report_synced(4, 2)
    assert history.write_sets(0) == (((2, 3, 4), 2),)
    assert history.participants() == (2, 3, 4)


def test_a_lost_node_can_be_given_up_only_when_the_newest_version_leaves_it_out() -> None:
    """A removed node that is dead holds up no transition."""
    history = three().apply(plan(three().current, {4: NodeRole("z4", TIB), 1: None}))
    with pytest.raises(TransitionUnfinished):
        history.forget(4)
    with pytest.raises(NoTransition):
        history.forget(9)
    history = history.forget(1)
    for node in (2, 3, 4):
        history = history.acknowledge(node, 2)
    assert history.all_acknowledged(2)


def test_a_change_whose_new_node_died_is_taken_back() -> None:
    """At once and as a new version; the new node keeps a role that nothing is put on."""
    start = three()
    with pytest.raises(NoTransition):
        start.retreat()
    history = start.apply(plan(start.current, {4: NodeRole("z4", TIB), 1: None}))
    history = history.acknowledge(2, 2).retreat()
    assert history.current.version == 3
    assert history.write_sets(0) == start.write_sets(0)
    assert history.current.roles[4] == NodeRole("z4", 0)
    assert history.current.sets == start.current.sets
    gone = history.apply(plan(history.current, {4: None})).forget(4)
    for node in (1, 2, 3):
        gone = gone.acknowledge(node, 4)
    for node in (1, 2, 3):
        gone = gone.report_synced(node, 4)
    assert gone.participants() == (1, 2, 3)
    assert len(gone.versions) == 1


def test_a_history_is_read_as_it_was_written() -> None:
    """The bytes of format 1 stay readable, and every cut or changed byte is told."""
    golden = (
        b'\x01{"acknowledged":[[2,1]],"synced":[],"versions":[[1,3,1,[[1,"z1",1099511627776],'
        b'[2,"z2",1099511627776],[3,"z3",1099511627776]],[[1,2,3],[1,2,3]]]]}'
    )
    history = three(partitions=2).acknowledge(2, 1)
    assert codec.encode(history) == golden
    assert codec.decode(golden) == history
    for cut in range(len(golden)):
        with pytest.raises(LayoutDamaged):
            codec.decode(golden[:cut])
    with pytest.raises(LayoutDamaged):
        codec.decode(golden + b" ")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    """Whatever is read is refused by its error or is written again as it was."""
    try:
        assert codec.encode(codec.decode(b"\x01" + data)) == b"\x01" + data
    except LayoutDamaged:
        return
