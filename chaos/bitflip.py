"""Flipped bits: one bit of a stopped store is turned over, then everything is read.

A segment file and the values of the metadata are hit, each in a copy of one store. No read may give
a wrong byte, a wrong record or a wrong "there is nothing"; it gives the right answer or an error
that says the data is damaged. `check` must find every flip that hit something alive.

What it is not: pages of LMDB that are not values (its own trees and lists) are not hit: it has no
checksums for them, and a flipped pointer there can only be found by `check`, not by every read.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.lanes import BUCKETS, Lane, setup_operations
from chaos.powercut import scratch_directory
from chaos.powercut_workload import OPTIONS, SETTINGS, shrink_parts
from rs3gwd.base.errors import DataCorrupt, FormatError, NoSuchBucket, Rs3gwError
from rs3gwd.base.records import VersionKind, VersionRecord
from rs3gwd.engine.blobs import BLOB_CODEC, all_segments
from rs3gwd.engine.check import check
from rs3gwd.engine.engine import ENVIRONMENT_DIRECTORY
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.segment_format import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    table_bytes,
)
from rs3gwd.engine.segments import segment_path
from rs3gwd.engine.system import FileDisk, SystemRandom
from rs3gwd.engine.tables import Table
from rs3gwd.testing import scenario as s
from rs3gwd.testing.open_local import LocalNode, open_local
from rs3gwd.testing.sealed_store import SealedStore
from rs3gwd.testing.target import StoreTarget, read_body
from rs3gwd.testing.threads import InlineThreads

DATA_FILE = f"{ENVIRONMENT_DIRECTORY}/data.mdb"
LANES = 3
STEPS = 50
VIOLATIONS_MAX = 5


class Plan(Struct, frozen=True):
    """What to do: so many flips, half in segments and half in values."""

    seed: int
    flips: int


class Flip(Struct, frozen=True):
    """One bit of a file: `where` says in words what it is part of."""

    path: str
    offsets: list[int]
    bit: int
    where: str
    is_live: bool


class Report(Struct, frozen=True):
    """The result; `refused` counts reads that said the data is damaged."""

    flips: int
    live: int
    refused: int
    not_opened: int
    violations: list[str]


class Known(Struct, frozen=True):
    """A version as it is in the sound store, with the digest of its bytes."""

    bucket: str
    key: bytes
    version: VersionRecord
    is_latest: bool
    digest: str | None


class Store:
    """The sound store: its directory, what is in it, and where its bytes lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: list[Known] = []
        self._live_ranges: list[tuple[str, int, int, str]] = []
        self._segment_sizes: dict[str, int] = {}
        self._values: list[tuple[str, bytes]] = []
        self._data_file = b""

    async def build(self, seed: int) -> None:
        """Fills it with what some lanes do."""
        self.path.mkdir()
        lanes = [Lane(seed, number, OPTIONS) for number in range(LANES)]
        async with open_local(str(self.path), settings=SETTINGS, threads=InlineThreads()) as node:
            target = StoreTarget(SealedStore(node.engine, SystemRandom()))
            for operation in setup_operations():
                await target.perform(operation)
            for lane in lanes:
                await lane.prepare()
            for _ in range(STEPS):
                for lane in lanes:
                    await target.perform(lane.begin())
                    await lane.acknowledge()
            await node.engine.tick()
            await node.engine.compact(dead_ratio=0.05)
            await node.engine.tick()
            await self._note_versions(node)
        self._note_places()

    async def _note_versions(self, node: LocalNode) -> None:
        store = SealedStore(node.engine, SystemRandom())
        for bucket in BUCKETS:
            page = await node.store.list_versions(bucket)
            assert page.next_key is None, "one page holds all"
            for entry in page.entries:
                assert entry.version is not None, "no delimiter was given"
                digest = None
                if entry.version.kind is VersionKind.OBJECT:
                    digest = s.digest_of(await read_body(store, entry.version))
                self.known.append(Known(bucket, entry.key, entry.version, entry.is_latest, digest))

    def _note_places(self) -> None:
        """Where what is alive lies: values by their bytes, records by the index."""
        environment = Environment.open(
            str(self.path / ENVIRONMENT_DIRECTORY), map_bytes=SETTINGS.map_bytes, read_only=True
        )
        try:
            with environment.read() as txn:
                for table in Table:
                    self._values += [
                        (table.name, bytes(value))
                        for _, value in txn.cursor(table)
                        if len(value) > 8
                    ]
                for segment_id in all_segments(txn):
                    name = segment_path(segment_id)
                    self._live_ranges.append((name, 0, SEGMENT_HEADER_BYTES - 16, "header"))
                for key, value in txn.cursor(Table.BLOBS):
                    for extent in BLOB_CODEC.open(key, value).extents:
                        end = extent.offset + RECORD_HEADER_BYTES + extent.payload_bytes
                        end += table_bytes(extent.payload_bytes)
                        name = segment_path(extent.segment_id)
                        self._live_ranges.append((name, extent.offset, end, "record"))
        finally:
            environment.close()
        for path in sorted((self.path / "segments").iterdir()):
            self._segment_sizes[f"segments/{path.name}"] = path.stat().st_size
        self._data_file = (self.path / DATA_FILE).read_bytes()

    def choose(self, source: random.Random) -> Flip:
        """One bit: of a value, of something alive in a segment, or anywhere in one."""
        kind = source.randrange(4)
        if kind < 2:
            table, value = source.choice(self._values)
            at, bit = source.randrange(len(value)), source.randrange(8)
            places = _find_all(self._data_file, value)
            return Flip(DATA_FILE, [p + at for p in places], bit, f"value in {table}", is_live=True)
        if kind == 2:
            path, start, end, where = source.choice(self._live_ranges)
            offset = source.randrange(start, end)
            return Flip(path, [offset], source.randrange(8), where, is_live=True)
        path = source.choice(sorted(self._segment_sizes))
        offset = source.randrange(self._segment_sizes[path])
        live = any(
            name == path and start <= offset < end for name, start, end, _ in self._live_ranges
        )
        return Flip(path, [offset], source.randrange(8), "anywhere", is_live=live)


