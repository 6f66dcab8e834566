"""The log gives back what was written: reopened, after power cuts, on failing and rotting disks."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from cluster.base.errors import IdentityError, NoRoom, Unavailable, WalDamaged
from cluster.base.ports import Buffer
from cluster.drivers.groups_log import LogWrite
from cluster.raft.identity import NodeIdentity
from cluster.raft.messages import Entry, EntryKind, HardState
from cluster.raft.recovery import forget_from
from cluster.testing.crash_disk import CrashDisk
from cluster.testing.host_world import SimRandom
from cluster.testing.memory_wal import MemoryWal
from cluster.wal.records import (
    BatchHead,
    FrameKind,
    GroupChange,
    SegmentHeader,
    encode_frame,
    encode_payload,
)
from cluster.wal.wal import Wal, WalFailed, WalSettings

SALTS = SimRandom(Random(9))
SMALL = WalSettings(segment_bytes=8192, zeros_bytes=2048, cache_bytes=4096, segments_max=3)
GROUPS = (0, 1, 2)
GOLDEN = Path(__file__).parent / "wal_v1.hex"


class PowerCut(Exception):
    """The machine stops here."""


class FullDisk(CrashDisk):
    """A disk that is full from its call `full_at` on: a write stops anywhere within its bytes."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self.full_at: int | None = None

    def fill_soon(self) -> None:
        """From one of the next calls on there is no room."""
        self.full_at = self.calls + self._random.randint(1, 8)

    def open(self, path: str, *, create: bool = False) -> int:
        if create:
            self._check()
        return super().open(path, create=create)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        self._check()
        super().allocate(descriptor, offset, length)

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        try:
            self._check()
        except OSError:
            data = b"".join(buffers)
            super().pwrite(descriptor, [data[: self._random.randint(0, len(data))]], offset)
            raise
        super().pwrite(descriptor, buffers, offset)

    def _check(self) -> None:
        if self.full_at is not None and self.calls >= self.full_at:
            self.calls += 1
            raise OSError(errno.ENOSPC, "no room")


def random_writes(random: Random, model: MemoryWal) -> list[LogWrite]:
    """One batch that a host could write, given what its groups have."""
    groups = random.sample(GROUPS, random.randint(1, len(GROUPS)))
    return [_random_write(random, model, number) for number in groups]


def _random_write(random: Random, model: MemoryWal, number: int) -> LogWrite:
    log = model.group(number)
    first, last = log.first_index(), log.last_index()
    term = max(log.term(last), log.hard_state().term, 1) + (random.random() < 0.2)
    kind = random.choice(["append", "append", "append", "overwrite", "state", "cut", "begin"])
    state = HardState(term, random.randint(0, 3), last) if random.random() < 0.5 else None
    if kind == "append" or (kind == "overwrite" and last < first):
        return LogWrite(number, _entries(random, last + 1, term), state)
    if kind == "overwrite":
        return LogWrite(number, _entries(random, random.randint(first, last), term), state)
    if kind == "cut" and last >= first:
        return LogWrite(number, hard_state=state, cut=random.randint(first, last))
    if kind == "begin" and random.random() < 0.2:
        index = last + random.randint(1, 50)
        return LogWrite(number, _entries(random, index + 1, term), state, begin=(index, term))
    return LogWrite(number, hard_state=HardState(term, 1, last))


def _entries(random: Random, first: int, term: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(term, first + place, EntryKind.NORMAL, random.randbytes(random.randint(0, 600)))
        for place in range(random.randint(1, 4))
    )


def shown(wal: Wal | MemoryWal, *, lost: frozenset[int] = frozenset()) -> dict[int, object]:
    """All that can be read of each group."""
    found: dict[int, object] = {}
    for number in GROUPS:
        log = wal.group(number)
        first, last = log.first_index(), log.last_index()
        terms = [log.term(index) for index in range(first - 1, last + 1)]
        entries = log.entries(first, last + 1, 1 << 30) if last >= first else ()
        found[number] = None if number in lost else (log.hard_state(), first, terms, entries)
    return found


def grown(seed: int, disk: CrashDisk, batches: int) -> tuple[Wal, MemoryWal, Random]:
    """A log of some batches, with its model."""
    random = Random(seed)
    wal, model = Wal.open(disk, "wal", SMALL, random=SALTS), MemoryWal()
    for _ in range(batches):
        writes = random_writes(random, model)
        wal.write(writes)
        model.write(writes)
    return wal, model, random


