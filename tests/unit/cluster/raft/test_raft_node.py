"""What a driver of `RaftNode` relies on, one promise to a test."""

import pytest
from raft_group import Group

from cluster.base.errors import ConfChangeRefused, LogFull, NoLeader, ReadRefused, Transferring
from cluster.raft.membership import ChangeKind, ConfChange, ConfChangeSingle, Transition
from cluster.raft.messages import EntryKind, Message, MessageType, Role, Snapshot
from cluster.raft.recovery import forget_from


def test_a_proposal_is_applied_everywhere_in_one_order():
    """Proposals through leader and followers come out of every node alike (thesis, 3.5)."""
    group = Group()
    group.elect(1)
    for node in (1, 2, 3, 2):
        group.nodes[node].propose(b"by%d" % node)
        group.settle()
    assert group.data(1) == group.data(2) == group.data(3) == [b"by1", b"by2", b"by3", b"by2"]


def test_a_proposal_without_leader_is_refused():
    """Nobody leads: NoLeader, which may be retried."""
    group = Group()
    with pytest.raises(NoLeader) as refusal:
        group.nodes[1].propose(b"x")
    assert refusal.value.retryable


def test_the_uncommitted_tail_is_bounded():
    """A leader that cannot commit refuses what would push its tail over the bound."""
    group = Group(uncommitted_bytes_max=100)
    leader = group.elect(1)
    group.held = {2, 3}
    leader.propose(b"a" * 90)
    with pytest.raises(LogFull):
        leader.propose(b"b" * 20)
    group.held = set()
    group.tick(2)
    leader.propose(b"b" * 20)
    group.settle()
    assert group.data(2) == [b"a" * 90, b"b" * 20]


def test_nothing_that_promises_leaves_before_the_sync():
    """Votes, requests for votes and acknowledgements wait for the disk; entries need not."""
    group = Group(pre_vote=False)
    group.nodes[1].campaign()
    batch = group.nodes[1].ready()
    assert batch.must_sync
    assert batch.messages == ()
    assert {m.type for m in batch.messages_after_sync} == {MessageType.VOTE}
    group.nodes[2].step(batch.messages_after_sync[0])
    answer = group.nodes[2].ready()
    assert answer.must_sync
    assert answer.messages == ()
    assert [m.type for m in answer.messages_after_sync] == [MessageType.VOTE_RESP]


def test_members_are_replaced_several_at_once():
    """Three new voters take the place of the old ones in one joint change that leaves by itself."""
    group = Group()
    leader = group.elect(1)
    for node in (4, 5, 6):
        group.add(node, Snapshot())
    remove = tuple(ConfChangeSingle(ChangeKind.REMOVE_NODE, node) for node in (2, 3))
    add = tuple(ConfChangeSingle(ChangeKind.ADD_NODE, node) for node in (4, 5))
    learner = (ConfChangeSingle(ChangeKind.ADD_LEARNER_NODE, 6),)
    # The first snapshot does not know the new ones: the driver makes another when they join.
    leader.propose_conf_change(ConfChange(remove + add + learner))
    group.settle()
    state = leader.configuration.conf_state()
    group.storages[1].set_snapshot(Snapshot(2, group.storages[1].term(2), state))
    for node in (4, 5, 6):
        leader.report_snapshot(node, delivered=False)
    group.tick(3)
    assert leader.configuration.incoming == {1, 4, 5}
    assert leader.configuration.learners == {6}
    assert not leader.configuration.is_joint
    leader.propose(b"after")
    group.settle()
    assert all(group.data(node)[-1:] == [b"after"] for node in (1, 4, 5, 6))


def test_a_second_change_of_members_waits_for_the_first():
    """One change at a time: the second is refused while the first is not applied."""
    group = Group()
    leader = group.elect(1)
    change = ConfChange((ConfChangeSingle(ChangeKind.REMOVE_NODE, 3),))
    leader.propose_conf_change(change)
    with pytest.raises(ConfChangeRefused):
        leader.propose_conf_change(change)


def test_a_joint_phase_ends_when_leadership_stays_after_all():
    """A phase that would end by itself is left to the next leader; when nobody takes the
    leadership, this one ends it, though nothing more is written."""
    group = Group(5)
    leader = group.elect(1)
    group.held = {3}
    demotion = (ConfChangeSingle(ChangeKind.ADD_LEARNER_NODE, 2),)
    leader.propose_conf_change(ConfChange(demotion, Transition.JOINT_IMPLICIT))
    leader.transfer_leadership(3, group.now_ms)
    group.settle()
    assert leader.configuration.is_joint
    group.tick(12)
    assert leader.role is Role.LEADER
    assert leader.configuration.incoming == {1, 3, 4, 5}
    assert not leader.configuration.is_joint


