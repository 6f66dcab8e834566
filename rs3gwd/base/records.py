"""The stored records: what the metadata says about accounts, buckets, objects and uploads.

A record is an `array_like` msgspec Struct, so the order of its fields is its wire format: fields
are only ever appended, with a default, and a record whose meaning changes gets a new version in
`rs3gwd.base.codec`. Keys are not repeated inside a record; the checksum of the stored value covers
the key (LMDB has no checksums of its own).

The metadata never says where bytes lie. It names a blob (16 bytes, immutable, one owner) and each
node keeps its own table from blob to segment extents, so that the same commands give the same
records on every replica.

Times are milliseconds since 1970-01-01 UTC. Object keys are bytes: UTF-8, 1 to 1,024 of them.
"""

from enum import IntEnum, StrEnum

from msgspec import Struct

NULL_VERSION_ID = "null"
"""The version id of an object written while versioning was off or suspended."""


class Durability(StrEnum):
    """What a 2xx on a write means for a bucket.

    STRICT: index and bytes are synced to stable storage (the default). RELAXED: the write outlives
    the death of the process and is synced within a second; a power cut in between may lose it,
    whole, never in part. EPHEMERAL: the bytes are never synced on purpose; a power
    cut may lose them.
    """

    STRICT = "strict"
    RELAXED = "relaxed"
    EPHEMERAL = "ephemeral"


class Versioning(StrEnum):
    """The versioning state of a bucket; once enabled it never returns to unversioned."""

    UNVERSIONED = "Unversioned"
    ENABLED = "Enabled"
    SUSPENDED = "Suspended"


class ChecksumAlgorithm(StrEnum):
    """The checksum algorithms of S3, by the names the API uses."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"


class ChecksumType(StrEnum):
    """Whether a multipart checksum covers the whole object or is a checksum of checksums."""

    COMPOSITE = "COMPOSITE"
    FULL_OBJECT = "FULL_OBJECT"


class AccessKeyStatus(StrEnum):
    """An inactive key is known but refused."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"


class VersionKind(IntEnum):
    """What a row of an object's history is."""

    OBJECT = 0
    DELETE_MARKER = 1


class Permission(StrEnum):
    """What an access control list can grant."""

    FULL_CONTROL = "FULL_CONTROL"
    READ = "READ"
    WRITE = "WRITE"
    READ_ACP = "READ_ACP"
    WRITE_ACP = "WRITE_ACP"


class GranteeKind(StrEnum):
    """Whether a grant names an account by its canonical id, or one of S3's groups by its URI."""

    ACCOUNT = "CanonicalUser"
    GROUP = "Group"


