"""May this caller do that? The decision, from all the policies that have a say.

    1  A statement that denies, in any of them, ends it.
    2  Caller and resource in one account:
         the account's root may;
         or the resource's policy names everybody, this user or this session itself;
         or it names the session's role, and boundary and session policy permit;
         or an identity policy permits, and boundary and session policy permit.
    3  Caller of another account: the resource's policy must permit, whatever way it names the
       caller, and so must the caller's own account: its root may; a user or session needs an
       identity policy, boundary and session policy.
    4  Nobody in particular (anonymous) or a service: the resource's policy must permit.

    Everything else is denied.

So a boundary or session policy limits what identity policies give, and does not limit what a bucket
policy gives a user or session by name. An account that is named in a bucket policy of its own
buckets gives its users nothing that their own policies do not.

The root of the account that owns a bucket can always read, set and delete its policy, else a Deny
could lock everybody out. An access control list permits like a resource's policy does, and is given
as its strength: DIRECT for a group the caller is in, ACCOUNT for the account's id.

The trust policy of a role (`is_trust`) must itself permit, also within the account: without it no
identity policy is enough, nor being the root.

`public_restricted` is RestrictPublicBuckets with a policy that is public: then only callers of the
owner's account and services count as permitted.

A Verdict always says which statement decided, or what was missing. Evaluating has no side effects
and reads no clock: times are condition keys.

Source: "Policy evaluation logic", "How AWS enforcement code logic evaluates requests to allow or
deny access" and "Cross-account policy evaluation logic" in the IAM User Guide; "PutBucketPolicy" in
the Amazon S3 API Reference for the root's way out; "Blocking public access" in the S3 User Guide;
"Roles terms and concepts" in the IAM User Guide for trust policies.
"""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from rs3gwd.iam.policy.context import Access, CallerKind
from rs3gwd.iam.policy.statements import CompiledPolicy, CompiledStatement, Strength

POLICY_ACTIONS = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
"""What the root of the owning account can always do."""


class Layer(StrEnum):
    """What a policy is to a request."""

    RESOURCE = "resource policy"
    IDENTITY = "identity policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"


class Policies(Struct, frozen=True):
    """The policies that have a say in a request.

    `identity` are those of the user and the user's groups, or of the role. `boundary` is None
    without one. `session` is None where none were given, else what the session was made with: one
    of them permitting is enough. `resource` is the bucket's. `acl` is how directly an access
    control list permits this action (see the head). `is_trust`: `resource` is the trust policy of
    a role.
    """

    identity: tuple[CompiledPolicy, ...] = ()
    boundary: CompiledPolicy | None = None
    session: tuple[CompiledPolicy, ...] | None = None
    resource: CompiledPolicy | None = None
    acl: Strength = Strength.NONE
    public_restricted: bool = False
    is_trust: bool = False

    def layers(self) -> Iterator[tuple[Layer, CompiledPolicy]]:
        """All of them, each with what it is."""
        if self.resource is not None:
            yield Layer.RESOURCE, self.resource
        for policy in self.identity:
            yield Layer.IDENTITY, policy
        if self.boundary is not None:
            yield Layer.BOUNDARY, self.boundary
        for policy in self.session or ():
            yield Layer.SESSION, policy

    def all(self) -> tuple[CompiledPolicy, ...]:
        """All of them, in the same order."""
        found = self.identity if self.resource is None else (self.resource, *self.identity)
        if self.boundary is not None:
            found = (*found, self.boundary)
        return (*found, *self.session) if self.session else found

    def keys_used(self) -> frozenset[str]:
        """Every condition key that the evaluation may look up."""
        return frozenset().union(*(policy.keys_used for _, policy in self.layers()))


class Outcome(StrEnum):
    """ALLOWED, DENIED by a statement, or NOT_ALLOWED for want of one."""

    ALLOWED = "allowed"
    DENIED = "explicitly denied"
    NOT_ALLOWED = "not allowed"


class Reason(StrEnum):
    """Why; a full sentence each."""

    ROOT = "The caller is the root of the account that owns the resource."
    RESOURCE = "The resource's policy permits it to this caller by name or to everybody."
    ROLE = "The resource's policy permits it to the caller's role."
    IDENTITY = "A policy of the caller's identity permits it."
    BOTH = "The resource's policy and the caller's own account permit it."
    ACL = "An access control list permits it."
    STATEMENT = "A statement denies it."
    RESTRICTED = "The bucket's policy is public and public access to the bucket is restricted."
    ANONYMOUS = "Nothing permits it to callers without a signature."
    NO_RESOURCE = "The caller is of another account and the resource's policy does not permit it."
    NO_TRUST = "The role's trust policy does not permit it to this caller."
    NO_IDENTITY = "No policy of the caller's identity permits it."
    BOUNDARY = "The caller's permissions boundary does not permit it."
    SESSION = "The session's policy does not permit it."


class Deciding(Struct, frozen=True):
    """A statement that decided, and the policy it stands in."""

    layer: Layer
    policy: str
    statement: str
    index: int


