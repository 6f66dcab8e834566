"""A cluster as a store: the port `ObjectStore` on every node of it.

What it is not: no consensus (`cluster`), no rows (`rs3gwd.engine`). It joins them:

    reads     this node's tables, once it is proved that they show all that was acknowledged
    writes    the group that has the key, or the system group and then every group
    bytes     in the entry, or to the replicas first; from here, or from a replica

A read asks each group that it looks at for the proof (`GroupHost.read_barrier`), whose cost readers
share. One request makes several reads, and one proof is enough for them: what was acknowledged
before the request began is shown from the proof on. So a request works through a session,
`ClusterStore.begin`, which remembers the groups that were proved since it began, and forgets them
when it has itself written. Without a session each call is one.

Linearizable: a read returns rows as of some moment between its proof's and its own, and its proof
came after its beginning (Ongaro's thesis, 6.4).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from typing import cast

from rs3gwd.base.commands import (
    AnyCommand,
    CommandResult,
    CreateBucket,
    DeleteBucket,
    ForgetUploads,
    PutBucketConfiguration,
    PutBucketDurability,
    PutBucketLock,
    PutBucketTagging,
    PutBucketVersioning,
)
from rs3gwd.base.errors import (
    BlobNotHere,
    DataCorrupt,
    FormatError,
    NoSuchBucket,
    Overloaded,
)
from rs3gwd.base.ports import (
    BodyReader,
    BucketPage,
    ListPage,
    Lookups,
    NotProved,
    ObjectStore,
    PartPage,
    Stage,
    StagedBlob,
    UploadPage,
    VersionPage,
)
from rs3gwd.base.records import (
    BucketRecord,
    Durability,
    ManifestRecord,
    UploadRecord,
    VersionRecord,
)
from rs3gwd.engine import queries
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.blob_fanout import ClusterBlob, Fanout
from rs3gwd.node.blob_reading import BlobSources
from rs3gwd.node.bucket_coordinator import BucketCoordinator
from rs3gwd.node.local import LocalLookups, LocalStore
from rs3gwd.node.proposing import Proposer

_BUCKET_CHANGES = (
    CreateBucket,
    PutBucketConfiguration,
    PutBucketDurability,
    PutBucketLock,
    PutBucketTagging,
    PutBucketVersioning,
)


class ClusterParts:
    """What sessions share, of one node."""

    def __init__(
        self,
        engine: Engine,
        proposer: Proposer,
        buckets: BucketCoordinator,
        fanout: Fanout,
        sources: BlobSources,
    ) -> None:
        self.engine = engine
        self.proposer = proposer
        self.buckets = buckets
        self.fanout = fanout
        self.sources = sources
        self.local = LocalStore(engine)
        self.lookups = ClusterLookups(engine, sources)
        self.keyless = KeylessLookups(self.lookups)


class ClusterLookups(LocalLookups):
    """Look-ups on this node; bytes that are not here, or damaged, are none at hand."""

    def __init__(self, engine: Engine, sources: BlobSources) -> None:
        super().__init__(engine)
        self._sources = sources
        self._read_small = engine.read_small
        self.read_small = self._read_if_whole

    def _read_if_whole(self, version: VersionRecord) -> bytes | None:
        try:
            return self._read_small(version)
        except BlobNotHere:
            return None
        except (DataCorrupt, FormatError):
            if version.blob is not None:
                self._sources.suspect(version.blob)
            return None


class KeylessLookups:
    """Look-ups of a request for which only the system group is proved."""

    def __init__(self, lookups: ClusterLookups) -> None:
        self.get_bucket = lookups.get_bucket
        self.get_configuration = lookups.get_configuration

    def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        raise NotProved

    def read_small(self, version: VersionRecord) -> bytes | None:
        raise NotProved


class StoreSession:
    """The port `ObjectStore` for one request, from its beginning on; see the port."""

    def __init__(
        self, parts: ClusterParts, bucket: str = "", key: bytes = b"", *, reads_key: bool = True
    ) -> None:
        self._parts = parts
        self._bucket = bucket
        self._key = key
        self._reads_key = reads_key
        self._proved: set[int] = set()
        self._writes = 0
        self._was_proved_at_once = False

    # What is proved.

    async def wait_key(self) -> None:
        """Until look-ups of the request's own bucket are proved, and of its key if it reads it.
        Raises Overloaded."""
        await self._prove(self._own_groups())

    def prove_now(self) -> bool:
        """Whether the same is known at this moment, so that nothing need be waited for."""
        groups = self._own_groups()
        if not self._parts.proposer.shows_all(groups):
            return False
        # What is looked up at the same moment is at least as new as what is proved: should the
        # bucket be another one by and by, it was made after this request began.
        self._proved = groups
        self._was_proved_at_once = True
        return True

    def _own_groups(self) -> set[int]:
        groups = {SYSTEM_GROUP}
        if (
            self._key
            and self._reads_key
            and (group := self._group_of(self._bucket, self._key)) is not None
        ):
            groups.add(group)
        return groups

    async def _prove(self, groups: set[int]) -> None:
        missing = groups - self._proved
        if missing:
            writes = self._writes
            await self._parts.proposer.wait_current(sorted(missing))
            # A proof that was under way when the request wrote may not show what it wrote.
            if writes == self._writes:
                self._proved |= missing

    def _doubt(self) -> None:
        """What this request reads next must show what it wrote, which this node may not yet."""
        self._writes += 1
        self._proved = set()
        self._was_proved_at_once = False

    async def _prove_system(self) -> None:
        await self._prove({SYSTEM_GROUP})

    async def _prove_all(self) -> None:
        await self._prove(set(self._parts.proposer.all_groups))

    async def _prove_key(self, bucket: str, key: bytes) -> None:
        """The system group and that of the key, in one exchange when the bucket is known here."""
        groups = {SYSTEM_GROUP}
        if (group := self._group_of(bucket, key)) is not None:
            groups.add(group)
        await self._prove(groups)
        if (group := self._group_of(bucket, key)) is not None:
            # Another one, if the bucket is not the one that this node knew.
            await self._prove({group})

    def _group_of(self, bucket: str, key: bytes) -> int | None:
        """The group of a key by what this node knows of the bucket."""
        try:
            record = self._parts.engine.look_up(queries.get_bucket, bucket)
        except NoSuchBucket:
            return None
        return self._parts.proposer.group_of(record.bucket_id, key)

    # Reads.

    def lookups_now(self) -> Lookups | None:
        """Of the request's own bucket and key, once `wait_key` has proved them; of a request that
        reads no key, without the key."""
        if SYSTEM_GROUP not in self._proved:
            return None
        if not self._key:
            return self._parts.lookups
        if self._was_proved_at_once:
            return self._parts.lookups if self._reads_key else self._parts.keyless
        group = self._group_of(self._bucket, self._key)
        if group is not None and group not in self._proved:
            return None if self._reads_key else self._parts.keyless
        return self._parts.lookups

    async def wait_lookups(self) -> Lookups:
        await self._prove_all()
        return self._parts.lookups

    async def get_bucket(self, name: str) -> BucketRecord:
        await self._prove_system()
        return await self._parts.local.get_bucket(name)

    async def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        await self._prove_system()
        return await self._parts.local.get_configuration(bucket, kind)

    async def list_buckets(
        self, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> BucketPage:
        await self._prove_system()
        return await self._parts.local.list_buckets(
            owner_id=owner_id, prefix=prefix, after=after, limit=limit
        )

    async def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        await self._prove_key(bucket, key)
        return await self._parts.local.get_version(bucket, key, version_id)

    async def get_manifest(self, version: VersionRecord) -> ManifestRecord:
        return await self._parts.local.get_manifest(version)

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after: bytes = b"",
        limit: int = 1000,
    ) -> ListPage:
        await self._prove_all()
        return await self._parts.local.list_objects(
            bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )

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
        await self._prove_all()
        return await self._parts.local.list_versions(
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after_key=after_key,
            after_version_id=after_version_id,
            limit=limit,
        )

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
        await self._prove_all()
        return await self._parts.local.list_uploads(
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after_key=after_key,
            after_upload_id=after_upload_id,
            limit=limit,
        )

    async def get_upload(self, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
        await self._prove_key(bucket, key)
        return await self._parts.local.get_upload(bucket, key, upload_id)

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, *, after_number: int = 0, limit: int = 1000
    ) -> PartPage:
        await self._prove_key(bucket, key)
        return await self._parts.local.list_parts(
            bucket, key, upload_id, after_number=after_number, limit=limit
        )

    def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AbstractAsyncContextManager[BodyReader]:
        return self._parts.sources.open_body(version, start, end)

    # Writes.

    def stage(
        self, *, size_hint: int | None, durability: Durability
    ) -> AbstractAsyncContextManager[Stage]:
        """Whatever the bucket's class, the bytes are synced: their log entry is."""
        return self._parts.fanout.stage(size_hint=size_hint)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Raises OutcomeUnknown, too: the change may have been made, or may yet be."""
        assert getattr(command, "blob", None) == (staged.ref if staged is not None else None)
        try:
            return await self._submit(command, staged)
        finally:
            self._doubt()

    async def _submit(self, command: AnyCommand, staged: StagedBlob | None) -> CommandResult:
        if isinstance(command, DeleteBucket):
            await self._parts.buckets.delete(command.name)
            return None
        if isinstance(command, _BUCKET_CHANGES):
            return await self._parts.buckets.change(command, command.name)
        if isinstance(command, ForgetUploads):
            return await self._forget_uploads(command)
        if getattr(command, "bucket", None) is None:
            return await self._propose_system(command)
        data: bytes | None = None
        if staged is not None:
            assert isinstance(staged, ClusterBlob)
            await staged.spread(command)
            data = staged.riding or None
        return await self._parts.proposer.propose_keyed(command, data)

    async def _propose_system(self, command: AnyCommand) -> CommandResult:
        """Directories have no session: when this returns they show the change on this node, or
        what it was refused for."""
        try:
            return await self._parts.proposer.propose(SYSTEM_GROUP, command)
        finally:
            self._doubt()
            with suppress(Overloaded):  # the outcome is what counts
                await self._prove({SYSTEM_GROUP})

    async def _forget_uploads(self, command: ForgetUploads) -> int:
        """Group after group, up to the limit of all together."""
        total = 0
        for group in self._parts.proposer.index_groups:
            if total < command.limit:
                part = ForgetUploads(command.before_ms, command.limit - total)
                total += cast(int, await self._parts.proposer.propose(group, part))
        return total


class ClusterStore:
    """The port `ObjectStore`, each call a session of its own; `begin` is for whole requests."""

    def __init__(self, parts: ClusterParts) -> None:
        self._parts = parts

    def begin_now(self, bucket: str, key: bytes, reads_key: bool = True) -> ObjectStore | None:
        """See `rs3gwd.base.ports.Sessions`; what reads a key that was not named waits then."""
        session = StoreSession(self._parts, bucket, key, reads_key=reads_key)
        return session if session.prove_now() else None

    async def begin(self, bucket: str, key: bytes, reads_key: bool = True) -> ObjectStore:
        """The same, once it is proved. Raises Overloaded."""
        session = StoreSession(self._parts, bucket, key, reads_key=reads_key)
        await session.wait_key()
        return session

    def _session(self) -> StoreSession:
        return StoreSession(self._parts)

    def lookups_now(self) -> Lookups | None:
        return None

    async def wait_lookups(self) -> Lookups:
        return await self._session().wait_lookups()

    async def get_bucket(self, name: str) -> BucketRecord:
        return await self._session().get_bucket(name)

    async def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        return await self._session().get_configuration(bucket, kind)

    async def list_buckets(
        self, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> BucketPage:
        return await self._session().list_buckets(
            owner_id=owner_id, prefix=prefix, after=after, limit=limit
        )

    async def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        return await self._session().get_version(bucket, key, version_id)

    async def get_manifest(self, version: VersionRecord) -> ManifestRecord:
        return await self._session().get_manifest(version)

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after: bytes = b"",
        limit: int = 1000,
    ) -> ListPage:
        return await self._session().list_objects(
            bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
        )

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
        return await self._session().list_versions(
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after_key=after_key,
            after_version_id=after_version_id,
            limit=limit,
        )

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
        return await self._session().list_uploads(
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after_key=after_key,
            after_upload_id=after_upload_id,
            limit=limit,
        )

    async def get_upload(self, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
        return await self._session().get_upload(bucket, key, upload_id)

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, *, after_number: int = 0, limit: int = 1000
    ) -> PartPage:
        return await self._session().list_parts(
            bucket, key, upload_id, after_number=after_number, limit=limit
        )

    def stage(
        self, *, size_hint: int | None, durability: Durability
    ) -> AbstractAsyncContextManager[Stage]:
        return self._session().stage(size_hint=size_hint, durability=durability)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        return await self._session().submit(command, staged)

    def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AbstractAsyncContextManager[BodyReader]:
        return self._session().open_body(version, start, end)
