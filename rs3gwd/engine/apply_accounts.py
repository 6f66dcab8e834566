"""The commands of accounts and access keys.

An account's canonical id, its email (without regard to case) and each access key id are unique.
What it is not: it makes no ids or secrets; the proposer does.
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.commands import (
    DeleteAccessKey,
    DeleteAccount,
    NoteKeyUses,
    PutAccessKey,
    PutAccount,
    SealAccessKey,
    SetAccessKeyStatus,
)
from rs3gwd.base.errors import (
    AccountAlreadyExists,
    BucketNotEmpty,
    NoSuchAccount,
    NoSuchIdentity,
)
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.engine.accounts import (
    iterate_access_key_ids,
    owns_buckets,
    read_access_key,
    read_account,
)
from rs3gwd.engine.apply_identities import delete_identities_of
from rs3gwd.engine.apply_state import ApplyState, name_key
from rs3gwd.engine.identities import read_identity
from rs3gwd.engine.tables import (
    ACCESS_KEY_CODEC,
    ACCOUNT_CODEC,
    EMAIL_CODEC,
    INDEX_CODEC,
    EmailRecord,
    IndexRecord,
    Table,
    owner_key,
)


def put_account(state: ApplyState, command: PutAccount) -> AccountRecord:
    """Makes an account; its id and its email must be free."""
    account = command.account
    key = name_key(account.canonical_id)
    if state.txn.get(Table.ACCOUNTS, key) is not None:
        raise AccountAlreadyExists(f"canonical id {account.canonical_id} is taken")
    if account.email:
        email_key = name_key(account.email.lower())
        if state.txn.get(Table.EMAILS, email_key) is not None:
            raise AccountAlreadyExists(f"email {account.email} is taken")
        sealed = EMAIL_CODEC.seal(email_key, EmailRecord(account.canonical_id))
        state.txn.put(Table.EMAILS, email_key, sealed)
    state.txn.put(Table.ACCOUNTS, key, ACCOUNT_CODEC.seal(key, account))
    return account


def delete_account(state: ApplyState, command: DeleteAccount) -> None:
    """Removes an account that owns no bucket, with its keys, identities and policies."""
    account = read_account(state.txn, command.canonical_id)
    if account is None:
        raise NoSuchAccount(f"no account {command.canonical_id!r}")
    if owns_buckets(state.txn, account.canonical_id):
        raise BucketNotEmpty(f"account {account.canonical_id} still owns buckets")
    for access_key_id in list(iterate_access_key_ids(state.txn, account.canonical_id)):
        _delete_key_rows(state, account.canonical_id, access_key_id)
    delete_identities_of(state, account.canonical_id)
    if account.email:
        state.txn.delete(Table.EMAILS, account.email.lower().encode())
    state.txn.delete(Table.ACCOUNTS, account.canonical_id.encode())


def put_access_key(state: ApplyState, command: PutAccessKey) -> AccessKeyRecord:
    """Adds a key to an account or to a user of it; the access key id must be free."""
    record = command.access_key
    if read_account(state.txn, record.canonical_id) is None:
        raise NoSuchAccount(f"no account {record.canonical_id!r}")
    user = record.user_name
    if user and read_identity(state.txn, record.canonical_id, IdentityKind.USER, user) is None:
        raise NoSuchIdentity(f"The user with name {user} cannot be found.")
    key = name_key(record.access_key_id)
    if state.txn.get(Table.ACCESS_KEYS, key) is not None:
        raise AccountAlreadyExists(f"access key {record.access_key_id} is taken")
    state.txn.put(Table.ACCESS_KEYS, key, ACCESS_KEY_CODEC.seal(key, record))
    index = owner_key(record.canonical_id, record.access_key_id)
    state.txn.put(Table.ACCOUNT_KEYS, index, INDEX_CODEC.seal(index, IndexRecord()))
    return record


def set_access_key_status(state: ApplyState, command: SetAccessKeyStatus) -> AccessKeyRecord:
    """Activates or deactivates a key."""
    found = _existing_key(state, command.access_key_id)
    return _put_key(state, msgspec.structs.replace(found, status=command.status))


def seal_access_key(state: ApplyState, command: SealAccessKey) -> AccessKeyRecord:
    """Puts a wrapped secret in the place of the plain one, or of one wrapped otherwise."""
    found = _existing_key(state, command.access_key_id)
    if found.sealed != command.expected:
        return found
    return _put_key(state, msgspec.structs.replace(found, secret="", sealed=command.sealed))


def note_key_uses(state: ApplyState, command: NoteKeyUses) -> None:
    """Notes the uses that are later than those known."""
    for use in command.uses:
        found = read_access_key(state.txn, use.access_key_id)
        if found is not None and use.used_ms > found.used_ms:
            changes = {"used_service": use.service, "used_region": use.region}
            _put_key(state, msgspec.structs.replace(found, used_ms=use.used_ms, **changes))


def delete_access_key(state: ApplyState, command: DeleteAccessKey) -> None:
    """Removes a key."""
    record = _existing_key(state, command.access_key_id)
    _delete_key_rows(state, record.canonical_id, record.access_key_id)


def _put_key(state: ApplyState, record: AccessKeyRecord) -> AccessKeyRecord:
    key = record.access_key_id.encode()
    state.txn.put(Table.ACCESS_KEYS, key, ACCESS_KEY_CODEC.seal(key, record))
    return record


def _existing_key(state: ApplyState, access_key_id: str) -> AccessKeyRecord:
    record = read_access_key(state.txn, access_key_id)
    if record is None:
        raise NoSuchAccount(f"no access key {access_key_id!r}")
    return record


def _delete_key_rows(state: ApplyState, canonical_id: str, access_key_id: str) -> None:
    state.txn.delete(Table.ACCESS_KEYS, access_key_id.encode())
    state.txn.delete(Table.ACCOUNT_KEYS, owner_key(canonical_id, access_key_id))
