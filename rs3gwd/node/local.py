"""One node as a store: the engine's reads and writes behind the port `ObjectStore`.

Reads are synchronous work of microseconds over the state of the last commit; `rs3gwd.engine.view`
says why they see whatever was acknowledged before they began. Writes go to the engine's group
commit.
"""

from contextlib import AbstractAsyncContextManager

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.kms_keys import KmsKeyRecord
from rs3gwd.base.ports import (
    BodyReader,
    BucketPage,
    KeyHolder,
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
from rs3gwd.engine import accounts, identities, kms_keys, listings, queries
from rs3gwd.engine.face import EngineFace


class LocalLookups:
    """The port `Lookups` over one engine, which is always at hand."""

    def __init__(self, engine: EngineFace) -> None:
        self._look_up = engine.look_up
        self.read_small = engine.read_small

    def get_bucket(self, name: str) -> BucketRecord:
        return self._look_up(queries.get_bucket, name)

    def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        return self._look_up(queries.get_configuration, bucket, kind)

    def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        return self._look_up(queries.get_version, bucket, key, version_id)


class LocalStore:
    """The port `ObjectStore` over one engine; see the port for what each method promises."""

    def __init__(self, engine: EngineFace) -> None:
        self._engine = engine
        self._look_up = engine.look_up
        self._lookups = LocalLookups(engine)

    def lookups_now(self) -> LocalLookups:
        return self._lookups

    async def wait_lookups(self) -> LocalLookups:
        return self._lookups

    async def get_bucket(self, name: str) -> BucketRecord:
        return self._look_up(queries.get_bucket, name)

    async def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        return self._look_up(queries.get_configuration, bucket, kind)

    async def list_buckets(
        self, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> BucketPage:
        return self._look_up(
            queries.list_buckets, owner_id=owner_id, prefix=prefix, after=after, limit=limit
        )

    async def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        return self._look_up(queries.get_version, bucket, key, version_id)

    async def get_manifest(self, version: VersionRecord) -> ManifestRecord:
        return self._look_up(queries.get_manifest, version)

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after: bytes = b"",
        limit: int = 1000,
    ) -> ListPage:
        return self._look_up(
            listings.list_objects,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after=after,
            limit=limit,
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
        return self._look_up(
            listings.list_versions,
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
        return self._look_up(
            listings.list_uploads,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            after_key=after_key,
            after_upload_id=after_upload_id,
            limit=limit,
        )

    async def get_upload(self, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
        return self._look_up(queries.get_upload, bucket, key, upload_id)

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, *, after_number: int = 0, limit: int = 1000
    ) -> PartPage:
        return self._look_up(
            queries.list_parts, bucket, key, upload_id, after_number=after_number, limit=limit
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


class LocalDirectory:
    """The port `Directory` over the same engine."""

    def __init__(self, engine: EngineFace) -> None:
        self._look_up = engine.look_up

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        return self._look_up(accounts.read_access_key, access_key_id)

    def key_holder(self, access_key_id: str) -> KeyHolder | None:
        return self._look_up(accounts.read_key_holder, access_key_id)

    def account(self, canonical_id: str) -> AccountRecord | None:
        return self._look_up(accounts.read_account, canonical_id)

    def account_by_email(self, email: str) -> AccountRecord | None:
        return self._look_up(accounts.read_account_by_email, email)

    def accounts(self) -> list[AccountRecord]:
        return self._look_up(accounts.list_accounts)

    def access_keys(self, canonical_id: str) -> list[AccessKeyRecord]:
        return self._look_up(accounts.list_access_keys, canonical_id)

    def identity(self, canonical_id: str, kind: IdentityKind, name: str) -> IdentityRecord | None:
        return self._look_up(identities.read_identity, canonical_id, kind, name)

    def identities(self, canonical_id: str, kind: IdentityKind) -> list[IdentityRecord]:
        return self._look_up(identities.list_identities, canonical_id, kind)

    def policy(self, canonical_id: str, name: str) -> PolicyRecord | None:
        return self._look_up(identities.read_policy, canonical_id, name)

    def policies(self, canonical_id: str) -> list[PolicyRecord]:
        return self._look_up(identities.list_policies, canonical_id)


class LocalKmsKeys:
    """The port `KmsKeys` over the same engine."""

    def __init__(self, engine: EngineFace) -> None:
        self._look_up = engine.look_up

    def by_id(self, key_id: str) -> KmsKeyRecord | None:
        return self._look_up(kms_keys.read_kms_key, key_id)

    def by_name(self, name: str) -> KmsKeyRecord | None:
        return self._look_up(kms_keys.read_kms_key_by_name, name)

    def all(self) -> list[KmsKeyRecord]:
        return self._look_up(kms_keys.list_kms_keys)