@pytest.mark.parametrize("seed", range(60))
def test_it_reads_as_the_log_in_memory_does(seed: int) -> None:
    """Batches of every kind over many segments, the log reopened now and then: all groups read as
    those of the model."""
    random = Random(seed)
    disk = CrashDisk()
    wal, model = Wal.open(disk, "wal", SMALL, random=SALTS), MemoryWal()
    for _ in range(60):
        writes = random_writes(random, model)
        wal.write(writes)
        model.write(writes)
        if random.random() < 0.1:
            wal.close()
            wal = Wal.open(disk, "wal", SMALL, random=SALTS)
        assert shown(wal) == shown(model)
    assert wal.groups() == model.groups()
    assert wal.lost() == ()


def test_a_power_cut_loses_nothing_that_was_written() -> None:
    """2,000 cuts at any call, with any part of what was not synced: the log holds every batch that
    `write` returned from, and the one under way whole or not at all."""
    source = Random(1)
    for seed in range(2000):
        random = Random(seed)
        stop_at = random.randint(1, 120)
        disk = CrashDisk()

        def cut(_: str, disk: CrashDisk = disk, stop_at: int = stop_at) -> None:
            if disk.calls == stop_at:
                raise PowerCut

        disk._before_call = cut
        model, under_way = MemoryWal(), MemoryWal()
        try:
            wal = Wal.open(disk, "wal", SMALL, random=SALTS)
            while True:
                writes = random_writes(random, model)
                under_way.write(writes)
                wal.write(writes)
                model.write(writes)
        except PowerCut:
            pass
        after = Wal.open(disk.crash(source), "wal", SMALL, random=SALTS)
        assert shown(after) in (shown(model), shown(under_way)), seed
        assert after.lost() == ()


def test_cuts_during_recovery_lose_nothing_either() -> None:
    """300 logs cut, cut again while they are opened, and opened."""
    source = Random(2)
    for seed in range(300):
        disk = CrashDisk()
        wal, model, _ = grown(seed, disk, 12)
        wal.close()
        disk = disk.crash(source)
        stop_at = source.randint(1, 8)

        def cut(_: str, disk: CrashDisk = disk, stop_at: int = stop_at) -> None:
            if disk.calls == stop_at:
                raise PowerCut

        disk._before_call = cut
        try:
            Wal.open(disk, "wal", SMALL, random=SALTS)
        except PowerCut:
            disk = disk.crash(source)
        disk._before_call = None
        assert shown(Wal.open(disk, "wal", SMALL, random=SALTS)) == shown(model), seed


def test_every_flipped_bit_is_harmless_or_told() -> None:
    """1,500 bits of logs that a later start has begun a segment behind: what is read is right, or
    the entries are reported as lost, or the log is refused."""
    outcomes = set()
    for seed in range(150):
        disk = CrashDisk()
        wal, model, random = grown(seed, disk, 14)
        wal.close()
        Wal.open(disk, "wal", SMALL, random=SALTS).close()
        names = disk.list("wal")
        for _ in range(10):
            rotten = disk.copy()
            name = f"wal/{random.choice(names)}"
            used = len(bytes(rotten._files[name].data).rstrip(b"\0"))
            rotten.flip(name, random.randrange(8 * used))
            outcomes.add(_outcome(rotten, model))
    assert outcomes == {"harmless", "lost", "refused"}


def _outcome(disk: CrashDisk, model: MemoryWal) -> str:
    try:
        wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    except WalDamaged:
        return "refused"
    lost = wal.lost()
    for each in lost:
        healed = forget_from(
            wal.group(each.group).hard_state(),
            index=each.index,
            last_index=each.last_index,
            last_term=each.last_term,
            applied=0,
        )
        last = model.group(each.group).last_index()
        assert (each.last_index, each.last_term) == (last, model.group(each.group).term(last))
        wal.forget(each, healed)
        assert wal.group(each.group).hard_state() == healed
        assert wal.group(each.group).last_index() == each.index - 1
    numbers = frozenset(each.group for each in lost)
    assert shown(wal, lost=numbers) == shown(model, lost=numbers)
    return "lost" if lost else "harmless"


def test_a_disk_that_fails_is_not_written_again() -> None:
    """An error of any call ends the log; the next start finds every batch that was acknowledged."""
    for stop_at in range(1, 60):
        disk = CrashDisk()

        def fail(name: str, disk: CrashDisk = disk, stop_at: int = stop_at) -> None:
            if disk.calls >= stop_at and name in ("write", "sync", "create", "allocate"):
                number = errno.ENOSPC if name == "sync" and stop_at % 2 else errno.EIO
                raise OSError(number, name)

        disk._before_call = fail
        model, under_way, random = MemoryWal(), MemoryWal(), Random(stop_at)
        with pytest.raises(OSError, match=r"write|sync|create|allocate"):
            _write_on(disk, model, under_way, random)
        disk._before_call = None
        after = Wal.open(disk.crash(random), "wal", SMALL, random=SALTS)
        assert shown(after) in (shown(model), shown(under_way)), stop_at


