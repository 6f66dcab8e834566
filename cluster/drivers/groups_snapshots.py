"""Snapshots on their way: from a leader's state machine into a follower's.

The sender opens the state machine's snapshot and sends it in numbered chunks, each with its length
and CRC-32, over a stream; the receiver acknowledges each chunk that the state machine has taken.
Chunks that are not acknowledged are kept, a few: when the stream breaks a new one begins with the
same head, the receiver says how many chunks it has, and the sender goes on from there. Both give up
after a while, and then the leader makes another. Whatever happens, its core is told the outcome:
until then it sends that member nothing.

    sender                                       receiver
    head (`groups_frames.SnapshotHead`)     ->
                                            <-   u32 chunks it has, or HAVE_IT
    u32 length, u32 CRC-32, chunk           ->
    ...                                     <-   u32 chunks it has, again and again
    u32 0, u32 count of chunks              ->
                                            <-   HAVE_IT once it is installed
"""

from collections import deque
from collections.abc import AsyncIterator
from struct import Struct
from typing import Final
from zlib import crc32

import trio

from cluster.base.errors import (
    BadFrame,
    PeerError,
    RemoteFailure,
    SnapshotBroken,
    SnapshotNotReady,
)
from cluster.base.ids import NodeId
from cluster.base.ports import Applied, PeerStream
from cluster.drivers import groups_frames as frames
from cluster.drivers.groups_group import Group
from cluster.drivers.groups_loop import GroupLoop
from cluster.raft.membership import configuration_of
from cluster.raft.messages import Message, MessageType, Snapshot

METHOD: Final = "groups.snapshot"
"""The transport's method for these streams."""

_COUNT: Final = Struct(">I")
_CHUNK: Final = Struct(">II")
HAVE_IT: Final = 2**32 - 1
"""The receiver's last word: the group stands at the snapshot's index or beyond."""


