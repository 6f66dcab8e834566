"""The error tree of rs3gwd.

    Rs3gwError
    |-- StoreError                 what a caller of the store asked for cannot be done
    |   |-- NoSuchBucket, NoSuchKey, NoSuchVersion, NoSuchUpload, NoSuchAccount
    |   |-- MethodNotAllowed       the version named is a delete marker
    |   |-- BucketAlreadyExists, BucketAlreadyOwnedByYou, BucketNotEmpty
    |   |-- AccountAlreadyExists, InvalidBucketState
    |   |-- NoSuchIdentity, IdentityAlreadyExists, IdentityInUse, IdentityChanged
    |   |-- NoSuchKmsKey, KmsKeyAlreadyExists, KmsKeyChanged
    |   |-- ObjectLocked           a retention or a legal hold protects the version
    |   |-- PreconditionFailed, ConditionalRequestConflict, VersionGone, BlobNotHere
    |   |-- OperationAborted, StaleCommand
    |   `-- InvalidPart, InvalidPartOrder, EntityTooSmall, InvalidRequest, BadDigest
    |-- DiskError                  the disk's fault
    |   |-- DiskFull               no room; deletes still work (retryable once space is freed)
    |   |-- DiskFailed             a sync failed once; this disk takes no more writes (permanent)
    |   `-- DataCorrupt            stored bytes do not match their checksum (permanent)
    |-- Overloaded                 a bound was reached; come back later (retryable)
    |-- CoreGone                   the committing process died; the outcome is unknown (retryable)
    |-- OutcomeUnknown             a cluster gave no answer; it may have been done (retryable)
    |-- KeyringRefused             the master key is missing, wrong or unfit (permanent)
    |-- KeyProviderUnavailable     whoever keeps the master key does not answer (retryable)
    |-- FormatError                stored bytes have a version or shape we do not know (permanent)
    `-- ApiError                   an S3 error code chosen at run time (iam, s3)

Each class has a stable `code` (the S3 error code where S3 has one), says whether a retry can
help, and whose fault it is. Errors are translated once, at the edge of a layer, with
`raise ... from`, so that `__cause__` is kept.
"""

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose fault an error is."""

    CALLER = "caller"
    PEER = "peer"
    DISK = "disk"
    BUG = "bug"


class Rs3gwError(Exception):
    """The root of every error that rs3gwd raises on purpose."""

    code: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False
    fault: ClassVar[Fault] = Fault.BUG


class StoreError(Rs3gwError):
    """The store refused what the caller asked; nothing was changed."""

    fault = Fault.CALLER


class NoSuchBucket(StoreError):
    """The bucket does not exist."""

    code = "NoSuchBucket"


class NoSuchKey(StoreError):
    """The key has no current version.

    `delete_marker_version_id` names the delete marker that hides the key, or is None when there
    is nothing at all; S3 answers both with 404 but adds `x-amz-delete-marker` to the first.
    """

    code = "NoSuchKey"

    def __init__(
        self,
        message: str = "",
        *,
        delete_marker_version_id: str | None = None,
        last_modified_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.delete_marker_version_id = delete_marker_version_id
        self.last_modified_ms = last_modified_ms


class NoSuchVersion(StoreError):
    """The key has no version with this id."""

    code = "NoSuchVersion"


class MethodNotAllowed(StoreError):
    """The version asked for by id is a delete marker, which has no bytes or tags (S3: 405)."""

    code = "MethodNotAllowed"

    def __init__(
        self,
        message: str = "",
        *,
        delete_marker_version_id: str,
        last_modified_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.delete_marker_version_id = delete_marker_version_id
        self.last_modified_ms = last_modified_ms


class NoSuchUpload(StoreError):
    """The multipart upload does not exist, was aborted, or belongs to another key."""

    code = "NoSuchUpload"


class NoSuchAccount(StoreError):
    """No account has this canonical id, or no account holds this access key."""

    code = "NoSuchAccount"


class AccountAlreadyExists(StoreError):
    """The canonical id, the email or the access key is taken."""

    code = "AccountAlreadyExists"


class NoSuchIdentity(StoreError):
    """The account has no such user, group, role or managed policy."""

    code = "NoSuchEntity"


class IdentityAlreadyExists(StoreError):
    """The account has a user, group, role or managed policy of this name."""

    code = "EntityAlreadyExists"


class IdentityInUse(StoreError):
    """Something hangs on what is to be removed: keys, members, policies, versions."""

    code = "DeleteConflict"


class IdentityChanged(StoreError):
    """Another request changed the identity or policy meanwhile; read it again and retry."""

    code = "ConcurrentModification"
    retryable = True


class NoSuchKmsKey(StoreError):
    """The key management has no key of this id or name."""

    code = "KMS.NotFoundException"


class KmsKeyAlreadyExists(StoreError):
    """The key management has a key of this name."""

    code = "InvalidRequest"


class KmsKeyChanged(StoreError):
    """Another request changed the key meanwhile; read it again and retry."""

    code = "OperationAborted"
    retryable = True


class BucketAlreadyExists(StoreError):
    """Another account owns a bucket of this name."""

    code = "BucketAlreadyExists"


class BucketAlreadyOwnedByYou(StoreError):
    """The caller already owns this bucket and it was created with other settings."""

    code = "BucketAlreadyOwnedByYou"


class BucketNotEmpty(StoreError):
    """The bucket still holds versions, delete markers or unfinished uploads."""

    code = "BucketNotEmpty"


class InvalidBucketState(StoreError):
    """The change does not go with the state of the bucket (Object Lock needs versioning)."""

    code = "InvalidBucketState"


class ObjectLocked(StoreError):
    """A retention or a legal hold protects the version (S3: 403 AccessDenied)."""

    code = "AccessDenied"


class PreconditionFailed(StoreError):
    """A condition of the request (If-Match and its kin) does not hold; `condition` names it."""

    code = "PreconditionFailed"

    def __init__(self, condition: str) -> None:
        super().__init__(
            f"At least one of the pre-conditions you specified did not hold: {condition}"
        )
        self.condition = condition


class ConditionalRequestConflict(StoreError):
    """Another operation raced with this conditional one (S3: 409); the caller may retry."""

    code = "ConditionalRequestConflict"
    retryable = True


class InvalidPart(StoreError):
    """A part named in CompleteMultipartUpload is missing or has another ETag or checksum.

    `number` and `etag` are the part as it was named; 0 and "" where the error is of no one part.
    """

    code = "InvalidPart"

    def __init__(self, message: str = "", *, number: int = 0, etag: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.etag = etag


class InvalidPartOrder(StoreError):
    """The parts named in CompleteMultipartUpload are not in ascending order."""

    code = "InvalidPartOrder"


class EntityTooSmall(StoreError):
    """A part but the last is smaller than 5 MiB; `number` and `size_bytes` are that part's."""

    code = "EntityTooSmall"

    def __init__(self, message: str = "", *, number: int = 0, size_bytes: int = 0) -> None:
        super().__init__(message)
        self.number = number
        self.size_bytes = size_bytes