@pytest.mark.parametrize(
    "change",
    [
        ConfChange(),
        ConfChange((ConfChangeSingle(ChangeKind.ADD_NODE, 7),), Transition.JOINT_EXPLICIT, b"x"),
        ConfChange(tuple(ConfChangeSingle(kind, 2**40) for kind in ChangeKind)),
    ],
)
def test_a_change_of_members_survives_its_encoding(change):
    """decode is the inverse of encode, and what is cut short is refused."""
    data = change.encode()
    assert ConfChange.decode(data) == change
    if change.changes and not change.context:
        with pytest.raises(ValueError, match="cut short"):
            ConfChange.decode(data[:-1])


def test_leadership_is_transferred_to_one_that_has_the_log():
    """The target is brought up to date, told to stand, and wins although a leader is alive."""
    group = Group()
    leader = group.elect(1)
    leader.transfer_leadership(3)
    with pytest.raises(Transferring):
        leader.propose(b"x")
    group.settle()
    assert group.nodes[3].role is Role.LEADER
    assert group.nodes[1].leader == 3


def test_a_leader_that_hears_nobody_steps_down():
    """Check-quorum: after two election timeouts without a quorum it follows (thesis, 6.2)."""
    group = Group()
    leader = group.elect(1)
    group.held = {2, 3}
    group.tick(21)
    assert leader.role is Role.FOLLOWER


def test_a_node_cut_off_does_not_raise_its_term():
    """Pre-vote: it asks in vain and comes back into the same term, and its leader stays."""
    group = Group()
    group.elect(1)
    term = group.nodes[3].term
    group.held = {3}
    for _ in range(50):
        group.nodes[3].tick(group.now_ms)
    group.settle()
    assert group.nodes[3].term == term
    group.held = set()
    group.tick(3)
    assert group.nodes[1].role is Role.LEADER
    assert group.nodes[3].leader == 1


def test_a_read_is_confirmed_by_a_round_of_heartbeats():
    """ReadIndex: nothing while a quorum is silent; then all answers by one round."""
    group = Group()
    leader = group.elect(1)
    leader.propose(b"x")
    group.settle()
    group.held = {2, 3}
    for context in (b"a", b"b"):
        leader.read_index(context, group.now_ms)
    group.settle()
    assert group.reads[1] == []
    rounds = leader.raft.round
    group.held = set()
    group.tick()
    assert [(read.index, read.context) for read in group.reads[1]] == [(3, b"a"), (3, b"b")]
    assert leader.raft.round == rounds + 1


def test_a_follower_reads_through_its_leader():
    """A read at a follower gets its index from the leader."""
    group = Group()
    group.elect(1)
    group.nodes[2].read_index(b"r", group.now_ms)
    group.settle()
    assert [read.context for read in group.reads[2]] == [b"r"]


def test_reads_are_bounded_and_need_a_leader():
    """Too many waiting reads are refused, and so is one without a leader."""
    group = Group(reads_pending_max=1)
    with pytest.raises(ReadRefused):
        group.nodes[2].read_index(b"r")
    leader = group.elect(1)
    leader.read_index(b"a")
    with pytest.raises(ReadRefused):
        leader.read_index(b"b")


def test_a_lease_counts_from_the_sending_and_ends_during_a_pause():
    """A leader reads alone within its lease; after a pause it must ask again (etcd #20418)."""
    group = Group(lease_ms=50)
    group.now_ms += 1000
    leader = group.elect(1)
    group.tick(2)
    group.held = {2, 3}
    sent_ms = group.now_ms
    leader.read_index(b"in", sent_ms + 49)
    group.settle()
    assert [read.context for read in group.reads[1]] == [b"in"]
    leader.read_index(b"out", sent_ms + 50)
    group.settle()
    assert [read.context for read in group.reads[1]] == [b"in"]


def test_a_late_answer_does_not_lengthen_the_lease():
    """What counts is when the round was sent, however late its answer comes."""
    group = Group(lease_ms=50)
    group.now_ms += 1000
    leader = group.elect(1)
    group.settle()
    leader.raft.broadcast_heartbeats()
    leader.ready()
    leader.advance()
    late_ms = group.now_ms + 60
    answer = Message(
        MessageType.HEARTBEAT_RESP,
        1,
        2,
        term=leader.term,
        round=leader.raft.round,
        sent_ms=group.now_ms,
    )
    leader.step(answer, late_ms)
    assert not leader.raft.lease_holds()


