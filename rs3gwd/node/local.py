"""One node as a store: the engine's reads and writes behind the port `ObjectStore`.

Reads are synchronous work of microseconds over one LMDB read transaction, which ends before the
next await: no reader ever pins old pages. Linearizability is for free here, since a transaction
begun after a commit was acknowledged sees it. Writes go to the engine's group commit.
"""

from contextlib import AbstractAsyncContextManager
from types import TracebackType

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import DataCorrupt, FormatError, VersionGone
from rs3gwd.base.ports import (
    BodyReader,
    BucketPage,
    ListPage,
    PartPage,
    Stage,
    StagedBlob,
    UploadPage,
    VersionPage,
)
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccountRecord,
    BucketRecord,
    Durability,
    ManifestRecord,
    UploadRecord,
    VersionRecord,
)
from rs3gwd.engine import accounts, listings, queries
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import Table, u64


class LocalStore:
    """The port `ObjectStore` over one engine; see the port for what each method promises."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _read(self) -> "_Read":
        return _Read(self._engine)

    async def get_bucket(self, name: str) -> BucketRecord:
        with self._read() as txn:
            return queries.get_bucket(txn, name)

    async def list_buckets(
        self, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> BucketPage:
        with self._read() as txn:
            return queries.list_buckets(
                txn, owner_id=owner_id, prefix=prefix, after=after, limit=limit
            )

    async def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        with self._read() as txn:
            return queries.get_version(txn, bucket, key, version_id)

    async def get_manifest(self, version: VersionRecord) -> ManifestRecord:
        with self._read() as txn:
            row = u64(version.manifest_id or 0)
            # A version and its manifest go together, so one that is not there was just removed.
            if version.manifest_id is not None and txn.get(Table.MANIFESTS, row) is None:
                raise VersionGone(f"version {version.version_id} was removed meanwhile")
            return queries.get_manifest(txn, version)

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after: bytes = b"",
        limit: int = 1000,
    ) -> ListPage:
        with self._read() as txn:
            return listings.list_objects(
                txn, bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
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
        with self._read() as txn:
            return listings.list_versions(
                txn,
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
        with self._read() as txn:
            return listings.list_uploads(
                txn,
                bucket,
                prefix=prefix,
                delimiter=delimiter,
                after_key=after_key,
                after_upload_id=after_upload_id,
                limit=limit,
            )

    async def get_upload(self, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
        with self._read() as txn:
            return queries.get_upload(txn, bucket, key, upload_id)

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, *, after_number: int = 0, limit: int = 1000
    ) -> PartPage:
        with self._read() as txn:
            return queries.list_parts(
                txn, bucket, key, upload_id, after_number=after_number, limit=limit
            )

    def stage(
        self, *, size_hint: int | None, durability: Durability
    ) -> AbstractAsyncContextManager[Stage]:
        return self._engine.stage(size_hint=size_hint, durability=durability)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        return await self._engine.submit(command, staged)

    def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AbstractAsyncContextManager[BodyReader]:
        return self._engine.open_body(version, start, end)

    async def read_small(self, version: VersionRecord) -> bytes | None:
        return self._engine.read_small(version)


class LocalDirectory:
    """The port `Directory` over the same engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _read(self) -> "_Read":
        return _Read(self._engine)

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        with self._read() as txn:
            return accounts.read_access_key(txn, access_key_id)

    def account(self, canonical_id: str) -> AccountRecord | None:
        with self._read() as txn:
            return accounts.read_account(txn, canonical_id)

    def accounts(self) -> list[AccountRecord]:
        with self._read() as txn:
            return accounts.list_accounts(txn)

    def access_keys(self, canonical_id: str) -> list[AccessKeyRecord]:
        with self._read() as txn:
            return accounts.list_access_keys(txn, canonical_id)


class _Read:
    """A read transaction as a context; a damaged row met in it is told to the engine's observer."""

    __slots__ = ("_engine", "_transaction")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._transaction = engine.environment.read()

    def __enter__(self) -> Transaction:
        return self._transaction

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transaction.abort()
        if isinstance(error, DataCorrupt | FormatError):
            self._engine.report_damage(error)