class Verdict(Struct, frozen=True):
    """The decision and why: never a bare bool.

    `deciding` are the statement that denied, or those that permitted; none where the root's right,
    an access control list or the want of a statement decided.
    """

    outcome: Outcome
    reason: Reason
    deciding: tuple[Deciding, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether the caller may."""
        return self.outcome is Outcome.ALLOWED


_ROOT_MAY = Verdict(Outcome.ALLOWED, Reason.ROOT)


def evaluate(access: Access, policies: Policies) -> Verdict:
    """Decides. Never raises for what a request or policy says."""
    caller = access.caller
    is_own = bool(caller.account_id) and caller.account_id == access.resource_account_id
    is_owner = is_own and caller.kind is CallerKind.ROOT and not policies.is_trust
    if is_owner and access.action in POLICY_ACTIONS:
        return _ROOT_MAY
    denial = _denial(access, policies)
    if denial is not None:
        return denial
    if is_owner:
        return _ROOT_MAY
    if policies.public_restricted and not is_own and caller.kind is not CallerKind.SERVICE:
        return Verdict(Outcome.NOT_ALLOWED, Reason.RESTRICTED)
    grant = _resource_grant(access, policies)
    if not caller.account_id:
        return grant.verdict(Reason.RESOURCE) if grant.strength else _refused(Reason.ANONYMOUS)
    if policies.is_trust and not grant.strength:
        return _refused(Reason.NO_TRUST)
    if is_own:
        return _within_account(access, policies, grant)
    if not grant.strength:
        return _refused(Reason.NO_RESOURCE)
    return _from_another_account(access, policies, grant)


class _Grant(Struct, frozen=True):
    """What the resource's side gives."""

    strength: Strength
    deciding: tuple[Deciding, ...]

    def verdict(self, reason: Reason) -> Verdict:
        """Permission by it alone."""
        return Verdict(Outcome.ALLOWED, reason if self.deciding else Reason.ACL, self.deciding)


def _refused(reason: Reason) -> Verdict:
    return Verdict(Outcome.NOT_ALLOWED, reason)


def _deciding(layer: Layer, policy: CompiledPolicy, found: CompiledStatement) -> Deciding:
    return Deciding(layer, policy.name, found.statement.label, found.statement.index)


def _denial(access: Access, policies: Policies) -> Verdict | None:
    has_boundary = policies.boundary is not None
    for policy in policies.all():
        found = policy.denial(access, has_boundary=has_boundary)
        if found is not None:
            layer = next(layer for layer, each in policies.layers() if each is policy)
            deciding = (_deciding(layer, policy, found),)
            return Verdict(Outcome.DENIED, Reason.STATEMENT, deciding)
    return None


def _resource_grant(access: Access, policies: Policies) -> _Grant:
    policy = policies.resource
    if policy is not None:
        found, strength = policy.grant(access)
        if found is not None and strength >= policies.acl:
            return _Grant(strength, (_deciding(Layer.RESOURCE, policy, found),))
    return _Grant(policies.acl, ())


def _within_account(access: Access, policies: Policies, grant: _Grant) -> Verdict:
    if grant.strength is Strength.DIRECT:
        return grant.verdict(Reason.RESOURCE)
    own = _own_side(access, policies, needs_identity=grant.strength is not Strength.ROLE)
    if not own.is_allowed:
        return own
    return grant.verdict(Reason.ROLE) if grant.strength is Strength.ROLE else own


def _from_another_account(access: Access, policies: Policies, grant: _Grant) -> Verdict:
    if access.caller.kind is CallerKind.ROOT:
        return grant.verdict(Reason.RESOURCE)
    own = _own_side(access, policies, needs_identity=True)
    if not own.is_allowed:
        return own
    return Verdict(Outcome.ALLOWED, Reason.BOTH, (*grant.deciding, *own.deciding))


def _own_side(access: Access, policies: Policies, *, needs_identity: bool) -> Verdict:
    """What the caller's own account says: identity policies within boundary and session."""
    deciding: list[Deciding] = []
    if needs_identity:
        found = _first_grant(access, Layer.IDENTITY, policies.identity)
        if found is None:
            return _refused(Reason.NO_IDENTITY)
        deciding.append(found)
    if policies.boundary is not None:
        found = _first_grant(access, Layer.BOUNDARY, (policies.boundary,))
        if found is None:
            return _refused(Reason.BOUNDARY)
        deciding.append(found)
    if policies.session is not None:
        found = _first_grant(access, Layer.SESSION, policies.session)
        if found is None:
            return _refused(Reason.SESSION)
        deciding.append(found)
    elif access.caller.kind is CallerKind.FEDERATED:
        # A federated session that was made without a policy has no permissions of its own.
        return _refused(Reason.SESSION)
    return Verdict(Outcome.ALLOWED, Reason.IDENTITY, tuple(deciding))


def _first_grant(
    access: Access, layer: Layer, policies: tuple[CompiledPolicy, ...]
) -> Deciding | None:
    for policy in policies:
        found, _ = policy.grant(access)
        if found is not None:
            return _deciding(layer, policy, found)
    return None
