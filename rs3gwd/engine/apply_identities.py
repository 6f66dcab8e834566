"""The commands of users, groups, roles and managed policies.

What an identity names (groups, policies, a boundary) exists, and what is named is not removed. A
change carries the revision that it was made from; another one means that somebody was faster.

What it is not: it does not know what a policy says, what a name may look like or how many there may
be; the proposer does (`rs3gwd.iam.identities`).
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.commands import (
    DeleteIdentity,
    DeleteManagedPolicy,
    PutIdentity,
    PutManagedPolicy,
    RenameIdentity,
)
from rs3gwd.base.errors import (
    IdentityAlreadyExists,
    IdentityChanged,
    IdentityInUse,
    NoSuchAccount,
    NoSuchIdentity,
)
from rs3gwd.base.identities import (
    IdentityKind,
    IdentityRecord,
    PolicyRecord,
    policy_name_of,
)
from rs3gwd.engine.accounts import list_access_keys, read_account
from rs3gwd.engine.apply_state import ApplyState, name_key
from rs3gwd.engine.identities import (
    list_identities,
    list_policies,
    read_identity,
    read_policy,
)
from rs3gwd.engine.tables import (
    ACCESS_KEY_CODEC,
    IDENTITY_CODEC,
    POLICY_CODEC,
    Table,
    identity_key,
    owner_key,
)


def put_identity(state: ApplyState, command: PutIdentity) -> IdentityRecord:
    """Makes or changes a user, group or role."""
    record = command.identity
    if read_account(state.txn, record.canonical_id) is None:
        raise NoSuchAccount(f"no account {record.canonical_id!r}")
    found = read_identity(state.txn, record.canonical_id, record.kind, record.name)
    _check_revision(found, command.expected_revision, f"{record.kind} {record.name}")
    for group in record.groups:
        if read_identity(state.txn, record.canonical_id, IdentityKind.GROUP, group) is None:
            raise NoSuchIdentity(f"The group with name {group} cannot be found.")
    for arn in (*record.attached, *filter(None, [record.boundary])):
        name = policy_name_of(arn)
        if name is not None and read_policy(state.txn, record.canonical_id, name) is None:
            raise NoSuchIdentity(f"Policy {arn} does not exist or is not attachable.")
    record = msgspec.structs.replace(record, revision=command.expected_revision + 1)
    key = _identity_row(record)
    state.txn.put(Table.IDENTITIES, key, IDENTITY_CODEC.seal(key, record))
    return record


def rename_identity(state: ApplyState, command: RenameIdentity) -> IdentityRecord:
    """Moves a user or group to another name, with the keys that are its and who is in it."""
    canonical_id, kind, name = command.canonical_id, command.kind, command.name
    found = read_identity(state.txn, canonical_id, kind, name)
    if found is None:
        raise NoSuchIdentity(f"The {kind} {name} cannot be found.")
    _check_revision(found, command.expected_revision, f"{kind} {name}")
    is_other = command.new_name.lower() != found.name.lower()
    if is_other and read_identity(state.txn, canonical_id, kind, command.new_name) is not None:
        raise IdentityAlreadyExists(f"{kind.title()} {command.new_name} already exists.")
    record = msgspec.structs.replace(
        found, name=command.new_name, path=command.new_path, revision=found.revision + 1
    )
    state.txn.delete(Table.IDENTITIES, _identity_row(found))
    key = _identity_row(record)
    state.txn.put(Table.IDENTITIES, key, IDENTITY_CODEC.seal(key, record))
    if kind is IdentityKind.USER:
        _rename_keys(state, canonical_id, found.name, record.name)
    else:
        _rename_memberships(state, canonical_id, found.name, record.name)
    return record


def _rename_keys(state: ApplyState, canonical_id: str, old: str, new: str) -> None:
    for access_key in list_access_keys(state.txn, canonical_id):
        if access_key.user_name == old:
            changed = msgspec.structs.replace(access_key, user_name=new)
            key = changed.access_key_id.encode()
            state.txn.put(Table.ACCESS_KEYS, key, ACCESS_KEY_CODEC.seal(key, changed))


def _rename_memberships(state: ApplyState, canonical_id: str, old: str, new: str) -> None:
    for user in list_identities(state.txn, canonical_id, IdentityKind.USER):
        if old in user.groups:
            groups = [new if each == old else each for each in user.groups]
            changed = msgspec.structs.replace(user, groups=groups, revision=user.revision + 1)
            key = _identity_row(changed)
            state.txn.put(Table.IDENTITIES, key, IDENTITY_CODEC.seal(key, changed))


def delete_identity(state: ApplyState, command: DeleteIdentity) -> None:
    """Removes a user, group or role that nothing hangs on any more."""
    canonical_id, kind, name = command.canonical_id, command.kind, command.name
    record = read_identity(state.txn, canonical_id, kind, name)
    if record is None:
        raise NoSuchIdentity(f"The {kind} with name {name} cannot be found.")
    if record.attached:
        raise IdentityInUse("Cannot delete entity, must detach all policies first.")
    if record.inline:
        raise IdentityInUse("Cannot delete entity, must delete policies first.")
    if record.groups:
        raise IdentityInUse("Cannot delete entity, must remove users from group first.")
    if kind is IdentityKind.USER and any(
        key.user_name == record.name for key in list_access_keys(state.txn, canonical_id)
    ):
        raise IdentityInUse("Cannot delete entity, must delete access keys first.")
    if kind is IdentityKind.GROUP and any(
        record.name in user.groups
        for user in list_identities(state.txn, canonical_id, IdentityKind.USER)
    ):
        raise IdentityInUse("Cannot delete entity, must remove users from group first.")
    state.txn.delete(Table.IDENTITIES, _identity_row(record))


def put_managed_policy(state: ApplyState, command: PutManagedPolicy) -> PolicyRecord:
    """Makes or changes a managed policy."""
    record = command.policy
    if read_account(state.txn, record.canonical_id) is None:
        raise NoSuchAccount(f"no account {record.canonical_id!r}")
    found = read_policy(state.txn, record.canonical_id, record.name)
    _check_revision(found, command.expected_revision, f"policy {record.name}")
    record = msgspec.structs.replace(record, revision=command.expected_revision + 1)
    key = _policy_row(record)
    state.txn.put(Table.POLICIES, key, POLICY_CODEC.seal(key, record))
    return record


def delete_managed_policy(state: ApplyState, command: DeleteManagedPolicy) -> None:
    """Removes a managed policy that nobody has any more and that has one version."""
    record = read_policy(state.txn, command.canonical_id, command.name)
    if record is None:
        raise NoSuchIdentity(f"Policy {command.name} was not found.")
    for kind in IdentityKind:
        for identity in list_identities(state.txn, command.canonical_id, kind):
            named = [policy_name_of(arn) for arn in (*identity.attached, identity.boundary)]
            if record.name.lower() in {name.lower() for name in named if name}:
                raise IdentityInUse("Cannot delete a policy attached to entities.")
    if len(record.versions) > 1:
        raise IdentityInUse(
            "This policy has more than one version. Before you delete a policy, you must delete "
            "the policy's versions."
        )
    state.txn.delete(Table.POLICIES, _policy_row(record))


def delete_identities_of(state: ApplyState, canonical_id: str) -> None:
    """Removes all identities and policies of an account that is being removed."""
    for kind in IdentityKind:
        for identity in list_identities(state.txn, canonical_id, kind):
            state.txn.delete(Table.IDENTITIES, _identity_row(identity))
    for policy in list_policies(state.txn, canonical_id):
        state.txn.delete(Table.POLICIES, _policy_row(policy))


def _check_revision(found: IdentityRecord | PolicyRecord | None, expected: int, what: str) -> None:
    if expected == 0:
        if found is not None:
            raise IdentityAlreadyExists(f"{what[0].upper()}{what[1:]} already exists.")
    elif found is None:
        raise NoSuchIdentity(f"The {what} cannot be found.")
    elif found.revision != expected:
        raise IdentityChanged(f"The {what} was changed by another request; try again.")


def _identity_row(record: IdentityRecord) -> bytes:
    return name_key(identity_key(record.canonical_id, record.kind, record.name).decode())


def _policy_row(record: PolicyRecord) -> bytes:
    return name_key(owner_key(record.canonical_id, record.name.lower()).decode())
