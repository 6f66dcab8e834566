"""Who exists: the reads behind the port `Directory`, over one transaction.

What it is not: it changes nothing (`rs3gwd.engine.apply_accounts` does).
"""

from __future__ import annotations

from collections.abc import Iterator

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.ports import KeyHolder
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.engine.apply_state import NAME_BYTES_MAX, keep, read_named
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.identities import read_identity
from rs3gwd.engine.tables import ACCESS_KEY_CODEC, ACCOUNT_CODEC, EMAIL_CODEC, Table, owner_key


def read_account(txn: Transaction, canonical_id: str) -> AccountRecord | None:
    """The account with this canonical id, or None; any text may be asked for."""
    return read_named(txn, Table.ACCOUNTS, ACCOUNT_CODEC, canonical_id)


def read_account_by_email(txn: Transaction, email: str) -> AccountRecord | None:
    """The account with this email, whatever its case, or None."""
    key = email.lower().encode()
    if not 0 < len(key) <= NAME_BYTES_MAX:
        return None
    value = txn.get(Table.EMAILS, key)
    return None if value is None else read_account(txn, EMAIL_CODEC.open(key, value).canonical_id)


def read_access_key(txn: Transaction, access_key_id: str) -> AccessKeyRecord | None:
    """The access key with this id, or None; any text may be asked for."""
    return read_named(txn, Table.ACCESS_KEYS, ACCESS_KEY_CODEC, access_key_id)


def read_key_holder(txn: Transaction, access_key_id: str) -> KeyHolder | None:
    """An access key and whom it is of, or None; any text may be asked for."""
    place = KeyHolder, access_key_id
    if txn.kept is not None and (found := txn.kept.get(place)) is not None:
        kept: KeyHolder = found
        return kept
    key = read_access_key(txn, access_key_id)
    if key is None:
        return None
    user = None
    if key.user_name:
        user = read_identity(txn, key.canonical_id, IdentityKind.USER, key.user_name)
    holder = KeyHolder(key, read_account(txn, key.canonical_id), user)
    keep(txn, place, holder)
    return holder


def list_accounts(txn: Transaction) -> list[AccountRecord]:
    """All accounts, by canonical id."""
    return [ACCOUNT_CODEC.open(key, value) for key, value in txn.cursor(Table.ACCOUNTS)]


def list_access_keys(txn: Transaction, canonical_id: str) -> list[AccessKeyRecord]:
    """The keys of one account, by access key id. Raises DataCorrupt (the index names no key)."""
    records = []
    for access_key_id in iterate_access_key_ids(txn, canonical_id):
        record = read_access_key(txn, access_key_id)
        if record is None:
            raise DataCorrupt(f"access key {access_key_id} of {canonical_id} is missing")
        records.append(record)
    return records


def iterate_access_key_ids(txn: Transaction, canonical_id: str) -> Iterator[str]:
    """The access key ids of one account, in byte order."""
    return iterate_owned(txn, Table.ACCOUNT_KEYS, canonical_id)


def owns_buckets(txn: Transaction, canonical_id: str) -> bool:
    """Whether an account owns any bucket."""
    return next(iterate_owned(txn, Table.BUCKET_OWNERS, canonical_id), None) is not None


def iterate_owned(
    txn: Transaction, table: Table, owner_id: str, *, start: str = ""
) -> Iterator[str]:
    """The names that BUCKET_OWNERS or ACCOUNT_KEYS puts under an owner, from `start` on."""
    prefix = owner_key(owner_id, "")
    if len(prefix) > NAME_BYTES_MAX + 1:
        return
    cursor = txn.cursor(table)
    found = cursor.set_range(prefix + start.encode()[:NAME_BYTES_MAX])
    while found and cursor.key().startswith(prefix):
        yield cursor.key()[len(prefix) :].decode()
        found = cursor.next()
