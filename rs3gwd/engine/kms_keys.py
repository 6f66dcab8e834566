"""The keys of the key management: the reads behind the port `KmsKeys`.

What it is not: it changes nothing (`rs3gwd.engine.apply_kms_keys` does) and can open no key.
"""

from __future__ import annotations

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.kms_keys import KmsKeyRecord
from rs3gwd.engine.apply_state import read_named
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import KMS_KEY_CODEC, KMS_NAME_CODEC, Table


def read_kms_key(txn: Transaction, key_id: str) -> KmsKeyRecord | None:
    """The key with this id, or None; any text may be asked for."""
    return read_named(txn, Table.KMS_KEYS, KMS_KEY_CODEC, key_id)


def read_kms_key_by_name(txn: Transaction, name: str) -> KmsKeyRecord | None:
    """The key of this name, or None. Raises DataCorrupt (the index names no key)."""
    found = read_named(txn, Table.KMS_NAMES, KMS_NAME_CODEC, name)
    if found is None:
        return None
    record = read_kms_key(txn, found.key_id)
    if record is None:
        raise DataCorrupt(f"key {found.key_id} of name {name!r} is missing")
    return record


def list_kms_keys(txn: Transaction) -> list[KmsKeyRecord]:
    """All keys, by id; at most KEYS_MAX."""
    return [KMS_KEY_CODEC.open(key, value) for key, value in txn.cursor(Table.KMS_KEYS)]
