"""The values that go in and out of the Raft core: entries, messages, snapshots, batches.

All are immutable tuples: they can be hashed (the exhaustive search counts states by them), shared
between nodes of a simulation, and compared. Names and meaning follow etcd-io/raft (`raftpb`), so
that its recorded histories can be replayed against this core. How they are written on the wire is
the transport's affair. A place in the log is called `index` in every text on Raft; that tuples
have a method of this name is what the ignored type errors are about.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (the thesis), figures 3.1, 3.8, 5.3, 6.1;
etcd-io/raft, `raftpb/raft.proto`.
"""

from enum import IntEnum
from typing import NamedTuple

from cluster.base.ids import NO_NODE, NodeId


class MessageType(IntEnum):
    """What a message asks or answers. Local ones never cross the network."""

    HUP = 0
    """Local: start an election."""
    BEAT = 1
    """Local: send heartbeats."""
    PROP = 2
    APP = 3
    APP_RESP = 4
    VOTE = 5
    VOTE_RESP = 6
    SNAP = 7
    HEARTBEAT = 8
    HEARTBEAT_RESP = 9
    UNREACHABLE = 10
    """Local: the transport could not deliver to `sender`."""
    SNAP_STATUS = 11
    """Local: the snapshot to `sender` arrived, or failed when `reject`."""
    CHECK_QUORUM = 12
    """Local: step down unless a quorum was heard."""
    TRANSFER_LEADER = 13
    """Hand leadership to `sender`; a follower passes it on."""
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESP = 16
    PRE_VOTE = 17
    PRE_VOTE_RESP = 18
    STORAGE_APPEND = 19
    """Local: to the append thread; `responses` leave once all of it is durable."""
    STORAGE_APPEND_RESP = 20
    STORAGE_APPLY = 21
    STORAGE_APPLY_RESP = 22
    FORGET_LEADER = 23
    """Local: a follower gives up its leader, but not its term."""


class EntryKind(IntEnum):
    """What the bytes of an entry are."""

    NORMAL = 0
    """For the state machine; empty data is the entry that opens a leader's term."""
    CONF_CHANGE = 1
    """A change of one member (`ConfChange` with one change, made without a joint phase)."""
    CONF_CHANGE_V2 = 2
    """Any `ConfChange`; empty data leaves the joint configuration."""


class Role(IntEnum):
    """What a node is in its term."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2
    PRE_CANDIDATE = 3


class Entry(NamedTuple):
    """One place in the log. `index` counts from 1; `term` is that of the leader who wrote it."""

    term: int
    index: int  # type: ignore[assignment]
    kind: EntryKind = EntryKind.NORMAL
    data: bytes = b""


class HardState(NamedTuple):
    """What must be on disk before anyone hears of it (thesis, 3.8), and the commit index as a hint.

    `healing_term` and `healing_index` name the last entry that this node may once have
    acknowledged and has lost since (`cluster.raft.recovery`); zero when it has lost nothing.
    """

    term: int = 0
    vote: NodeId = NO_NODE
    commit: int = 0
    healing_term: int = 0
    healing_index: int = 0


EMPTY_HARD_STATE = HardState()


class SoftState(NamedTuple):
    """Who leads and what this node is; not stored."""

    leader: NodeId
    role: Role


class ConfState(NamedTuple):
    """The members of a group, each tuple sorted (thesis, 4.3).

    While `outgoing` is not empty the group is joint: every decision needs a majority of `voters`
    and one of `outgoing`. `learners_next` become learners when the joint phase ends.
    """

    voters: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False


class Snapshot(NamedTuple):
    """The state machine after `index`, with the members that were in force then.

    `data` is whatever the driver needs to find or stream the state (a name, a manifest); the core
    only carries it.
    """

    index: int = 0  # type: ignore[assignment]
    term: int = 0
    conf_state: ConfState = ConfState()
    data: bytes = b""


class Message(NamedTuple):
    """One message between nodes, or between a node and its own storage.

    `term` is 0 on local ones and on forwarded proposals and reads. For APP `index` and `log_term`
    name the entry before `entries`; for APP_RESP `index` is the last one matched or, with
    `reject`, the one refused, and `reject_hint`/`log_term` where to look next. `round` and
    `sent_ms` come back in HEARTBEAT_RESP as they were sent: the leader reads its lease and its
    read confirmations from them. `transfer` marks an election asked for by the leader itself.
    `healing` on a refusal or a HEARTBEAT_RESP says that entries once acknowledged, those behind
    `reject_hint`, are gone. `own_ms` of a HEARTBEAT_RESP is the follower's clock; a HEARTBEAT that
    grants a lease brings it back with `lease_ms`, from then on.
    """

    type: MessageType
    to: NodeId
    sender: NodeId = NO_NODE
    term: int = 0
    log_term: int = 0
    index: int = 0  # type: ignore[assignment]
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    vote: NodeId = NO_NODE
    snapshot: Snapshot | None = None
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    round: int = 0
    sent_ms: int = 0
    transfer: bool = False
    healing: bool = False
    own_ms: int = 0
    lease_ms: int = 0
    hard_state: HardState | None = None
    responses: tuple["Message", ...] = ()


class ReadState(NamedTuple):
    """A read may be served from the state machine once it has applied `index`."""

    index: int  # type: ignore[assignment]
    context: bytes


class Ready(NamedTuple):
    """One batch of work for the driver; each field says what it waits for.

    Order of work without `Options.async_storage`:

    1. `messages` may leave at once.
    2. Store `snapshot`, then `entries` (overwriting from the first one's index), then
       `hard_state`; sync when `must_sync`.
    3. Only then `messages_after_sync` may leave and `committed` be applied, in order; a
       configuration entry is given back with `RaftNode.apply_conf_change`.
    4. `read_states`: serve each once the state machine has applied its index.
    5. `RaftNode.advance()`.

    With `Options.async_storage` steps 2 and 3 travel as STORAGE_APPEND and STORAGE_APPLY messages
    to the two local threads and there is no `advance`.
    """

    soft_state: SoftState | None
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    committed: tuple[Entry, ...]
    messages: tuple[Message, ...]
    messages_after_sync: tuple[Message, ...]
    read_states: tuple[ReadState, ...]
    must_sync: bool


ENTRY_OVERHEAD_BYTES = 12
"""What an entry is taken to weigh beside its data, for bounds on messages and batches."""


def entries_bytes(entries: tuple[Entry, ...]) -> int:
    """The weight of `entries` against bounds on messages and batches, in bytes."""
    return sum(len(entry.data) for entry in entries) + ENTRY_OVERHEAD_BYTES * len(entries)


def payload_bytes(entries: tuple[Entry, ...]) -> int:
    """The weight of the data alone: empty entries are never refused for their size."""
    return sum(len(entry.data) for entry in entries)


def limit_entries(entries: tuple[Entry, ...], bytes_max: int) -> tuple[Entry, ...]:
    """The longest head of `entries` within `bytes_max`, but at least one entry."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.data) + ENTRY_OVERHEAD_BYTES
        if size > bytes_max and count:
            return entries[:count]
    return entries
