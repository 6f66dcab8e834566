"""The ports: every way in which rs3gwd touches the world or one layer touches another.

All I/O, time, randomness and threads reach the daemon through these protocols, so that tests can
put faults behind them and a simulation can replay a whole node from one seed. The real ones live
in `rs3gwd.engine.system` and are joined in `rs3gwd.daemon` alone.

The S3 surface sees `ObjectStore` and never the engine: the same surface runs on one node and on a
cluster.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccountRecord,
    BlobRef,
    BucketRecord,
    Durability,
    ManifestRecord,
    PartRecord,
    UploadRecord,
    VersionRecord,
)

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview


class Clock(Protocol):
    """Time. The wall clock dates things and never decides an order."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...


class Random(Protocol):
    """Randomness fit for secrets."""

    def token_bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...


class Bell(Protocol):
    """Wakes one task of the event loop from a thread, again and again. `close` it at the end."""

    def ring(self) -> None:
        """From any thread: the next or present `wait` returns. Nothing once it is closed."""
        ...

    async def wait(self) -> None:
        """Returns once there was a ring since the last return."""
        ...

    def close(self) -> None:
        """Frees what the bell holds; nobody waits any more."""
        ...


class Threads(Protocol):
    """Blocking work off the event loop. A hop costs about 80 us: put much work in one.

    `linger_seconds` is how long work that is likely to get more may wait for it and so keep its
    thread; 0 where there are no threads and waiting would be in vain.
    """

    @property
    def linger_seconds(self) -> float: ...

    def bell(self) -> Bell:
        """A new bell, for a thread that must not be held up by waking the event loop."""
        ...

    async def run(self, function: Callable[[], T]) -> T:
        """Runs `function` in a worker thread and gives its result or raises its exception.

        Cancellation waits for the function to end: it is never abandoned half-way.
        """
        ...

    def lasting(self, name: str) -> "AbstractContextManager[Threads]":
        """One thread of its own, called `name`, for work that comes piece after piece.

        Its `run` must not be called while it is at work; it is always the same thread and found at
        once. The thread ends with the context.
        """
        ...


class DiskUsage(Struct, frozen=True):
    """The room on the file system that holds the data, in bytes."""

    total_bytes: int
    free_bytes: int


