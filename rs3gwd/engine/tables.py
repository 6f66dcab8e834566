"""The tables of the metadata store: their names, their keys and the records they hold.

What it is not: it opens nothing and reads nothing. `rs3gwd.engine.environment` opens the tables,
`rs3gwd.engine.tree` gives three of them keys of any length, and the apply and the queries say
what the rows mean. The byte tables are in FORMAT.md, section "Metadata".

A table is an LMDB sub-database. Every table holds one type of value (META one per row), each
sealed by `RecordCodec`: a version byte, msgpack and a CRC-32C that covers the key. In a tree the
checksum covers the root's id and the whole logical key, which for keys up to 500 bytes is exactly
the LMDB key.

Integers in keys are big-endian and unsigned, so that byte order is numeric order.
"""

from enum import IntEnum

from msgspec import Raw, Struct

from rs3gwd.base.cluster_nodes import NodeRecord
from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.kms_keys import KmsKeyRecord
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccountRecord,
    BucketRecord,
    ConfigurationRecord,
    ManifestRecord,
    PartRecord,
    UploadRecord,
    VersionRecord,
)

FORMAT_VERSION = 1
"""The layout of the tables as a whole; an environment of another version is refused."""


class ListedChecksum(Struct, array_like=True, frozen=True, gc=False):
    """What a listing shows of a `Checksum`."""

    algorithm: str
    value: Raw
    type: str


class ListedVersion(Struct, array_like=True, frozen=True, gc=False):
    """A `VersionRecord` as a listing reads it, in a third of the time: the beginning of the row,
    with the attributes, which most objects of a page have in common, not decoded."""

    kind: int
    version_id: Raw
    seq: int
    last_modified_ms: int
    size_bytes: int
    etag: str
    attributes: Raw
    checksum: ListedChecksum | None = None


class Table(IntEnum):
    """The sub-databases; the number is only an index in memory, on disk the name counts.

    Keys, `|` for concatenation:

    META            a short name
    BUCKETS         bucket name
    BUCKET_OWNERS   owner id | 00 | bucket name: the buckets of one owner in order
    LIVE            tree, root bucket id: object key (the current version, unless a marker)
    HISTORY         tree, root bucket id: escaped key | 00 01 | 2^64-1-seq (newest first)
    NULLS           tree, root bucket id: object key (seq of the null version in HISTORY)
    UPLOADS         tree, root bucket id: escaped key | 00 01 | seq (unfinished, oldest first)
    COMPLETED       bucket id | seq: finished uploads, kept for the retries of Complete
    UPLOAD_TIMES    milliseconds | seq: every row of the two above, by age
    PARTS           upload seq | part number (u16)
    MANIFESTS       manifest id
    ACCOUNTS        canonical id
    EMAILS          email in lower case
    ACCESS_KEYS     access key id
    ACCOUNT_KEYS    canonical id | 00 | access key id: the keys of one account in order
    BLOBS           blob id (16 bytes): where this node keeps the bytes
    SEGMENTS        segment id
    UNSYNCED        blob id: bytes that a power cut may still lose, and who owns them
    CONFIGURATIONS  bucket id | kind: the documents of a bucket's configuration
    IDENTITIES      canonical id | 00 | kind | 00 | name in lower case: users, groups, roles
    POLICIES        canonical id | 00 | name in lower case: managed policies
    GROUP_BUCKETS   group (u8) | bucket name: the buckets as a group of a cluster knows them
    SESSIONS        group (u8) | kind (u8) | ...: see `rs3gwd.engine.group_sessions`
    STAGED          blob id: bytes that this node keeps and no applied command names yet
    MISSING         blob id: bytes that this node should have and has not
    KMS_KEYS        key id: the keys of the key management, sealed
    KMS_NAMES       key name: the id of the key
    HINTS           node | kind | what: see `rs3gwd.engine.hints`
    NODES           node (u64): the nodes of the cluster, also those that were removed
    LAYOUT          one row: which nodes hold which bytes, see `rs3gwd.engine.cluster_layout`
    AUTHORITY       one row: roots and certificates, see `rs3gwd.engine.cluster_authority`
    """

    META = 0
    BUCKETS = 1
    BUCKET_OWNERS = 2
    LIVE = 3
    HISTORY = 4
    NULLS = 5
    UPLOADS = 6
    COMPLETED = 7
    UPLOAD_TIMES = 8
    PARTS = 9
    MANIFESTS = 10
    ACCOUNTS = 11
    EMAILS = 12
    ACCESS_KEYS = 13
    ACCOUNT_KEYS = 14
    BLOBS = 15
    SEGMENTS = 16
    UNSYNCED = 17
    CONFIGURATIONS = 18
    IDENTITIES = 19
    POLICIES = 20
    GROUP_BUCKETS = 21
    SESSIONS = 22
    STAGED = 23
    MISSING = 24
    KMS_KEYS = 25
    KMS_NAMES = 26
    HINTS = 27
    NODES = 28
    LAYOUT = 29
    AUTHORITY = 30

    @property
    def stored_name(self) -> bytes:
        """The name of the sub-database on disk."""
        return self.name.lower().encode("ascii")


class FormatRecord(Struct, array_like=True, frozen=True):
    """META row `format`: the version of the layout of the tables."""

    format_version: int


class CountersRecord(Struct, array_like=True, frozen=True):
    """META row `counters`: the last numbers given out; the next ones are greater by one.

    `seq` orders versions and uploads. `node_id` numbers buckets, tree nodes and manifests.
    """

    seq: int = 0
    node_id: int = 0