class InvalidRequest(StoreError):
    """The request contradicts the state it meets (for instance another checksum type)."""

    code = "InvalidRequest"


class BadDigest(StoreError):
    """A checksum given by the caller does not match the stored bytes."""

    code = "BadDigest"


class DiskError(Rs3gwError):
    """The disk's fault."""

    fault = Fault.DISK


class DiskFull(DiskError):
    """There is no room for this write; nothing was written and deletes still work."""

    code = "InsufficientStorage"
    retryable = True


class DiskFailed(DiskError):
    """A sync or write failed once, so this disk is out of use for writes until an operator acts.

    After a failed fdatasync the kernel marks the dirty pages clean: trying again would report
    success for bytes that are gone (Rebello et al., "Can Applications Recover from fsync
    Failures?", ATC 2020).
    """

    code = "ServiceUnavailable"


class DataCorrupt(DiskError):
    """Stored bytes do not match their checksum; they were not given to anyone."""

    code = "InternalError"


class Overloaded(Rs3gwError):
    """A bound on queued work or memory was reached (S3: 503 SlowDown)."""

    code = "SlowDown"
    retryable = True
    fault = Fault.CALLER


class CoreGone(Rs3gwError):
    """The process that commits is gone: whether it did what it was handed is not known."""

    code = "ServiceUnavailable"
    retryable = True


class OutcomeUnknown(Rs3gwError):
    """A group of the cluster gave no answer in time: the change may have been made, or may yet be.

    Whoever retries must be content with either.
    """

    code = "ServiceUnavailable"
    retryable = True
    fault = Fault.PEER


class KeyringRefused(Rs3gwError):
    """The master key is missing, malformed, or not the one that the keyring is sealed with."""

    code = "InternalError"
    fault = Fault.CALLER


class KeyProviderUnavailable(Rs3gwError):
    """Whoever keeps the master key does not answer, or refuses us; nothing was done."""

    code = "ServiceUnavailable"
    retryable = True
    fault = Fault.PEER


class FormatError(Rs3gwError):
    """Stored or received bytes have a version or shape that this release does not know."""

    code = "InternalError"
    fault = Fault.DISK


class VersionGone(StoreError):
    """The version was replaced or deleted between its look-up and the opening of its bytes.

    Whoever looked it up does so again and decides anew; bounded, since each time another write won.
    """

    code = "InternalError"
    retryable = True


class BlobNotHere(StoreError):
    """This node of a cluster does not hold the bytes: another one does, or the version is gone.

    `blob_id` is the first blob that is wanted and not here.
    """

    code = "InternalError"
    retryable = True

    def __init__(self, message: str = "", *, blob_id: bytes = b"") -> None:
        super().__init__(message)
        self.blob_id = blob_id


class OperationAborted(StoreError):
    """Another operation on the same bucket is going on (S3: 409); the caller may retry."""

    code = "OperationAborted"
    retryable = True


class StaleCommand(StoreError):
    """The command was made from a state that is no more: look again, decide anew, send another."""

    code = "OperationAborted"
    retryable = True


class ApiError(Rs3gwError):
    """A request is refused with an S3 error code that is known only at run time.

    `api_code` is a row of the table in `rs3gwd.s3.errors`, which gives the HTTP status; `fields`
    are further elements of the XML body (for instance `{"ArgumentName": "partNumber"}`) and
    `headers` further response headers. `message` replaces the table's default when not empty.
    """

    fault = Fault.CALLER

    def __init__(
        self,
        api_code: str,
        message: str = "",
        *,
        fields: dict[str, str] | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(f"{api_code}: {message}" if message else api_code)
        self.api_code = api_code
        self.message = message
        self.fields = fields or {}
        self.headers = headers or []
