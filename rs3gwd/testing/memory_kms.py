"""The keys of the key management in memory: what the command does, and the port `KmsKeys`.

Part of the executable specification of `apply`; see `rs3gwd.testing.memory_commands`.
"""

from __future__ import annotations

from msgspec.structs import replace

from rs3gwd.base import commands as c
from rs3gwd.base.errors import (
    InvalidRequest,
    KmsKeyAlreadyExists,
    KmsKeyChanged,
    NoSuchKmsKey,
    StaleCommand,
)
from rs3gwd.base.kms_keys import KEYS_MAX, VERSIONS_MAX, KmsKeyRecord
from rs3gwd.base.records import VersionRecord
from rs3gwd.testing.memory_state import MemoryState, bucket_object, change_attributes


def put_kms_key(state: MemoryState, command: c.PutKmsKey) -> KmsKeyRecord:
    """Makes or changes a key. Raises as the command says."""
    record, expected = command.kms_key, command.expected_revision
    found = state.kms_keys.get(record.key_id)
    if expected == 0:
        if found or record.name in {each.name for each in state.kms_keys.values()}:
            raise KmsKeyAlreadyExists("it exists")
        if len(state.kms_keys) >= KEYS_MAX:
            raise InvalidRequest("too many keys")
    elif found is None:
        raise NoSuchKmsKey("it does not exist")
    elif found.revision != expected:
        raise KmsKeyChanged("somebody was faster")
    numbers = [version.number for version in record.versions]
    if not 1 <= len(numbers) <= VERSIONS_MAX or numbers != list(range(1, len(numbers) + 1)):
        raise InvalidRequest("versions are numbered from 1")
    if found and (found.name != record.name or len(found.versions) > len(numbers)):
        raise InvalidRequest("a key keeps its name and its versions")
    state.kms_keys[record.key_id] = replace(record, revision=expected + 1)
    return state.kms_keys[record.key_id]


def put_object_data_key(state: MemoryState, command: c.PutObjectDataKey) -> VersionRecord:
    """Puts a version's data key under another key. Raises as the command says."""
    bucket = state.bucket(command.bucket)
    version = bucket_object(bucket, command.key, command.version_id)
    record = version.attributes.encryption
    if record is None or record.wrapped_key != command.expected:
        raise StaleCommand("another data key")
    moved = replace(record, wrapped_key=command.wrapped_key)
    return change_attributes(bucket, command.key, version, encryption=moved)


class MemoryKmsKeys:
    """The port `KmsKeys` over a state."""

    def __init__(self, state: MemoryState) -> None:
        self._keys = state.kms_keys

    def by_id(self, key_id: str) -> KmsKeyRecord | None:
        """See the port."""
        return self._keys.get(key_id)

    def by_name(self, name: str) -> KmsKeyRecord | None:
        """See the port."""
        return next((each for each in self._keys.values() if each.name == name), None)

    def all(self) -> list[KmsKeyRecord]:
        """See the port."""
        return [self._keys[key_id] for key_id in sorted(self._keys)]