def test_a_transfer_ends_the_lease_for_the_term():
    """Who was told to take over may win at any moment, whenever the word reaches it."""
    group = Group(lease_ms=50)
    group.now_ms += 1000
    leader = group.elect(1)
    group.tick(2)
    assert leader.raft.lease_holds()
    group.held = {3}
    leader.transfer_leadership(2, group.now_ms)
    assert not leader.raft.lease_holds()


def test_a_node_that_starts_votes_for_nobody_while_a_lease_may_hold():
    """It forgot which leader it heard, so it waits as long as any lease can last."""
    group = Group(lease_ms=50, pre_vote=False)
    group.now_ms += 1000
    group.elect(1)
    group.held = {1}
    group.start(2)
    group.start(3)
    assert not group.nodes[2].campaign(group.now_ms + 40)
    request = Message(MessageType.VOTE, 3, 2, term=9, index=9, log_term=9)
    group.nodes[3].step(request, group.now_ms + 40)
    assert group.nodes[3].raft.vote != 2
    group.nodes[3].step(request, group.now_ms + 100)
    assert group.nodes[3].raft.vote == 2


def _rot(group: Group, node: int, index: int) -> None:
    storage = group.storages[node]
    last = storage.last_index()
    hard_state = forget_from(
        storage.initial_state()[0],
        index=index,
        last_index=last,
        last_term=storage.term(last),
        applied=1,
    )
    storage.truncate(index)
    storage.set_hard_state(hard_state)
    group.start(node)


def test_a_rotted_entry_is_fed_again():
    """A follower that lost entries it acknowledged says so, is fed, and is whole again."""
    group = Group()
    leader = group.elect(1)
    for number in range(4):
        leader.propose(b"%d" % number)
        group.settle()
    _rot(group, 3, 3)
    assert group.nodes[3].raft.is_healing
    group.tick(3)
    assert not group.nodes[3].raft.is_healing
    assert group.storages[3].last_index() == group.storages[1].last_index()
    assert group.data(3) == group.data(1)


def test_a_node_with_a_rotted_entry_elects_nobody_who_lacks_it():
    """Committed on 1 and 3 and rotted on 3: 2, which lacks it, cannot win by 3's vote."""
    group = Group(pre_vote=False, check_quorum=False)
    leader = group.elect(1)
    group.held = {2}
    leader.propose(b"kept")
    group.settle()
    assert group.data(1) == [b"kept"]
    _rot(group, 3, 3)
    group.held = {1}
    group.nodes[2].campaign()
    assert not group.nodes[3].campaign()
    group.settle()
    assert group.nodes[2].role is not Role.LEADER
    group.held = set()
    for _ in range(30):
        group.tick()
    assert group.data(2)[-1:] == group.data(3)[-1:] == [b"kept"]


def test_what_is_applied_is_not_forgotten():
    """An entry that the state machine has is no reason to heal; the driver compacts past it."""
    group = Group()
    hard_state = group.storages[1].initial_state()[0]
    with pytest.raises(ValueError, match="applied"):
        forget_from(hard_state, index=1, last_index=5, last_term=1, applied=1)
    with pytest.raises(ValueError, match="no entry"):
        forget_from(hard_state, index=6, last_index=5, last_term=1, applied=1)


def test_a_follower_far_behind_gets_a_snapshot():
    """Compacted entries are replaced by the snapshot, and the stream goes on behind it."""
    group = Group()
    leader = group.elect(1)
    group.held = {3}
    for number in range(5):
        leader.propose(b"%d" % number)
        group.settle()
    storage = group.storages[1]
    storage.create_snapshot(5, group.state, b"")
    storage.compact(5)
    group.held = set()
    leader.propose(b"after")
    group.tick(3)
    assert group.storages[3].snapshot().index == 5
    assert group.data(3)[-1:] == [b"after"]


def test_strangers_and_local_messages_from_the_network_change_nothing():
    """Answers of nodes outside the group and kinds that never travel are ignored."""
    group = Group()
    leader = group.elect(1)
    term = leader.term
    leader.step(Message(MessageType.APP_RESP, 1, 9, term=term, index=99))
    leader.step(Message(MessageType.CHECK_QUORUM, 1, 2))
    leader.step(Message(MessageType.STORAGE_APPEND_RESP, 1, 2, term=term, index=99))
    assert leader.role is Role.LEADER
    assert leader.raft.log.committed == 2


def test_a_forwarded_change_that_does_not_fit_becomes_an_empty_entry():
    """The proposer is not on this node to be told, and the log must not hold what cannot apply."""
    group = Group()
    group.elect(1)
    group.nodes[2].propose_conf_change(ConfChange())
    group.settle()
    last = group.applied[1][-1]
    assert (last.kind, last.data) == (EntryKind.NORMAL, b"")
