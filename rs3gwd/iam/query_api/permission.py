"""May this caller do this action of the query API? The same evaluator as everywhere.

Everything is within one account, the caller's own: there is no way to name another. Its root may do
everything; a user needs a policy that names the action and what it is done to. The condition keys
that keep a delegated administrator within bounds are answered: the boundary that a new or changed
identity has (`iam:PermissionsBoundary`), the policy that is attached (`iam:PolicyARN`), and tags.

Source: "Actions, resources, and condition keys for AWS Identity and Access Management" in the
Service Authorization Reference; "Delegating responsibility to others using permissions boundaries".
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.base.ports import Directory
from rs3gwd.iam.identities.arns import account_id_of, identity_arn, policy_arn
from rs3gwd.iam.identities.permissions import Permissions
from rs3gwd.iam.policy.context import Access, Caller, CallerKind
from rs3gwd.iam.policy.evaluate import Policies, evaluate
from rs3gwd.iam.policy.request_keys import (
    RequestFacts,
    RequestKeys,
    SignatureFacts,
    Tags,
    resource_tag_keys,
)
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.query_api.call import QueryCall
from rs3gwd.iam.query_api.form import Form
from rs3gwd.iam.query_api.providers import ARN_PARAMETER, name_of
from rs3gwd.iam.query_api.row import Row, Target
from rs3gwd.iam.query_api.simulation import SOURCE
from rs3gwd.iam.query_api.xml import Service
from rs3gwd.iam.sessions.session import SessionKind

_SESSIONS_MAY = {
    SessionKind.ROLE: frozenset({"AssumeRole", "GetCallerIdentity", "GetAccessKeyInfo"}),
    SessionKind.USER: frozenset({"AssumeRole", "GetCallerIdentity"}),
    SessionKind.FEDERATED: frozenset({"GetCallerIdentity"}),
}
"""The actions of STS that sessions may call. A role's may call IAM too; others could not without a
second factor."""


def require(
    row: Row,
    form: Form,
    *,
    request: Request,
    principal: Principal,
    own: Permissions,
    directory: Directory,
    now_ms: int,
    region: str,
) -> None:
    """Raises ApiError AccessDenied unless the caller may do the action."""
    _refuse_session(row, principal)
    if row.is_free or row.by_trust:
        return
    canonical_id = own.caller.canonical_id
    found = _target(row, form, principal, canonical_id, directory)
    resource = _resource(row, form, found, canonical_id)
    facts = facts_of(
        own.caller,
        request,
        now_ms=now_ms,
        region=region,
        account_id=account_id_of(canonical_id),
        tags=None if found is None else found.tags,
    )
    access = Access(
        caller=own.caller,
        action=row.action,
        resource=resource,
        resource_account_id=account_id_of(canonical_id),
        lookup=RequestKeys(facts, _more(row, form, found)),
    )
    policies = Policies(identity=own.identity, boundary=own.boundary, session=own.session)
    if not evaluate(access, policies).is_allowed:
        raise not_authorized(own.caller, row.action, resource)


def require_on(call: QueryCall, action: str, resource: str) -> None:
    """Raises ApiError AccessDenied unless the caller may do the action to one thing more."""
    account_id = account_id_of(call.canonical_id)
    facts = facts_of(
        call.own.caller,
        call.request,
        now_ms=call.clock.now_ms(),
        region=call.region,
        account_id=account_id,
        tags=None,
    )
    access = Access(
        caller=call.own.caller,
        action=action,
        resource=resource,
        resource_account_id=account_id,
        lookup=RequestKeys(facts),
    )
    own = call.own
    policies = Policies(identity=own.identity, boundary=own.boundary, session=own.session)
    if not evaluate(access, policies).is_allowed:
        raise not_authorized(own.caller, action, resource)


def facts_of(
    caller: Caller,
    request: Request,
    *,
    now_ms: int,
    region: str,
    account_id: str,
    tags: Tags | None,
) -> RequestFacts:
    """What policies can ask about a request; `tags` are those of what it is done to."""
    is_signed = caller.kind is not CallerKind.FEDERATED or bool(caller.account_id)
    return RequestFacts(
        caller=caller,
        headers=request.headers,
        query={},
        peer=request.peer,
        is_secure=request.secure,
        now_ms=now_ms,
        region=region,
        resource_account_id=account_id,
        signature=SignatureFacts("AWS4-HMAC-SHA256", "REST-HEADER") if is_signed else None,
        bucket_tags=None if tags is None else lambda: tags,
    )


def not_authorized(caller: Caller, action: str, resource: str) -> ApiError:
    """AccessDenied, as IAM words it."""
    return ApiError(
        "AccessDenied",
        f"User: {caller.arn or caller.provider} is not authorized to perform: {action} on "
        f"resource: {resource}",
    )


def _refuse_session(row: Row, principal: Principal) -> None:
    """What sessions cannot do at all, whatever policies say. Raises ApiError AccessDenied.

    Source: "Comparing the AWS STS API operations" in the IAM User Guide.
    """
    if principal.session is None:
        return
    allowed = _SESSIONS_MAY[principal.session.kind]
    if row.service is Service.IAM and principal.session.kind is SessionKind.ROLE:
        return
    if row.name not in allowed:
        raise ApiError("AccessDenied", f"Cannot call {row.name} with session credentials")


def _target(
    row: Row, form: Form, principal: Principal, canonical_id: str, directory: Directory
) -> IdentityRecord | None:
    """The identity that the action is done to, where there is one."""
    if row.target in (Target.POLICY, Target.ANY, Target.FEDERATED, Target.SOURCE):
        return None
    if row.target is Target.PROVIDER:
        name = form.optional(ARN_PARAMETER).partition(f":{IdentityKind.PROVIDER}/")[2]
        return directory.identity(canonical_id, IdentityKind.PROVIDER, name) if name else None
    kind = IdentityKind.USER if row.target is Target.KEYS else IdentityKind(row.target)
    name = form.optional(f"{str(kind).title()}Name")
    if not name:
        return principal.user if kind is IdentityKind.USER else None
    return directory.identity(canonical_id, kind, name)


def _resource(row: Row, form: Form, found: IdentityRecord | None, canonical_id: str) -> str:
    """The ARN that a policy must name. What is to be made has the path that is asked for."""
    if row.target is Target.ANY:
        return "*"
    if row.target is Target.FEDERATED:
        return f"arn:aws:sts::{account_id_of(canonical_id)}:federated-user/{form.optional('Name')}"
    if row.target is Target.SOURCE:
        return form.optional(SOURCE)
    if row.target is Target.PROVIDER:
        name = name_of(form.optional("Url"))
        return form.optional(ARN_PARAMETER) or identity_arn(
            canonical_id, IdentityKind.PROVIDER, "/", name
        )
    if row.target is Target.POLICY:
        given = form.optional("PolicyArn")
        if given:
            return given
        return policy_arn(canonical_id, form.optional("Path", "/"), form.optional("PolicyName"))
    if found is not None and not row.name.startswith("Create"):
        return identity_arn(canonical_id, found.kind, found.path, found.name)
    kind = IdentityKind.USER if row.target is Target.KEYS else IdentityKind(row.target)
    name = form.optional(f"{str(kind).title()}Name")
    if row.target is Target.KEYS and found is not None:
        return identity_arn(canonical_id, kind, found.path, found.name)
    return identity_arn(canonical_id, kind, form.optional("Path", "/"), name)


def _more(row: Row, form: Form, found: IdentityRecord | None) -> dict[str, tuple[str, ...]]:
    """The condition keys that only IAM has, and those of tags in the request."""
    keys = resource_tag_keys(form.tags())
    tag_keys = form.members("TagKeys")
    if tag_keys:
        keys["aws:tagkeys"] = tuple(tag_keys)
    boundary = form.optional("PermissionsBoundary")
    if not boundary and found is not None and not row.name.startswith("Create"):
        boundary = found.boundary
    if boundary:
        keys["iam:permissionsboundary"] = (boundary,)
    arn = form.optional("PolicyArn")
    if arn:
        keys["iam:policyarn"] = (arn,)
    for key, value in () if found is None else found.tags:
        keys[f"iam:resourcetag/{key.lower()}"] = (value,)
    return keys
