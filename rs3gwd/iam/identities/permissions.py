"""What the identity behind a request may do by its own policies: compiled once, kept while true.

    user -> inline policies and attached ones, those of the user's groups, the boundary
    role -> inline policies and attached ones, the boundary
    session -> what its user or role may, and the policies that it was made with

What is kept names the records it was made of, and is used while the directory still gives those
same records; a change of any of them, through any node or worker, is seen by the next request. An
attached policy that cannot be found gives nothing, and a boundary that cannot be found permits
nothing.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.identities import (
    SHARED_POLICY_ARN,
    IdentityKind,
    IdentityRecord,
    PolicyRecord,
    policy_name_of,
)
from rs3gwd.base.ports import Directory
from rs3gwd.iam.identities.arns import account_id_of, identity_arn
from rs3gwd.iam.identities.shared_policies import SHARED_POLICIES
from rs3gwd.iam.policy.context import ANONYMOUS, Caller, CallerKind, root_caller
from rs3gwd.iam.policy.document import ROLE_INLINE_CHARACTERS_MAX, PolicyKind
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.statements import CompiledPolicy
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.sessions.session import Session, SessionKind

KEPT_MAX = 1024
"""Users and roles whose permissions are kept, and as many sessions, some tens of KiB each at most;
beyond it all are dropped."""

_NOTHING = (
    b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"*","Resource":"*"}]}'
)
"""The boundary in the place of one that is missing: it permits no action."""

_EVERYTHING = f"{SHARED_POLICY_ARN}AdministratorAccess"

Source = IdentityRecord | PolicyRecord | None


class Permissions(Struct, frozen=True):
    """Who asks, as policies see it, and the policies of that identity."""

    caller: Caller
    identity: tuple[CompiledPolicy, ...] = ()
    boundary: CompiledPolicy | None = None
    session: tuple[CompiledPolicy, ...] | None = None


class _Kept(Struct, frozen=True):
    """Permissions, and every record that they were made of, in the order of looking up."""

    permissions: Permissions
    sources: tuple[Source, ...]


class _KeptSession(Struct, frozen=True):
    """Permissions of a session, what its user or role may, and the managed session policies."""

    permissions: Permissions
    base: Permissions
    sources: tuple[Source, ...]


class PermissionCache:
    """The permissions of those who asked lately. Belongs to the event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._roots: dict[str, Permissions] = {}
        self._sessions: dict[str, _KeptSession] = {}

    def of(self, principal: Principal, directory: Directory) -> Permissions:
        """What the directory says now. Raises ApiError when a stored policy cannot be read."""
        if principal.account is None:
            return _ANONYMOUS
        holder = principal.user or principal.role
        if holder is None:
            base = self._root(principal.account.canonical_id)
        else:
            base = self._of_identity(holder, directory)
        if principal.session is None:
            return base
        return self._of_session(principal, principal.session, base, directory)

    def _of_identity(self, holder: IdentityRecord, directory: Directory) -> Permissions:
        kept = self._kept.get(holder.unique_id)
        if kept is not None and _is_current(kept, holder, directory):
            return kept.permissions
        kept = _make(holder, directory)
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        self._kept[holder.unique_id] = kept
        return kept.permissions

    def _of_session(
        self, principal: Principal, session: Session, base: Permissions, directory: Directory
    ) -> Permissions:
        kept = self._sessions.get(session.access_key_id)
        if kept is not None and kept.base is base:
            now = _session_sources(session, directory)
            if all(
                one is other or one == other for one, other in zip(kept.sources, now, strict=True)
            ):
                return kept.permissions
        kept = _make_session(principal, session, base, directory)
        if len(self._sessions) >= KEPT_MAX:
            self._sessions.clear()
        self._sessions[session.access_key_id] = kept
        return kept.permissions

    def _root(self, canonical_id: str) -> Permissions:
        found = self._roots.get(canonical_id)
        if found is None:
            if len(self._roots) >= KEPT_MAX:
                self._roots.clear()
            found = Permissions(root_caller(account_id_of(canonical_id), canonical_id))
            self._roots[canonical_id] = found
        return found


_ANONYMOUS = Permissions(ANONYMOUS)


def bare_permissions(principal: Principal) -> Permissions:
    """Who asks, without any policies of their own."""
    if principal.account is None:
        return _ANONYMOUS
    return Permissions(caller_of_principal(principal))


def caller_of_principal(principal: Principal) -> Caller:
    """Whoever signed, as policies see them; `principal` is not anonymous."""
    if principal.session is not None:
        return caller_of_session(principal, principal.session)
    if principal.user is not None:
        return caller_of(principal.user)
    return root_caller(account_id_of(principal.canonical_id), principal.canonical_id)


def _is_current(kept: _Kept, user: IdentityRecord, directory: Directory) -> bool:
    if kept.sources[0] is not user and kept.sources[0] != user:
        return False
    if len(kept.sources) == 1:
        return True
    now = _sources(user, directory)
    return all(one is other or one == other for one, other in zip(kept.sources, now, strict=False))