def test_a_full_disk_holds_a_batch_until_there_is_room() -> None:
    """No room at any call before a sync, for a while: nothing of the batch can be read meanwhile,
    and behind it the log is that of a disk that was never full. A power cut in between loses
    nothing that was acknowledged."""
    held, source = 0, Random(7)
    for seed in range(100):
        random = Random(seed)
        disk = FullDisk(random)
        wal, model = Wal.open(disk, "wal", SMALL, random=SALTS), MemoryWal()
        for _ in range(30):
            writes = random_writes(random, model)
            disk.fill_soon()
            before = shown(model)
            model.write(writes)
            try:
                wal.write(writes)
            except NoRoom:
                held += 1
                _expect_held(wal, before)
                crashed = Wal.open(disk.crash(source), "wal", SMALL, random=SALTS)
                assert shown(crashed) in (before, shown(model)), seed
                _resume(wal, disk)
            disk.full_at = None
            assert shown(wal) == shown(model), seed
        wal.close()
        again = Wal.open(disk, "wal", SMALL, random=SALTS)
        assert shown(again) == shown(model), seed
        assert again.lost() == ()
    assert held > 250


def _expect_held(wal: Wal, before: dict[int, object]) -> None:
    """Nothing of the held batch shows, and there is still no room."""
    assert shown(wal) == before
    with pytest.raises(NoRoom):
        wal.resume()
    assert shown(wal) == before
    with pytest.raises(AssertionError, match="nothing else"):
        wal.write([LogWrite(0, hard_state=HardState(99))])


def _resume(wal: Wal, disk: FullDisk) -> None:
    """There is room for some calls, then for none again, until the batch is written."""
    while True:
        disk.fill_soon()
        try:
            wal.resume()
        except NoRoom:
            continue
        return


def _write_on(disk: CrashDisk, model: MemoryWal, under_way: MemoryWal, random: Random) -> None:
    """Writes until the disk fails; the log then refuses without touching the disk."""
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    try:
        while True:
            writes = random_writes(random, model)
            under_way.write(writes)
            wal.write(writes)
            model.write(writes)
    finally:
        calls = disk.calls
        with pytest.raises(WalFailed):
            wal.write([LogWrite(0, hard_state=HardState(99))])
        assert disk.calls == calls


def test_a_slow_group_keeps_no_segment_for_ever() -> None:
    """One group keeps its first entries while another writes on and on: the files stay few, and the
    old entries can be read, also after a restart."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    old = (Entry(1, 1, EntryKind.NORMAL, b"first"), Entry(1, 2, EntryKind.NORMAL, b"second"))
    wal.write([LogWrite(0, old)])
    for index in range(1, 200):
        entry = Entry(1, index, EntryKind.NORMAL, bytes(700))
        wal.write([LogWrite(1, (entry,), cut=max(0, index - 3))])
        files = [name for name in disk.list("wal") if name.endswith(".wal")]
        assert len(files) <= SMALL.segments_max + 1
    assert wal.group(0).entries(1, 3, 1 << 20) == old
    wal.close()
    again = Wal.open(disk, "wal", SMALL, random=SALTS)
    assert again.group(0).entries(1, 3, 1 << 20) == old
    assert again.group(1).first_index() == 197


def test_old_entries_leave_memory_and_are_read_back() -> None:
    """With a cache of 4 KiB, entries of 100 KiB in all are verified and read from their files; one
    that rotted while the log was open is refused."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", WalSettings(segment_bytes=1 << 20, cache_bytes=4096), random=SALTS)
    entries = [Entry(1, n, EntryKind.NORMAL, Random(n).randbytes(1000)) for n in range(1, 101)]
    for entry in entries:
        wal.write([LogWrite(0, (entry,))])
    assert wal.group(0).entries(1, 101, 1 << 30) == tuple(entries)
    (name,) = disk.list("wal")
    place = bytes(disk._files[f"wal/{name}"].data).index(entries[0].data)
    disk.flip(f"wal/{name}", 8 * place)
    with pytest.raises(WalDamaged, match="rotted"):
        wal.group(0).entries(1, 2, 1 << 30)
    with pytest.raises(Unavailable):
        wal.group(0).entries(100, 102, 1 << 30)