class _Reader:
    """Whole pieces out of a stream's bytes, each waited for `idle_s` at most."""

    def __init__(self, stream: PeerStream, idle_s: float) -> None:
        self._stream = stream
        self._idle_s = idle_s
        self._held = bytearray()

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises SnapshotBroken, PeerError."""
        while len(self._held) < count:
            data = b""
            with trio.move_on_after(self._idle_s):
                data = await self._stream.receive()
            if not data:
                raise SnapshotBroken("the stream ended early")
            self._held += data
        piece = bytes(self._held[:count])
        del self._held[:count]
        return piece

    async def count(self) -> int:
        """A count of chunks."""
        return int(_COUNT.unpack(await self.exactly(_COUNT.size))[0])


class SnapshotSender:
    """Streams of snapshots to followers; a bounded number at a time."""

    def __init__(self, loop: GroupLoop, nursery: trio.Nursery) -> None:
        self._loop = loop
        self._ports = loop.ports
        self._nursery = nursery
        self._running = 0
        self.delivered = 0
        self.failed = 0

    def on_wanted(self, group: Group, to: NodeId) -> None:
        """The core waits for a snapshot to reach `to`; it hears of the outcome in any case."""
        if self._running >= self._ports.settings.snapshots_out_max:
            self._report(group, to, delivered=False)
            return
        self._running += 1
        self._nursery.start_soon(self._send, group, to)

    async def _send(self, group: Group, to: NodeId) -> None:
        delivered = False
        name = self._ports.random.token_bytes(16)
        try:
            async with self._ports.machine.snapshot(group.number) as (mark, chunks):
                if to in configuration_of(frames.decode_members(mark.members)).members:
                    group.pinned[name] = mark.index
                    head = self._head(group, name, mark)
                    await _Outgoing(self._loop, to, head, chunks).deliver()
                    delivered = True
        except (PeerError, SnapshotBroken, SnapshotNotReady):
            self.failed += 1
        finally:
            self._running -= 1
            group.pinned.pop(name, None)
            self.delivered += delivered
            self._report(group, to, delivered=delivered)

    def _head(self, group: Group, name: bytes, mark: Applied) -> bytes:
        return frames.encode(
            frames.SnapshotHead(
                frames.VERSION,
                group.number,
                name,
                mark.index,
                mark.term,
                mark.members,
                group.node.term,
            )
        )

    def _report(self, group: Group, to: NodeId, *, delivered: bool) -> None:
        group.node.report_snapshot(to, delivered=delivered)
        self._loop.touch(group)


class _Outgoing:
    """One snapshot to one node, over as many streams as it takes."""

    def __init__(
        self, loop: GroupLoop, to: NodeId, head: bytes, chunks: AsyncIterator[bytes]
    ) -> None:
        self._ports = loop.ports
        self._to = to
        self._head = head
        self._chunks = chunks
        self._kept: deque[bytes] = deque()
        self._first_kept = 0
        """The number of the first chunk in `_kept`: all before it have arrived."""
        self._ended = False

    async def deliver(self) -> None:
        """Returns once the receiver stands at the snapshot. Raises PeerError, SnapshotBroken."""
        settings = self._ports.settings
        for resumes_left in range(settings.snapshot_resumes_max, -1, -1):
            try:
                async with self._ports.peers.open(self._to, METHOD, self._head) as stream:
                    await self._over(stream)
                return
            except (PeerError, SnapshotBroken) as fault:
                if not resumes_left or not _may_resume(fault):
                    raise
            await trio.sleep(settings.snapshot_resume_pause_s)

    async def _over(self, stream: PeerStream) -> None:
        settings = self._ports.settings
        reader = _Reader(stream, settings.snapshot_idle_s)
        received = await reader.count()
        if received == HAVE_IT:
            return
        if not self._first_kept <= received <= self._first_kept + len(self._kept):
            raise SnapshotBroken(f"the receiver has {received} chunks, which cannot be taken up")
        self._acknowledged(received)
        for chunk in list(self._kept):
            await self._send_chunk(stream, chunk)
        while not self._ended:
            if len(self._kept) >= settings.snapshot_window:
                self._acknowledged(await reader.count())
                continue
            next_chunk = await anext(self._chunks, None)
            if next_chunk is None:
                self._ended = True
                break
            self._kept.append(next_chunk)
            await self._send_chunk(stream, next_chunk)
            await trio.sleep(len(next_chunk) / settings.snapshot_bytes_per_s)
        await stream.send(_CHUNK.pack(0, self._first_kept + len(self._kept)))
        while (received := await reader.count()) != HAVE_IT:
            self._acknowledged(received)

    async def _send_chunk(self, stream: PeerStream, chunk: bytes) -> None:
        await stream.send(_CHUNK.pack(len(chunk), crc32(chunk)) + chunk)

    def _acknowledged(self, received: int) -> None:
        while self._kept and self._first_kept < received:
            self._kept.popleft()
            self._first_kept += 1


def _may_resume(fault: PeerError | SnapshotBroken) -> bool:
    """Whether only the stream is to blame, and not what the other side thinks of the snapshot."""
    if isinstance(fault, RemoteFailure):
        return fault.remote_code == SnapshotBroken.code
    return True


class _Incoming:
    """One snapshot being installed; the streams that bring it come and go."""

    def __init__(self, head: frames.SnapshotHead, patience_s: float) -> None:
        self.head = head
        self.received = 0
        self.finished = False
        self.outcome: bool | None = None
        self.moved = trio.Event()
        """Set and replaced when a chunk was taken, and at the end."""
        self.scope = trio.CancelScope()
        """The stream that brings it now."""
        self._patience_s = patience_s
        self._send, self._receive = trio.open_memory_channel[bytes](0)

    async def put(self, chunk: bytes) -> None:
        """Hand on one chunk; returns when the state machine takes it up."""
        try:
            await self._send.send(chunk)
        except trio.BrokenResourceError as broken:
            raise SnapshotBroken("the installation was given up") from broken
        self.received += 1
        self._note()

    def end(self, count: int) -> None:
        """All chunks were sent. Raises SnapshotBroken when some are missing."""
        if count != self.received:
            raise SnapshotBroken(f"{self.received} chunks came of {count}")
        self.finished = True
        self._send.close()

    def settle(self, *, installed: bool) -> None:
        """The state machine has it, or not."""
        self.outcome = installed
        self._receive.close()
        self._note()

    def _note(self) -> None:
        self.moved.set()
        self.moved = trio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(self._patience_s):
            try:
                return await self._receive.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        raise SnapshotBroken("nothing came for too long")


class SnapshotReceiver:
    """Streams of snapshots from leaders, and their installation; a bounded number at a time."""

    def __init__(self, loop: GroupLoop, nursery: trio.Nursery) -> None:
        self._loop = loop
        self._ports = loop.ports
        self._nursery = nursery
        self._incoming: dict[int, _Incoming] = {}
        self.installed = 0
        self.failed = 0

    async def on_stream(self, sender: NodeId, header: bytes, stream: PeerStream) -> None:
        """A leader sends a snapshot. Raises BadFrame, SnapshotNotReady, SnapshotBroken."""
        head = frames.decode_snapshot_head(header)
        incoming = self._take_up(sender, head)
        if incoming is None:
            await stream.send(_COUNT.pack(HAVE_IT))
            await stream.end()
            return
        incoming.scope.cancel()
        with trio.CancelScope() as incoming.scope:
            await self._take_in(incoming, stream)
            await stream.end()
            return
        raise SnapshotBroken("another stream has taken this one's place")

    def _take_up(self, sender: NodeId, head: frames.SnapshotHead) -> _Incoming | None:
        """The installation that a stream belongs to; None when there is nothing to install."""
        incoming = self._incoming.get(head.group)
        if incoming is not None:
            if incoming.head.name == head.name:
                return incoming
            raise SnapshotNotReady(f"another snapshot of group {head.group} is being installed")
        if not 0 <= head.group < self._ports.settings.groups_max:
            raise BadFrame(f"group {head.group} cannot be")
        state = frames.decode_members(head.members)
        if self._ports.node not in configuration_of(state).members:
            raise BadFrame(f"a snapshot of group {head.group} that this node is not in")
        group = self._loop.groups.get(head.group) or self._loop.open(head.group)
        raft = group.node.raft
        known = raft.log.committed >= head.index and not group.hollow
        if known or (not group.hollow and raft.log.matches(head.index, head.term)):
            snapshot = Snapshot(head.index, head.term, state)
            self._loop.step(
                group,
                Message(
                    MessageType.SNAP,
                    self._ports.node,
                    sender,
                    term=head.leader_term,
                    snapshot=snapshot,
                ),
            )
            return None
        if not self._loop.is_quiet(group):
            raise SnapshotNotReady(f"group {head.group} is at work")
        if len(self._incoming) >= self._ports.settings.snapshots_in_max:
            raise SnapshotNotReady("too many snapshots are being installed")
        incoming = _Incoming(head, self._ports.settings.snapshot_idle_s)
        self._incoming[head.group] = incoming
        group.held = group.installing = True
        self._nursery.start_soon(self._install, group, incoming)
        return incoming

    async def _take_in(self, incoming: _Incoming, stream: PeerStream) -> None:
        settings = self._ports.settings
        reader = _Reader(stream, settings.snapshot_idle_s)
        await stream.send(_COUNT.pack(incoming.received))
        while not incoming.finished:
            length, check = _CHUNK.unpack(await reader.exactly(_CHUNK.size))
            if length == 0:
                incoming.end(check)
                break
            if length > settings.snapshot_chunk_bytes_max:
                raise SnapshotBroken(f"a chunk of {length} bytes")
            chunk = await reader.exactly(length)
            if crc32(chunk) != check:
                raise SnapshotBroken("a chunk is not as it was sent")
            await incoming.put(chunk)
            await stream.send(_COUNT.pack(incoming.received))
        while incoming.outcome is None:
            with trio.move_on_after(settings.snapshot_alive_s):
                await incoming.moved.wait()
            if incoming.outcome is None:
                await stream.send(_COUNT.pack(incoming.received))
        if not incoming.outcome:
            raise SnapshotNotReady("the snapshot could not be installed")
        await stream.send(_COUNT.pack(HAVE_IT))

    async def _install(self, group: Group, incoming: _Incoming) -> None:
        head = incoming.head
        mark = Applied(head.index, head.term, head.members)
        installed = False
        try:
            await self._ports.machine.install(group.number, mark, incoming)
            await self._loop.replace_core(group, mark)
            installed = True
            self.installed += 1
        except SnapshotBroken:
            self.failed += 1
            self._give_up(group)
        finally:
            group.installing = False
            del self._incoming[group.number]
            incoming.settle(installed=installed)

    def _give_up(self, group: Group) -> None:
        """Go on as before if the state machine is as it was, else wait for another snapshot."""
        mark = self._ports.machine.applied(group.number)
        here = 0 if mark is None else mark.index
        if not group.hollow and here == group.applied:
            group.held = False
        else:
            group.hollow = group.held = True
