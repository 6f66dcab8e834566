"""The commands of keys: those of the key management, and the data keys of objects under them.

A name belongs to one key for ever, and no version is ever lost: the objects that it wraps could
never be read again. A change carries the revision that it was made from; another one means that
somebody was faster.

What it is not: it cannot tell whether a version is sealed by the right master key; the proposer can
(`rs3gwd.transform`).
"""

from __future__ import annotations

from msgspec.structs import replace

from rs3gwd.base.commands import PutKmsKey, PutObjectDataKey
from rs3gwd.base.errors import (
    InvalidRequest,
    KmsKeyAlreadyExists,
    KmsKeyChanged,
    NoSuchKmsKey,
    StaleCommand,
)
from rs3gwd.base.kms_keys import KEYS_MAX, VERSIONS_MAX, KmsKeyRecord
from rs3gwd.base.records import Attributes, BucketRecord, VersionRecord
from rs3gwd.engine.apply_objects import change_version
from rs3gwd.engine.apply_state import ApplyState, name_key
from rs3gwd.engine.kms_keys import read_kms_key, read_kms_key_by_name
from rs3gwd.engine.tables import KMS_KEY_CODEC, KMS_NAME_CODEC, KmsNameRecord, Table


def put_kms_key(state: ApplyState, command: PutKmsKey) -> KmsKeyRecord:
    """Makes or changes a key."""
    record = command.kms_key
    found = read_kms_key(state.txn, record.key_id)
    if command.expected_revision == 0:
        if found is not None or read_kms_key_by_name(state.txn, record.name) is not None:
            raise KmsKeyAlreadyExists(f"there is a key {record.name} already")
        if state.txn.count(Table.KMS_KEYS) >= KEYS_MAX:
            raise InvalidRequest(f"there are {KEYS_MAX} keys, which is as many as can be")
    elif found is None:
        raise NoSuchKmsKey(f"Key '{record.key_id}' does not exist")
    elif found.revision != command.expected_revision:
        raise KmsKeyChanged(f"key {record.name} was changed by another request; try again")
    _check_versions(record, found)
    record = replace(record, revision=command.expected_revision + 1)
    key, name = name_key(record.key_id), name_key(record.name)
    if found is None:
        sealed = KMS_NAME_CODEC.seal(name, KmsNameRecord(record.key_id))
        state.txn.put(Table.KMS_NAMES, name, sealed)
    state.txn.put(Table.KMS_KEYS, key, KMS_KEY_CODEC.seal(key, record))
    return record


def put_object_data_key(state: ApplyState, command: PutObjectDataKey) -> VersionRecord:
    """Puts a version's data key under another key; nothing else of it changes."""

    def change(_: BucketRecord, attributes: Attributes) -> Attributes:
        record = attributes.encryption
        if record is None or record.wrapped_key != command.expected:
            raise StaleCommand("the version has another data key now")
        return replace(attributes, encryption=replace(record, wrapped_key=command.wrapped_key))

    return change_version(state, command.bucket, command.key, command.version_id, change)


def _check_versions(record: KmsKeyRecord, found: KmsKeyRecord | None) -> None:
    numbers = [version.number for version in record.versions]
    if not 0 < len(numbers) <= VERSIONS_MAX:
        raise InvalidRequest(f"a key has 1 to {VERSIONS_MAX} versions, not {len(numbers)}")
    if numbers != list(range(1, len(numbers) + 1)):
        raise InvalidRequest("the versions of a key are numbered from 1")
    if found is None:
        return
    if record.name != found.name or len(numbers) < len(found.versions):
        raise InvalidRequest("a key keeps its name and its versions")