def _sources(user: IdentityRecord, directory: Directory) -> Iterator[Source]:
    """The user, the user's groups, and all managed policies of those, in a fixed order."""
    yield user
    holders = [user]
    for name in user.groups:
        group = directory.identity(user.canonical_id, IdentityKind.GROUP, name)
        yield group
        if group is not None:
            holders.append(group)
    for arn in (arn for holder in holders for arn in holder.attached):
        yield _managed(arn, user.canonical_id, directory)
    if user.boundary:
        yield _managed(user.boundary, user.canonical_id, directory)


def _managed(arn: str, canonical_id: str, directory: Directory) -> PolicyRecord | None:
    name = policy_name_of(arn) if arn else None
    return None if name is None else directory.policy(canonical_id, name)


def _make(user: IdentityRecord, directory: Directory) -> _Kept:
    sources = tuple(_sources(user, directory))
    holders = [each for each in sources[: len(user.groups) + 1] if each is not None]
    compiled: list[CompiledPolicy] = []
    for holder in holders:
        assert isinstance(holder, IdentityRecord)
        for inline in holder.inline:
            name = f"{inline.name} of {holder.kind} {holder.name}"
            compiled.append(_compile(name, inline.document))
        for arn in holder.attached:
            document = managed_document(arn, user.canonical_id, directory)
            if document is not None:
                compiled.append(_compile(arn, document))
    boundary = None
    if user.boundary:
        document = managed_document(user.boundary, user.canonical_id, directory)
        boundary = _compile(user.boundary, _NOTHING if document is None else document)
    return _Kept(Permissions(caller_of(user), tuple(compiled), boundary), sources)


def _session_sources(session: Session, directory: Directory) -> list[Source]:
    return [_managed(arn, session.canonical_id, directory) for arn in session.policy_arns]


def _make_session(
    principal: Principal, session: Session, base: Permissions, directory: Directory
) -> _KeptSession:
    bounds: tuple[CompiledPolicy, ...] | None = None
    if session.has_policies:
        inline = [_compile("session policy", document) for document in session.policies]
        attached = [
            _compile(arn, managed_document(arn, session.canonical_id, directory) or _NOTHING)
            for arn in session.policy_arns
        ]
        bounds = (*inline, *attached)
    identity = base.identity
    if principal.is_federated and principal.user is None:
        # The root may do everything, and who is federated by it whatever the session's policy says.
        identity = (_compile("the account's root", SHARED_POLICIES[_EVERYTHING]),)
    permissions = Permissions(
        caller_of_session(principal, session), identity, base.boundary, bounds
    )
    return _KeptSession(permissions, base, tuple(_session_sources(session, directory)))


def managed_document(arn: str, canonical_id: str, directory: Directory) -> bytes | None:
    """The document in force of a managed policy, the account's own or a shared one."""
    policy = _managed(arn, canonical_id, directory)
    return SHARED_POLICIES.get(arn) if policy is None else policy.document


def caller_of(user: IdentityRecord) -> Caller:
    """A user as policies see it."""
    return Caller(
        kind=CallerKind.USER,
        account_id=account_id_of(user.canonical_id),
        canonical_id=user.canonical_id,
        arn=identity_arn(user.canonical_id, user.kind, user.path, user.name),
        unique_id=user.unique_id,
        user_id=user.unique_id,
        name=user.name,
        tags=tuple(user.tags),
    )


def caller_of_session(principal: Principal, session: Session) -> Caller:
    """A session as policies see it."""
    account_id = account_id_of(session.canonical_id)
    if session.kind is SessionKind.USER:
        whole = replace(principal, session=None)
        return replace(caller_of_principal(whole), token_issued_ms=session.issued_ms)
    caller = Caller(
        kind=CallerKind.FEDERATED,
        account_id=account_id,
        canonical_id=session.canonical_id,
        name=session.name,
        unique_id=session.holder_id,
        token_issued_ms=session.issued_ms,
        vouched_by=session.provider,
        source_identity=session.source_identity,
    )
    if principal.role is None:
        user = principal.user
        return replace(
            caller,
            arn=f"arn:aws:sts::{account_id}:federated-user/{session.name}",
            issuer_arn="" if user is None else caller_of(user).arn,
            user_id=f"{account_id}:{session.name}",
            tags=tuple(session.tags),
        )
    role = principal.role
    return replace(
        caller,
        kind=CallerKind.ROLE_SESSION,
        arn=f"arn:aws:sts::{account_id}:assumed-role/{role.name}/{session.name}",
        issuer_arn=identity_arn(role.canonical_id, role.kind, role.path, role.name),
        user_id=f"{role.unique_id}:{session.name}",
        tags=merged_tags(role.tags, session.tags),
    )


def merged_tags(
    own: Sequence[tuple[str, str]], further: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Tags with further ones, which take the place of those whose keys differ in case alone."""
    keys = {key.lower() for key, _ in further}
    return (*(pair for pair in own if pair[0].lower() not in keys), *further)


def _compile(name: str, document: bytes) -> CompiledPolicy:
    # What is stored was checked against its quota when it came; this is the largest of them.
    read = read_policy(document, PolicyKind.IDENTITY, characters_max=ROLE_INLINE_CHARACTERS_MAX)
    return CompiledPolicy(name, read)