class IndexRecord(Struct, array_like=True, frozen=True):
    """The value of a row whose key says all (BUCKET_OWNERS, ACCOUNT_KEYS)."""


class SequenceRecord(Struct, array_like=True, frozen=True):
    """NULLS: the seq of a key's null version, which lies in HISTORY."""

    seq: int


class CompletedRecord(Struct, array_like=True, frozen=True):
    """COMPLETED: a finished upload, `upload.completed` is its result."""

    key: bytes
    upload: UploadRecord


class UploadPlaceRecord(Struct, array_like=True, frozen=True):
    """UPLOAD_TIMES: where the upload's row is."""

    bucket_id: int
    key: bytes
    completed: bool


class EmailRecord(Struct, array_like=True, frozen=True):
    """EMAILS: the account that has this address."""

    canonical_id: str


class KmsNameRecord(Struct, array_like=True, frozen=True):
    """KMS_NAMES: the key that has this name."""

    key_id: str


class GroupBucketRecord(Struct, array_like=True, frozen=True):
    """GROUP_BUCKETS: a bucket as a group of a cluster knows it.

    In an index group `bucket` is the record, and `is_sealed` says that it is being deleted. In the
    system group, whose record is in BUCKETS, `bucket` is None and `token` not empty while it is
    being deleted.
    """

    revision: int
    bucket: BucketRecord | None = None
    is_sealed: bool = False
    token: bytes = b""


META_FORMAT_KEY = b"format"
META_COUNTERS_KEY = b"counters"

FORMAT_CODEC = RecordCodec(FormatRecord, name="format")
COUNTERS_CODEC = RecordCodec(CountersRecord, name="counters")
BUCKET_CODEC = RecordCodec(BucketRecord, name="bucket")
INDEX_CODEC = RecordCodec(IndexRecord, name="index")
VERSION_CODEC = RecordCodec(VersionRecord, name="version")
LISTED_CODEC = RecordCodec(ListedVersion, name="version")
SEQUENCE_CODEC = RecordCodec(SequenceRecord, name="null version")
UPLOAD_CODEC = RecordCodec(UploadRecord, name="upload")
COMPLETED_CODEC = RecordCodec(CompletedRecord, name="completed upload")
UPLOAD_PLACE_CODEC = RecordCodec(UploadPlaceRecord, name="upload time")
PART_CODEC = RecordCodec(PartRecord, name="part")
MANIFEST_CODEC = RecordCodec(ManifestRecord, name="manifest")
ACCOUNT_CODEC = RecordCodec(AccountRecord, name="account")
EMAIL_CODEC = RecordCodec(EmailRecord, name="email")
ACCESS_KEY_CODEC = RecordCodec(AccessKeyRecord, name="access key")
CONFIGURATION_CODEC = RecordCodec(ConfigurationRecord, name="configuration")
IDENTITY_CODEC = RecordCodec(IdentityRecord, name="identity")
POLICY_CODEC = RecordCodec(PolicyRecord, name="managed policy")
KMS_KEY_CODEC = RecordCodec(KmsKeyRecord, name="key")
NODE_CODEC = RecordCodec(NodeRecord, name="node")
KMS_NAME_CODEC = RecordCodec(KmsNameRecord, name="key name")
GROUP_BUCKET_CODEC = RecordCodec(GroupBucketRecord, name="bucket of a group")

SEQ_MAX = (1 << 64) - 1


def u64(number: int) -> bytes:
    """A number from 0 to 2^64-1 as 8 big-endian bytes."""
    return number.to_bytes(8, "big")


def escape_key(key: bytes) -> bytes:
    """`key` and its end mark, so that rows of one key stand together and in byte order.

    00 becomes 00 FF and the end is 00 01: a key sorts before every longer key that it begins,
    since 00 01 is less than any byte other than 00, and less than 00 FF.
    """
    return key.replace(b"\0", b"\0\xff") + b"\0\x01"


def unescape_key(escaped: bytes) -> bytes:
    """The key whose escaped form, end mark included, is `escaped`."""
    return escaped[:-2].replace(b"\0\xff", b"\0")


def history_key(key: bytes, seq: int) -> bytes:
    """HISTORY: the logical key of a version."""
    return escape_key(key) + u64(SEQ_MAX - seq)


def upload_key(key: bytes, seq: int) -> bytes:
    """UPLOADS: the logical key of an upload."""
    return escape_key(key) + u64(seq)


def part_key(upload_seq: int, number: int) -> bytes:
    """PARTS: the key of a part; `number` is 1 to 10,000."""
    return upload_seq.to_bytes(8, "big") + number.to_bytes(2, "big")


def configuration_key(bucket_id: int, kind: str) -> bytes:
    """CONFIGURATIONS: the key of a document; `kind` is 1 to 200 characters of ASCII."""
    return u64(bucket_id) + kind.encode("ascii")


def owner_key(owner_id: str, name: str) -> bytes:
    """BUCKET_OWNERS and ACCOUNT_KEYS: the key that puts `name` under its owner."""
    return f"{owner_id}\0{name}".encode()


def identity_key(canonical_id: str, kind: IdentityKind, name: str) -> bytes:
    """IDENTITIES: the key of an identity, whatever the case of its name."""
    return f"{canonical_id}\0{kind}\0{name.lower()}".encode()
