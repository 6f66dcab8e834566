"""Users, groups, roles and managed policies in the reference model."""

from __future__ import annotations

import msgspec

from rs3gwd.base import commands as c
from rs3gwd.base.errors import (
    IdentityAlreadyExists,
    IdentityChanged,
    IdentityInUse,
    NoSuchAccount,
    NoSuchIdentity,
)
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord, policy_name_of
from rs3gwd.base.records import AccessKeyRecord
from rs3gwd.testing.memory_state import MemoryState


def put_identity(state: MemoryState, command: c.PutIdentity) -> IdentityRecord:
    """Makes or changes one whose groups, policies and boundary exist."""
    record = command.identity
    account = record.canonical_id
    if account not in state.accounts:
        raise NoSuchAccount("no such account")
    place = (account, record.kind, record.name.lower())
    _check_revision(state.identities.get(place), command.expected_revision)
    if any((account, IdentityKind.GROUP, g.lower()) not in state.identities for g in record.groups):
        raise NoSuchIdentity("no such group")
    named = [policy_name_of(arn) for arn in (*record.attached, record.boundary) if arn]
    if any((account, name.lower()) not in state.policies for name in named if name is not None):
        raise NoSuchIdentity("no such policy")
    changed = msgspec.structs.replace(record, revision=command.expected_revision + 1)
    state.identities[place] = changed
    return changed


def rename_identity(state: MemoryState, command: c.RenameIdentity) -> IdentityRecord:
    """Moves a user or group to another name."""
    account, kind = command.canonical_id, command.kind
    old, new = command.name.lower(), command.new_name.lower()
    found = state.identities.get((account, kind, old))
    if found is None:
        raise NoSuchIdentity("it does not exist")
    _check_revision(found, command.expected_revision)
    if new != old and (account, kind, new) in state.identities:
        raise IdentityAlreadyExists("the name is taken")
    del state.identities[account, kind, old]
    renamed = msgspec.structs.replace(
        found, name=command.new_name, path=command.new_path, revision=found.revision + 1
    )
    state.identities[account, kind, new] = renamed
    if kind is IdentityKind.USER:
        for key in list(state.access_keys.values()):
            if (key.canonical_id, key.user_name) == (account, found.name):
                moved = msgspec.structs.replace(key, user_name=renamed.name)
                state.access_keys[key.access_key_id] = moved
        return renamed
    for place, user in list(state.identities.items()):
        if user.canonical_id == account and found.name in user.groups:
            groups = [renamed.name if name == found.name else name for name in user.groups]
            state.identities[place] = msgspec.structs.replace(
                user, groups=groups, revision=user.revision + 1
            )
    return renamed


def seal_access_key(state: MemoryState, command: c.SealAccessKey) -> AccessKeyRecord:
    """Puts a wrapped secret in the place of the one that was expected."""
    found = state.access_keys.get(command.access_key_id)
    if found is None:
        raise NoSuchAccount("no such access key")
    if found.sealed == command.expected:
        found = msgspec.structs.replace(found, secret="", sealed=command.sealed)
        state.access_keys[command.access_key_id] = found
    return found


def note_key_uses(state: MemoryState, command: c.NoteKeyUses) -> None:
    """Notes later uses of keys that are there."""
    for use in command.uses:
        found = state.access_keys.get(use.access_key_id)
        if found is not None and use.used_ms > found.used_ms:
            state.access_keys[use.access_key_id] = msgspec.structs.replace(
                found,
                used_ms=use.used_ms,
                used_service=use.service,
                used_region=use.region,
            )


def delete_identity(state: MemoryState, command: c.DeleteIdentity) -> None:
    """Removes one that has nothing and that nothing is in."""
    account, kind = command.canonical_id, command.kind
    record = state.identities.get((account, kind, command.name.lower()))
    if record is None:
        raise NoSuchIdentity("no such identity")
    keys = [
        key
        for key in state.access_keys.values()
        if (key.canonical_id, key.user_name) == (account, record.name)
    ]
    members = [
        user
        for user in state.identities.values()
        if user.canonical_id == account and record.name in user.groups
    ]
    has_keys = kind is IdentityKind.USER and keys
    has_members = kind is IdentityKind.GROUP and members
    if record.attached or record.inline or record.groups or has_keys or has_members:
        raise IdentityInUse("something hangs on it")
    del state.identities[account, kind, record.name.lower()]


def put_managed_policy(state: MemoryState, command: c.PutManagedPolicy) -> PolicyRecord:
    """Makes or changes one."""
    record = command.policy
    if record.canonical_id not in state.accounts:
        raise NoSuchAccount("no such account")
    place = (record.canonical_id, record.name.lower())
    _check_revision(state.policies.get(place), command.expected_revision)
    changed = msgspec.structs.replace(record, revision=command.expected_revision + 1)
    state.policies[place] = changed
    return changed


def delete_managed_policy(state: MemoryState, command: c.DeleteManagedPolicy) -> None:
    """Removes one with a single version that nobody has."""
    place = (command.canonical_id, command.name.lower())
    record = state.policies.get(place)
    if record is None:
        raise NoSuchIdentity("no such policy")
    for identity in state.identities.values():
        if identity.canonical_id != record.canonical_id:
            continue
        named = [policy_name_of(arn) for arn in (*identity.attached, identity.boundary) if arn]
        if record.name.lower() in [name.lower() for name in named if name]:
            raise IdentityInUse("somebody has it")
    if len(record.versions) > 1:
        raise IdentityInUse("it has several versions")
    del state.policies[place]


def delete_identities_of(state: MemoryState, canonical_id: str) -> None:
    """Removes everything of an account that is being removed."""
    for place in [each for each in state.identities if each[0] == canonical_id]:
        del state.identities[place]
    for named in [each for each in state.policies if each[0] == canonical_id]:
        del state.policies[named]


def _check_revision(found: IdentityRecord | PolicyRecord | None, expected: int) -> None:
    if expected == 0 and found is not None:
        raise IdentityAlreadyExists("it exists")
    if expected and found is None:
        raise NoSuchIdentity("it does not exist")
    if expected and found is not None and found.revision != expected:
        raise IdentityChanged("somebody was faster")
