"""What users, groups and roles have: inline policies, attached managed policies, a boundary.

Source: the actions of the same names in the IAM API Reference.
"""

from urllib.parse import quote

from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind, IdentityRecord, InlinePolicy
from rs3gwd.iam.identities.names import ATTACHED_MAX, POLICY_NAME_CHARACTERS_MAX, check_name
from rs3gwd.iam.identities.shared_policies import SHARED_POLICIES
from rs3gwd.iam.policy.document import (
    GROUP_INLINE_CHARACTERS_MAX,
    ROLE_INLINE_CHARACTERS_MAX,
    USER_INLINE_CHARACTERS_MAX,
)
from rs3gwd.iam.query_api.call import QueryCall, Result, replace_in
from rs3gwd.iam.query_api.row import Handler

INLINE_CHARACTERS_MAX = {
    IdentityKind.USER: USER_INLINE_CHARACTERS_MAX,
    IdentityKind.GROUP: GROUP_INLINE_CHARACTERS_MAX,
    IdentityKind.ROLE: ROLE_INLINE_CHARACTERS_MAX,
}
"""Characters of all inline policies of one identity together, as they were sent."""


def check_attachable(call: QueryCall, arn: str) -> str:
    """The ARN of a managed policy that is there. Raises ApiError NoSuchEntity."""
    if arn not in SHARED_POLICIES:
        call.find_policy(arn)
    return arn


def _parameter(kind: IdentityKind) -> str:
    return f"{str(kind).title()}Name"


def put_inline(kind: IdentityKind) -> Handler:
    """PutUserPolicy, PutGroupPolicy, PutRolePolicy."""
    limit = INLINE_CHARACTERS_MAX[kind]

    async def handle(call: QueryCall) -> Result:
        name = check_name("PolicyName", call.form.text("PolicyName"), POLICY_NAME_CHARACTERS_MAX)
        document = call.document("PolicyDocument", limit)

        def change(one: IdentityRecord) -> IdentityRecord:
            kept = [each for each in one.inline if each.name != name]
            total = len(document) + sum(len(each.document) for each in kept)
            if total > limit:
                raise ApiError(
                    "LimitExceeded",
                    f"Maximum policy size of {limit} bytes exceeded for {kind} {one.name}",
                )
            return replace_in(one, inline=[*kept, InlinePolicy(name, document)])

        await call.change(kind, call.form.text(_parameter(kind)), change)
        return None

    return handle


def get_inline(kind: IdentityKind) -> Handler:
    """GetUserPolicy, GetGroupPolicy, GetRolePolicy."""

    async def handle(call: QueryCall) -> Result:
        record = call.find(kind, call.form.text(_parameter(kind)))
        wanted = call.form.text("PolicyName")
        for policy in record.inline:
            if policy.name == wanted:
                return {
                    _parameter(kind): record.name,
                    "PolicyName": policy.name,
                    "PolicyDocument": quote(policy.document.decode(), safe=""),
                }
        raise _no_inline(kind, wanted)

    return handle


def list_inline(kind: IdentityKind) -> Handler:
    """ListUserPolicies, ListGroupPolicies, ListRolePolicies."""

    async def handle(call: QueryCall) -> Result:
        record = call.find(kind, call.form.text(_parameter(kind)))
        names = sorted(policy.name for policy in record.inline)
        return call.page("PolicyNames", names, lambda name: name)

    return handle


def delete_inline(kind: IdentityKind) -> Handler:
    """DeleteUserPolicy, DeleteGroupPolicy, DeleteRolePolicy."""

    async def handle(call: QueryCall) -> Result:
        wanted = call.form.text("PolicyName")

        def change(one: IdentityRecord) -> IdentityRecord:
            kept = [each for each in one.inline if each.name != wanted]
            if len(kept) == len(one.inline):
                raise _no_inline(kind, wanted)
            return replace_in(one, inline=kept)

        await call.change(kind, call.form.text(_parameter(kind)), change)
        return None

    return handle


def attach(kind: IdentityKind) -> Handler:
    """AttachUserPolicy, AttachGroupPolicy, AttachRolePolicy; having it already is no error."""

    async def handle(call: QueryCall) -> Result:
        arn = check_attachable(call, call.form.text("PolicyArn"))

        def change(one: IdentityRecord) -> IdentityRecord:
            if arn in one.attached:
                return one
            if len(one.attached) >= ATTACHED_MAX:
                raise ApiError(
                    "LimitExceeded",
                    f"Cannot exceed quota for PoliciesPer{str(kind).title()}: {ATTACHED_MAX}",
                )
            return replace_in(one, attached=[*one.attached, arn])

        await call.change(kind, call.form.text(_parameter(kind)), change)
        return None

    return handle


def detach(kind: IdentityKind) -> Handler:
    """DetachUserPolicy, DetachGroupPolicy, DetachRolePolicy."""

    async def handle(call: QueryCall) -> Result:
        arn = call.form.text("PolicyArn")

        def change(one: IdentityRecord) -> IdentityRecord:
            if arn not in one.attached:
                raise ApiError("NoSuchEntity", f"Policy {arn} was not found.")
            return replace_in(one, attached=[each for each in one.attached if each != arn])

        await call.change(kind, call.form.text(_parameter(kind)), change)
        return None

    return handle


def list_attached(kind: IdentityKind) -> Handler:
    """ListAttachedUserPolicies, ListAttachedGroupPolicies, ListAttachedRolePolicies."""

    async def handle(call: QueryCall) -> Result:
        record = call.find(kind, call.form.text(_parameter(kind)))
        prefix = call.form.optional("PathPrefix", "/")
        found = [arn for arn in record.attached if path_of_policy(arn).startswith(prefix)]
        return call.page("AttachedPolicies", found, show_attached)

    return handle


def put_boundary(kind: IdentityKind) -> Handler:
    """PutUserPermissionsBoundary, PutRolePermissionsBoundary."""

    async def handle(call: QueryCall) -> Result:
        arn = check_attachable(call, call.form.text("PermissionsBoundary"))
        name = call.form.text(_parameter(kind))
        await call.change(kind, name, lambda one: replace_in(one, boundary=arn))
        return None

    return handle


def delete_boundary(kind: IdentityKind) -> Handler:
    """DeleteUserPermissionsBoundary, DeleteRolePermissionsBoundary."""

    async def handle(call: QueryCall) -> Result:
        name = call.form.text(_parameter(kind))
        await call.change(kind, name, lambda one: replace_in(one, boundary=""))
        return None

    return handle


def show_attached(arn: str) -> dict[str, str]:
    """An attached policy as answers show it."""
    return {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}


def path_of_policy(arn: str) -> str:
    """The path in the ARN of a managed policy."""
    return f"/{arn.partition(':policy/')[2]}".rpartition("/")[0] + "/"


def _no_inline(kind: IdentityKind, name: str) -> ApiError:
    return ApiError("NoSuchEntity", f"The {kind} policy with name {name} cannot be found.")
