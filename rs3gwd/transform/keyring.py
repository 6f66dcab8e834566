"""The keyring: keys by id and name, opened when they are needed, that seal and open secrets.

    master key  ->  version of a key (in the metadata, sealed)  ->  data key of an object (sealed)
                                                                ->  secret of an access key

Every process has a keyring over the same metadata. A version is opened by the master key once and
then kept, so a provider such as Vault is asked once for each version in each process, however many
objects there are; it is not needed for anything else.

What it is not: it changes nothing (`rs3gwd.transform.key_management`) and knows no objects
(`rs3gwd.transform.object_keys`).

Invariants: the newest version seals, the version that is named opens; a disabled key does neither;
nothing is ever sealed or opened with a key that is not 32 bytes, or is all zeros.
"""

from __future__ import annotations

import uuid

from msgspec.structs import replace

from rs3gwd.base.errors import ApiError, DataCorrupt, KeyringRefused
from rs3gwd.base.kms_keys import KmsKeyRecord, KmsKeys, KmsKeyState, KmsKeyVersion
from rs3gwd.base.ports import Random
from rs3gwd.transform.master_key import MasterKey
from rs3gwd.transform.sealed import (
    Algorithm,
    Header,
    Wrapper,
    WrongKey,
    check_key,
    derive_key,
    join_context,
    read_header,
    seal,
    unseal,
)

OPENED_MAX = 4096
"""Versions that a process keeps opened, about 200 bytes each; beyond, all are opened anew."""

SECRETS_KEY = "rs3gw/secrets"
"""The name of the key that seals what is not an object."""

_BUCKET_KEY = b"rs3gwd bucket key 1\0"


