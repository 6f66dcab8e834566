"""Followers read alone under a lease, nothing commits without them meanwhile, and no lease outlives
what it counts on."""

import pytest
from raft_group import Group

from cluster.raft.membership import ChangeKind, ConfChange, ConfChangeSingle
from cluster.raft.messages import Message, MessageType, Role
from cluster.raft.options import Options

LEASE_MS = 500


def leased(**options: object) -> Group:
    """Three nodes, of which 1 leads and 2 and 3 hold leases."""
    group = Group(lease_ms=LEASE_MS, follower_leases=True, election_ticks=60, **options)
    group.now_ms += 2000
    group.elect(1)
    group.tick(4)
    assert group.nodes[2].lease_index(group.now_ms) is not None
    assert group.nodes[3].lease_index(group.now_ms) is not None
    return group


def heartbeat(group: Group, **fields: int) -> Message:
    """What node 1 sends node 2, beyond what it has sent."""
    leader = group.nodes[1].raft
    values = {"round": leader.round + 1, "sent_ms": group.now_ms, **fields}
    return Message(MessageType.HEARTBEAT, 2, 1, term=leader.term, **values)


def test_a_follower_reads_from_the_end_of_its_own_log():
    """What it was sent may have been acknowledged, whether or not it knows that it is committed."""
    group = leased()
    group.held = {1, 3}
    last = group.nodes[2].raft.log.last_index()
    append = Message(
        MessageType.APP,
        2,
        1,
        term=group.nodes[1].term,
        log_term=group.nodes[2].raft.log.last_id().term,
        index=last,
        entries=(group.nodes[1].raft.log.entries_from(last, 1000)[0]._replace(index=last + 1),),
        commit=last,
    )
    group.nodes[2].step(append, group.now_ms)
    assert group.nodes[2].raft.log.committed == last
    assert group.nodes[2].lease_index(group.now_ms) == last + 1


def test_without_leases_a_follower_asks():
    """The option is off unless it is set, and needs the leader's own lease."""
    group = Group(lease_ms=LEASE_MS)
    group.now_ms += 2000
    group.elect(1)
    group.tick(4)
    assert group.nodes[2].lease_index(group.now_ms) is None
    with pytest.raises(ValueError, match="lease_ms"):
        Options(node=1, draw=lambda count: 0, follower_leases=True)


def test_nothing_commits_without_a_follower_that_may_read():
    """A silent holder holds writes up until its lease has run out; then they go on."""
    group = leased()
    group.held = {3}
    group.nodes[1].propose(b"x", group.now_ms)
    group.settle()
    assert group.data(1) == []
    began_ms = group.now_ms
    while not group.data(1):
        assert group.nodes[3].lease_index(group.now_ms) is None or group.now_ms <= began_ms + 600
        group.tick()
    assert LEASE_MS - 50 <= group.now_ms - began_ms <= LEASE_MS + 20
    assert group.nodes[3].lease_index(group.now_ms) is None
    assert group.data(2) == [b"x"]


def test_who_has_held_writes_up_gets_no_lease_for_a_while():
    """A follower that hangs costs one lease, not one with each write."""
    group = leased()
    group.held = {3}
    group.nodes[1].propose(b"x", group.now_ms)
    group.tick(60)
    group.held = set()
    group.tick(20)
    assert group.nodes[3].raft.log.committed == group.nodes[1].raft.log.committed
    assert group.nodes[3].lease_index(group.now_ms) is None
    group.tick(500)
    assert group.nodes[3].lease_index(group.now_ms) is not None


def test_who_answers_late_gets_no_lease():
    """All writes would wait for it: such a follower reads by asking."""
    group = Group(
        lease_ms=LEASE_MS, follower_leases=True, election_ticks=60, lease_round_trip_ms_max=20
    )
    group.now_ms += 2000
    leader = group.elect(1)
    for _ in range(5):
        leader.raft.broadcast_heartbeats()
        group.held = {2, 3}
        group.settle()
        sent_ms, group.held = group.now_ms, set()
        group.now_ms += 21
        for node, late in ((2, True), (3, False)):
            answer = Message(
                MessageType.HEARTBEAT_RESP,
                1,
                node,
                term=leader.term,
                round=leader.raft.round,
                sent_ms=sent_ms if late else group.now_ms,
                own_ms=group.now_ms,
            )
            leader.step(answer, group.now_ms)
    leader.raft.broadcast_heartbeats()
    group.settle()
    assert set(leader.raft.holders) == {3}


