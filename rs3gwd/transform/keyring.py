"""The keyring: named keys, whose versions wrap data keys and secrets.

The records come from the metadata, so every process and node has them; the master key opens a
version when it is first wanted, and it stays open as long as the process lives. Whether a key is
enabled is looked up each time.

    aws/s3            SSE-KMS where nobody names a key
    rs3gwd/objects    SSE-S3
    rs3gwd/secrets    secrets in the metadata

A new version is wrapped with from then on; what older ones wrapped stays readable, and `rewrap`
moves it to the newest without touching the data below.

Invariants: a version is never removed; a sealed version carries its key's id and its own number.
"""

from typing import Protocol
from uuid import UUID

from rs3gwd.base.errors import ApiError, DataCorrupt
from rs3gwd.base.kms import KeyState, KmsKeyRecord, KmsKeyVersion
from rs3gwd.base.ports import Random
from rs3gwd.transform.errors import MasterKeyError, WrongKey
from rs3gwd.transform.master import MasterKey
from rs3gwd.transform.material import KEY_BYTES, check_key, context_of, new_key
from rs3gwd.transform.wrapping import KEY_ID_BYTES, KeyPlace, place_of, unwrap, wrap

DEFAULT_KMS_KEY = "aws/s3"
OBJECTS_KEY = "rs3gwd/objects"
SECRETS_KEY = "rs3gwd/secrets"

OWN_PREFIX = "rs3gwd/"
"""Keys that no request can name and nobody can disable."""

_NUMBER_BYTES = 4


class KeyRecords(Protocol):
    """The named keys in the metadata; look-ups are local. Part of `Directory`."""

    def kms_key(self, name: str) -> KmsKeyRecord | None: ...

    def kms_keys(self) -> list[KmsKeyRecord]:
        """All keys, by name."""
        ...


class Keyring:
    """Wraps and unwraps with named keys. One for each process."""

    def __init__(self, records: KeyRecords, master: MasterKey, random: Random) -> None:
        self.master = master
        self._records = records
        self._random = random
        self._opened: dict[KeyPlace, bytes] = {}
        self._names: dict[bytes, str] = {}

    async def load(self) -> None:
        """Opens every version there is, so that a wrong master key is found at the start.

        Raises MasterKeyError, ProviderUnavailable.
        """
        for record in self._records.kms_keys():
            for version in record.versions:
                await self._open_version(record, version)

    def find(self, named: str) -> KmsKeyRecord:
        """The key that a client names by id, ARN, alias, ARN of the alias, or plain name.

        Raises ApiError KMS.NotFoundException.
        """
        resource = named.rpartition(":")[2] if named.startswith("arn:") else named
        name = resource.removeprefix("alias/")
        record = None
        if not resource.startswith("key/"):
            record = self._records.kms_key(name)
        if record is None and resource == name:
            key_id = resource.removeprefix("key/")
            found = (each for each in self._records.kms_keys() if each.key_id == key_id)
            record = next(found, None)
        if record is None or record.name.startswith(OWN_PREFIX):
            raise ApiError("KMS.NotFoundException", f"Key '{named}' does not exist")
        return record

    async def wrap(self, name: str, secret: bytes, context: bytes) -> bytes:
        """The secret, wrapped by the newest version of a key.

        Raises ApiError KMS.NotFoundException, KMS.DisabledException; MasterKeyError,
        ProviderUnavailable.
        """
        record = self._records.kms_key(name)
        if record is None:
            raise ApiError("KMS.NotFoundException", f"Key '{name}' does not exist")
        _check_enabled(record)
        version = record.versions[-1]
        key = await self._open_version(record, version)
        place = KeyPlace(UUID(record.key_id).bytes, version.number)
        return wrap(key, place, secret, context, self._random)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` was given. Raises as `wrap`, WrongKey, FormatError."""
        place = place_of(wrapped)
        record = self._record_of(place.key_id)
        _check_enabled(record)
        version = next((v for v in record.versions if v.number == place.number), None)
        if version is None:
            raise WrongKey(f"key {record.name} has no version {place.number}")
        return unwrap(await self._open_version(record, version), wrapped, context)

    async def rewrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The same secret, wrapped by the newest version of its key; as it is where it is so."""
        place = place_of(wrapped)
        record = self._record_of(place.key_id)
        if place.number == record.versions[-1].number:
            return wrapped
        return await self.wrap(record.name, await self.unwrap(wrapped, context), context)

    async def wrap_secret(self, secret: bytes, context: bytes) -> bytes:
        """A secret of the metadata, wrapped; `context` says whose it is. Raises as `wrap`."""
        return await self.wrap(SECRETS_KEY, secret, context_of(b"secret", context))

    async def unwrap_secret(self, wrapped: bytes, context: bytes) -> bytes:
        """The secret. Raises as `wrap`, and DataCorrupt: another context, or changed bytes."""
        try:
            return await self.unwrap(wrapped, context_of(b"secret", context))
        except WrongKey as error:
            raise DataCorrupt("a wrapped secret does not open") from error

    async def make_version(self, key_id: str, number: int, now_ms: int) -> KmsKeyVersion:
        """A new key-encryption key, sealed. Raises MasterKeyError, ProviderUnavailable."""
        plain = _prefix(key_id, number) + new_key(self._random)
        sealed = await self.master.seal(plain)
        return KmsKeyVersion(number, sealed, self.master.name, now_ms)

    def _record_of(self, key_id: bytes) -> KmsKeyRecord:
        name = self._names.get(key_id)
        if name is None:
            # Names stay with their ids, and keys are never removed.
            self._names = {UUID(one.key_id).bytes: one.name for one in self._records.kms_keys()}
            name = self._names.get(key_id)
        record = self._records.kms_key(name) if name is not None else None
        if record is None:
            raise WrongKey(f"no key {UUID(bytes=key_id)} is in the keyring")
        return record

    async def _open_version(self, record: KmsKeyRecord, version: KmsKeyVersion) -> bytes:
        place = KeyPlace(UUID(record.key_id).bytes, version.number)
        if place in self._opened:
            return self._opened[place]
        if version.master != self.master.name:
            raise MasterKeyError(
                f"key {record.name} was sealed by master key {version.master}, and the one given "
                f"is {self.master.name}"
            )
        plain = await self.master.open(version.sealed)
        prefix = _prefix(record.key_id, version.number)
        if plain[: len(prefix)] != prefix or len(plain) != len(prefix) + KEY_BYTES:
            raise MasterKeyError(f"what opens as version {version.number} of {record.name} is not")
        key = check_key(plain[len(prefix) :], f"version {version.number} of {record.name}")
        self._opened[place] = key
        return key


def _check_enabled(record: KmsKeyRecord) -> None:
    if record.state is not KeyState.ENABLED:
        raise ApiError("KMS.DisabledException", f"{record.arn} is disabled.")


def _prefix(key_id: str, number: int) -> bytes:
    prefix = UUID(key_id).bytes + number.to_bytes(_NUMBER_BYTES, "big")
    assert len(prefix) == KEY_ID_BYTES + _NUMBER_BYTES
    return prefix
