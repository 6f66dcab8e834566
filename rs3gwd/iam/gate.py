"""The gate: one per request, and the only maker of Decisions.

A handler is called with a Decision and cannot make one. Where an operation needs more than one
permission (the source of a copy, each key of a batch, a header that asks for more) its code asks
the gate again; the request's facts are with the gate, so no code can ask about others.

The root of the account that owns a bucket may do everything in it, as far as its policy does not
deny it; that is settled without looking at anything else where there is no policy. Everything else
is `evaluate`'s: the bucket's policy, the access control list that speaks for the action
(`rs3gwd.iam.acl`), and the policies of the user who asks (`rs3gwd.iam.identities.permissions`).

Where lists count, an object belongs to whoever wrote it. For an object of another account the
bucket's policy says nothing, and the bucket's owner is a caller like any other: only its list lets
anybody read it (User Guide, "Amazon S3 bucket and object ownership").

Source: "How Amazon S3 authorizes a request" in the Amazon S3 User Guide.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Grant, GranteeKind, Permission
from rs3gwd.iam.acl import NEEDED, Subject, permits
from rs3gwd.iam.bucket_access import BucketAccess
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.identities.permissions import Permissions, bare_permissions
from rs3gwd.iam.policy.context import Access
from rs3gwd.iam.policy.evaluate import Policies, Reason, Verdict, evaluate
from rs3gwd.iam.policy.remembered import Remembered
from rs3gwd.iam.policy.request_keys import Tags
from rs3gwd.iam.policy.statements import CompiledPolicy, Strength
from rs3gwd.iam.policy.variables import Lookup
from rs3gwd.iam.principal import Decision, Principal
from rs3gwd.iam.request_side import RequestSide

SERVICE_ACTIONS = frozenset({"s3:ListAllMyBuckets", "s3:CreateBucket"})
"""What any account may do outside a bucket; names as in IAM policies."""


ADMIN_ACTIONS = "rs3gwd:"
"""How the names of actions on the store itself begin."""


class ObjectFacts(Struct, frozen=True):
    """What the gate must know of an object: whose it is, its list and its tags."""

    owner_id: str
    acl: list[Grant]
    tags: list[tuple[str, str]]


_OWNS = "owns the bucket"

FindObject = Callable[[], ObjectFacts | None]
"""Looks the object of a question up; None where there is none."""


def no_object() -> None:
    """The object of a question about a bucket."""


class Gate:
    """The permissions of one request of `principal`."""

    __slots__ = ("_own", "_side", "principal")

    def __init__(
        self, principal: Principal, side: RequestSide, own: Permissions | None = None
    ) -> None:
        """`own` are the caller's own policies; without them a user may nothing of their own."""
        self.principal = principal
        self._side = side
        self._own = own

    def require_service(self, action: str, resource: str) -> Decision:
        """The permission for what is done outside a bucket. Raises ApiError AccessDenied.

        It is a matter of the caller's own account: its root may, a user needs a policy.
        """
        account = self.principal.account
        if account is None or action not in SERVICE_ACTIONS:
            raise _access_denied()
        if not self._is_root:
            verdict = self._evaluate(
                action, resource, account_id_of(account.canonical_id), Policies(), None
            )
            if not verdict.is_allowed:
                raise _access_denied()
        return self._decision(action, resource, "has an account")

    def require_admin(self, action: str, resource: str) -> Decision:
        """The permission to administer the store (`rs3gwd:GetCluster`).

        The store is the root account's: its root may, its users and roles need a policy, and other
        accounts cannot be given it. Raises ApiError AccessDenied.
        """
        account = self.principal.account
        if account is None or not account.is_root or not action.startswith(ADMIN_ACTIONS):
            raise _access_denied()
        if not self._is_root:
            verdict = self._evaluate(
                action, resource, account_id_of(account.canonical_id), Policies(), None
            )
            if not verdict.is_allowed:
                raise _access_denied()
        return self._decision(action, resource, "administers the store")

    def require(
        self,
        action: str,
        resource: str,
        access: BucketAccess,
        find_object: FindObject = no_object,
    ) -> Decision:
        """The permission for `action` (`s3:GetObject`) on `resource` (an ARN) in a bucket.

        `find_object` is asked only where a list or a condition wants to know. Raises ApiError
        AccessDenied.
        """
        reason = self._weigh(action, resource, access, find_object)
        if reason is None:
            raise _access_denied()
        return self._decision(action, resource, reason)

    def allows(self, action: str, resource: str, access: BucketAccess) -> bool:
        """The same question without consequences, about a bucket."""
        return self._weigh(action, resource, access, no_object) is not None

    def require_until_tags(
        self, action: str, resource: str, access: BucketAccess, find_object: FindObject
    ) -> Decision:
        """The permission to send a body of tags; `require` of `with_object_tags` decides.

        Raises ApiError AccessDenied where no policy asks for tags, so that what is refused anyway
        is not read.
        """
        reason = self._weigh(action, resource, access, find_object)
        if reason is None and not self._asks_object_tags(access):
            raise _access_denied()
        return self._decision(action, resource, reason or "its tags decide")

    def with_object_tags(self, tags: Tags) -> Gate:
        """The gate of the same request, once the tags in its body are known."""
        return Gate(self.principal, replace(self._side, object_tags=tags), self._own)

    def require_each(self, action: str, resource: str, access: BucketAccess) -> Decision:
        """The permission to ask for each of many things; `require` decides on each.

        Raises ApiError AccessDenied where nothing could ever be permitted, so that nobody's
        document is read in vain.
        """
        if not self.owns(access) and access.policy is None:
            return self.require(action, resource, access)
        return self._decision(action, resource, "each is decided by itself")

    def owns(self, access: BucketAccess) -> bool:
        """Whether the caller's account owns the bucket."""
        account = self.principal.account
        return account is not None and account.canonical_id == access.owner_id

    def is_charged(self, access: BucketAccess) -> bool:
        """Whether the caller pays for this request."""
        return access.requester_pays and not self.owns(access)

    def _weigh(
        self, action: str, resource: str, access: BucketAccess, find_object: FindObject
    ) -> str | None:
        """Why it is permitted, or None."""
        needed = NEEDED.get(action) if access.lists_count else None
        is_about_object = needed is not None and needed[0] is Subject.OBJECT
        if access.policy is None and not is_about_object and self._is_root and self.owns(access):
            return _OWNS
        side = self._side
        if access.requester_pays and not self._is_paid(access):
            return None
        if is_about_object:
            # What an object's own list says is the object's, and not to be remembered.
            return self._reason(action, resource, access, find_object)
        remembered = access.memory.of(action, self._own or self._who())
        if remembered is None:
            remembered = self._begin(action, access)
        key = remembered.key_of(resource, side.request, side.query, side.now_ms)
        reason = remembered.known.get(key)
        if reason is None:
            reason = self._reason(action, resource, access, find_object)
            if reason is not None:
                remembered.remember(key, reason)
        return reason

    def _is_paid(self, access: BucketAccess) -> bool:
        """Whether the owner pays for this request, or the caller says so."""
        return not self.is_charged(access) or (
            self._side.pays and self.principal.account is not None
        )

    def _begin(self, action: str, access: BucketAccess) -> Remembered:
        """A memory of the caller and one action in this bucket."""
        own = self._who()
        policies = self._policies(access.policy)
        lookup = self._keys(account_id_of(access.owner_id), access, no_object)
        each = [policy for _, policy in policies.layers()]
        remembered = Remembered(each, action, caller=own.caller, lookup=lookup)
        return access.memory.begin(action, own, remembered)

    def _reason(
        self, action: str, resource: str, access: BucketAccess, find_object: FindObject
    ) -> str | None:
        """Why the policies and lists permit it, or None."""
        needed = NEEDED.get(action) if access.lists_count else None
        owner_id, policy, strength = access.owner_id, access.policy, Strength.NONE
        if needed is not None:
            acl = access.acl
            if needed[0] is Subject.OBJECT:
                found = find_object()
                acl = [] if found is None else found.acl
                if found is not None and found.owner_id != owner_id:
                    owner_id, policy = found.owner_id, None
            strength = self._strength(acl, needed[1], access)
        policies = Policies(
            resource=policy,
            acl=strength,
            public_restricted=access.policy_is_public and access.block.restrict_public_buckets,
        )
        verdict = self._evaluate(
            action, resource, account_id_of(owner_id), policies, access, find_object
        )
        return verdict.reason if verdict.is_allowed else None

    def _evaluate(
        self,
        action: str,
        resource: str,
        account_id: str,
        policies: Policies,
        access: BucketAccess | None,
        find_object: FindObject = no_object,
    ) -> Verdict:
        """The verdict of the resource's `policies` and the caller's own together."""
        own = self._who()
        if own.identity or own.boundary is not None or own.session is not None:
            policies = replace(
                policies, identity=own.identity, boundary=own.boundary, session=own.session
            )
        return evaluate(
            Access(
                caller=own.caller,
                action=action,
                resource=resource,
                resource_account_id=account_id,
                lookup=self._keys(account_id, access, find_object),
            ),
            policies,
        )

    def _keys(
        self, account_id: str, access: BucketAccess | None, find_object: FindObject
    ) -> Lookup:
        """The condition keys of the request."""

        def existing_tags() -> list[tuple[str, str]]:
            found = find_object()
            return [] if found is None else found.tags

        return self._side.keys(
            self._who().caller,
            resource_account_id=account_id,
            existing_tags=existing_tags,
            bucket_tags=lambda: [] if access is None else access.tags,
        )

    def _policies(self, of_bucket: CompiledPolicy | None) -> Policies:
        """All that have a say in a request about a bucket with this policy."""
        own = self._who()
        return Policies(
            resource=of_bucket,
            identity=own.identity,
            boundary=own.boundary,
            session=own.session,
        )

    def _asks_object_tags(self, access: BucketAccess) -> bool:
        """Whether what is decided may depend on the tags of the request."""
        keys_used = self._policies(access.policy).keys_used()
        return any(key.startswith("s3:requestobjecttag") for key in keys_used)

    def _strength(self, acl: list[Grant], permission: Permission, access: BucketAccess) -> Strength:
        """How directly a list permits: a crowd is anybody in it, an id is the whole account."""
        canonical_id = self.principal.canonical_id
        crowds = [grant for grant in acl if grant.kind is GranteeKind.GROUP]
        ignored = access.block.ignore_public_acls
        if permits(crowds, permission, canonical_id=canonical_id, ignore_public=ignored):
            return Strength.DIRECT
        if permits(acl, permission, canonical_id=canonical_id, ignore_public=True):
            return Strength.ACCOUNT
        return Strength.NONE

    @property
    def _is_root(self) -> bool:
        """Whether the caller has all the rights of an account."""
        return self.principal.is_root

    def _who(self) -> Permissions:
        if self._own is None:
            self._own = bare_permissions(self.principal)
        return self._own

    def _decision(self, action: str, resource: str, reason: str) -> Decision:
        return Decision(principal=self.principal, action=action, resource=resource, reason=reason)


def is_by_list(decision: Decision) -> bool:
    """Whether an access control list alone gave this permission."""
    return decision.reason == Reason.ACL


def _access_denied() -> ApiError:
    return ApiError("AccessDenied", "Access Denied")