def test_one_sync_serves_all_groups_of_a_batch() -> None:
    """A batch of three groups is one sync, and a batch larger than a segment fits in one."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    before = wal.syncs
    wal.write([LogWrite(number, (Entry(1, 1, data=b"x"),)) for number in GROUPS])
    assert wal.syncs - before == 1
    big = Entry(1, 2, EntryKind.NORMAL, bytes(100_000))
    wal.write([LogWrite(0, (big,))])
    assert wal.group(0).entries(2, 3, 1 << 30) == (big,)


def test_a_disk_knows_whose_it_is() -> None:
    """The identity is written once, survives one rotted copy, and is refused with none whole."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    assert wal.identity() is None
    identity = NodeIdentity("c1", 7, b"token")
    wal.set_identity(identity)
    assert wal.identity() == identity
    with pytest.raises(IdentityError, match="belongs to node 7"):
        wal.set_identity(NodeIdentity("c1", 8, b"other"))
    disk.flip("wal/identity.a", 200)
    assert wal.identity() == identity
    disk.flip("wal/identity.b", 200)
    with pytest.raises(IdentityError, match="rotted"):
        wal.identity()


class FixedSalts:
    """Salts that are always the same, for the golden file."""

    def token_bytes(self, count: int) -> bytes:
        """As `Random.token_bytes`."""
        return bytes(range(count))


GOLDEN_WRITES = [
    [
        LogWrite(0, (Entry(1, 1), Entry(1, 2, data=b"data")), HardState(1, 2, 1)),
        LogWrite(3, (Entry(2, 10, EntryKind.CONF_CHANGE_V2, b"c"),), begin=(9, 2)),
    ],
    [LogWrite(0, (Entry(3, 2, data=b"over"),), HardState(3, 1, 1, 2, 5)), LogWrite(3, cut=10)],
]


def test_what_one_release_wrote_reads_the_same() -> None:
    """The golden files (version 1), a segment and an identity, are what is written today, and what
    they hold is read."""
    segment, identity = (bytes.fromhex(line) for line in GOLDEN.read_text().split())
    disk = CrashDisk()
    wal, model = Wal.open(disk, "wal", SMALL, random=FixedSalts()), MemoryWal()
    wal.set_identity(NodeIdentity("c1", 7, b"token"))
    for writes in GOLDEN_WRITES:
        wal.write(writes)
        model.write(writes)
    (name,) = [name for name in disk.list("wal") if name.endswith(".wal")]
    assert bytes(disk._files[f"wal/{name}"].data).rstrip(b"\0") == segment.rstrip(b"\0")
    assert bytes(disk._files["wal/identity.a"].data) == identity
    old = CrashDisk()
    for path, data in ((f"wal/{name}", segment), ("wal/identity.b", identity)):
        old.pwrite(old.open(path, create=True), [data], 0)
    again = Wal.open(old, "wal", SMALL, random=SALTS)
    assert shown(again) == shown(model)
    assert again.group(3).first_index() == 11
    assert again.identity() == NodeIdentity("c1", 7, b"token")


def test_no_body_can_be_taken_for_a_frame() -> None:
    """A client stores whole frames, right in everything but the salt, which nobody outside knows:
    behind a torn batch they are data, and the log opens as it was."""
    for offset in range(256, 2048, 8):
        disk = CrashDisk()
        wal, model = Wal.open(disk, "wal", SMALL, random=SALTS), MemoryWal()
        guessed = SegmentHeader(1, 1, bytes(16)).seed
        head = encode_payload(BatchHead(offset, [GroupChange(0, hard_state=HardState(99, 9, 9))]))
        frame = b"".join(encode_frame(FrameKind.TAIL, 99, head, seed=guessed, offset=offset))
        writes = [LogWrite(0, (Entry(1, 1, data=frame * 8),), HardState(1, 1, 1))]
        wal.write(writes)
        model.write(writes)
        assert shown(Wal.open(disk, "wal", SMALL, random=SALTS)) == shown(model)
        # The last batch torn: what it held in its place is no trace of a later one.
        torn = disk.copy()
        name = min(name for name in torn.list("wal") if name.endswith(".wal"))
        last = max(name for name in torn.list("wal") if name.endswith(".wal"))
        torn.unlink(f"wal/{last}")
        torn.flip(f"wal/{name}", 8 * bytes(torn._files[f"wal/{name}"].data).index(frame) - 8)
        assert shown(Wal.open(torn, "wal", SMALL, random=SALTS)) == shown(MemoryWal())
