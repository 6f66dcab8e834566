"""The gate: one per request, and the only maker of Decisions.

A handler is called with a Decision and cannot make one. Where an operation needs more than one
permission (the source of a copy, each key of a batch, a header that asks for more) its code asks
the gate again; the request's facts are with the gate, so no code can ask about others.

Who owns a bucket may do everything in it, as far as its policy does not deny it; that is settled
without looking at anything else where there is no policy. Everything else is `evaluate`'s: the
bucket's policy, and the access control list that speaks for the action (`rs3gwd.iam.acl`).

Where lists count, an object belongs to whoever wrote it. For an object of another account the
bucket's policy says nothing, and the bucket's owner is a caller like any other: only its list lets
anybody read it (User Guide, "Amazon S3 bucket and object ownership").

Source: "How Amazon S3 authorizes a request" in the Amazon S3 User Guide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Grant, GranteeKind, Permission
from rs3gwd.iam.acl import NEEDED, Subject, permits
from rs3gwd.iam.bucket_access import BucketAccess
from rs3gwd.iam.policy.context import ANONYMOUS, Access, Caller, root_caller
from rs3gwd.iam.policy.evaluate import Policies, Reason, evaluate
from rs3gwd.iam.policy.statements import Strength
from rs3gwd.iam.policy.variables import Lookup
from rs3gwd.iam.principal import Decision, Principal
from rs3gwd.iam.request_side import RequestSide

SERVICE_ACTIONS = frozenset({"s3:ListAllMyBuckets", "s3:CreateBucket"})
"""What any account may do outside a bucket; names as in IAM policies."""


class ObjectFacts(Struct, frozen=True):
    """What the gate must know of an object: whose it is, its list and its tags."""

    owner_id: str
    acl: list[Grant]
    tags: list[tuple[str, str]]


FindObject = Callable[[], ObjectFacts | None]
"""Looks the object of a question up; None where there is none."""


def no_object() -> None:
    """The object of a question about a bucket."""


def account_id_of(canonical_id: str) -> str:
    """The 12 digits by which policies name the account with this canonical id."""
    digest = hashlib.sha256(b"account id " + canonical_id.encode()).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**12:012}"


class Gate:
    """The permissions of one request of `principal`."""

    __slots__ = ("_caller", "_side", "principal")

    def __init__(self, principal: Principal, side: RequestSide) -> None:
        self.principal = principal
        self._side = side
        self._caller: Caller | None = None

    def require_service(self, action: str, resource: str) -> Decision:
        """The permission for what is done outside a bucket. Raises ApiError AccessDenied."""
        if self.principal.account is None or action not in SERVICE_ACTIONS:
            raise _access_denied()
        return self._decision(action, resource, "has an account")

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
        if access.policy is None and self.owns(access) and not is_about_object:
            return "owns the bucket"
        if self.is_charged(access) and not (self._side.pays and self.principal.account):
            return None
        owner_id, policy, strength = access.owner_id, access.policy, Strength.NONE
        if needed is not None:
            acl = access.acl
            if is_about_object:
                found = find_object()
                acl = [] if found is None else found.acl
                if found is not None and found.owner_id != owner_id:
                    owner_id, policy = found.owner_id, None
            strength = self._strength(acl, needed[1], access)
        account_id = account_id_of(owner_id)
        verdict = evaluate(
            Access(
                caller=self._who(),
                action=action,
                resource=resource,
                resource_account_id=account_id,
                lookup=self._keys(account_id, access, find_object),
            ),
            Policies(
                resource=policy,
                acl=strength,
                public_restricted=access.policy_is_public and access.block.restrict_public_buckets,
            ),
        )
        return verdict.reason if verdict.is_allowed else None

    def _keys(self, account_id: str, access: BucketAccess, find_object: FindObject) -> Lookup:
        def existing_tags() -> list[tuple[str, str]]:
            found = find_object()
            return [] if found is None else found.tags

        return self._side.keys(
            self._who(),
            resource_account_id=account_id,
            existing_tags=existing_tags,
            bucket_tags=lambda: access.tags,
        )

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

    def _who(self) -> Caller:
        if self._caller is None:
            account = self.principal.account
            self._caller = (
                ANONYMOUS
                if account is None
                else root_caller(account_id_of(account.canonical_id), account.canonical_id)
            )
        return self._caller

    def _decision(self, action: str, resource: str, reason: str) -> Decision:
        return Decision(principal=self.principal, action=action, resource=resource, reason=reason)


def is_by_list(decision: Decision) -> bool:
    """Whether an access control list alone gave this permission."""
    return decision.reason == Reason.ACL


def _access_denied() -> ApiError:
    return ApiError("AccessDenied", "Access Denied")