class LockMode(StrEnum):
    """GOVERNANCE can be bypassed by who has the permission for it, COMPLIANCE by nobody."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


class EncryptionKind(StrEnum):
    """Who holds the key of an encrypted object; the first two by the names that headers use.

    SSE_S3: this store. SSE_KMS: a named key of the key management. SSE_C: the caller, who brings
    it with every request.
    """

    SSE_S3 = "AES256"
    SSE_KMS = "aws:kms"
    SSE_C = "SSE-C"


class Grant(Struct, array_like=True, frozen=True):
    """One line of an access control list."""

    kind: GranteeKind
    grantee: str
    permission: Permission


class Retention(Struct, array_like=True, frozen=True):
    """Until when a version cannot be deleted."""

    mode: LockMode
    until_ms: int


class ObjectLock(Struct, array_like=True, frozen=True):
    """What protects a version: a time, a hold without end, or both.

    `legal_hold` is None where nobody ever set or lifted one.
    """

    retention: Retention | None = None
    legal_hold: bool | None = None


class DefaultRetention(Struct, array_like=True, frozen=True):
    """The retention that a bucket gives to new versions that bring none of their own."""

    mode: LockMode
    days: int | None = None
    years: int | None = None


class Checksum(Struct, array_like=True, frozen=True):
    """A checksum as S3 shows it: `value` is base64, for a composite one with `-<parts>` behind."""

    algorithm: ChecksumAlgorithm
    value: str
    type: ChecksumType = ChecksumType.FULL_OBJECT


class BlobRef(Struct, array_like=True, frozen=True):
    """Names immutable bytes: `blob_id` is 16 bytes, unique for ever; the size may be 0."""

    blob_id: bytes
    size_bytes: int


class EncryptionRecord(Struct, array_like=True, frozen=True):
    """How the bytes of an object are encrypted; the keys themselves are never in it.

    `cipher` names the algorithm and the format of the stored bytes, `wrapped_key` is the data key
    of the object, sealed by what `rs3gwd.transform` knows. For SSE_KMS `key_id` is the ARN of the
    key, `context` the encryption context that the caller gave (JSON), and `bucket_key` says that a
    key of the bucket stands between. For SSE_C `customer_key_md5` is base64, as callers give it.
    """

    kind: EncryptionKind
    cipher: str
    wrapped_key: bytes
    key_id: str = ""
    context: str = ""
    bucket_key: bool = False
    customer_key_md5: str = ""


class Attributes(Struct, array_like=True, frozen=True):
    """What a caller says of an object when writing it, apart from its bytes.

    `headers` holds system headers by lower-case name (content-type, content-encoding,
    content-language, content-disposition, cache-control, expires, x-amz-website-redirect-location);
    `metadata` the user metadata by lower-case name without x-amz-meta-. `acl` is None for the
    list that every object has at first: all rights for its owner. `lock` is None where nothing
    protects the version. `encryption` is None where the stored bytes are the object's own; else
    they are more than the object's and mean nothing to who has not the key.
    """

    owner_id: str
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: list[tuple[str, str]] = []
    storage_class: str = "STANDARD"
    acl: list[Grant] | None = None
    lock: ObjectLock | None = None
    encryption: EncryptionRecord | None = None


class VersionRecord(Struct, array_like=True, frozen=True):
    """One version of an object, or a delete marker.

    `seq` orders the versions of a key: a later write has a greater one. A single-part body is named
    by `blob`; a multipart one by `manifest_id`, with `part_count` > 0. Both are None for an empty
    body and for a delete marker. `etag` is without quotes. `size_bytes` is the size of the object;
    what is stored may be of another, which is that of its blobs.
    """

    kind: VersionKind
    version_id: str
    seq: int
    last_modified_ms: int
    size_bytes: int
    etag: str
    attributes: Attributes
    checksum: Checksum | None = None
    blob: BlobRef | None = None
    manifest_id: int | None = None
    part_count: int = 0


class ManifestRecord(Struct, array_like=True, frozen=True):
    """The parts of a multipart object as packed arrays, so that a range needs one bisection.

    For n parts: `end_offsets` is n big-endian u64 (exclusive end of each part in the object),
    `blob_ids` n times 16 bytes (zeros for an empty part), `numbers` n big-endian u16 (the part
    numbers the client chose), `checksums` one base64 value per part, or empty.
    `stored_end_offsets` is as `end_offsets`, of the stored bytes; empty where these are the
    object's own. `salts` is the salt of each part, n times 16 bytes, or empty.
    """

    end_offsets: bytes
    blob_ids: bytes
    numbers: bytes
    checksums: list[str] = []
    stored_end_offsets: bytes = b""
    salts: bytes = b""

    @property
    def blob_end_offsets(self) -> bytes:
        """The end of each part in the stored bytes, n big-endian u64."""
        return self.stored_end_offsets or self.end_offsets


class BucketRecord(Struct, array_like=True, frozen=True):
    """A bucket and its configuration; `bucket_id` is never used again, even for the same name.

    `tags` is None when the bucket has no tag set (S3 then answers NoSuchTagSet). `configurations`
    names the documents that the bucket has (`policy`, `cors`, ...) with a stamp each, a number that
    is never used twice: who keeps a document compares stamps to know whether it is still the one.
    `object_lock` says that versions may be locked, and is never taken back.
    """

    name: str
    bucket_id: int
    owner_id: str
    created_ms: int
    region: str
    versioning: Versioning = Versioning.UNVERSIONED
    durability: Durability = Durability.STRICT
    tags: list[tuple[str, str]] | None = None
    configurations: dict[str, int] = {}
    object_lock: bool = False
    default_retention: DefaultRetention | None = None


class ConfigurationRecord(Struct, array_like=True, frozen=True):
    """One document of a bucket's configuration, as the surface that owns its kind wrote it."""

    document: bytes
    stamp: int
    changed_ms: int


class UploadRecord(Struct, array_like=True, frozen=True):
    """A multipart upload. `completed` holds the result of Complete, kept for its retries."""

    upload_id: str
    seq: int
    initiated_ms: int
    attributes: Attributes
    checksum_algorithm: ChecksumAlgorithm | None = None
    checksum_type: ChecksumType | None = None
    completed: VersionRecord | None = None


class PartRecord(Struct, array_like=True, frozen=True):
    """One uploaded part; `blob` is None when it is empty; `etag` is 16 bytes in hex.

    `salt` is 16 bytes that make its encryption another than that of any other part of the upload,
    of the same number too; empty for a part that is stored as it is.
    """

    number: int
    size_bytes: int
    etag: str
    last_modified_ms: int
    blob: BlobRef | None = None
    checksum: Checksum | None = None
    salt: bytes = b""


class AccountRecord(Struct, array_like=True, frozen=True):
    """An account. `canonical_id` is 64 lower-case hex digits; `email` is unique or empty."""

    canonical_id: str
    display_name: str
    email: str
    created_ms: int
    is_root: bool = False


class AccessKeyRecord(Struct, array_like=True, frozen=True):
    """An access key of an account; the secret is needed whole, since SigV4 is symmetric.

    `user_name` is the user of the account whose key it is, empty for a key of the account itself.
    `sealed` is the secret wrapped by the keyring; then `secret` is empty. A record of a release
    before keyrings has it plain. `used_ms` is about when it was last used, 0 for never, for
    which service and region; it is told in batches and may be an hour late.
    """

    access_key_id: str
    secret: str
    canonical_id: str
    created_ms: int
    status: AccessKeyStatus = AccessKeyStatus.ACTIVE
    user_name: str = ""
    sealed: bytes = b""
    used_ms: int = 0
    used_service: str = ""
    used_region: str = ""
