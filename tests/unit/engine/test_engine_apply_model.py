"""The apply and the queries against the naive model, by random commands.

Hypothesis gives a seed and a number of steps; the steps are drawn by weight from the seed, since
histories must grow deep before the interesting moves happen. Every run is one write transaction
that is never committed, so thousands of steps are cheap. After each command that is refused the
rows are compared byte by byte with those before it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_metadata_model import ModelBucket, ModelUpload, passes
from hypothesis import given, settings
from hypothesis import strategies as st

from rs3gwd.base import commands
from rs3gwd.base.commands import AnyCommand, CommandResult, CompletePart, Conditions, DeleteResult
from rs3gwd.base.errors import StoreError
from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.base.ports import ListEntry
from rs3gwd.base.records import (
    Attributes,
    BlobRef,
    BucketRecord,
    PartRecord,
    UploadRecord,
    Versioning,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine import listings, queries
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.ownership import owned_blobs
from rs3gwd.engine.tables import Table
from rs3gwd.engine.verify import verify_metadata

LONG = b"L" * 500
KEYS = [
    b"a",
    b"a/",
    b"a/b",
    b"a/b/c",
    b"a\0",
    b"a\0\x01",
    b"a\xff",
    b"\xff\xff",
    LONG,
    LONG + b"/",
    LONG + b"/x",
    LONG + b"\xff" * 524,
    LONG[:492],
]
PREFIXES = [b"", b"a", b"a/", b"a/b", b"a\0", LONG, LONG + b"/", b"\xff", b"zz"]
DELIMITERS = [b"", b"/", b"b/", b"\0"]

HOT_KEYS = [b"a/b", LONG + b"/x"]
"""Most commands go to few keys, so that histories grow."""

BUCKETS = ["bucket-a", "bucket-b"]
PAGES_MAX = 500
ETAGS = ["0" * 32, "1" * 32]


class Run:
    """Applies random commands to the store and to the model and compares all that can be seen."""

    def __init__(self, txn: Transaction, seed: int) -> None:
        self.txn = txn
        self.random = random.Random(seed)
        self.version_ids: list[tuple[bytes, str]] = [(b"a", "null")]
        self.upload_ids: list[tuple[str, bytes, str]] = [("bucket-a", b"a", "0" * 32)]
        self.applier = Applier(self.txn)
        self.model: dict[str, ModelBucket] = {}
        self.owned: set[bytes] = set()
        self.blobs_of: dict[int, set[bytes]] = {}
        self.initiated_ms: dict[str, int] = {}
        self.clock_ms = 1000
        self.blob_count = 0
        self.seq_last = 0

    # -- the commands

    def begin(self) -> None:
        """A bucket in one of the three states of versioning."""
        self.apply(
            commands.CreateBucket(name="bucket-a", owner_id="owner-1", now_ms=1, region="here")
        )
        self.model["bucket-a"] = ModelBucket("owner-1")
        versioning = self.random.choice(list(Versioning))
        if versioning is not Versioning.UNVERSIONED:
            self.apply(commands.PutBucketVersioning(name="bucket-a", versioning=versioning))
            self.model["bucket-a"].versioning = versioning

    def create_bucket(self) -> None:
        name, owner = self.bucket(), self.random.choice(["owner-1", "owner-2"])
        result = self.apply(
            commands.CreateBucket(name=name, owner_id=owner, now_ms=self.clock_ms, region="here")
        )
        existing = self.model.get(name)
        if existing is None:
            self.model[name] = ModelBucket(owner)
            assert isinstance(result, BucketRecord)
        elif existing.owner_id == owner:
            assert result == queries.get_bucket(self.txn, name)
        else:
            assert result == "BucketAlreadyExists"

    def delete_bucket(self) -> None:
        name = self.random.choice(BUCKETS)
        result = self.apply(commands.DeleteBucket(name=name))
        if name not in self.model:
            assert result == "NoSuchBucket"
        elif self.model[name].versions:
            assert result == "BucketNotEmpty"
        else:
            for upload in self.model[name].uploads.values():
                self.owned -= {blob for _, _, blob in upload.parts.values()}
            del self.model[name]

    def set_versioning(self) -> None:
        name = self.bucket()
        versioning = self.random.choice([Versioning.ENABLED, Versioning.SUSPENDED])
        result = self.apply(commands.PutBucketVersioning(name=name, versioning=versioning))
        if name in self.model:
            self.model[name].versioning = versioning
        else:
            assert result == "NoSuchBucket"

    def put_object(self) -> None:
        name, key, wanted = self.bucket(), self.key(), self.conditions()
        blob = self.new_blob(10)
        result = self.apply(
            commands.PutObject(
                bucket=name,
                key=key,
                now_ms=self.tick(),
                nonce=self.nonce(),
                attributes=Attributes(owner_id="owner-1", headers={"content-type": "x"}),
                etag=self.random.choice(ETAGS),
                size_bytes=10,
                blob=blob,
                conditions=wanted,
            )
        )
        self.expect_written(name, key, wanted, result, {blob.blob_id})

    def delete_current(self) -> None:
        name, key, wanted = self.bucket(), self.key(), self.conditions()
        now_ms = self.tick()
        result = self.apply(
            commands.DeleteObject(
                bucket=name,
                key=key,
                version_id=None,
                now_ms=now_ms,
                nonce=self.nonce(),
                owner_id="owner-1",
                conditions=wanted,
            )
        )
        bucket = self.model.get(name)
        if bucket is None:
            assert result == "NoSuchBucket"
            return
        refused = passes(wanted, bucket.current(key))
        if refused is not None:
            assert result == refused
            return
        assert isinstance(result, DeleteResult)
        if bucket.versioning is Versioning.UNVERSIONED:
            assert result == DeleteResult(None, False)
            self.disown(bucket.remove(key, "null"))
            return
        assert result.delete_marker
        assert result.version_id is not None
        marker = VersionRecord(
            kind=VersionKind.DELETE_MARKER,
            version_id=result.version_id,
            seq=self.seq_last + 1,
            last_modified_ms=now_ms,
            size_bytes=0,
            etag="",
            attributes=Attributes(owner_id="owner-1"),
        )
        self.seq_last += 1
        self.disown(bucket.add(key, marker))
        self.version_ids.append((key, result.version_id))

    def delete_version(self) -> None:
        name, wanted = self.bucket(), self.conditions()
        key, version_id = self.version()
        if self.random.random() < 0.1:
            key = self.key()
        result = self.apply(
            commands.DeleteObject(
                bucket=name,
                key=key,
                version_id=version_id,
                now_ms=self.tick(),
                nonce=self.nonce(),
                owner_id="owner-1",
                conditions=wanted,
            )
        )
        bucket = self.model.get(name)
        if bucket is None:
            assert result == "NoSuchBucket"
            return
        found = bucket.find(key, version_id)
        is_marker = found is not None and found.kind is VersionKind.DELETE_MARKER
        refused = passes(wanted, None if is_marker else found)
        if refused is not None:
            assert result == refused
            return
        assert result == DeleteResult(version_id, is_marker)
        self.disown(bucket.remove(key, version_id))

    def put_tags(self) -> None:
        name, current = self.bucket(), self.random.random() < 0.5
        key, version_id = self.version()
        tags = [("tag", self.random.choice("xyz"))]
        result = self.apply(
            commands.PutObjectTagging(
                bucket=name, key=key, version_id=None if current else version_id, tags=tags
            )
        )
        bucket = self.model.get(name)
        if bucket is None:
            assert result == "NoSuchBucket"
            return
        target = bucket.current(key) if current else bucket.find(key, version_id)
        if target is None:
            assert result == ("NoSuchKey" if current else "NoSuchVersion")
        elif target.kind is VersionKind.DELETE_MARKER:
            assert result == "MethodNotAllowed"
        else:
            assert isinstance(result, VersionRecord)
            assert result.attributes.tags == tags
            versions = bucket.versions[key]
            versions[versions.index(target)] = result

    def create_upload(self) -> None:
        name, key = self.bucket(), self.key()
        result = self.apply(
            commands.CreateUpload(
                bucket=name,
                key=key,
                now_ms=self.tick(),
                nonce=self.nonce(),
                attributes=Attributes(owner_id="owner-1"),
            )
        )
        bucket = self.model.get(name)
        if bucket is None:
            assert result == "NoSuchBucket"
            return
        assert isinstance(result, UploadRecord)
        self.seq_last += 1
        assert result.seq == self.seq_last
        self.initiated_ms[result.upload_id] = result.initiated_ms
        bucket.uploads[result.upload_id] = ModelUpload(key, result.upload_id, result.seq)
        self.upload_ids.append((name, key, result.upload_id))

    def put_part(self) -> None:
        upload = self.upload()
        name, key, upload_id = upload
        number, wrong_key = self.random.randint(1, 4), self.random.random() < 0.05
        size = self.random.choice([0, 7, PART_BYTES_MIN, PART_BYTES_MIN])
        blob = self.new_blob(size)
        etag = hashlib.md5(blob.blob_id).hexdigest()
        result = self.apply(
            commands.PutPart(
                bucket=name,
                key=key + b"!" if wrong_key else key,
                upload_id=upload_id,
                number=number,
                now_ms=self.tick(),
                etag=etag,
                size_bytes=size,
                blob=blob,
            )
        )
        model = self.find_upload(upload, result, wrong_key)
        if model is None:
            return
        assert isinstance(result, PartRecord)
        if number in model.parts:
            self.owned.discard(model.parts[number][2])
        model.parts[number] = (etag, size, blob.blob_id)
        self.owned.add(blob.blob_id)

    def complete_upload(self) -> None:
        upload, wanted = self.upload(), self.conditions()
        name, key, upload_id = upload
        bucket = self.model.get(name)
        model = bucket.uploads.get(upload_id) if bucket else None
        parts = model.parts if model else {}
        numbers = self.random.sample([1, 2, 3, 4], self.random.randint(1, 4))
        if self.random.random() < 0.8:
            numbers = sorted(set(numbers) & set(parts)) or sorted(numbers)
        named = [CompletePart(number, parts.get(number, ("0" * 32,))[0]) for number in numbers]
        command = commands.CompleteUpload(
            bucket=name,
            key=key,
            upload_id=upload_id,
            parts=named,
            now_ms=self.tick(),
            nonce=self.nonce(),
            conditions=wanted,
        )
        result = self.apply(command)
        if self.find_upload(upload, result) is None:
            return
        assert model is not None
        assert bucket is not None
        refused = self.refusal_of_complete(numbers, parts)
        if refused is not None:
            assert result == refused
            return
        blobs = {parts[number][2] for number in numbers}
        self.expect_written(name, key, wanted, result, blobs)
        if isinstance(result, VersionRecord):
            assert result.size_bytes == sum(parts[number][1] for number in numbers)
            assert self.apply(command) == result, "a repeated Complete gives the same answer"
            self.owned -= {blob for _, _, blob in parts.values()} - blobs
            del bucket.uploads[upload_id]

    def abort_upload(self) -> None:
        upload = self.upload()
        name, key, upload_id = upload
        result = self.apply(commands.AbortUpload(bucket=name, key=key, upload_id=upload_id))
        model = self.find_upload(upload, result)
        if model is not None:
            assert result is None
            self.owned -= {blob for _, _, blob in model.parts.values()}
            del self.model[name].uploads[upload_id]

    def forget_uploads(self) -> None:
        before_ms = self.clock_ms - self.random.randint(0, 60)
        self.apply(commands.ForgetUploads(before_ms=before_ms))
        for bucket in self.model.values():
            for upload in list(bucket.uploads.values()):
                if self.initiated_ms[upload.upload_id] < before_ms:
                    self.owned -= {blob for _, _, blob in upload.parts.values()}
                    del bucket.uploads[upload.upload_id]

    def next_transaction(self) -> None:
        """What a batch leaves is what the next one finds."""
        self.applier.finish()
        self.applier = Applier(self.txn)

    # -- the questions

    def pages_of_objects(self) -> None:
        name, prefix, delimiter, limit = self.page()
        after = self.random.choice([b"", b"", self.key(), self.random.choice(PREFIXES)])
        if name not in self.model:
            return
        found: list[ListEntry] = []
        place: bytes | None = after
        for _ in range(PAGES_MAX):
            page = listings.list_objects(
                self.txn, name, prefix=prefix, delimiter=delimiter, after=place, limit=limit
            )
            found += page.entries
            assert page.next_after is None or len(page.entries) == limit
            place = page.next_after
            if place is None:
                break
        assert place is None
        expected = self.model[name].list_objects(prefix, delimiter, after)
        assert found == [
            ListEntry(key) if version is None else ListEntry.of(key, version)
            for key, version in expected
        ]

    def pages_of_versions(self) -> None:
        name, prefix, delimiter, limit = self.page()
        if name not in self.model:
            return
        found: list[tuple[bytes, VersionRecord | None, bool]] = []
        key, version_id = b"", None
        for _ in range(PAGES_MAX):
            page = listings.list_versions(
                self.txn,
                name,
                prefix=prefix,
                delimiter=delimiter,
                after_key=key,
                after_version_id=version_id,
                limit=limit,
            )
            found += [(entry.key, entry.version, entry.is_latest) for entry in page.entries]
            if page.next_key is None:
                break
            assert len(page.entries) == limit
            key, version_id = page.next_key, page.next_version_id
        assert page.next_key is None
        assert found == self.model[name].list_versions(prefix, delimiter)

    def pages_of_uploads(self) -> None:
        name, prefix, delimiter, limit = self.page()
        if name not in self.model:
            return
        found: list[tuple[bytes, str | None]] = []
        key, upload_id = b"", None
        for _ in range(PAGES_MAX):
            page = listings.list_uploads(
                self.txn,
                name,
                prefix=prefix,
                delimiter=delimiter,
                after_key=key,
                after_upload_id=upload_id,
                limit=limit,
            )
            found += [
                (one.key, one.upload.upload_id if one.upload else None) for one in page.entries
            ]
            if page.next_key is None:
                break
            assert len(page.entries) == limit
            key, upload_id = page.next_key, page.next_upload_id
        assert page.next_key is None
        assert found == self.model[name].list_uploads(prefix, delimiter)

    def look_up(self) -> None:
        name = self.bucket()
        if name not in self.model:
            return
        key, version_id = self.version()
        bucket = self.model[name]
        for wanted in (None, version_id, "null"):
            target = bucket.current(key) if wanted is None else bucket.find(key, wanted)
            try:
                found: VersionRecord | str = queries.get_version(self.txn, name, key, wanted)
            except StoreError as error:
                found = error.code
            if target is None:
                assert found == ("NoSuchKey" if wanted is None else "NoSuchVersion")
            elif target.kind is VersionKind.DELETE_MARKER:
                assert found == "MethodNotAllowed"
            else:
                assert found == target

    def check_rows(self) -> None:
        """Every row has its place, every invariant holds, every blob has one owner."""
        self.applier.finish()
        assert list(verify_metadata(self.txn)) == []
        named = [blob.blob_id for blob in owned_blobs(self.txn)]
        assert len(named) == len(set(named))
        assert set(named) == self.owned

    # -- what is drawn

    def bucket(self) -> str:
        """Mostly one, so that it fills."""
        return BUCKETS[self.random.random() < 0.1]

    def key(self) -> bytes:
        """Mostly one of few."""
        return self.random.choice(HOT_KEYS if self.random.random() < 0.6 else KEYS)

    def version(self) -> tuple[bytes, str]:
        """A key and a version id, mostly of a version that is there, often the newest of a key."""
        if self.random.random() < 0.2:
            return self.random.choice(self.version_ids)
        bucket = self.model.get("bucket-a")
        if not bucket or not bucket.versions:
            return self.key(), "null"
        key = self.random.choice(sorted(bucket.versions))
        versions = bucket.versions[key]
        chosen = versions[0] if self.random.random() < 0.5 else self.random.choice(versions)
        return key, chosen.version_id

    def upload(self) -> tuple[str, bytes, str]:
        """Mostly one that is young."""
        young = self.upload_ids[-3:]
        return self.random.choice(young if self.random.random() < 0.8 else self.upload_ids)

    def conditions(self) -> Conditions:
        """Mostly none."""
        if self.random.random() < 0.7:
            return Conditions()
        choices = [None, "*", *ETAGS]
        return Conditions(
            if_match=self.random.choice(choices), if_none_match=self.random.choice(choices)
        )

    def page(self) -> tuple[str, bytes, bytes, int]:
        """Bucket, prefix, delimiter and limit of a listing."""
        return (
            self.bucket(),
            self.random.choice(PREFIXES),
            self.random.choice(DELIMITERS),
            self.random.randint(1, 4),
        )

    # -- the machinery

    def apply(self, command: AnyCommand) -> CommandResult | str:
        """The result, or the code of the StoreError, which must have changed nothing."""
        self.applier.finish()
        before = self.rows()
        owned_before = self.named_blobs()
        try:
            applied = self.applier.apply(command)
        except StoreError as error:
            refused = error.code
        else:
            refused = ""
            assert sorted(applied.freed) == sorted(owned_before - self.named_blobs())
        if refused:
            self.applier.finish()
            assert self.rows() == before, f"{refused} has changed the state"
            return refused
        return applied.result

    def named_blobs(self) -> set[bytes]:
        """The blobs that the rows name."""
        return {blob.blob_id for blob in owned_blobs(self.txn)}

    def rows(self) -> list[tuple[Table, bytes, bytes]]:
        """Every row of every table."""
        return [(table, key, value) for table in Table for key, value in self.txn.cursor(table)]

    def expect_written(
        self,
        name: str,
        key: bytes,
        wanted: Conditions,
        result: CommandResult | str,
        blobs: set[bytes],
    ) -> None:
        """Checks the result of a write of a version and repeats it in the model."""
        bucket = self.model.get(name)
        if bucket is None:
            assert result == "NoSuchBucket"
            return
        refused = passes(wanted, bucket.current(key))
        if refused is not None:
            assert result == refused
            return
        assert isinstance(result, VersionRecord)
        self.seq_last += 1
        assert result.seq == self.seq_last
        assert (result.version_id == "null") == (bucket.versioning is not Versioning.ENABLED)
        self.blobs_of[result.seq] = blobs
        self.disown(bucket.add(key, result))
        self.owned |= blobs
        self.version_ids.append((key, result.version_id))

    def disown(self, version: VersionRecord | None) -> None:
        """The bytes of a version that is gone belong to nobody."""
        if version is not None:
            self.owned -= self.blobs_of.get(version.seq, set())

    def tick(self) -> int:
        """The wall clock of the proposer."""
        self.clock_ms += 1
        return self.clock_ms

    def nonce(self) -> bytes:
        """Sixteen bytes that no other command has."""
        return hashlib.md5(b"%d" % self.clock_ms).digest()

    def new_blob(self, size_bytes: int) -> BlobRef:
        """A blob that no record owns yet."""
        self.blob_count += 1
        return BlobRef(self.blob_count.to_bytes(16, "big"), size_bytes)

    def find_upload(
        self, upload: tuple[str, bytes, str], result: CommandResult | str, wrong_key: bool = False
    ) -> ModelUpload | None:
        """The upload in the model; where it is not, the result must say so."""
        name, _, upload_id = upload
        bucket = self.model.get(name)
        if bucket is None:
            assert result == "NoSuchBucket"
            return None
        found = bucket.uploads.get(upload_id)
        if found is None or wrong_key:
            assert result == "NoSuchUpload"
            return None
        return found

    def refusal_of_complete(
        self, numbers: list[int], parts: dict[int, tuple[str, int, bytes]]
    ) -> str | None:
        """The error that the named parts deserve."""
        if numbers != sorted(numbers):
            return "InvalidPartOrder"
        if not set(numbers) <= set(parts):
            return "InvalidPart"
        if any(parts[number][1] < PART_BYTES_MIN for number in numbers[:-1]):
            return "EntityTooSmall"
        return None


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    directory: Path = tmp_path_factory.mktemp("apply")
    opened = Environment.open(str(directory / "meta"))
    yield opened
    opened.close()


ACTIONS: list[tuple[int, Callable[[Run], None]]] = [
    (1, Run.create_bucket),
    (1, Run.delete_bucket),
    (2, Run.set_versioning),
    (14, Run.put_object),
    (8, Run.delete_current),
    (12, Run.delete_version),
    (4, Run.put_tags),
    (4, Run.create_upload),
    (14, Run.put_part),
    (8, Run.complete_upload),
    (1, Run.abort_upload),
    (1, Run.forget_uploads),
    (2, Run.next_transaction),
    (4, Run.pages_of_objects),
    (4, Run.pages_of_versions),
    (2, Run.pages_of_uploads),
    (4, Run.look_up),
]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 200))
def test_any_sequence_of_commands_agrees_with_the_model(
    env: Environment, seed: int, steps: int
) -> None:
    """Results, errors, listings, owners of blobs and invariants are those of the naive model."""
    weights = [weight for weight, _ in ACTIONS]
    txn = env.write()
    try:
        run = Run(txn, seed)
        run.begin()
        for _, action in run.random.choices(ACTIONS, weights, k=steps):
            action(run)
            run.check_rows()
    finally:
        txn.abort()
