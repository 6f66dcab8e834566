"""Operations of a client as values: what the model tests and the chaos programs do to a store.

An operation names what it makes (`name`) and refers to what was made before by that name, so that
the same operations run against stores that choose other version and upload ids: the model, the
engine, a node over HTTP (`rs3gwd.testing.target`). What it is not: it is not a command; one
operation may be several calls, as a copy is.

Operations are frozen, and encode to JSON, so that a recorded run can be replayed. A body is its
seed and its size: the same pair is the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache

from msgspec import Struct

from rs3gwd.base.commands import UNCONDITIONAL, Conditions
from rs3gwd.base.records import ChecksumAlgorithm, ChecksumType, Durability, Versioning

BODY_CACHE_COUNT = 256


class Body(Struct, frozen=True):
    """Bytes by their seed and their number."""

    seed: int
    size_bytes: int

    @property
    def data(self) -> bytes:
        """The bytes."""
        return body_bytes(self.seed, self.size_bytes)

    @property
    def etag(self) -> str:
        """Their MD5 in hex."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=BODY_CACHE_COUNT)
def body_bytes(seed: int, size_bytes: int) -> bytes:
    """The bytes of a body; the same arguments always give the same."""
    return random.Random(seed).randbytes(size_bytes)


class Operation(Struct, frozen=True, tag=True, kw_only=True):
    """The base of all; `time_ms` and `nonce` (16 bytes) go into commands."""

    time_ms: int
    nonce: bytes


class MakeBucket(Operation, frozen=True):
    """CreateBucket."""

    bucket: str
    owner_id: str = "owner"
    durability: Durability = Durability.STRICT


class RemoveBucket(Operation, frozen=True):
    """DeleteBucket."""

    bucket: str


class SetVersioning(Operation, frozen=True):
    """PutBucketVersioning."""

    bucket: str
    versioning: Versioning


class SetDurability(Operation, frozen=True):
    """Changes the durability class of a bucket."""

    bucket: str
    durability: Durability


class TagBucket(Operation, frozen=True):
    """PutBucketTagging, or DeleteBucketTagging with None."""

    bucket: str
    tags: list[tuple[str, str]] | None


class Put(Operation, frozen=True):
    """PutObject; the version made is called `name`."""

    bucket: str
    key: bytes
    name: str
    body: Body
    tags: list[tuple[str, str]] = []
    metadata: dict[str, str] = {}
    algorithm: ChecksumAlgorithm | None = None
    conditions: Conditions = UNCONDITIONAL


class AbandonedPut(Operation, frozen=True):
    """A PUT whose client goes away when all bytes were sent: it leaves nothing."""

    bucket: str
    key: bytes
    body: Body


class Copy(Operation, frozen=True):
    """CopyObject of the current version of `source_key`, or of the one named."""

    bucket: str
    key: bytes
    name: str
    source_bucket: str
    source_key: bytes
    source_version: str | None = None
    conditions: Conditions = UNCONDITIONAL


class Delete(Operation, frozen=True):
    """DeleteObject; a delete marker made is called `name`."""

    bucket: str
    key: bytes
    name: str
    version: str | None = None
    conditions: Conditions = UNCONDITIONAL


class Tag(Operation, frozen=True):
    """PutObjectTagging."""

    bucket: str
    key: bytes
    tags: list[tuple[str, str]]
    version: str | None = None


class Begin(Operation, frozen=True):
    """CreateMultipartUpload; the upload is called `name`."""

    bucket: str
    key: bytes
    name: str
    algorithm: ChecksumAlgorithm | None = None
    checksum_type: ChecksumType | None = None


class Part(Operation, frozen=True):
    """UploadPart."""

    bucket: str
    key: bytes
    upload: str
    number: int
    body: Body
    algorithm: ChecksumAlgorithm | None = None


class PartClaim(Struct, frozen=True):
    """A part as the client believes that it sent it."""

    number: int
    body: Body


class Complete(Operation, frozen=True):
    """CompleteMultipartUpload; with `algorithm` it gives the checksum of every part."""

    bucket: str
    key: bytes
    upload: str
    name: str
    parts: list[PartClaim]
    algorithm: ChecksumAlgorithm | None = None
    object_size: int | None = None
    conditions: Conditions = UNCONDITIONAL


class Abort(Operation, frozen=True):
    """AbortMultipartUpload."""

    bucket: str
    key: bytes
    upload: str


class Forget(Operation, frozen=True):
    """The sweep of old uploads."""

    before_ms: int
    limit: int = 100


AnyOperation = (
    MakeBucket
    | RemoveBucket
    | SetVersioning
    | SetDurability
    | TagBucket
    | Put
    | AbandonedPut
    | Copy
    | Delete
    | Tag
    | Begin
    | Part
    | Complete
    | Abort
    | Forget
)


class Outcome(Struct, frozen=True):
    """What came of an operation, in words that two stores share.

    `error` is the name of the error's class (its `condition` or marker behind it). `made` is the
    canonical name of the version, marker or upload that was made or removed.
    """

    error: str | None = None
    made: str | None = None
    delete_marker: bool = False
    count: int | None = None
    detail: VersionView | PartView | None = None


class PartView(Struct, frozen=True):
    """A part as a client sees it."""

    number: int
    size_bytes: int
    etag: str
    checksum: str | None
    last_modified_ms: int | None


class VersionView(Struct, frozen=True):
    """A version as a client sees it; `digest` is the BLAKE2b of the bytes that were read.

    What a target cannot see is None.
    """

    name: str
    delete_marker: bool
    is_latest: bool
    size_bytes: int
    etag: str
    tags: list[tuple[str, str]]
    metadata: dict[str, str]
    checksum: tuple[str, str, str] | None = None
    part_count: int | None = None
    last_modified_ms: int | None = None
    digest: str | None = None


class UploadView(Struct, frozen=True):
    """An unfinished upload and its parts as a client sees them."""

    name: str
    parts: list[PartView]


class View(Struct, frozen=True):
    """All that is below a prefix of some buckets: by bucket and key (in Latin-1)."""

    versions: dict[str, dict[str, list[VersionView]]]
    uploads: dict[str, dict[str, list[UploadView]]]


def digest_of(data: bytes) -> str:
    """The short BLAKE2b by which bodies are compared."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def differences(expected: View, found: View) -> list[str]:
    """What is other than expected, one line for each bucket and key; empty when nothing is."""
    lines = []
    for title, wanted, got in (
        ("versions", expected.versions, found.versions),
        ("uploads", expected.uploads, found.uploads),
    ):
        for bucket in sorted(wanted.keys() | got.keys()):
            wanted_keys, got_keys = wanted.get(bucket, {}), got.get(bucket, {})
            for key in sorted(wanted_keys.keys() | got_keys.keys()):
                if wanted_keys.get(key) != got_keys.get(key):
                    lines.append(
                        f"{title} of {bucket}/{key!r}: expected {wanted_keys.get(key)}, "
                        f"found {got_keys.get(key)}"
                    )
    return lines