class Disk(Protocol):
    """The files of the data directory. Paths are relative to it, with `/` between names.

    Calls block: make them in a thread. An OSError passes through as it is; the engine translates.
    """

    def open(self, path: str, *, create: bool = False) -> int:
        """A descriptor for reading and writing; `create` makes the file, which must not exist."""
        ...

    def close(self, descriptor: int) -> None: ...

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""
        ...

    def pread_nowait(self, descriptor: int, target: memoryview, offset: int) -> bool:
        """Fills `target`, or says False: not all is in the page cache (RWF_NOWAIT), which may have
        changed some of it."""
        ...

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Writes all the buffers, one behind the other, or raises."""
        ...

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """Reserves blocks, so that a later write there needs no new ones (fallocate)."""
        ...

    def truncate(self, descriptor: int, length: int) -> None: ...

    def sync_data(self, descriptor: int) -> None:
        """fdatasync: what was written to this file is on stable storage."""
        ...

    def sync_directory(self, path: str) -> None:
        """fsync of a directory: names made in or removed from it are on stable storage."""
        ...

    def unlink(self, path: str) -> None: ...

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def size(self, path: str) -> int: ...

    def make_directory(self, path: str) -> None:
        """Makes a directory and its parents; no error when it exists."""
        ...

    def usage(self) -> DiskUsage: ...

    def lock(self, path: str) -> int:
        """Takes an exclusive lock on a file, made if missing; closing the descriptor gives it back.

        Raises BlockingIOError when another process (or this one) has it.
        """
        ...


class StagedBlob(Protocol):
    """Bytes received and not yet owned by any record; see `Stage`."""

    @property
    def ref(self) -> BlobRef | None:
        """What a command names it by; None for an empty body."""
        ...


class Stage(Protocol):
    """Takes the bytes of one body, in order. Memory is bounded by a constant per stage.

    Given out by `ObjectStore.stage` as a context manager: leaving it without a successful
    `ObjectStore.submit` of the staged blob gives the space back.
    """

    @property
    def is_lean(self) -> bool:
        """Memory is short: whoever feeds this stage should hold little in front of it."""
        ...

    async def write(self, data: Buffer) -> None:
        """Appends. The buffer belongs to the stage until the call returns and must be contiguous.

        Raises DiskFull, DiskFailed, Overloaded.
        """
        ...

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """Appends a buffer that will stay as it is until `done` is called: once, in any thread,
        also when the writing fails, which a later call then raises. Errors are those of `write`.
        """
        ...

    async def end(self) -> None:
        """No more bytes will come: what can be done before `finish` is begun and not waited for.

        Raises as `write` does. Not needed before `finish`.
        """
        ...

    async def finish(self) -> StagedBlob:
        """No more bytes will come. The bytes are made durable no later than by `submit`."""
        ...


class BodyReader(Protocol):
    """Verified bytes of one range, in order."""

    async def read(self) -> Buffer:
        """The next bytes, at most 1 MiB, valid until the next call; empty at the end.

        Every block was checked against its checksum before any byte of it is given out.
        Raises DataCorrupt.
        """
        ...


class ListTraits(Struct, frozen=True):
    """What many objects of a page have in common; equal ones in a row are the same object."""

    owner_id: str
    storage_class: str
    checksum_algorithm: str | None = None
    checksum_type: str | None = None


class ListEntry(Struct, frozen=True, gc=False):
    """One line of a listing: a key with what is shown of its current version, or (traits None) a
    common prefix. `etag` is without quotes.
    """

    key: bytes
    traits: ListTraits | None = None
    etag: str = ""
    size_bytes: int = 0
    last_modified_ms: int = 0

    @classmethod
    def of(cls, key: bytes, version: VersionRecord) -> "ListEntry":
        """The entry of a key with this current version."""
        attributes, checksum = version.attributes, version.checksum
        traits = ListTraits(
            attributes.owner_id,
            attributes.storage_class,
            checksum.algorithm if checksum else None,
            checksum.type if checksum else None,
        )
        return cls(key, traits, version.etag, version.size_bytes, version.last_modified_ms)


class ListPage(Struct, frozen=True):
    """A page of a listing.

    `next_after` is None at the end; else giving it back as `after` continues with neither gap nor
    repeat: it is the last key or common prefix of this page.
    """

    entries: list[ListEntry]
    next_after: bytes | None


class VersionEntry(Struct, frozen=True):
    """One line of a version listing, or (version None) a common prefix."""

    key: bytes
    version: VersionRecord | None
    is_latest: bool = False


class VersionPage(Struct, frozen=True):
    """A page of a version listing; the markers continue it (both None at the end)."""

    entries: list[VersionEntry]
    next_key: bytes | None
    next_version_id: str | None


class UploadEntry(Struct, frozen=True):
    """One unfinished upload, or (upload None) a common prefix."""

    key: bytes
    upload: UploadRecord | None


class UploadPage(Struct, frozen=True):
    """A page of unfinished uploads, by key and then by time of initiation."""

    entries: list[UploadEntry]
    next_key: bytes | None
    next_upload_id: str | None


class PartPage(Struct, frozen=True):
    """A page of the parts of an upload, by number."""

    upload: UploadRecord
    parts: list[PartRecord]
    next_number: int | None


class BucketPage(Struct, frozen=True):
    """A page of buckets by name."""

    buckets: list[BucketRecord]
    next_after: str | None


class NotProved(Exception):
    """It is not known whether what a look-up would show is current: `wait_lookups`, then again."""


class Lookups(Protocol):
    """Look-ups that wait for nothing, good until the next await.

    They give and raise what the methods of the same name of `ObjectStore` do, and NotProved of a
    request that said that it reads no key, when it does.
    """

    def get_bucket(self, name: str) -> BucketRecord:
        """Raises NoSuchBucket."""
        ...

    def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        """A document of a bucket's configuration; None where there is none."""
        ...

    def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        """Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed."""
        ...

    def read_small(self, version: VersionRecord) -> bytes | None:
        """All stored bytes of a version with one small blob (at most 64 KiB) that is at hand,
        verified; None where `ObjectStore.open_body` must be used.

        Raises VersionGone, DataCorrupt.
        """
        ...


