"""Users, groups, roles and managed policies: the reads behind the port `Directory`.

What it is not: it changes nothing (`rs3gwd.engine.apply_identities` does).
"""

from __future__ import annotations

from collections.abc import Iterator

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.engine.apply_state import NAME_BYTES_MAX, R, read_named
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import IDENTITY_CODEC, POLICY_CODEC, Table, identity_key, owner_key


def read_identity(
    txn: Transaction, canonical_id: str, kind: IdentityKind, name: str
) -> IdentityRecord | None:
    """The identity of this name, whatever its case, or None; any text may be asked for."""
    key = identity_key(canonical_id, kind, name).decode()
    return read_named(txn, Table.IDENTITIES, IDENTITY_CODEC, key)


def read_policy(txn: Transaction, canonical_id: str, name: str) -> PolicyRecord | None:
    """The managed policy of this name, whatever its case, or None; any text may be asked for."""
    key = owner_key(canonical_id, name.lower()).decode()
    return read_named(txn, Table.POLICIES, POLICY_CODEC, key)


def list_identities(
    txn: Transaction, canonical_id: str, kind: IdentityKind
) -> list[IdentityRecord]:
    """All identities of a kind in an account, by name in lower case."""
    prefix = identity_key(canonical_id, kind, "")
    return list(_owned(txn, Table.IDENTITIES, IDENTITY_CODEC, prefix))


def list_policies(txn: Transaction, canonical_id: str) -> list[PolicyRecord]:
    """All managed policies of an account, by name in lower case."""
    return list(_owned(txn, Table.POLICIES, POLICY_CODEC, owner_key(canonical_id, "")))


def _owned(txn: Transaction, table: Table, codec: RecordCodec[R], prefix: bytes) -> Iterator[R]:
    if len(prefix) > NAME_BYTES_MAX:
        return
    cursor = txn.cursor(table)
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        yield codec.open(cursor.key(), cursor.value())
        found = cursor.next()
