"""Commands: every change of metadata, as a value.

A command says all that the change needs. Times, random bytes and blob ids are chosen by whoever
proposes it, so that `rs3gwd.engine.apply` is a deterministic function of (state, command) and the
same command has the same effect on every replica. Conditions are part of the command and are
decided inside the apply: compare-and-swap is atomic by construction.

On one node the group commit applies commands directly; in a cluster the same commands pass through
Raft first. On the wire and in a log a command is msgpack, tagged with its class name
(`rs3gwd.base.codec`); fields are only ever appended, with a default.

`nonce` is 16 random bytes; the apply makes the version id or upload id from it and from the
sequence number it assigns. `bucket` is a name; the command is refused with NoSuchBucket when no
such bucket exists at the moment of the apply.
"""

from msgspec import Struct

from rs3gwd.base.cluster_nodes import NodeRecord
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.kms_keys import KmsKeyRecord
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccessKeyStatus,
    AccountRecord,
    Attributes,
    BlobRef,
    BucketRecord,
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    DefaultRetention,
    Durability,
    Grant,
    PartRecord,
    Retention,
    UploadRecord,
    Versioning,
    VersionRecord,
)


class Conditions(Struct, array_like=True, frozen=True):
    """The preconditions of a write, as S3 has them; all None means unconditional.

    `if_match` is an ETag without quotes or `*`: the current version must exist (else NoSuchKey)
    and match (else PreconditionFailed). `if_none_match` is `*` or an ETag: no current version may
    match it (else PreconditionFailed). A delete marker counts as no current version.
    `if_match_last_modified_s` and `if_match_size` are DeleteObject's, seconds since 1970 and bytes;
    both hold where there is no current version.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    if_match_last_modified_s: int | None = None
    if_match_size: int | None = None


UNCONDITIONAL = Conditions()


class Command(Struct, tag=True, array_like=True, frozen=True):
    """The base of all commands; the tag on the wire is the class name."""


class CreateBucket(Command, frozen=True):
    """Makes a bucket -> BucketRecord.

    Idempotent for its owner, as in us-east-1: the record that exists is given back. With
    `object_lock` versioning is enabled from the start. `configurations` are its first documents, by
    kind. Raises BucketAlreadyExists when another account owns it.
    """

    name: str
    owner_id: str
    now_ms: int
    region: str
    durability: Durability = Durability.STRICT
    tags: list[tuple[str, str]] | None = None
    object_lock: bool = False
    configurations: dict[str, bytes] = {}


class DeleteBucket(Command, frozen=True):
    """Removes an empty bucket -> None. Raises NoSuchBucket, BucketNotEmpty.

    Unfinished uploads keep a bucket from being empty no more than in AWS: they are aborted.
    """

    name: str


class PutBucketVersioning(Command, frozen=True):
    """Sets ENABLED or SUSPENDED -> BucketRecord.

    Raises InvalidBucketState (Object Lock needs versioning).
    """

    name: str
    versioning: Versioning


class PutBucketTagging(Command, frozen=True):
    """Sets the tag set, or removes it with None -> BucketRecord."""

    name: str
    tags: list[tuple[str, str]] | None


class PutBucketDurability(Command, frozen=True):
    """Sets the durability class of later writes -> BucketRecord."""

    name: str
    durability: Durability


class PutBucketConfiguration(Command, frozen=True):
    """Sets a document of a bucket, or removes it with None -> BucketRecord.

    `kind` is 1 to 200 characters of ASCII without 00. Removing what is not there is no error.
    """

    name: str
    kind: str
    document: bytes | None
    now_ms: int


class PutBucketLock(Command, frozen=True):
    """Lets versions of a bucket be locked, and sets the retention of new ones -> BucketRecord.

    Raises InvalidBucketState unless versioning is enabled.
    """

    name: str
    default_retention: DefaultRetention | None


class PutObject(Command, frozen=True):
    """Writes a version of an object -> VersionRecord.

    Unversioned or suspended: takes the place of the null version. A bucket's default retention is
    given to a version that brings none. Raises NoSuchBucket, NoSuchKey (if_match on a missing key),
    PreconditionFailed, InvalidRequest (a lock in a bucket that has none).
    """

    bucket: str
    key: bytes
    now_ms: int
    nonce: bytes
    attributes: Attributes
    etag: str
    size_bytes: int
    blob: BlobRef | None
    checksum: Checksum | None = None
    conditions: Conditions = UNCONDITIONAL


class DeleteObject(Command, frozen=True):
    """Deletes as S3 does -> DeleteResult; a missing key or version is no error.

    Without `version_id`: unversioned removes the object, enabled adds a delete marker, suspended
    puts a null delete marker in the place of the null version. With it: removes just that version,
    unless a lock protects it at `now_ms`; `bypass_governance` passes a retention of that mode.
    Raises NoSuchBucket, PreconditionFailed, NoSuchKey (if_match on a missing key), ObjectLocked.
    """

    bucket: str
    key: bytes
    version_id: str | None
    now_ms: int
    nonce: bytes
    owner_id: str
    conditions: Conditions = UNCONDITIONAL
    bypass_governance: bool = False


class PutObjectTagging(Command, frozen=True):
    """Sets the tags of a version (empty list: removes them) -> VersionRecord.

    Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker).
    """

    bucket: str
    key: bytes
    version_id: str | None
    tags: list[tuple[str, str]]


class PutObjectAcl(Command, frozen=True):
    """Sets the access control list of a version -> VersionRecord. Raises as PutObjectTagging."""

    bucket: str
    key: bytes
    version_id: str | None
    acl: list[Grant]


class PutObjectRetention(Command, frozen=True):
    """Sets the retention of a version, or removes it with None -> VersionRecord.

    A later time in the same mode is always taken. Everything else weakens the protection: for
    GOVERNANCE it needs `bypass_governance`, for COMPLIANCE it is refused while it lasts. Raises as
    PutObjectTagging, and ObjectLocked, InvalidRequest (the bucket has no Object Lock).
    """

    bucket: str
    key: bytes
    version_id: str | None
    retention: Retention | None
    now_ms: int
    bypass_governance: bool = False


class PutObjectLegalHold(Command, frozen=True):
    """Sets or lifts the legal hold of a version -> VersionRecord.

    Raises as PutObjectTagging, and InvalidRequest (the bucket has no Object Lock).
    """

    bucket: str
    key: bytes
    version_id: str | None
    legal_hold: bool


class PutObjectDataKey(Command, frozen=True):
    """Puts the data key of an encrypted version under another key -> VersionRecord.

    `wrapped_key` takes the place of `expected`, which the version must still have. Its bytes and
    date stay. Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker),
    StaleCommand (it has another data key, or none).
    """

    bucket: str
    key: bytes
    version_id: str | None
    expected: bytes
    wrapped_key: bytes


class CreateUpload(Command, frozen=True):
    """Starts a multipart upload -> UploadRecord.

    Raises InvalidRequest (a checksum type that does not fit; a lock in a bucket that has none).
    """

    bucket: str
    key: bytes
    now_ms: int
    nonce: bytes
    attributes: Attributes
    checksum_algorithm: ChecksumAlgorithm | None = None
    checksum_type: ChecksumType | None = None


class PutPart(Command, frozen=True):
    """Stores a part, in place of an earlier one of that number -> PartRecord.

    `salt` is 16 bytes where what is stored is encrypted. Raises NoSuchUpload, and InvalidRequest
    when the checksum algorithm is not the upload's.
    """

    bucket: str
    key: bytes
    upload_id: str
    number: int
    now_ms: int
    etag: str
    size_bytes: int
    blob: BlobRef | None
    checksum: Checksum | None = None
    salt: bytes = b""


class CompletePart(Struct, array_like=True, frozen=True):
    """A part as CompleteMultipartUpload names it; `etag` without quotes, `checksum` base64."""

    number: int
    etag: str
    checksum: str | None = None


class CompleteUpload(Command, frozen=True):
    """Makes an object of the parts, without copying their bytes -> VersionRecord.

    Repeating it with the same parts after it succeeded gives the same answer. `checksum` is the
    whole object's value the caller expects, `object_size` its size (x-amz-mp-object-size). Raises
    NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest, InvalidRequest,
    PreconditionFailed, NoSuchKey.
    """

    bucket: str
    key: bytes
    upload_id: str
    parts: list[CompletePart]
    now_ms: int
    nonce: bytes
    checksum: Checksum | None = None
    object_size: int | None = None
    conditions: Conditions = UNCONDITIONAL


class AbortUpload(Command, frozen=True):
    """Drops an upload and its parts -> None. Raises NoSuchUpload."""

    bucket: str
    key: bytes
    upload_id: str


class ForgetUploads(Command, frozen=True):
    """Drops uploads begun, and results of Complete kept, before a time -> count dropped (int).

    `limit` bounds the work of one command, as does the number of parts that it frees; the caller
    repeats it until the count is 0.
    """

    before_ms: int
    limit: int = 100


class PutAccount(Command, frozen=True):
    """Makes an account -> AccountRecord. Raises AccountAlreadyExists (id or email taken)."""

    account: AccountRecord


class DeleteAccount(Command, frozen=True):
    """Removes an account and its keys -> None.

    Raises NoSuchAccount, and BucketNotEmpty while it owns buckets.
    """

    canonical_id: str


class PutAccessKey(Command, frozen=True):
    """Adds a key to an account, or to a user of it -> AccessKeyRecord.

    Raises NoSuchAccount, NoSuchIdentity (the user), AccountAlreadyExists.
    """

    access_key: AccessKeyRecord


class SetAccessKeyStatus(Command, frozen=True):
    """Activates or deactivates a key -> AccessKeyRecord. Raises NoSuchAccount."""

    access_key_id: str
    status: AccessKeyStatus


class DeleteAccessKey(Command, frozen=True):
    """Removes a key -> None. Raises NoSuchAccount."""

    access_key_id: str


class SealAccessKey(Command, frozen=True):
    """Puts the wrapped secret of a key in the place of the one it has -> AccessKeyRecord.

    `expected` is how it is wrapped so far, empty for not at all; otherwise nothing changes. Raises
    NoSuchAccount.
    """

    access_key_id: str
    sealed: bytes
    expected: bytes = b""


class KeyUse(Struct, array_like=True, frozen=True):
    """When a key was last used, and for what."""

    access_key_id: str
    used_ms: int
    service: str
    region: str


class NoteKeyUses(Command, frozen=True):
    """Notes when keys were used, where that is later than what is known -> None.

    Keys that are gone are passed over. The proposer bounds their number.
    """

    uses: list[KeyUse]


class PutIdentity(Command, frozen=True):
    """Makes a user, group or role, or changes it -> IdentityRecord, with its new revision.

    `expected_revision` is the one that the change was made from, 0 for a new identity. Raises
    NoSuchAccount, IdentityAlreadyExists, NoSuchIdentity (also for a group, policy or boundary that
    it names), IdentityChanged.
    """

    identity: IdentityRecord
    expected_revision: int


class RenameIdentity(Command, frozen=True):
    """Gives a user or group another name and path -> IdentityRecord, with its new revision.

    Keys and memberships go along. `expected_revision` as in PutIdentity. Raises NoSuchIdentity,
    IdentityAlreadyExists, IdentityChanged.
    """

    canonical_id: str
    kind: IdentityKind
    name: str
    new_name: str
    new_path: str
    expected_revision: int


class DeleteIdentity(Command, frozen=True):
    """Removes a user, group or role -> None.

    Raises NoSuchIdentity, and IdentityInUse while it has policies, groups, keys or members.
    """

    canonical_id: str
    kind: IdentityKind
    name: str


class PutManagedPolicy(Command, frozen=True):
    """Makes a managed policy, or changes it -> PolicyRecord; as PutIdentity."""

    policy: PolicyRecord
    expected_revision: int


class DeleteManagedPolicy(Command, frozen=True):
    """Removes a managed policy -> None.

    Raises NoSuchIdentity, and IdentityInUse while somebody has it or it has several versions.
    """

    canonical_id: str
    name: str


class PutKmsKey(Command, frozen=True):
    """Makes a key of the key management, or changes it -> KmsKeyRecord.

    `expected_revision` is that of the record the change was made from, 0 for a new key. Raises
    KmsKeyAlreadyExists (id or name), NoSuchKmsKey, KmsKeyChanged, InvalidRequest (a version is
    missing, too many keys or versions).
    """

    kms_key: KmsKeyRecord
    expected_revision: int


class PutNode(Command, frozen=True):
    """In the system group: notes a node of the cluster, or what is new of it -> None.

    An empty token or address leaves what was known. Raises InvalidRequest: the node is leaving or
    was removed, another disk has its number, a field is out of bounds.
    """

    node: NodeRecord


class PutLayout(Command, frozen=True):
    """In the system group: the history of the layout after its change number `revision` -> None.

    `history` is bytes of `cluster.layout.codec`, made from the history of the change before, 1 for
    the first. Raises StaleCommand (another change came first), InvalidRequest (the size).
    """

    revision: int
    history: bytes


class PutAuthority(Command, frozen=True):
    """In the system group: the ledger of the cluster's authority after its change number `revision`
    -> None.

    `ledger` is bytes of `cluster.authority.ledger`, made from the ledger of the change before, 1
    for the first. Raises StaleCommand (another change came first), InvalidRequest (the size).
    """

    revision: int
    ledger: bytes


class AdoptBucket(Command, frozen=True):
    """In an index group: the bucket as the system group has it -> None.

    `revision` is the bucket's there (`BeginDeleteBucket` tells of revisions), `as_of` the newest
    one of the system group that whoever sends this had seen. An older revision of a bucket that is
    known changes nothing; a newer one takes a seal away. Raises StaleCommand: the group does not
    know the bucket and has forgotten buckets since `as_of`, so it may be one of them; look again.
    """

    bucket: BucketRecord
    revision: int
    as_of: int


class SealBucket(Command, frozen=True):
    """In an index group: no write to the bucket from here on, for it is to be deleted -> None.

    As AdoptBucket, with the revision of BeginDeleteBucket. Raises BucketNotEmpty while the group
    has a version or delete marker of the bucket, StaleCommand (a newer revision is known).
    """

    bucket: BucketRecord
    revision: int
    as_of: int


class DropBucket(Command, frozen=True):
    """In an index group: forgets a bucket that the system group has no more -> None.

    Its uploads go with it. `as_of` is the revision of FinishDeleteBucket, or a later one. Another
    bucket of this name is left alone. Raises BucketNotEmpty (it was never sealed here).
    """

    name: str
    bucket_id: int
    as_of: int


class BeginDeleteBucket(Command, frozen=True):
    """In the system group: a deletion begins -> the bucket's new revision (int).

    A revision is a number that rises with each change of any bucket. Until the deletion ends, the
    bucket cannot be changed. Repeating it with the same token changes nothing. Raises NoSuchBucket,
    OperationAborted (another deletion of it is going on).
    """

    name: str
    token: bytes


class FinishDeleteBucket(Command, frozen=True):
    """In the system group: every index group has sealed the bucket; it is gone -> revision (int).

    Raises NoSuchBucket, OperationAborted (not the deletion that is going on).
    """

    name: str
    token: bytes


class CancelDeleteBucket(Command, frozen=True):
    """In the system group: the bucket stays -> its new revision (int), which takes seals away.

    Raises NoSuchBucket, OperationAborted (not the deletion that is going on).
    """

    name: str
    token: bytes


class DeleteResult(Struct, array_like=True, frozen=True):
    """What DeleteObject did.

    `version_id` is the version removed or the delete marker made (None in an unversioned bucket);
    `delete_marker` is True when a marker was made or the version removed was one.
    """

    version_id: str | None
    delete_marker: bool


AnyCommand = (
    CreateBucket
    | DeleteBucket
    | PutBucketVersioning
    | PutBucketTagging
    | PutBucketDurability
    | PutBucketConfiguration
    | PutBucketLock
    | PutObject
    | DeleteObject
    | PutObjectTagging
    | PutObjectAcl
    | PutObjectRetention
    | PutObjectLegalHold
    | CreateUpload
    | PutPart
    | CompleteUpload
    | AbortUpload
    | ForgetUploads
    | PutAccount
    | DeleteAccount
    | PutAccessKey
    | SetAccessKeyStatus
    | DeleteAccessKey
    | SealAccessKey
    | NoteKeyUses
    | PutIdentity
    | RenameIdentity
    | DeleteIdentity
    | PutManagedPolicy
    | DeleteManagedPolicy
    | PutKmsKey
    | PutObjectDataKey
    | PutNode
    | PutLayout
    | PutAuthority
    | AdoptBucket
    | SealBucket
    | DropBucket
    | BeginDeleteBucket
    | FinishDeleteBucket
    | CancelDeleteBucket
)

CommandResult = (
    None
    | int
    | BucketRecord
    | VersionRecord
    | DeleteResult
    | UploadRecord
    | PartRecord
    | AccountRecord
    | AccessKeyRecord
    | IdentityRecord
    | PolicyRecord
    | KmsKeyRecord
)
