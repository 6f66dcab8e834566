"""Changes of the keyring: keys made, rotated, disabled and enabled, each as one command.

A rotation adds a version, which seals from then on; what older versions have sealed they open, so
no object is touched. A disabled key opens nothing, and nothing of it is lost. Keys are never
removed: whoever lost one would have lost every object under it.

The server's own keys (`OWN_KEYS`) can be rotated, and not be disabled.
"""

from __future__ import annotations

import re
import uuid

from msgspec.structs import replace

from rs3gwd.base.commands import PutKmsKey
from rs3gwd.base.errors import InvalidRequest, KmsKeyAlreadyExists, NoSuchKmsKey
from rs3gwd.base.kms_keys import KmsKeyRecord, KmsKeyState, KmsKeyVersion
from rs3gwd.base.ports import Clock, ObjectStore, Random
from rs3gwd.transform.keyring import SECRETS_KEY, Keyring
from rs3gwd.transform.master_key import MasterKey
from rs3gwd.transform.object_keys import DEFAULT_KEY, HIDDEN_PREFIX, SSE_S3_KEY
from rs3gwd.transform.sealed import new_key

OWN_KEYS = (SSE_S3_KEY, DEFAULT_KEY, SECRETS_KEY)
"""The keys that every keyring has."""

_NAME = re.compile(r"[A-Za-z0-9/_-]{1,200}")
_OWN_PREFIXES = ("aws/", HIDDEN_PREFIX)


class KeyManagement:
    """Changes the keys behind `keyring` by commands to `store`.

    Every change raises what `ObjectStore.submit` does, KeyProviderUnavailable, and KmsKeyChanged
    when somebody was faster.
    """

    def __init__(
        self, store: ObjectStore, keyring: Keyring, *, clock: Clock, random: Random
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._keys = keyring.keys
        self._clock = clock
        self._random = random

    async def ensure_own_keys(self) -> None:
        """Makes those of the server's own keys that are missing."""
        for name in OWN_KEYS:
            if self._keys.by_name(name) is None:
                try:
                    await self._make(name)
                except KmsKeyAlreadyExists:
                    # Another node of the cluster was faster, and its key is as good.
                    continue

    async def reseal(self, previous: MasterKey) -> int:
        """Seals what `previous` has sealed with the present master key; how many versions.

        What was done stays done when it is interrupted. Raises DataCorrupt, KeyringRefused too.
        """
        count = 0
        for record in self._keys.all():
            versions = list(record.versions)
            for place, version in enumerate(versions):
                if version.master_id == previous.id:
                    versions[place] = await self._keyring.reseal_version(
                        record.key_id, version, previous
                    )
                    count += 1
            if versions != record.versions:
                await self._put(replace(record, versions=versions), record.revision)
        return count

    async def create(self, name: str) -> KmsKeyRecord:
        """A new key. Raises InvalidRequest (the name), KmsKeyAlreadyExists."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest("a key's name has 1 to 200 letters, digits and characters of /_-")
        if name.startswith(_OWN_PREFIXES):
            raise InvalidRequest("names that begin with aws/ or rs3gw/ are the server's own")
        return await self._make(name)

    async def rotate(self, wanted: str) -> KmsKeyRecord:
        """A new version of a key, given by name or id. Raises NoSuchKmsKey."""
        record = self.find(wanted)
        number = record.versions[-1].number + 1
        versions = [*record.versions, await self._new_version(record.key_id, number)]
        return await self._put(replace(record, versions=versions), record.revision)

    async def set_state(self, wanted: str, state: KmsKeyState) -> KmsKeyRecord:
        """Enables or disables a key. Raises NoSuchKmsKey, InvalidRequest (one of OWN_KEYS)."""
        record = self.find(wanted)
        if record.name in OWN_KEYS:
            raise InvalidRequest(f"{record.name} is the server's own and always enabled")
        if record.state is state:
            return record
        return await self._put(replace(record, state=state), record.revision)

    def find(self, wanted: str) -> KmsKeyRecord:
        """A key by name or id. Raises NoSuchKmsKey."""
        wanted = wanted.removeprefix("alias/")
        found = self._keys.by_name(wanted) or self._keys.by_id(wanted.lower())
        if found is None:
            raise NoSuchKmsKey(f"there is no key {wanted!r}")
        return found

    async def _make(self, name: str) -> KmsKeyRecord:
        key_id = str(uuid.UUID(bytes=self._random.token_bytes(16), version=4))
        version = await self._new_version(key_id, 1)
        return await self._put(KmsKeyRecord(key_id, name, version.created_ms, [version]), 0)

    async def _new_version(self, key_id: str, number: int) -> KmsKeyVersion:
        sealed = await self._keyring.seal_version(key_id, number, new_key(self._random))
        return KmsKeyVersion(number, sealed, self._keyring.master.id, self._clock.now_ms())

    async def _put(self, record: KmsKeyRecord, revision: int) -> KmsKeyRecord:
        result = await self._store.submit(PutKmsKey(kms_key=record, expected_revision=revision))
        assert isinstance(result, KmsKeyRecord)
        return result
