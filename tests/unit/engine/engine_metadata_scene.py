"""A store in one uncommitted transaction, with short words for the commands of a test."""

from __future__ import annotations

import hashlib

from rs3gwd.base import commands
from rs3gwd.base.commands import (
    UNCONDITIONAL,
    AnyCommand,
    CompletePart,
    Conditions,
    DeleteResult,
)
from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.base.records import (
    Attributes,
    BlobRef,
    BucketRecord,
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    DefaultRetention,
    EncryptionRecord,
    LockMode,
    PartRecord,
    UploadRecord,
    Versioning,
    VersionRecord,
)
from rs3gwd.engine.apply import Applied, Applier
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import Table

OWNER = "a" * 64


class Scene:
    """Applies commands as one batch; the clock moves a second per command."""

    def __init__(self, txn: Transaction) -> None:
        self.txn = txn
        self.applier = Applier(txn)
        self.now_ms = 1_700_000_000_000
        self.count = 0
        self.freed: list[bytes] = []

    def apply(self, command: AnyCommand) -> Applied:
        """Applies a command and notes what it freed."""
        applied = self.applier.apply(command)
        self.freed = applied.freed
        return applied

    def rows(self) -> list[tuple[str, bytes, bytes]]:
        """Every row of every table, the counters included."""
        self.applier.finish()
        return [(table.name, *row) for table in Table for row in self.txn.cursor(table)]

    def tick(self) -> int:
        self.now_ms += 1000
        self.count += 1
        return self.now_ms

    def nonce(self) -> bytes:
        return hashlib.md5(b"nonce %d" % self.count).digest()

    def blob(self, size_bytes: int = 10) -> BlobRef:
        return BlobRef(hashlib.md5(b"blob %d" % self.count).digest(), size_bytes)

    def bucket(self, name: str = "bucket", versioning: Versioning | None = None) -> BucketRecord:
        result = self.apply(
            commands.CreateBucket(name=name, owner_id=OWNER, now_ms=self.tick(), region="r")
        ).result
        if versioning is not None:
            result = self.versioning(versioning, name)
        assert isinstance(result, BucketRecord)
        return result

    def lockable_bucket(self, name: str = "bucket") -> BucketRecord:
        """A bucket with Object Lock, a day of GOVERNANCE as its default, and a document."""
        self.apply(
            commands.CreateBucket(
                name=name, owner_id=OWNER, now_ms=self.tick(), region="r", object_lock=True
            )
        )
        self.apply(
            commands.PutBucketConfiguration(
                name=name, kind="cors", document=b"<x/>", now_ms=self.tick()
            )
        )
        command = commands.PutBucketLock(
            name=name, default_retention=DefaultRetention(LockMode.GOVERNANCE, days=1)
        )
        result = self.apply(command).result
        assert isinstance(result, BucketRecord)
        return result

    def versioning(self, versioning: Versioning, name: str = "bucket") -> BucketRecord:
        command = commands.PutBucketVersioning(name=name, versioning=versioning)
        result = self.apply(command).result
        assert isinstance(result, BucketRecord)
        return result

    def put(
        self,
        key: bytes = b"key",
        *,
        bucket: str = "bucket",
        etag: str = "e",
        conditions: Conditions = UNCONDITIONAL,
    ) -> VersionRecord:
        now_ms = self.tick()
        result = self.apply(
            commands.PutObject(
                bucket=bucket,
                key=key,
                now_ms=now_ms,
                nonce=self.nonce(),
                attributes=Attributes(owner_id=OWNER),
                etag=etag,
                size_bytes=10,
                blob=self.blob(),
                conditions=conditions,
            )
        ).result
        assert isinstance(result, VersionRecord)
        return result

    def delete(
        self,
        key: bytes = b"key",
        version_id: str | None = None,
        *,
        bucket: str = "bucket",
        conditions: Conditions = UNCONDITIONAL,
    ) -> DeleteResult:
        now_ms = self.tick()
        result = self.apply(
            commands.DeleteObject(
                bucket=bucket,
                key=key,
                version_id=version_id,
                now_ms=now_ms,
                nonce=self.nonce(),
                owner_id=OWNER,
                conditions=conditions,
            )
        ).result
        assert isinstance(result, DeleteResult)
        return result

    def upload(
        self,
        key: bytes = b"key",
        *,
        bucket: str = "bucket",
        algorithm: ChecksumAlgorithm | None = None,
        checksum_type: ChecksumType | None = None,
        encryption: EncryptionRecord | None = None,
    ) -> UploadRecord:
        now_ms = self.tick()
        result = self.apply(
            commands.CreateUpload(
                bucket=bucket,
                key=key,
                now_ms=now_ms,
                nonce=self.nonce(),
                attributes=Attributes(
                    owner_id=OWNER,
                    headers={"content-type": "text/plain"},
                    encryption=encryption,
                ),
                checksum_algorithm=algorithm,
                checksum_type=checksum_type,
            )
        ).result
        assert isinstance(result, UploadRecord)
        return result

    def part(
        self,
        upload: UploadRecord,
        number: int,
        *,
        key: bytes = b"key",
        bucket: str = "bucket",
        size_bytes: int = PART_BYTES_MIN,
        checksum: Checksum | None = None,
        salt: bytes = b"",
    ) -> PartRecord:
        """A part; with a salt its bytes are stored in as many more."""
        now_ms = self.tick()
        blob = self.blob(size_bytes + len(salt))
        result = self.apply(
            commands.PutPart(
                bucket=bucket,
                key=key,
                upload_id=upload.upload_id,
                number=number,
                now_ms=now_ms,
                etag=hashlib.md5(blob.blob_id).hexdigest(),
                size_bytes=size_bytes,
                blob=blob,
                checksum=checksum,
                salt=salt,
            )
        ).result
        assert isinstance(result, PartRecord)
        return result

    def complete(
        self,
        upload: UploadRecord,
        parts: list[PartRecord],
        *,
        key: bytes = b"key",
        bucket: str = "bucket",
        conditions: Conditions = UNCONDITIONAL,
    ) -> VersionRecord:
        now_ms = self.tick()
        result = self.apply(
            commands.CompleteUpload(
                bucket=bucket,
                key=key,
                upload_id=upload.upload_id,
                parts=[
                    CompletePart(part.number, part.etag, part.checksum and part.checksum.value)
                    for part in parts
                ],
                now_ms=now_ms,
                nonce=self.nonce(),
                conditions=conditions,
            )
        ).result
        assert isinstance(result, VersionRecord)
        return result
