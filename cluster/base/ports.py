"""The ports of the cluster library: how its drivers touch the world and each other.

All I/O, time, randomness and threads come in through these, so that a simulation can replay whole
nodes from one seed. They have the shapes of the daemon's own ports, which fit here as they are;
the library itself imports nothing of the daemon.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeVar

from cluster.base.ids import NodeId

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview


class Clock(Protocol):
    """Time. The wall clock dates things and never decides an order."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back and runs on while the machine sleeps."""
        ...


class Random(Protocol):
    """Randomness fit for secrets."""

    def token_bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...


class Threads(Protocol):
    """Blocking work off the event loop."""

    async def run(self, function: Callable[[], T]) -> T:
        """Runs `function` in a thread and gives its result or raises its exception."""
        ...


class Disk(Protocol):
    """The files of one directory. Paths are relative to it, `/` between names. Calls block."""

    def open(self, path: str, *, create: bool = False) -> int:
        """A descriptor for reading and writing; `create` makes the file, which must not exist."""
        ...

    def close(self, descriptor: int) -> None: ...

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        ...

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Writes all the buffers, one behind the other, or raises OSError."""
        ...

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """Reserves blocks, so that a later write there needs no new ones."""
        ...

    def truncate(self, descriptor: int, length: int) -> None: ...

    def sync_data(self, descriptor: int) -> None:
        """What was written to this file is on stable storage."""
        ...

    def sync_directory(self, path: str) -> None:
        """Names made in or removed from the directory are on stable storage."""
        ...

    def unlink(self, path: str) -> None: ...

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def size(self, path: str) -> int: ...

    def make_directory(self, path: str) -> None:
        """Makes a directory and its parents; no error when it exists."""
        ...


class PeerStream(Protocol):
    """Bytes both ways between two nodes, under flow control: `send` waits for the receiver."""

    async def send(self, data: Buffer) -> None:
        """Raises PeerUnreachable."""
        ...

    async def end(self) -> None:
        """This side sends no more; the other reads an end."""
        ...

    async def receive(self) -> bytes:
        """The next bytes; empty at the other side's end. Raises PeerUnreachable, RemoteFailure."""
        ...


class Peers(Protocol):
    """The other nodes, by id. Everything is authenticated and goes to that very node or fails."""

    def send(self, to: NodeId, channel: str, payload: bytes) -> bool:
        """Sends and forgets; False when it was dropped (queue full, or nobody there)."""
        ...

    async def call(self, to: NodeId, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """Asks and waits. Raises PeerUnreachable (surely not run), PeerTimeout (perhaps run),
        RemoteFailure (the other side's error, with its code)."""
        ...

    def open(
        self, to: NodeId, method: str, header: bytes
    ) -> AbstractAsyncContextManager[PeerStream]:
        """A stream to a handler of `method`. Leaving by an exception resets the other side."""
        ...


OnMessage = Callable[[NodeId, bytes], None]
OnCall = Callable[[NodeId, bytes], Awaitable[bytes]]
OnStream = Callable[[NodeId, bytes, PeerStream], Awaitable[None]]


class Handlers(Protocol):
    """Where the parts of a node register what they answer; before the transport runs."""

    def on_message(self, channel: str, handler: OnMessage) -> None: ...

    def on_call(self, method: str, handler: OnCall) -> None:
        """The handler raises a ClusterError with a code, which the caller gets as RemoteFailure."""
        ...

    def on_stream(self, method: str, handler: OnStream) -> None: ...


class MemberState(IntEnum):
    """What is believed of a node, in the order in which claims of one incarnation override."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class NodeMetadata(NamedTuple):
    """What a node tells of itself. Addresses are `host:port`; empty or 0 where not known."""

    cluster_address: str = ""
    s3_address: str = ""
    admin_address: str = ""
    zone: str = ""
    version: str = ""
    capacity_bytes: int = 0
    load_percent: int = 0


class MemberView(NamedTuple):
    """One node as this one sees it. `round_trip_s` is None until it has answered a probe; `heard_s`
    is the monotonic reading at which a packet of it came last."""

    node: NodeId
    state: MemberState
    incarnation: int
    metadata: NodeMetadata
    round_trip_s: float | None
    heard_s: float | None = None


class Liveness(Protocol):
    """Who seems to be there: a hint. It orders reads and informs people; it never decides
    placement, members of groups or quorums. Both calls are cheap and never wait."""

    def members(self) -> tuple[MemberView, ...]:
        """Every node known here, this one among them, by number."""
        ...

    def is_alive(self, node: NodeId) -> bool:
        """False for a node believed dead or gone; a suspect and an unknown one count as alive."""
        ...


class Applied(NamedTuple):
    """How far a state machine has come in one group; `members` is an encoded ConfState."""

    index: int  # type: ignore[assignment]
    term: int
    members: bytes


class GroupEntry(NamedTuple):
    """One committed entry for the state machine. `members` is set for a change of members, whose
    `data` is empty: the encoded ConfState that is in force from here on."""

    group: int
    index: int  # type: ignore[assignment]
    term: int
    data: bytes
    members: bytes | None = None


class StateMachine(Protocol):
    """What the groups of a node replicate."""

    def applied(self, group: int) -> Applied | None:
        """As it is on disk; None for a group that this node has nothing of."""
        ...

    async def apply(self, entries: Sequence[GroupEntry]) -> Sequence[bytes]:
        """Applies entries of any groups, in order, in one durable step; a result for each.

        Reads of this node show them all once it returns. It waits where the disk is full. An
        exception ends the process.
        """
        ...

    def lacks_room(self) -> bool:
        """Whether an `apply` waits because the disk is full."""
        ...

    def snapshot(
        self, group: int
    ) -> AbstractAsyncContextManager[tuple[Applied, AsyncIterator[bytes]]]:
        """The rows of a group at one index, in chunks of at most 1 MiB."""
        ...

    async def install(self, group: int, mark: Applied, chunks: AsyncIterator[bytes]) -> None:
        """Replaces the rows of a group by a snapshot, in one durable step or resumably."""
        ...
