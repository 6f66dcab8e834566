"""What a power cut may leave of the writes of a trace: a model of files, names and syncs.

The rules are those of POSIX and of what Linux file systems do, taken at their weakest:

- A write, truncation or allocation is durable once an fdatasync or fsync of its file has ended
  that began after it, or at once through O_DSYNC. Until then it may be kept or lost, alone: later
  ones may be kept and earlier ones lost, in the same file and in others. A write may be torn into
  sectors of 512 bytes, each kept or lost. A kept write makes the file long enough for it.
- A name (made, removed or changed) is durable once an fsync of its directory has ended that began
  after it. Until then each name alone may be in any of the states since the last such fsync. The
  sync of a file does not make its name durable. A directory without a name takes all below it.

Sources: fsync(2), open(2); Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014),
whose findings differ between file systems: what is legal here is what any of them does.

What it is not: it models no damage; `chaos.bitflip` does that.
"""

from __future__ import annotations

import random
from pathlib import Path

from msgspec import Struct

from chaos.trace import Kind, TraceEvent

SECTOR_BYTES = 512


class Choice(Struct, frozen=True):
    """How a cut chooses among what is legal, as chances between 0 and 1.

    `keep`: an unsynced change is kept. `tear`: a kept write is torn. `rename`: a name that is not
    durable is in its newest state; otherwise it is in one of its earlier ones.
    """

    title: str
    keep: float
    tear: float
    newest_name: float


CHOICES = (
    Choice("everything unsynced is lost", 0.0, 0.0, 0.0),
    Choice("everything is kept", 1.0, 0.0, 1.0),
    Choice("data is kept, names are lost", 1.0, 0.0, 0.0),
    Choice("names are kept, data is lost", 0.0, 0.0, 1.0),
    Choice("any subset", 0.5, 0.0, 0.5),
    Choice("any subset, torn", 0.5, 0.5, 0.5),
    Choice("nearly everything, torn", 0.9, 0.9, 0.9),
    Choice("hardly anything", 0.1, 0.5, 0.7),
)


class _Change(Struct, frozen=True):
    """A change of a file; one through O_DSYNC is durable when it is made."""

    kind: Kind
    offset: int
    data: bytes
    is_synced: bool = False


class _Inode:
    """A file or directory: what is durable of it, and the changes that are not, numbered from 0."""

    def __init__(self, *, is_directory: bool) -> None:
        self.is_directory = is_directory
        self.durable = bytearray()
        self.pending: list[_Change] = []
        self._durable_count = 0

    @property
    def count(self) -> int:
        """How many changes there have been."""
        return self._durable_count + len(self.pending)

    def end_sync(self, count: int) -> None:
        """The first `count` changes are durable."""
        fresh = max(count - self._durable_count, 0)
        for change in self.pending[:fresh]:
            _apply(self.durable, change)
        del self.pending[:fresh]
        self._durable_count += fresh

    def after_cut(self, choice: Choice, source: random.Random) -> bytes:
        """The content that a power cut leaves."""
        content = bytearray(self.durable)
        for change in self.pending:
            if change.is_synced:
                _apply(content, change)
            elif source.random() < choice.keep:
                torn = change.kind is Kind.WRITE and source.random() < choice.tear
                for kept in _sectors(change, source) if torn else [change]:
                    _apply(content, kept)
        return bytes(content)


class _Name:
    """What a name has stood for since its directory was last synced; the oldest is durable."""

    def __init__(self) -> None:
        self.states: list[_Inode | None] = [None]
        self._durable_count = 0

    @property
    def count(self) -> int:
        """How many states there have been."""
        return self._durable_count + len(self.states)

    def end_sync(self, count: int) -> None:
        """The state number `count` (from 1) is durable."""
        fresh = max(count - 1 - self._durable_count, 0)
        del self.states[:fresh]
        self._durable_count += fresh

    def after_cut(self, choice: Choice, source: random.Random) -> _Inode | None:
        """What it stands for when a power cut has come."""
        if len(self.states) == 1 or source.random() < choice.newest_name:
            return self.states[-1]
        return self.states[0] if choice.newest_name == 0 else source.choice(self.states)


class _Sync(Struct):
    """A sync that has begun: how many changes and states there were then."""

    inode: _Inode
    changes: int
    states: list[tuple[_Name, int]]