class _Reading:
    """Reads everything in a copy with a flipped bit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.refused = 0
        self.opened = True
        self.problems: list[str] = []

    async def run(self, path: Path, flip: Flip) -> None:
        """All reads, then `check`."""
        try:
            async with open_local(str(path), settings=SETTINGS, threads=InlineThreads()) as node:
                for known in self._store.known:
                    await self._read(node, known)
                await self._list(node)
                report = check(node.engine.environment, FileDisk(str(path)), read_data=True)
                if flip.is_live and report.is_clean:
                    self.problems.append("check finds nothing")
                if self.refused and not node.events.events:
                    self.problems.append("a read was refused and nobody was told")
        except* (DataCorrupt, FormatError):
            self.opened = False

    async def _read(self, node: LocalNode, known: Known) -> None:
        version = known.version
        try:
            if known.digest is None:
                return
            found = await node.store.get_version(known.bucket, known.key, version.version_id)
            if found != version:
                self.problems.append(f"{found} in the place of {version}")
            if known.is_latest:
                found = await node.store.get_version(known.bucket, known.key, None)
                if found != version:
                    self.problems.append(f"{found} is current in the place of {version}")
            store = SealedStore(node.engine, SystemRandom())
            small = store.read_small(found)
            if small is not None and s.digest_of(small) != known.digest:
                self.problems.append(f"wrong bytes of {known.key!r} from read_small")
            if s.digest_of(await read_body(store, found)) != known.digest:
                self.problems.append(f"wrong bytes of {known.key!r}")
        except (DataCorrupt, FormatError):
            self.refused += 1
        except Rs3gwError as error:
            self.problems.append(f"{known.bucket}/{known.key!r}: {error!r}")

    async def _list(self, node: LocalNode) -> None:
        for bucket in BUCKETS:
            try:
                page = await node.store.list_versions(bucket)
                found = [(entry.key, entry.version, entry.is_latest) for entry in page.entries]
                wanted = [
                    (known.key, known.version, known.is_latest)
                    for known in self._store.known
                    if known.bucket == bucket
                ]
                if found != wanted:
                    self.problems.append(f"the versions of {bucket} are listed otherwise")
            except (DataCorrupt, FormatError):
                self.refused += 1
            except NoSuchBucket as error:
                self.problems.append(f"{bucket}: {error!r}")


async def _run(plan: Plan, directory: Path) -> Report:
    store = Store(directory / "sound")
    await store.build(plan.seed)
    source = random.Random(plan.seed)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for _ in range(plan.flips):
        flip = store.choose(source)
        copy = Path(tempfile.mkdtemp(dir=directory)) / "data"
        shutil.copytree(store.path, copy)
        _turn_over(copy, flip)
        reading = _Reading(store)
        await reading.run(copy, flip)
        counts["flips"] += 1
        counts["live"] += flip.is_live
        counts["refused"] += reading.refused
        counts["not_opened"] += not reading.opened
        problems += [f"{flip}: {problem}" for problem in reading.problems]
        shutil.rmtree(copy.parent)
        if len(problems) >= VIOLATIONS_MAX:
            break
    return Report(
        flips=counts["flips"],
        live=counts["live"],
        refused=counts["refused"],
        not_opened=counts["not_opened"],
        violations=problems,
    )


def _turn_over(root: Path, flip: Flip) -> None:
    with (root / flip.path).open("r+b") as file:
        for offset in flip.offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << flip.bit]))


def _find_all(data: bytes, value: bytes) -> list[int]:
    """Every place of a value: old pages of LMDB hold it as well, and do no harm."""
    places = []
    at = data.find(value)
    while at >= 0:
        places.append(at)
        at = data.find(value, at + 1)
    return places


def run(plan: Plan) -> Report:
    """Carries a plan out."""
    shrink_parts()
    with scratch_directory() as name:
        return trio.run(partial(_run, plan, Path(name)))


def run_and_show(plan: Plan) -> Report:
    """`run`, and the report printed with the command that repeats it."""
    start = time.monotonic()
    report = run(plan)
    print(
        f"bitflip: {report.flips} flips ({report.live} of something alive), {report.refused} reads "
        f"refused, {report.not_opened} stores not opened, {time.monotonic() - start:.0f} s, "
        f"{len(report.violations)} violations"
    )
    for violation in report.violations[:VIOLATIONS_MAX]:
        print(f"  {violation[:2000]}")
    if report.violations:
        print(f"again: python3 -m chaos bitflip --seed {plan.seed} --flips {plan.flips}")
    return report
