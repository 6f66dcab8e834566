"""Users, groups, roles and policies in the metadata, on the engine and on the model alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from rs3gwd.base import commands
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
    InlinePolicy,
    PolicyRecord,
    PolicyVersion,
)
from rs3gwd.base.ports import KeyHolder
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus, AccountRecord
from rs3gwd.engine import accounts, identities
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.verify import verify_metadata
from rs3gwd.testing.directory import MemoryDirectory
from rs3gwd.testing.memory_commands import apply_command
from rs3gwd.testing.memory_state import MemoryState

A, B = "a" * 64, "b" * 64
ARN = "arn:aws:iam::111111111111:policy/team/Read"
SHARED = "arn:aws:iam::aws:policy/AdministratorAccess"
USER, GROUP, ROLE = IdentityKind.USER, IdentityKind.GROUP, IdentityKind.ROLE


class Place:
    """A store of identities: what applies commands, and what answers look-ups."""

    def __init__(self, apply: Callable[[Any], Any], directory: Any) -> None:
        self.apply = apply
        self.directory = directory
        for canonical_id in (A, B):
            apply(commands.PutAccount(account=AccountRecord(canonical_id, "x", "", 1)))

    def put(self, record: IdentityRecord, revision: int = 0) -> IdentityRecord:
        """Puts an identity."""
        found: IdentityRecord = self.apply(
            commands.PutIdentity(identity=record, expected_revision=revision)
        )
        return found

    def policy(self, versions: int = 1, revision: int = 0) -> PolicyRecord:
        """Puts the policy `Read` of A with some versions."""
        listed = [PolicyVersion(number, b"{}", 1) for number in range(1, versions + 1)]
        record = PolicyRecord(A, "Read", "/team/", "ANPA", 1, 1, listed, 1, versions)
        found: PolicyRecord = self.apply(
            commands.PutManagedPolicy(policy=record, expected_revision=revision)
        )
        return found

    def delete(self, kind: IdentityKind, name: str) -> None:
        """Removes an identity of A."""
        self.apply(commands.DeleteIdentity(canonical_id=A, kind=kind, name=name))


class EngineDirectory:
    """The reads of the engine over one transaction."""

    def __init__(self, txn: Any) -> None:
        self._txn = txn

    def identity(self, *given: Any) -> IdentityRecord | None:
        return identities.read_identity(self._txn, *given)

    def identities(self, *given: Any) -> list[IdentityRecord]:
        return identities.list_identities(self._txn, *given)

    def policy(self, *given: Any) -> PolicyRecord | None:
        return identities.read_policy(self._txn, *given)

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        return accounts.read_access_key(self._txn, access_key_id)

    def key_holder(self, access_key_id: str) -> KeyHolder | None:
        return accounts.read_key_holder(self._txn, access_key_id)

    def policies(self, *given: Any) -> list[PolicyRecord]:
        return identities.list_policies(self._txn, *given)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("identities") / "meta"))
    yield opened
    opened.close()


@pytest.fixture(params=["engine", "model"])
def place(request: pytest.FixtureRequest, env: Environment) -> Iterator[Place]:
    if request.param == "model":
        state = MemoryState()
        yield Place(lambda command: apply_command(state, command), MemoryDirectory(state))
        return
    txn = env.write()
    applier = Applier(txn)
    yield Place(lambda command: applier.apply(command).result, EngineDirectory(txn))
    applier.finish()
    findings = list(verify_metadata(txn))
    txn.abort()
    assert findings == []


def user(name: str = "Bob", **fields: Any) -> IdentityRecord:
    """A user of A."""
    return IdentityRecord(A, USER, name, "/", f"AIDA{name}", 1, **fields)


def group(name: str = "Staff") -> IdentityRecord:
    """A group of A."""
    return IdentityRecord(A, GROUP, name, "/", f"AGPA{name}", 1)


def test_names_ignore_case_and_kinds_do_not_meet(place: Place) -> None:
    """`bob` finds the user `Bob`; a group and a user may share a name."""
    place.put(user())
    place.put(group("Bob"))
    found = place.directory.identity(A, USER, "bOB")
    assert found is not None
    assert found.name == "Bob"
    assert place.directory.identity(A, ROLE, "bob") is None
    assert place.directory.identity(B, USER, "bob") is None
    assert place.directory.identity(A, USER, "b" * 400) is None
    with pytest.raises(IdentityAlreadyExists):
        place.put(user("BOB"))
    place.put(user("al"))
    assert [each.name for each in place.directory.identities(A, USER)] == ["al", "Bob"]
    assert place.directory.identities(B, USER) == []


def test_of_two_changes_made_from_one_revision_one_is_refused(place: Place) -> None:
    """Compare and swap: a change says which revision it was made from."""
    first = place.put(user())
    assert first.revision == 1
    second = place.put(replace(first, path="/a/"), revision=1)
    assert second.revision == 2
    with pytest.raises(IdentityChanged):
        place.put(replace(first, path="/b/"), revision=1)
    assert place.directory.identity(A, USER, "bob") == second
    with pytest.raises(NoSuchIdentity):
        place.put(user("nobody"), revision=1)
    assert place.policy().revision == 1
    with pytest.raises(IdentityAlreadyExists):
        place.policy()
    with pytest.raises(IdentityChanged):
        place.policy(revision=2)


def test_what_an_identity_names_exists(place: Place) -> None:
    """Groups, policies and boundaries, but for the policies that every account has."""
    for fields in ({"groups": ["Staff"]}, {"attached": [ARN]}, {"boundary": ARN}):
        with pytest.raises(NoSuchIdentity):
            place.put(user(**fields))
    place.policy()
    place.put(group())
    full = user(groups=["Staff"], attached=[ARN, SHARED], boundary=SHARED)
    assert place.put(full).attached == [ARN, SHARED]
    with pytest.raises(NoSuchAccount):
        place.put(replace(user(), canonical_id="c" * 64))


def test_what_hangs_on_something_keeps_it(place: Place) -> None:
    """Policies, keys and members are taken off first."""
    place.policy(versions=2)
    place.put(group())
    record = place.put(user(groups=["Staff"], attached=[ARN], inline=[InlinePolicy("own", b"{}")]))
    key = AccessKeyRecord("AKIAUSER", "secret", A, 1, user_name="Bob")
    place.apply(commands.PutAccessKey(access_key=key))
    drop_policy = commands.DeleteManagedPolicy(canonical_id=A, name="read")
    for kind, name in ((USER, "Bob"), (GROUP, "Staff")):
        with pytest.raises(IdentityInUse):
            place.delete(kind, name)
    with pytest.raises(IdentityInUse):
        place.apply(drop_policy)
    for change in ({"groups": []}, {"attached": []}, {"inline": []}):
        record = place.put(replace(record, **change), revision=record.revision)
        with pytest.raises(IdentityInUse):
            place.delete(USER, "Bob")
    place.apply(commands.DeleteAccessKey(access_key_id="AKIAUSER"))
    place.delete(USER, "bob")
    place.delete(GROUP, "staff")
    with pytest.raises(IdentityInUse):
        place.apply(drop_policy)
    place.policy(revision=1)
    place.apply(drop_policy)
    assert place.directory.policies(A) == []
    for missing in (drop_policy, commands.DeleteIdentity(canonical_id=A, kind=USER, name="Bob")):
        with pytest.raises(NoSuchIdentity):
            place.apply(missing)


def test_a_key_of_a_user_needs_the_user(place: Place) -> None:
    """No key can be made for a user who is not there."""
    key = AccessKeyRecord("AKIAUSER", "secret", A, 1, user_name="Bob")
    with pytest.raises(NoSuchIdentity):
        place.apply(commands.PutAccessKey(access_key=key))
    place.put(user())
    assert place.apply(commands.PutAccessKey(access_key=key)) == key


def test_an_account_takes_its_identities_along(place: Place) -> None:
    """And leaves those of others."""
    place.policy()
    place.put(user(attached=[ARN]))
    place.put(replace(user(), canonical_id=B))
    place.apply(commands.DeleteAccount(canonical_id=A))
    assert place.directory.identities(A, USER) == []
    assert place.directory.policies(A) == []
    assert len(place.directory.identities(B, USER)) == 1


def test_a_renamed_user_keeps_keys_and_a_renamed_group_its_members(place: Place) -> None:
    """Under any case of the new name, and the old one is free; a taken one is refused."""
    place.put(group())
    bob = place.put(user(groups=["Staff"]))
    key = AccessKeyRecord("AKIAUSER", "secret", A, 1, user_name="Bob")
    place.apply(commands.PutAccessKey(access_key=key))
    place.put(replace(user(), name="Carol"))
    rename = commands.RenameIdentity(A, USER, "bob", "Carol", "/", bob.revision)
    with pytest.raises(IdentityAlreadyExists):
        place.apply(rename)
    with pytest.raises(IdentityChanged):
        place.apply(replace(rename, new_name="Dora", expected_revision=7))
    moved = place.apply(replace(rename, new_name="Dora", new_path="/x/"))
    assert (moved.name, moved.path, moved.revision) == ("Dora", "/x/", bob.revision + 1)
    assert place.directory.identity(A, USER, "BOB") is None
    assert place.directory.identity(A, USER, "dora") == moved
    assert place.directory.access_key("AKIAUSER").user_name == "Dora"
    place.apply(commands.RenameIdentity(A, GROUP, "Staff", "Crew", "/", 1))
    assert place.directory.identity(A, USER, "Dora").groups == ["Crew"]
    again = commands.RenameIdentity(A, GROUP, "crew", "CREW", "/", 2)
    assert place.apply(again).name == "CREW"
    with pytest.raises(NoSuchIdentity):
        place.apply(replace(again, name="Staff"))


def test_the_holder_of_a_key_is_whoever_it_is_of_now(place: Place) -> None:
    """Key, account and user in one look-up, which sees every change of any of them."""
    holder_of = place.directory.key_holder
    place.put(user())
    assert holder_of("AKIAUSER") is None
    place.apply(commands.PutAccessKey(AccessKeyRecord("AKIAUSER", "secret", A, 1, user_name="bob")))
    place.apply(commands.PutAccessKey(AccessKeyRecord("AKIAROOT", "secret", A, 1)))
    assert holder_of("AKIAUSER").user == place.directory.identity(A, USER, "Bob")
    assert holder_of("AKIAROOT").user is None
    for key_id in ("AKIAUSER", "AKIAROOT"):
        assert holder_of(key_id).key == place.directory.access_key(key_id)
        assert holder_of(key_id).account.canonical_id == A
        place.apply(commands.SetAccessKeyStatus(key_id, AccessKeyStatus.INACTIVE))
        assert holder_of(key_id).key.status is AccessKeyStatus.INACTIVE
        place.apply(commands.DeleteAccessKey(key_id))
        assert holder_of(key_id) is None


def test_a_secret_is_wrapped_once_and_a_use_is_noted_when_it_is_later(place: Place) -> None:
    """Whoever knew another secret changes nothing; neither does an older use, nor one of nobody."""
    key = AccessKeyRecord("AKIAROOT", "secret", A, 1)
    place.apply(commands.PutAccessKey(access_key=key))
    sealed = place.apply(commands.SealAccessKey("AKIAROOT", b"one"))
    assert (sealed.secret, sealed.sealed) == ("", b"one")
    assert place.apply(commands.SealAccessKey("AKIAROOT", b"two")).sealed == b"one"
    assert place.apply(commands.SealAccessKey("AKIAROOT", b"two", b"one")).sealed == b"two"
    with pytest.raises(NoSuchAccount):
        place.apply(commands.SealAccessKey("AKIANOBODY", b"one"))
    for used_ms, service in ((5, "s3"), (4, "iam")):
        use = commands.KeyUse("AKIAROOT", used_ms, service, "us-east-1")
        place.apply(commands.NoteKeyUses([replace(use, access_key_id="AKIANOBODY"), use]))
    found = place.directory.access_key("AKIAROOT")
    assert (found.used_ms, found.used_service, found.used_region) == (5, "s3", "us-east-1")