def test_a_lease_runs_from_the_followers_own_reading():
    """Not from when the grant came: the way there may have been long."""
    group = leased()
    node = group.nodes[2]
    asked_ms = group.now_ms
    group.held = {1, 3}
    group.now_ms += 400
    node.step(heartbeat(group, own_ms=asked_ms, lease_ms=450), group.now_ms)
    assert node.lease_index(group.now_ms) is not None
    assert node.lease_index(asked_ms + 450) is None


def test_a_reading_of_an_earlier_life_counts_for_nothing():
    """The clock of a machine that was started anew begins anew: the grant of an old reading would
    run for as long as the machine had been up."""
    group = leased()
    old_ms = group.now_ms
    group.now_ms = 100
    group.start(2)
    group.now_ms += 10
    node = group.nodes[2]
    node.step(heartbeat(group, own_ms=old_ms, lease_ms=450), group.now_ms)
    assert node.leader == 1
    assert node.lease_index(group.now_ms) is None
    node.step(heartbeat(group, round=900, own_ms=group.now_ms, lease_ms=450), group.now_ms + 1)
    assert node.lease_index(group.now_ms + 2) is not None


def test_a_grant_that_was_overtaken_counts_for_nothing():
    """A lease that was given back is not taken up again by a heartbeat from before."""
    group = leased()
    node, leader = group.nodes[2], group.nodes[1]
    late = heartbeat(group, own_ms=group.now_ms, lease_ms=450)
    back = heartbeat(group, round=leader.raft.round + 2, lease_ms=-1)
    node.step(back, group.now_ms + 1)
    answers = [m for m in node.ready().messages if m.type is MessageType.HEARTBEAT_RESP]
    assert [answer.own_ms for answer in answers] == [0]
    node.step(late, group.now_ms + 2)
    assert node.lease_index(group.now_ms + 2) is None


def test_leadership_moves_only_when_no_follower_reads_alone():
    """Leases are taken back first; from a follower that is silent they run out first."""
    group = leased()
    group.nodes[1].transfer_leadership(2, group.now_ms)
    group.settle()
    assert group.nodes[2].role is Role.LEADER

    group = leased()
    group.held = {3}
    began_ms = group.now_ms
    group.nodes[1].transfer_leadership(2, group.now_ms)
    while group.nodes[2].role is not Role.LEADER:
        group.tick()
        assert group.now_ms < began_ms + 2 * LEASE_MS
    assert group.now_ms >= began_ms + LEASE_MS - 50
    assert group.nodes[3].lease_index(group.now_ms) is None


def test_a_leader_that_is_deposed_elects_nobody_while_its_followers_read():
    """It was one of those who promised to; neither does it vote in the term that deposed it."""
    group = leased(pre_vote=False)
    old = group.nodes[1]
    group.held = {1, 3}
    higher = old.term + 1
    old.step(Message(MessageType.APP_RESP, 1, 2, term=higher), group.now_ms)
    assert old.role is Role.FOLLOWER
    for term in (higher, higher + 1):
        request = Message(MessageType.VOTE, 1, 2, term=term, index=99, log_term=99)
        old.step(request, group.now_ms + LEASE_MS - 10)
        assert old.raft.vote != 2
    assert not old.campaign(group.now_ms + LEASE_MS - 10)
    old.step(request, group.now_ms + 2 * LEASE_MS)
    assert old.raft.vote == 2


def test_a_node_that_stops_gives_its_lease_back():
    """Writes do not wait for it: it says with its next answer that it holds none."""
    group = leased()
    group.nodes[3].refuse_leases()
    assert group.nodes[3].lease_index(group.now_ms) is None
    group.tick()
    group.held = {3}
    group.nodes[1].propose(b"x", group.now_ms)
    group.settle()
    assert group.data(1) == [b"x"]


def test_a_follower_that_was_removed_is_waited_for():
    """It may read as long as its lease runs, and hears of no write any more."""
    group = leased()
    leader = group.nodes[1]
    remove = ConfChange((ConfChangeSingle(ChangeKind.REMOVE_NODE, 3),))
    leader.propose_conf_change(remove, group.now_ms)
    group.settle()
    assert leader.configuration.voters == {1, 2}
    assert group.nodes[3].lease_index(group.now_ms) is not None
    leader.propose(b"x", group.now_ms)
    group.settle()
    assert b"x" not in group.data(1)
    group.tick(60)
    assert group.data(1)[-1] == b"x"
    assert group.nodes[3].lease_index(group.now_ms) is None
