"""The engine and the reference model do the same operations and must never differ.

Hypothesis chooses the operations, the keys and the moments of restarts and compactions, and makes
a failure small. Ids are compared by the names that the operations gave to what they made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from awkward import delimiters, keys, prefixes, starts
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pages import all_pages, bucket_pages, object_pages, part_pages, upload_pages, version_pages

from rs3gwd.base.commands import AnyCommand, CommandResult, Conditions
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.ports import StagedBlob
from rs3gwd.base.records import ChecksumAlgorithm, ChecksumType, Durability, Versioning
from rs3gwd.engine import multipart
from rs3gwd.engine.check import check
from rs3gwd.engine.events import EventKind
from rs3gwd.engine.system import FileDisk
from rs3gwd.testing import memory_multipart
from rs3gwd.testing import scenario as s
from rs3gwd.testing.memory_store import MemoryStore
from rs3gwd.testing.store_thread import StoreThread
from rs3gwd.testing.target import StoreTarget, read_body

LONG_RUN = os.environ.get("RS3GW_TEST_LONG") == "1"
EXAMPLES = 2000 if LONG_RUN else 120
STEPS = 60
FOLDERS_MAX = 6

SMALL_PART_BYTES_MIN = 10
"""In place of 5 MiB, so that the rule about small parts is met with bodies of a few bytes."""

buckets = st.sampled_from(
    ["alpha", "alpha", "alpha", "beta", "beta", "beta", "alpha", "beta", "gamma", "missing"]
)
bodies = st.builds(
    s.Body,
    st.integers(0, 5),
    st.sampled_from([0, 1, 9, 10, 11, 300, 16384, 16385, 65535, 65536, 65537, 150_000, 400_000]),
)
small_bodies = st.builds(s.Body, st.integers(0, 3), st.sampled_from([0, 1, 9, 10, 11, 70_000]))
tags = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("12")), max_size=2)
algorithms = st.one_of(st.none(), st.sampled_from(ChecksumAlgorithm))
places = st.integers(0, 200)
limits = st.sampled_from([0, 1, 2, 3, 7, 1000])
etags = st.one_of(
    st.just("*"), bodies.map(lambda body: body.etag), small_bodies.map(lambda body: body.etag)
)
conditions = st.one_of(
    st.just(Conditions()),
    st.just(Conditions()),
    st.builds(Conditions, if_match=etags),
    st.builds(Conditions, if_none_match=etags),
    st.builds(
        Conditions,
        if_match=st.one_of(st.none(), etags),
        if_none_match=st.one_of(st.none(), etags),
        if_match_last_modified_s=st.one_of(st.none(), st.integers(1000, 1005)),
        if_match_size=st.one_of(st.none(), st.sampled_from([0, 1, 10, 300])),
    ),
)


class _Announcing:
    """A store that says when a command enters its queue, so that the order is known."""

    def __init__(self, store: Any, order: list[int], number: int) -> None:
        self._store = store
        self._order = order
        self._number = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        self._order.append(self._number)
        result: CommandResult = await self._store.submit(command, staged)
        return result


class EngineAgainstModel(RuleBasedStateMachine):
    """The rules: every command, every read, restarts, compaction, batches."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        for module in (multipart, memory_multipart):
            self._patch.setattr(module, "PART_BYTES_MIN", SMALL_PART_BYTES_MIN)
        self._path = tempfile.mkdtemp(prefix="rs3gw-model-")
        self.thread = self.open_thread()
        self.engine = StoreTarget(self.thread.node.store)
        self.model = StoreTarget(MemoryStore())
        self.count = 0
        self.hot = b""
        self.versions: list[tuple[str, bytes, str]] = []
        self.uploads: list[s.Begin] = []
        self.sent: dict[str, dict[int, s.Body]] = {}

    def open_thread(self) -> Any:
        """What the operations are done upon, in a thread of its own."""
        return StoreThread(self._path)

    def teardown(self) -> None:
        try:
            self.list_everything()
            self.everything_is_the_same()
        finally:
            self.thread.close()
            self._patch.undo()
            shutil.rmtree(self._path)

    # What operations are made of.

    def stamp(self, step_ms: int = 137) -> dict[str, Any]:
        """A time, which every seventh operation goes back, and a nonce."""
        self.count += 1
        moment = 1_000_000 + step_ms * self.count - (3000 if self.count % 7 == 0 else 0)
        return {"time_ms": moment, "nonce": self.count.to_bytes(16, "big")}

    def new_name(self, prefix: str = "v") -> str:
        return f"{prefix}{self.count + 1}"

    def key_at(self, place: int, key: bytes) -> bytes:
        """The hot key of this run, a key that was written before, or the one given."""
        if place % 5 < 2:
            return self.hot
        if place % 5 == 2 and self.versions:
            return self.versions[place % len(self.versions)][1]
        return key

    def version_at(self, place: int, bucket: str, key: bytes) -> tuple[str, bytes, str | None]:
        """A version made before; some numbers stand for the null or an unknown one."""
        if place % 5 == 0 or not self.versions:
            return bucket, self.hot, ("null" if place % 2 else "never-made")
        return self.versions[place % len(self.versions)]

    def both(self, operation: s.AnyOperation) -> s.Outcome:
        """Does an operation on both and compares; gives the outcome."""
        expected: s.Outcome = self.thread.run(self.model.perform, operation)
        found = self.thread.run(self.engine.perform, operation)
        assert found == expected, f"after {operation}"
        self.note(operation, expected)
        return expected

    def note(self, operation: s.AnyOperation, outcome: s.Outcome) -> None:
        """Remembers what was made, for later operations to refer to."""
        if outcome.error is not None:
            return
        match operation:
            case s.Put() | s.Copy() | s.Complete() | s.Delete() if outcome.made:
                self.versions.append((operation.bucket, operation.key, outcome.made))
            case s.Begin():
                self.uploads.append(operation)
            case s.Part():
                self.sent.setdefault(operation.upload, {})[operation.number] = operation.body

    # Buckets.

    @initialize(durability=st.sampled_from(Durability), hot=keys)
    def start(self, durability: Durability, hot: bytes) -> None:
        """Begins with two buckets, one of them versioned, and a key that is met again and again."""
        self.hot = hot
        self.both(s.MakeBucket(bucket="alpha", **self.stamp()))
        self.both(s.MakeBucket(bucket="beta", durability=durability, **self.stamp()))
        self.both(s.SetVersioning(bucket="beta", versioning=Versioning.ENABLED, **self.stamp()))

    @rule(
        kind=st.integers(0, 9),
        bucket=buckets,
        versioning=st.sampled_from(Versioning),
        durability=st.sampled_from(Durability),
        tags=st.one_of(st.none(), tags),
    )
    def change_bucket(
        self,
        kind: int,
        bucket: str,
        versioning: Versioning,
        durability: Durability,
        tags: list[tuple[str, str]] | None,
    ) -> None:
        stamp = self.stamp()
        match kind:
            case 0 | 1:
                owner = "other" if kind else "owner"
                made = "gamma" if bucket == "missing" else bucket
                self.both(s.MakeBucket(bucket=made, owner_id=owner, **stamp))
            case 2:
                self.both(s.RemoveBucket(bucket=bucket, **stamp))
            case 3:
                self.both(s.TagBucket(bucket=bucket, tags=tags, **stamp))
            case 4:
                self.both(s.SetDurability(bucket=bucket, durability=durability, **stamp))
            case _:
                self.both(s.SetVersioning(bucket=bucket, versioning=versioning, **stamp))

    # Objects.

    @rule(
        bucket=buckets,
        key=keys,
        place=places,
        body=bodies,
        tags=tags,
        algorithm=algorithms,
        conditions=conditions,
    )
    def put(self, bucket: str, key: bytes, place: int, **fields: Any) -> None:
        name = self.new_name()
        key = self.key_at(place, key)
        self.both(s.Put(bucket=bucket, key=key, name=name, **fields, **self.stamp()))

    @rule(bucket=buckets, key=keys, body=bodies)
    def abandon(self, bucket: str, key: bytes, body: s.Body) -> None:
        self.both(s.AbandonedPut(bucket=bucket, key=key, body=body, **self.stamp()))

    @rule(bucket=buckets, key=keys, place=places, conditions=conditions)
    def copy(self, bucket: str, key: bytes, place: int, conditions: Conditions) -> None:
        source_bucket, source_key, version = self.version_at(place, bucket, key)
        self.both(
            s.Copy(
                bucket=bucket,
                key=self.key_at(place // 2, key),
                name=self.new_name(),
                source_bucket=source_bucket,
                source_key=source_key,
                source_version=version if place % 3 else None,
                conditions=conditions,
                **self.stamp(),
            )
        )

    @rule(bucket=buckets, key=keys, place=places, conditions=conditions)
    def delete(self, bucket: str, key: bytes, place: int, conditions: Conditions) -> None:
        self.both(self.make_delete(bucket, key, place, conditions))

    def make_delete(self, bucket: str, key: bytes, place: int, conditions: Conditions) -> s.Delete:
        known_bucket, known_key, version = self.version_at(place, bucket, key)
        if place % 3 == 0:
            version = None
        return s.Delete(
            bucket=known_bucket,
            key=known_key,
            name=self.new_name("d"),
            version=version,
            conditions=conditions,
            **self.stamp(),
        )

    @rule(bucket=buckets, key=keys, place=places, tags=tags)
    def tag(self, bucket: str, key: bytes, place: int, tags: list[tuple[str, str]]) -> None:
        bucket, key, version = self.version_at(place, bucket, key)
        version = version if place % 3 else None
        self.both(s.Tag(bucket=bucket, key=key, version=version, tags=tags, **self.stamp()))

    # Uploads.

    @rule(
        bucket=buckets,
        key=keys,
        algorithm=algorithms,
        checksum_type=st.one_of(st.none(), st.none(), st.sampled_from(ChecksumType)),
    )
    def begin(self, bucket: str, key: bytes, **fields: Any) -> None:
        name = self.new_name("u")
        self.both(s.Begin(bucket=bucket, key=key, name=name, **fields, **self.stamp()))

    @rule(
        bucket=st.sampled_from(["alpha", "beta"]),
        key=keys,
        place=places,
        parts=st.lists(small_bodies, min_size=1, max_size=4),
        algorithm=algorithms,
        with_checksums=st.booleans(),
        mistake=st.integers(0, 12),
        conditions=conditions,
    )
    def upload(
        self,
        bucket: str,
        key: bytes,
        place: int,
        parts: list[s.Body],
        algorithm: ChecksumAlgorithm | None,
        with_checksums: bool,
        mistake: int,
        conditions: Conditions,
    ) -> None:
        """A whole upload in one step, as most clients do it."""
        begun = s.Begin(
            bucket=bucket,
            key=self.key_at(place, key),
            name=self.new_name("u"),
            algorithm=algorithm if with_checksums else None,
            **self.stamp(),
        )
        if self.both(begun).error is None:
            for number, body in enumerate(parts, 1):
                self.send_part(begun, number, body, algorithm)
            self.finish_upload(begun, mistake, conditions)

    @precondition(lambda self: self.uploads)
    @rule(
        place=places,
        number=st.sampled_from([1, 1, 2, 2, 3, 9999, 10_000, 0, 10_001]),
        body=small_bodies,
        other=st.integers(0, 9),
    )
    def part(self, place: int, number: int, body: s.Body, other: int) -> None:
        begun = self.uploads[place % len(self.uploads)]
        algorithm = begun.algorithm
        if other == 0:
            algorithm = ChecksumAlgorithm.CRC32
        if other == 1:
            algorithm = None
        self.send_part(begun, number, body, algorithm, elsewhere=other == 2)

    def send_part(
        self,
        begun: s.Begin,
        number: int,
        body: s.Body,
        algorithm: ChecksumAlgorithm | None,
        *,
        elsewhere: bool = False,
    ) -> None:
        self.both(
            s.Part(
                bucket=begun.bucket,
                key=b"elsewhere" if elsewhere else begun.key,
                upload=begun.name,
                number=number,
                body=body,
                algorithm=algorithm,
                **self.stamp(),
            )
        )

    @precondition(lambda self: self.uploads)
    @rule(place=places, mistake=st.integers(0, 12), conditions=conditions)
    def complete(self, place: int, mistake: int, conditions: Conditions) -> None:
        self.finish_upload(self.uploads[place % len(self.uploads)], mistake, conditions)

    def finish_upload(self, begun: s.Begin, mistake: int, conditions: Conditions) -> None:
        claims = [s.PartClaim(n, b) for n, b in sorted(self.sent.get(begun.name, {}).items())]
        if mistake == 0:
            claims = claims[:-1]
        if mistake == 1:
            claims.reverse()
        if mistake == 2:
            claims.append(s.PartClaim(500, s.Body(0, 1)))
        if mistake == 3 and claims:
            claims[0] = s.PartClaim(claims[0].number, s.Body(99, 12))
        size = sum(claim.body.size_bytes for claim in claims)
        self.both(
            s.Complete(
                bucket=begun.bucket,
                key=begun.key,
                upload=begun.name,
                name=self.new_name(),
                parts=claims,
                algorithm=None if mistake == 4 else begun.algorithm,
                object_size=size + 1 if mistake == 5 else size,
                conditions=conditions if mistake < 8 else Conditions(),
                **self.stamp(),
            )
        )

    @precondition(lambda self: self.uploads)
    @rule(place=places)
    def abort(self, place: int) -> None:
        begun = self.uploads[place % len(self.uploads)]
        self.both(s.Abort(bucket=begun.bucket, key=begun.key, upload=begun.name, **self.stamp()))

    @rule(place=places, later_ms=st.sampled_from([0, 1, 500]), limit=st.sampled_from([1, 2, 100]))
    def forget(self, place: int, later_ms: int, limit: int) -> None:
        """Forgets what is older than some upload, exactly or nearly."""
        stamp = self.stamp()
        moment = stamp["time_ms"]
        if self.uploads:
            moment = self.uploads[place % len(self.uploads)].time_ms
        self.both(s.Forget(before_ms=moment + later_ms, limit=limit, **stamp))

    # Many at once: one group commit, refusals among them.

    @rule(
        writes=st.lists(
            st.tuples(buckets, keys, small_bodies, conditions, places), min_size=2, max_size=6
        )
    )
    def batch(self, writes: list[tuple[str, bytes, s.Body, Conditions, int]]) -> None:
        operations: list[s.AnyOperation] = []
        for bucket, key, body, condition, place in writes:
            if place % 4 == 0:
                operations.append(self.make_delete(bucket, key, place, condition))
            else:
                name = self.new_name()
                operations.append(
                    s.Put(
                        bucket=bucket,
                        key=self.key_at(place, key),
                        name=name,
                        body=body,
                        conditions=condition,
                        **self.stamp(),
                    )
                )
        order, found = self.thread.run(self.perform_at_once, operations)
        for number in order:
            expected = self.thread.run(self.model.perform, operations[number])
            assert found[number] == expected, f"in a batch, {operations[number]}"
            self.note(operations[number], expected)

    async def perform_at_once(
        self, operations: list[s.AnyOperation]
    ) -> tuple[list[int], dict[int, s.Outcome]]:
        order: list[int] = []
        found: dict[int, s.Outcome] = {}

        async def perform(number: int) -> None:
            announcing: Any = _Announcing(self.engine.store, order, number)
            found[number] = await self.engine.beside(announcing).perform(operations[number])

        async with trio.open_nursery() as nursery:
            for number in range(len(operations)):
                nursery.start_soon(perform, number)
        refused_early = [number for number in found if number not in order]
        return order + refused_early, found

    # Reads.

    @rule(bucket=buckets, key=keys, place=places, start=places, end=places)
    def get(self, bucket: str, key: bytes, place: int, start: int, end: int) -> None:
        bucket, key, version = self.version_at(place, bucket, key)
        version = version if place % 3 else None
        answers = [
            self.thread.run(
                self.read, target, bucket, key, version, min(start, end), max(start, end)
            )
            for target in (self.model, self.engine)
        ]
        assert answers[0] == answers[1]

    async def read(
        self, target: StoreTarget, bucket: str, key: bytes, name: str | None, start: int, end: int
    ) -> object:
        """A version, a range of its bytes (in 200ths of its size) and its manifest."""
        try:
            version = await target.store.get_version(bucket, key, target.id_of(name))
        except Rs3gwError as error:
            return target.describe(error)
        size = version.size_bytes
        piece = await read_body(target.store, version, size * start // 200, size * end // 200)
        manifest: object = None
        if version.manifest_id is not None:
            record = await target.store.get_manifest(version)
            manifest = (record.end_offsets, record.numbers, record.checksums)
        lookups = target.store.lookups_now()
        assert lookups is not None
        small = lookups.read_small(version)
        whole = await read_body(target.store, version)
        assert small in (None, whole)
        return target.view_version(version, is_latest=False, digest=None), piece, manifest

    @rule(bucket=buckets, prefix=prefixes(), delimiter=delimiters, after=starts, limit=limits)
    def list_objects(self, bucket: str, **where: Any) -> None:
        self.compare_pages(object_pages, bucket, where)

    @rule(
        bucket=buckets,
        prefix=prefixes(),
        delimiter=delimiters,
        after_key=starts,
        place=places,
        limit=limits,
    )
    def list_versions(self, bucket: str, place: int, **where: Any) -> None:
        if place % 3:
            known = self.version_at(place, bucket, where["after_key"])
            where["after_key"], where["after_name"] = known[1], known[2]
            bucket = known[0]
        self.compare_pages(version_pages, bucket, where)

    @rule(
        bucket=buckets,
        prefix=prefixes(),
        delimiter=delimiters,
        after_key=starts,
        place=places,
        limit=limits,
    )
    def list_uploads(self, bucket: str, place: int, **where: Any) -> None:
        if place % 3 and self.uploads:
            begun = self.uploads[place % len(self.uploads)]
            where["after_key"], where["after_name"] = begun.key, begun.name
            bucket = begun.bucket
        self.compare_pages(upload_pages, bucket, where)

    @precondition(lambda self: self.uploads)
    @rule(place=places, after=st.sampled_from([0, 1, 2, 9999, 10_000]), limit=limits)
    def list_parts(self, place: int, after: int, limit: int) -> None:
        begun = self.uploads[place % len(self.uploads)]
        where = {"key": begun.key, "upload": begun.name, "after": after, "limit": limit}
        self.compare_pages(part_pages, begun.bucket, where)

    @rule(
        owner=st.sampled_from(["owner", "other", ""]),
        prefix=st.sampled_from(["", "a", "b", "alpha", "z"]),
        after=st.sampled_from(["", "alpha", "b", "beta"]),
        limit=limits,
    )
    def list_buckets(self, owner: str, prefix: str, after: str, limit: int) -> None:
        self.compare_pages(bucket_pages, owner, {"prefix": prefix, "after": after, "limit": limit})

    @rule()
    def list_everything(self) -> None:
        """Every prefix that ends at a `/` of a key that is there, rolled up and not, in pages."""
        for bucket in ("alpha", "beta"):
            present = {key for name, key, _ in self.versions if name == bucket}
            folders = {
                key[: at + 1] for key in present for at, byte in enumerate(key) if byte == 47
            }
            chosen = sorted(folders, key=lambda folder: (len(folder), folder))[:FOLDERS_MAX]
            self.compare_pages(all_pages, bucket, {"prefixes": [b"", *chosen]})

    def compare_pages(self, function: Any, bucket: str, where: dict[str, Any]) -> None:
        expected = self.thread.run(function, self.model, bucket, where)
        found = self.thread.run(function, self.engine, bucket, where)
        assert found == expected, f"pages of {bucket} with {where}"

    # The engine's own life.

    @rule()
    def restart(self) -> None:
        """Closes and opens the engine; nothing may change."""
        self.thread.restart()
        self.engine = self.engine.beside(self.thread.node.store)
        self.everything_is_the_same()

    @rule(dead_ratio=st.sampled_from([0.01, 0.5]))
    def compact(self, dead_ratio: float) -> None:
        """Seals what is full, moves live bytes out of old segments, unlinks these."""
        engine = self.thread.node.engine

        async def work() -> None:
            await engine.tick()
            await engine.compact(dead_ratio=dead_ratio)
            await engine.tick()

        self.thread.run(work)

    @rule()
    def everything_is_the_same(self) -> None:
        """Every version with its bytes, every upload with its parts, and no event of damage."""
        names = self.thread.run(self.bucket_names)
        expected = self.thread.run(self.view, self.model, names)
        found = self.thread.run(self.view, self.engine, names)
        assert not s.differences(expected, found)
        events = self.thread.node.events.events
        assert [each for each in events if each.kind is not EventKind.SEGMENT_COMPACTED] == []
        assert self.thread.run(self.find_inconsistencies) == []

    async def find_inconsistencies(self) -> object:
        """What the engine's own check finds; the bytes were just read by `view`."""
        environment = self.thread.node.engine.environment
        return check(environment, FileDisk(self._path), read_data=False).findings

    async def bucket_names(self) -> list[str]:
        found = []
        for owner in ("owner", "other"):
            page = await self.model.store.list_buckets(owner_id=owner)
            found += [bucket.name for bucket in page.buckets]
        return found

    async def view(self, target: StoreTarget, names: list[str]) -> s.View:
        return await target.view(names)


EngineAgainstModel.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=not LONG_RUN,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestEngineAgainstModel = pytest.mark.timeout(3600 if LONG_RUN else 300)(EngineAgainstModel.TestCase)
"""The machine as pytest finds it."""
