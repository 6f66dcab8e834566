"""Seeded clients whose every expectation is known: the load of all chaos programs.

A lane is one client with keys of its own below a prefix. It has one operation under way at most,
and a model of what must be there (the reference model, with its keys only). So after a crash the
truth about a lane is one of two views: that of all its acknowledged operations, or that with the
one operation under way on top. Anything else is a violation, whatever the other lanes did.

What it is not: it performs nothing itself; targets do. The operations follow from the seed alone,
since what a lane does next depends on its model and its randomness.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rs3gwd.base.commands import Conditions
from rs3gwd.base.records import Durability, Versioning
from rs3gwd.testing import scenario as s
from rs3gwd.testing.memory_store import MemoryStore
from rs3gwd.testing.target import StoreTarget

PLAIN, VERSIONED, SUSPENDED, RELAXED = "plain", "versioned", "suspended", "relaxed"
BUCKETS = (PLAIN, VERSIONED, SUSPENDED, RELAXED)

KEYS_PER_LANE = 7
"""Few keys, so that most operations meet something that is there."""

VERSIONS_MAX = 6
UPLOADS_MAX = 3


@dataclass(frozen=True)
class LaneOptions:
    """What the operations of a run are like. Sizes in bytes; weights by the name of the method.

    `body_sizes` are drawn uniformly; `part_bytes_min` is what the store asks of parts. S3 refuses
    a copy of an object onto itself that changes nothing, so over HTTP there are no `self_copies`.
    """

    body_sizes: Sequence[int] = (0, 1, 700, 5_000, 16_000, 17_000, 66_000, 150_000)
    part_bytes_min: int = 5 * 1024 * 1024
    big_part_chance: float = 0.0
    buckets: Sequence[str] = BUCKETS
    self_copies: bool = True


def setup_operations() -> list[s.AnyOperation]:
    """What makes the buckets, before any lane begins."""
    operations: list[s.AnyOperation] = []
    for number, bucket in enumerate(BUCKETS):
        durability = Durability.RELAXED if bucket == RELAXED else Durability.STRICT
        operations.append(
            s.MakeBucket(
                bucket=bucket, durability=durability, time_ms=number, nonce=bytes([number] * 16)
            )
        )
    for bucket, state in ((VERSIONED, Versioning.ENABLED), (SUSPENDED, Versioning.SUSPENDED)):
        operations.append(
            s.SetVersioning(bucket=bucket, versioning=state, time_ms=10, nonce=bytes(16))
        )
    return operations


@dataclass
class _Upload:
    begun: s.Begin
    sent: dict[int, s.Body] = field(default_factory=dict)


class Lane:
    """One client. `number` gives the prefix of its keys; `done` counts its acknowledged steps."""

    def __init__(self, seed: int, number: int, options: LaneOptions) -> None:
        self.number = number
        self.prefix = f"lane{number}/".encode()
        self._memory = MemoryStore()
        self.model = StoreTarget(self._memory)
        self.pending: s.AnyOperation | None = None
        self.done = 0
        self._options = options
        self._random = random.Random(f"{seed}/{number}")
        self._keys = [self.prefix + _key_tail(index) for index in range(KEYS_PER_LANE)]
        self._uploads: dict[str, _Upload] = {}
        self._made = 0

    async def prepare(self) -> None:
        """Makes the buckets in the model."""
        for operation in setup_operations():
            outcome = await self.model.perform(operation)
            assert outcome.error is None, outcome.error

    def begin(self) -> s.AnyOperation:
        """Chooses the next operation; it is under way until `acknowledge` or `settle`."""
        assert self.pending is None, "a lane does one thing at a time"
        self._made += 1
        self.pending = self._choose()
        return self.pending

    async def acknowledge(self) -> s.Outcome:
        """The operation under way has been answered; gives what the model says of it."""
        assert self.pending is not None, "nothing is under way"
        operation, self.pending = self.pending, None
        outcome = await self.model.perform(operation)
        self.done += 1
        self._remember(operation, outcome)
        return outcome

    async def views(self) -> list[s.View]:
        """What may be there now: without and, if one is under way, with the last operation."""
        views = [await self.view(self.model)]
        if self.pending is not None:
            ahead = copy.deepcopy(self.model)
            await ahead.perform(self.pending)
            views.append(await self.view(ahead))
        return views

    async def settle(self, *, happened: bool) -> None:
        """After a crash it was found out whether the operation under way took place."""
        if self.pending is None:
            return
        if happened:
            await self.acknowledge()
        self.pending = None

    async def view(self, target: StoreTarget) -> s.View:
        """What a target shows of this lane."""
        return await target.view(self._options.buckets, prefix=self.prefix)

    # Choosing.

    def _choose(self) -> s.AnyOperation:
        crowded = self._crowded()
        if crowded is not None:
            return crowded
        kinds: list[tuple[int, Callable[[], s.AnyOperation]]] = [
            (30, self._put),
            (6, self._conditional_put),
            (8, self._copy),
            (14, self._delete),
            (6, self._tag),
            (8, self._begin_upload),
            (14 if self._uploads else 0, self._part),
            (8 if self._uploads else 0, self._complete),
            (2 if self._uploads else 0, self._abort),
            (4, self._abandon),
        ]
        weights = [weight for weight, _ in kinds]
        return self._random.choices([make for _, make in kinds], weights)[0]()

    def _crowded(self) -> s.AnyOperation | None:
        """Deletes an old version where a key has many, so that views stay small."""
        for bucket in (VERSIONED, SUSPENDED):
            held = self._memory.state.buckets[bucket]
            for key in self._keys:
                versions = held.versions.get(key, [])
                if len(versions) > VERSIONS_MAX:
                    name = self.model.name_of(self._random.choice(versions).version_id)
                    return s.Delete(
                        bucket=bucket, key=key, version=name, name=self._name("d"), **self._stamp()
                    )
        return None

    def _stamp(self) -> dict[str, Any]:
        return {
            "time_ms": 1_700_000_000_000 + self._made * 1000,
            "nonce": self._random.randbytes(16),
        }

    def _name(self, letter: str) -> str:
        return f"{letter}{self.number}.{self._made}"

    def _bucket(self) -> str:
        return self._random.choice(self._options.buckets)

    def _key(self) -> bytes:
        return self._random.choice(self._keys)

    def _body(self) -> s.Body:
        return s.Body(
            self._random.randrange(1 << 30), self._random.choice(self._options.body_sizes)
        )

    def _tags(self) -> list[tuple[str, str]]:
        return [("t", str(self._random.randrange(100)))] if self._random.random() < 0.3 else []

    def _put(self, conditions: Conditions | None = None, bucket: str | None = None) -> s.Put:
        return s.Put(
            bucket=bucket or self._bucket(),
            key=self._key(),
            name=self._name("v"),
            body=self._body(),
            tags=self._tags(),
            metadata={"step": str(self._made)},
            conditions=conditions or Conditions(),
            **self._stamp(),
        )

    def _conditional_put(self) -> s.Put:
        """Half of these meet what they ask for."""
        put = self._put()
        current = self._memory.state.buckets[put.bucket].current(put.key)
        if current is None or self._random.random() < 0.3:
            conditions = Conditions(if_none_match="*")
        else:
            conditions = Conditions(if_match=self._random.choice([current.etag, "0" * 32]))
        return msgspec.structs.replace(put, conditions=conditions)

    def _copy(self) -> s.Copy:
        source_bucket, source_key = self._bucket(), self._key()
        bucket, key = self._bucket(), self._key()
        if not self._options.self_copies and (bucket, key) == (source_bucket, source_key):
            key = self._keys[self._keys.index(key) - 1]
        return s.Copy(
            bucket=bucket,
            key=key,
            name=self._name("v"),
            source_bucket=source_bucket,
            source_key=source_key,
            **self._stamp(),
        )

    def _version_of(self, bucket: str, key: bytes) -> str | None:
        versions = self._memory.state.buckets[bucket].versions.get(key, [])
        if not versions or self._random.random() < 0.5:
            return None
        return self.model.name_of(self._random.choice(versions).version_id)

    def _delete(self) -> s.Delete:
        bucket, key = self._bucket(), self._key()
        return s.Delete(
            bucket=bucket,
            key=key,
            name=self._name("d"),
            version=self._version_of(bucket, key),
            **self._stamp(),
        )

    def _tag(self) -> s.Tag:
        bucket, key = self._bucket(), self._key()
        return s.Tag(
            bucket=bucket,
            key=key,
            tags=[("u", str(self._random.randrange(100)))],
            version=self._version_of(bucket, key),
            **self._stamp(),
        )

    def _begin_upload(self) -> s.AnyOperation:
        if len(self._uploads) >= UPLOADS_MAX:
            return self._abort()
        return s.Begin(
            bucket=self._bucket(), key=self._key(), name=self._name("u"), **self._stamp()
        )

    def _some_upload(self) -> _Upload:
        return self._uploads[self._random.choice(sorted(self._uploads))]

    def _part(self) -> s.Part:
        upload = self._some_upload()
        body = self._body()
        number = self._random.randint(1, 4)
        if self._random.random() < self._options.big_part_chance:
            number, body = 1, s.Body(body.seed, self._options.part_bytes_min)
        return s.Part(
            bucket=upload.begun.bucket,
            key=upload.begun.key,
            upload=upload.begun.name,
            number=number,
            body=body,
            **self._stamp(),
        )

    def _complete(self) -> s.Complete:
        """Names the parts that are large enough to stand before others, and one behind them."""
        upload = self._some_upload()
        claims: list[s.PartClaim] = []
        for number, body in sorted(upload.sent.items()):
            claims.append(s.PartClaim(number, body))
            if body.size_bytes < self._options.part_bytes_min:
                break
        return s.Complete(
            bucket=upload.begun.bucket,
            key=upload.begun.key,
            upload=upload.begun.name,
            name=self._name("v"),
            parts=claims or [s.PartClaim(1, s.Body(0, 1))],
            **self._stamp(),
        )

    def _abort(self) -> s.Abort:
        begun = self._some_upload().begun
        return s.Abort(bucket=begun.bucket, key=begun.key, upload=begun.name, **self._stamp())

    def _abandon(self) -> s.AbandonedPut:
        return s.AbandonedPut(
            bucket=self._bucket(), key=self._key(), body=self._body(), **self._stamp()
        )

    def _remember(self, operation: s.AnyOperation, outcome: s.Outcome) -> None:
        if outcome.error is not None:
            return
        match operation:
            case s.Begin():
                self._uploads[operation.name] = _Upload(operation)
            case s.Part():
                self._uploads[operation.upload].sent[operation.number] = operation.body
            case s.Complete() | s.Abort():
                del self._uploads[operation.upload]


def names_by_nonce(operations: Sequence[s.AnyOperation]) -> dict[bytes, str]:
    """What operations made or would have made: an id of the engine begins with the nonce."""
    return {
        operation.nonce: operation.name
        for operation in operations
        if isinstance(operation, s.Put | s.Copy | s.Delete | s.Begin | s.Complete)
    }


def _key_tail(index: int) -> bytes:
    """Keys of several shapes: nested, awkward, and longer than a chunk of the engine's index."""
    tails = (b"a", b"a/b", b"a//b", b"..", b"long" * 150, b"long" * 150 + b"/x", b"nul\x00\xc3\xbf")
    return tails[index % len(tails)]