class DiskModel:
    """Files under one root, fed with the events of a trace.

    `ignore_data_syncs` and `ignore_directory_syncs` are the controls: syncs of paths with that
    ending, and those of directories, are taken for calls that were never made.
    """

    def __init__(
        self, *, ignore_data_syncs: str | None = None, ignore_directory_syncs: bool = False
    ) -> None:
        self._ignore_data_syncs = ignore_data_syncs
        self._ignore_directory_syncs = ignore_directory_syncs
        self._files: dict[str, _Inode] = {}
        self._names: dict[str, _Name] = {}
        self._open: dict[int, _Inode] = {}
        self._syncs: dict[int, list[_Sync]] = {}

    @property
    def pending_count(self) -> int:
        """How many changes of files are not durable, those through O_DSYNC left out."""
        return sum(
            not change.is_synced for inode in self._files.values() for change in inode.pending
        )

    def load(self, left: dict[str, bytes | None]) -> None:
        """Begins with what an earlier cut left; whatever survived one is durable."""
        for path, content in left.items():
            inode = _Inode(is_directory=content is None)
            inode.durable += content or b""
            self._files[path] = inode
            name = self._names.setdefault(path, _Name())
            name.states = [inode]

    def apply(self, event: TraceEvent) -> None:
        """Takes the next event of the trace."""
        match event.kind:
            case Kind.CREATE | Kind.OPEN:
                self._open_file(event)
            case Kind.CLOSE:
                self._open.pop(event.descriptor, None)
            case Kind.WRITE | Kind.TRUNCATE | Kind.ALLOCATE:
                change = _Change(event.kind, event.offset, event.data, event.is_synced)
                self._open[event.descriptor].pending.append(change)
            case Kind.SYNC_BEGIN:
                self._begin_sync(event)
            case Kind.SYNC_END:
                self._end_sync(event)
            case Kind.UNLINK:
                self._set_name(event.path, None)
            case Kind.RENAME:
                inode = self._files[event.path]
                self._set_name(event.path, None)
                self._set_name(event.data.decode(), inode)
            case Kind.MAKE_DIRECTORY:
                self._set_name(event.path, _Inode(is_directory=True))
            case Kind.MAP_SYNC:
                raise AssertionError("writes through a mapping are not recorded")

    def after_cut(self, choice: Choice, source: random.Random) -> dict[str, bytes | None]:
        """What a power cut now may leave: contents by path, None for a directory."""
        left: dict[str, bytes | None] = {}
        contents: dict[int, bytes] = {}
        for path in sorted(self._names):
            inode = self._names[path].after_cut(choice, source)
            parent = path.rpartition("/")[0]
            if inode is None or (parent and parent not in left):
                continue
            if inode.is_directory:
                left[path] = None
                continue
            if id(inode) not in contents:
                contents[id(inode)] = inode.after_cut(choice, source)
            left[path] = contents[id(inode)]
        return left

    def _open_file(self, event: TraceEvent) -> None:
        inode = self._files.get(event.path)
        if inode is None:
            inode = _Inode(is_directory=event.is_directory)
            if event.path:  # the root itself is there before the trace begins
                assert event.kind is Kind.CREATE, f"{event.path} was made unseen"
                self._set_name(event.path, inode)
        self._open[event.descriptor] = inode

    def _set_name(self, path: str, inode: _Inode | None) -> None:
        if inode is None:
            # Sockets get their names by bind(2), which is not recorded.
            self._files.pop(path, None)
        else:
            self._files[path] = inode
        self._names.setdefault(path, _Name()).states.append(inode)

    def _begin_sync(self, event: TraceEvent) -> None:
        """Notes what the sync covers: what was done before it began, and no more."""
        inode = self._open[event.descriptor]
        states = [
            (name, name.count)
            for path, name in self._names.items()
            if event.is_directory and path.rpartition("/")[0] == event.path
        ]
        begun = _Sync(inode, inode.count, states)
        self._syncs.setdefault(event.descriptor, []).append(begun)

    def _end_sync(self, event: TraceEvent) -> None:
        # Of two at once on a descriptor either may end first; the earlier one covers less.
        begun = self._syncs[event.descriptor].pop(0)
        if event.is_directory:
            if not self._ignore_directory_syncs:
                for name, count in begun.states:
                    name.end_sync(count)
            return
        ending = self._ignore_data_syncs
        if ending is None or not event.path.endswith(ending):
            begun.inode.end_sync(begun.changes)


def write_image(left: dict[str, bytes | None], root: Path, *, leave_out: str = "") -> None:
    """Makes the files of `after_cut` below `root`, but for the path `leave_out`."""
    for path, content in left.items():
        if path == leave_out:
            continue
        if content is None:
            (root / path).mkdir(mode=0o700)
        else:
            (root / path).write_bytes(content)


def _apply(content: bytearray, change: _Change) -> None:
    match change.kind:
        case Kind.WRITE:
            end = change.offset + len(change.data)
            if len(content) < end:
                content.extend(bytes(end - len(content)))
            content[change.offset : end] = change.data
        case Kind.TRUNCATE:
            if change.offset < len(content):
                del content[change.offset :]
            else:
                content.extend(bytes(change.offset - len(content)))
        case Kind.ALLOCATE:
            if len(content) < change.offset:
                content.extend(bytes(change.offset - len(content)))


def _sectors(change: _Change, source: random.Random) -> list[_Change]:
    """The sectors of a write that are kept."""
    kept = []
    start = change.offset
    end = change.offset + len(change.data)
    while start < end:
        stop = min((start // SECTOR_BYTES + 1) * SECTOR_BYTES, end)
        if source.random() < 0.5:
            data = change.data[start - change.offset : stop - change.offset]
            kept.append(_Change(Kind.WRITE, start, data))
        start = stop
    return kept