class Keyring:
    """Seals and opens with the keys of `keys`, whose versions `master` opens."""

    def __init__(
        self,
        keys: KmsKeys,
        master: MasterKey,
        *,
        random: Random,
        algorithm: Algorithm = Algorithm.AES_256_GCM,
    ) -> None:
        self.keys = keys
        self.master = master
        self.algorithm = algorithm
        self._random = random
        self._opened: dict[tuple[str, int], bytes] = {}

    async def check(self) -> None:
        """That the master key is the one of this keyring, proved by opening what it sealed.

        Raises KeyringRefused (another one), KeyProviderUnavailable, DataCorrupt.
        """
        for each in self.keys.all():
            for version in each.versions:
                self._check_master(each, version)
        # A fingerprint names a key that a provider keeps, and proves nothing of it.
        record = self.keys.by_name(SECRETS_KEY)
        if record is not None:
            await self._open_version(record, record.versions[-1].number)

    async def wrap(
        self, record: KmsKeyRecord, secret: bytes, *, context: bytes, bucket: str | None = None
    ) -> bytes:
        """`secret` sealed with the newest version of a key, or with the key of `bucket` below it.

        Raises ApiError KMS.DisabledException, KeyProviderUnavailable, KeyringRefused, DataCorrupt.
        """
        check_enabled(record)
        number = record.versions[-1].number
        key = await self._open_version(record, number)
        wrapper = Wrapper.KEY
        if bucket is not None:
            key, wrapper = _bucket_key(key, bucket), Wrapper.BUCKET_KEY
        header = Header(self.algorithm, wrapper, uuid.UUID(record.key_id).bytes, number)
        return seal(key, secret, header=header, context=context, random=self._random)

    async def unwrap(self, wrapped: bytes, *, context: bytes, bucket: str | None = None) -> bytes:
        """What `wrap` has sealed; `bucket` is the one given there, or any where none was.

        Raises ApiError KMS.NotFoundException and KMS.DisabledException, DataCorrupt (damaged, or
        sealed for another context), FormatError, KeyProviderUnavailable, KeyringRefused.
        """
        record, header = self.key_of(wrapped)
        key = await self._open_version(record, header.key_version)
        if header.wrapper is Wrapper.BUCKET_KEY:
            key = _bucket_key(key, bucket or "")
        try:
            return unseal(key, wrapped, context=context)
        except WrongKey as error:
            raise DataCorrupt("a sealed key is damaged, or was sealed for another use") from error

    def key_of(self, wrapped: bytes) -> tuple[KmsKeyRecord, Header]:
        """The key that opens a sealed secret, as long as it is there and enabled.

        Raises ApiError KMS.NotFoundException and KMS.DisabledException, DataCorrupt, FormatError.
        """
        header = read_header(wrapped)
        if header.wrapper not in (Wrapper.KEY, Wrapper.BUCKET_KEY):
            raise DataCorrupt(f"a key sealed with a {header.wrapper.name} is none of the keyring")
        key_id = str(uuid.UUID(bytes=header.key_id))
        record = self.keys.by_id(key_id)
        if record is None:
            raise no_such_key(key_id)
        check_enabled(record)
        return record, header

    async def wrap_secret(self, secret: bytes, *, context: bytes) -> bytes:
        """A secret that is not an object's, sealed; `context` says what for (an access key's id).

        Raises KeyringRefused (the keyring has not been made yet), KeyProviderUnavailable.
        """
        record = self.keys.by_name(SECRETS_KEY)
        if record is None:
            raise KeyringRefused("the keyring has no key for secrets yet")
        return await self.wrap(record, secret, context=join_context(b"secret", context))

    async def unwrap_secret(self, wrapped: bytes, *, context: bytes) -> bytes:
        """What `wrap_secret` has sealed with the same context. Raises as `unwrap`."""
        return await self.unwrap(wrapped, context=join_context(b"secret", context))

    async def seal_version(self, key_id: str, number: int, key: bytes) -> bytes:
        """A new version of a key as the metadata keeps it. Raises KeyProviderUnavailable."""
        check_key(key)
        return await self.master.seal(key, context=_version_context(key_id, number))

    async def reseal_version(
        self, key_id: str, version: KmsKeyVersion, previous: MasterKey
    ) -> KmsKeyVersion:
        """A version that `previous` has sealed, sealed by this keyring's master key.

        Raises KeyProviderUnavailable, KeyringRefused, DataCorrupt.
        """
        context = _version_context(key_id, version.number)
        key = await previous.unseal(version.sealed, context=context)
        sealed = await self.seal_version(key_id, version.number, key)
        return replace(version, sealed=sealed, master_id=self.master.id)

    async def _open_version(self, record: KmsKeyRecord, number: int) -> bytes:
        key = self._opened.get((record.key_id, number))
        if key is not None:
            return key
        version = next((each for each in record.versions if each.number == number), None)
        if version is None:
            raise DataCorrupt(f"key {record.name} has no version {number}")
        self._check_master(record, version)
        # Two tasks may open the same one at the same time: both find the same key.
        context = _version_context(record.key_id, number)
        key = await self.master.unseal(version.sealed, context=context)
        check_key(key)
        if len(self._opened) >= OPENED_MAX:
            self._opened.clear()
        self._opened[record.key_id, number] = key
        return key

    def _check_master(self, record: KmsKeyRecord, version: KmsKeyVersion) -> None:
        if version.master_id != self.master.id:
            raise KeyringRefused(
                f"the keyring is sealed with another master key than {self.master.provider}: "
                f"version {version.number} of key {record.name} has {version.master_id.hex()}, "
                f"this one is {self.master.id.hex()}"
            )


def check_enabled(record: KmsKeyRecord) -> None:
    """Raises ApiError KMS.DisabledException."""
    if record.state is not KmsKeyState.ENABLED:
        raise ApiError("KMS.DisabledException", f"key {record.key_id} is disabled.")


def no_such_key(what: str) -> ApiError:
    """The error for a key that is not there."""
    return ApiError("KMS.NotFoundException", f"Key '{what}' does not exist")


def _version_context(key_id: str, number: int) -> bytes:
    return join_context(b"key version", key_id.encode(), number.to_bytes(4, "big"))


def _bucket_key(key: bytes, bucket: str) -> bytes:
    """The key of a bucket below a version of a key."""
    return derive_key(key, salt=b"", info=_BUCKET_KEY + bucket.encode())