class ObjectStore(Protocol):
    """Buckets, objects and uploads: the store as the S3 surface sees it.

    Every read sees every command that was acknowledged before it began, on any node.
    All limits of pages are 0 to 1,000; a limit of 0 gives an empty page that is not truncated.
    """

    def lookups_now(self) -> Lookups | None:
        """The state as it is now; None where a reader must wait until it knows that it is."""
        ...

    async def wait_lookups(self) -> Lookups:
        """The same, once that is known. Raises Overloaded."""
        ...

    async def get_bucket(self, name: str) -> BucketRecord:
        """Raises NoSuchBucket."""
        ...

    async def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        """A document of a bucket's configuration, or None.

        It is the one that `bucket.configurations` has the stamp of, or one that took its place
        since `bucket` was looked up.
        """
        ...

    async def list_buckets(
        self, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> BucketPage:
        """The buckets of one owner whose names begin with `prefix` and come behind `after`."""
        ...

    async def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        """The current version, or the one named (`null` for the null version).

        Raises NoSuchBucket; NoSuchKey (nothing current; says if a delete marker hides it);
        NoSuchVersion; MethodNotAllowed (the version named is a delete marker).
        """
        ...

    async def get_manifest(self, version: VersionRecord) -> ManifestRecord:
        """The parts of a version whose `manifest_id` is not None."""
        ...

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after: bytes = b"",
        limit: int = 1000,
    ) -> ListPage:
        """Current versions in byte order of their keys, strictly behind `after`.

        With a delimiter, keys that hold it behind the prefix are rolled up into one entry per
        common prefix, which counts once towards `limit`; a common prefix equal to `after`, or
        that `after` begins with, has been given out already and is skipped. Cost: the page, not
        the bucket (a common prefix is seeked past, not read).
        """
        ...

    async def list_versions(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after_key: bytes = b"",
        after_version_id: str | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        """Versions and delete markers by key, newest first, behind the markers.

        `after_key` alone skips all versions of that key; with `after_version_id` (`null`
        included) only those up to that one.
        """
        ...

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after_key: bytes = b"",
        after_upload_id: str | None = None,
        limit: int = 1000,
    ) -> UploadPage:
        """Unfinished uploads; `after_key` alone skips all uploads of that key."""
        ...

    async def get_upload(self, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
        """An upload that is not completed. Raises NoSuchBucket, NoSuchUpload."""
        ...

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, *, after_number: int = 0, limit: int = 1000
    ) -> PartPage:
        """Raises NoSuchBucket, NoSuchUpload."""
        ...

    def stage(
        self, *, size_hint: int | None, durability: Durability
    ) -> AbstractAsyncContextManager[Stage]:
        """A place for one body. `size_hint` is its exact size in bytes where that is known.

        Raises (on entry) DiskFull when the hint cannot fit, DiskFailed, Overloaded.
        """
        ...

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Applies one command and, with it, takes over the bytes its `blob` names.

        Returns after the change is durable (to the bucket's class). On an error nothing has
        changed and the staged bytes are given back. Raises what the command's class says, and
        DiskFull, DiskFailed, Overloaded. Once handed to the log it is not undone by cancellation.
        """
        ...

    def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AbstractAsyncContextManager[BodyReader]:
        """Reads the half-open range `start` to `end` of a version's stored bytes, which are the
        object's own unless it is encrypted.

        The bytes stay readable until the context is left, whatever deletes or compacts meanwhile.
        """
        ...


class Sessions(Protocol):
    """How requests begin over a store whose look-ups, and those of the directory, must be proved to
    be current first: each gets the store as it sees it.

    A request names its bucket and key, which may both be empty, and whether it reads the key. From
    then on accounts, keys, policies, the bucket and the key are what had been acknowledged before.
    """

    def begin_now(self, bucket: str, key: bytes, reads_key: bool = True) -> ObjectStore | None:
        """The store for a request; None where the proof must be waited for."""
        ...

    async def begin(self, bucket: str, key: bytes, reads_key: bool = True) -> ObjectStore:
        """The same once it is proved. Raises Overloaded."""
        ...


class KeyHolder(Struct, frozen=True):
    """An access key and whom it is of: `account` is None where that is gone, `user` for a key of
    the account itself and where the user is gone."""

    key: AccessKeyRecord
    account: AccountRecord | None
    user: IdentityRecord | None


class Directory(Protocol):
    """Who exists: accounts, their keys, identities and policies.

    Look-ups are local and take microseconds; a record stays the same object until it changes, or
    until some other configuration did.
    """

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None: ...

    def key_holder(self, access_key_id: str) -> KeyHolder | None:
        """The key and whom it is of, which every request asks for, in one look-up."""
        ...

    def account(self, canonical_id: str) -> AccountRecord | None: ...

    def account_by_email(self, email: str) -> AccountRecord | None:
        """The account with this email, whatever its case."""
        ...

    def accounts(self) -> list[AccountRecord]:
        """All accounts, by canonical id."""
        ...

    def access_keys(self, canonical_id: str) -> list[AccessKeyRecord]:
        """The keys of one account, by access key id."""
        ...

    def identity(self, canonical_id: str, kind: IdentityKind, name: str) -> IdentityRecord | None:
        """A user, group or role of an account, whatever the case of its name."""
        ...

    def identities(self, canonical_id: str, kind: IdentityKind) -> list[IdentityRecord]:
        """All users, groups or roles of an account, by name in lower case."""
        ...

    def policy(self, canonical_id: str, name: str) -> PolicyRecord | None:
        """A managed policy of an account, whatever the case of its name."""
        ...

    def policies(self, canonical_id: str) -> list[PolicyRecord]:
        """All managed policies of an account, by name in lower case."""
        ...


class BodyStream(Protocol):
    """The body of a request as it comes from the network, transfer coding removed."""

    async def receive(self) -> bytes:
        """The next bytes; empty at the end.

        The first call answers `Expect: 100-continue`, so it is made only after the request was
        authenticated and authorised. Raises RequestBodyError (`rs3gwd.base.http`).
        """
        ...


@runtime_checkable
class DirectBody(BodyStream, Protocol):
    """A body stream that can put its bytes where they are wanted, so that nothing is allocated."""

    async def receive_into(self, target: memoryview) -> int:
        """As `receive`, into `target`, which is not empty; how many bytes came, 0 at the end."""
        ...


BodyIterator = AsyncIterator[Buffer]
