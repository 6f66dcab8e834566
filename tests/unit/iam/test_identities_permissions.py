"""What a user may by their own policies: what is kept, and when it is made anew."""

from msgspec.structs import replace

from rs3gwd.base.identities import IdentityKind, IdentityRecord, InlinePolicy
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus, AccountRecord
from rs3gwd.iam.identities.permissions import PermissionCache
from rs3gwd.iam.identities.shared_policies import SHARED_POLICIES
from rs3gwd.iam.policy.context import Access, CallerKind, no_keys
from rs3gwd.iam.policy.document import MANAGED_CHARACTERS_MAX, PolicyKind
from rs3gwd.iam.policy.evaluate import Policies, evaluate
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.signers import principal_of
from rs3gwd.testing.directory import MemoryDirectory
from rs3gwd.testing.memory_state import MemoryState

ALICE = AccountRecord("a" * 64, "alice", "", 0)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
BOB = IdentityRecord(ALICE.canonical_id, IdentityKind.USER, "bob", "/", "AIDABOB", 1)


def directory_of(*records: IdentityRecord) -> tuple[MemoryState, MemoryDirectory]:
    """A directory with alice's account and some identities of it."""
    state = MemoryState()
    state.accounts[ALICE.canonical_id] = ALICE
    for record in records:
        state.identities[record.canonical_id, record.kind, record.name.lower()] = record
    return state, MemoryDirectory(state)


def may(cache: PermissionCache, directory: MemoryDirectory, user: IdentityRecord) -> bool:
    """Whether a user may read an object of the account."""
    own = cache.of(Principal(ALICE, "AKIA", user), directory)
    account = own.caller.account_id
    asked = Access(own.caller, "s3:GetObject", "arn:aws:s3:::b/k", account, no_keys)
    return evaluate(asked, Policies(identity=own.identity, boundary=own.boundary)).is_allowed


def test_nobody_is_root_by_mistake() -> None:
    """A user without policies may nothing; the account's own key everything; nobody nothing."""
    _, directory = directory_of(BOB)
    cache = PermissionCache()
    assert not may(cache, directory, BOB)
    root = cache.of(Principal(ALICE, "AKIA"), directory)
    assert root.caller.kind is CallerKind.ROOT
    assert cache.of(Principal(ALICE, "AKIA"), directory) is root
    assert cache.of(Principal(None), directory).caller.kind is CallerKind.ANONYMOUS


def test_permissions_are_kept_until_what_they_are_made_of_changes() -> None:
    """The user's record, or that of a group."""
    member = replace(BOB, groups=["staff"])
    staff = IdentityRecord(ALICE.canonical_id, IdentityKind.GROUP, "staff", "/", "AGPA", 1)
    state, directory = directory_of(member, staff)
    cache = PermissionCache()
    first = cache.of(Principal(ALICE, "AKIA", member), directory)
    assert cache.of(Principal(ALICE, "AKIA", member), directory) is first
    place = (ALICE.canonical_id, IdentityKind.GROUP, "staff")
    state.identities[place] = replace(staff, attached=[ADMINISTRATOR])
    assert may(cache, directory, member)
    del state.identities[place]
    assert not may(cache, directory, member)
    assert may(cache, directory, replace(BOB, attached=[ADMINISTRATOR]))
    assert not may(cache, directory, BOB)


def test_a_missing_policy_gives_nothing_and_a_missing_boundary_permits_nothing() -> None:
    """What cannot be found never widens anything."""
    own = "arn:aws:iam::111111111111:policy/gone"
    _, directory = directory_of(BOB)
    cache = PermissionCache()
    assert not may(cache, directory, replace(BOB, attached=[own]))
    bounded = replace(BOB, attached=[ADMINISTRATOR], boundary=own)
    assert not may(cache, directory, bounded)
    assert may(cache, directory, replace(bounded, boundary=ADMINISTRATOR))


def test_inline_policies_count() -> None:
    """Those of the user."""
    _, directory = directory_of(BOB)
    document = SHARED_POLICIES["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
    inline = replace(BOB, inline=[InlinePolicy("own", document)])
    assert may(PermissionCache(), directory, inline)


def test_a_key_of_a_user_who_is_gone_stands_for_nobody() -> None:
    """Neither for the account, nor for a user of the same name in another."""
    state, directory = directory_of(BOB)
    key = AccessKeyRecord("AKIA", "secret", ALICE.canonical_id, 0, user_name="bob")
    state.access_keys["AKIA"] = key
    found = principal_of(directory.key_holder("AKIA"))
    assert found is not None
    assert found.user == BOB
    state.identities.clear()
    assert principal_of(directory.key_holder("AKIA")) is None
    state.access_keys["AKIA"] = whole = replace(key, user_name="")
    assert principal_of(directory.key_holder("AKIA")) == Principal(ALICE, "AKIA")
    state.access_keys["AKIA"] = replace(whole, status=AccessKeyStatus.INACTIVE)
    assert principal_of(directory.key_holder("AKIA")) is None
    assert principal_of(directory.key_holder("none")) is None


def test_the_shared_policies_are_sound() -> None:
    """Each is a document that a user could have been given."""
    for document in SHARED_POLICIES.values():
        read_policy(document, PolicyKind.IDENTITY, characters_max=MANAGED_CHARACTERS_MAX)
