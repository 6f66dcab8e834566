"""What would policies say? Questions to the evaluator that decides about requests; nothing changes.

    SimulateCustomPolicy                policies that the caller brings
    SimulatePrincipalPolicy             those of a user, group or role, and what the caller adds
    GetContextKeysForCustomPolicy       the condition keys that such policies ask for
    GetContextKeysForPrincipalPolicy

Each action is asked of each resource. What follows from who asks (`aws:username`, ...) and from the
clock is filled in as for a request; everything else is in ContextEntries, or missing, and then
named in MissingContextValues. Positions in the documents are not given.

Source: the actions of the same names in the IAM API Reference.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.identities.permissions import PermissionCache, caller_of
from rs3gwd.iam.policy.context import Access, Caller, CallerKind
from rs3gwd.iam.policy.document import (
    BUCKET_CHARACTERS_MAX,
    ROLE_INLINE_CHARACTERS_MAX,
    PolicyKind,
)
from rs3gwd.iam.policy.evaluate import Deciding, Layer, Outcome, Policies, evaluate
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.request_keys import RequestFacts, RequestKeys
from rs3gwd.iam.policy.resources import S3_ARN
from rs3gwd.iam.policy.statements import CompiledPolicy
from rs3gwd.iam.policy.variables import normalize_key
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.query_api.call import QueryCall, Result, arn_of

QUESTIONS_MAX = 1000
"""Actions times resources of one request; what is not on its page is not asked."""

SOURCE = "PolicySourceArn"
"""The parameter that names the user, group or role whose policies are asked."""

_DECISIONS = {
    Outcome.ALLOWED: "allowed",
    Outcome.DENIED: "explicitDeny",
    Outcome.NOT_ALLOWED: "implicitDeny",
}
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+", re.ASCII)
_USER = re.compile(r"arn:aws:iam::(\d{12}):user/(?:.+/)?(.+)", re.ASCII)


class _Question(Struct, frozen=True):
    """Who asks and the policies that have a say; what is asked comes in pairs."""

    caller: Caller
    policies: Policies
    owner: str
    given: dict[str, tuple[str, ...]]


async def simulate_custom_policy(call: QueryCall) -> Result:
    """SimulateCustomPolicy."""
    caller = Caller(kind=CallerKind.USER, account_id=account_id_of(call.canonical_id))
    return _simulate(call, caller, Policies(identity=_brought(call, needed=True)))


async def simulate_principal_policy(call: QueryCall) -> Result:
    """SimulatePrincipalPolicy: what the user, group or role has, and what the caller adds."""
    found, policies = _of_source(call)
    policies = replace(policies, identity=(*policies.identity, *_brought(call, needed=False)))
    return _simulate(call, caller_of(found), policies)


async def get_context_keys_for_custom_policy(call: QueryCall) -> Result:
    """GetContextKeysForCustomPolicy."""
    return {"ContextKeyNames": _keys_of(_brought(call, needed=True))}


async def get_context_keys_for_principal_policy(call: QueryCall) -> Result:
    """GetContextKeysForPrincipalPolicy."""
    _, policies = _of_source(call)
    return {"ContextKeyNames": _keys_of((*policies.all(), *_brought(call, needed=False)))}


def _keys_of(policies: Sequence[CompiledPolicy]) -> list[str]:
    return sorted(frozenset().union(*(each.keys_used for each in policies)))


def _of_source(call: QueryCall) -> tuple[IdentityRecord, Policies]:
    """The identity that PolicySourceArn names, and what it has. Raises ApiError NoSuchEntity."""
    arn = call.form.text(SOURCE)
    kind, _, path = arn.rpartition(":")[2].partition("/")
    name = path.rpartition("/")[2]
    if kind not in (IdentityKind.USER, IdentityKind.GROUP, IdentityKind.ROLE):
        raise ApiError("InvalidInput", f"{arn[:200]} is not the ARN of a user, group or role.")
    found = call.find(IdentityKind(kind), name)
    if arn_of(found) != arn:
        # Permission was asked for exactly this ARN.
        raise ApiError("NoSuchEntity", f"{arn[:200]} cannot be found.")
    holder = Principal(account=call.principal.account, user=found)
    own = PermissionCache().of(holder, call.directory)
    return found, Policies(identity=own.identity, boundary=own.boundary)


def _brought(call: QueryCall, *, needed: bool) -> tuple[CompiledPolicy, ...]:
    """The policies in PolicyInputList."""
    texts = call.form.members("PolicyInputList")
    if needed and not texts:
        call.form.text("PolicyInputList")
    return tuple(
        _compiled(f"PolicyInputList.{number}", text) for number, text in enumerate(texts, 1)
    )


def _compiled(name: str, text: str, bucket: str | None = None) -> CompiledPolicy:
    """A document of the request; one of a resource where `bucket` is given."""
    kind = PolicyKind.IDENTITY if bucket is None else PolicyKind.BUCKET
    characters = ROLE_INLINE_CHARACTERS_MAX if bucket is None else BUCKET_CHARACTERS_MAX
    try:
        document = read_policy(text, kind, characters_max=characters, bucket=bucket or "")
    except ApiError as error:
        raise ApiError("InvalidInput", f"{name}: {error.message}") from error
    return CompiledPolicy(name, document)


def _simulate(call: QueryCall, caller: Caller, policies: Policies) -> Result:
    """The answers to all questions of a request, those of one page worked out."""
    actions = call.form.members("ActionNames")
    if not actions:
        call.form.text("ActionNames")
    for action in actions:
        if _ACTION.fullmatch(action) is None:
            raise ApiError("InvalidInput", f"Invalid Action: {action[:100]}")
    resources = call.form.members("ResourceArns") or ["*"]
    if len(actions) * len(resources) > QUESTIONS_MAX:
        raise ApiError("InvalidInput", f"More than {QUESTIONS_MAX} actions times resources.")
    caller = _caller_in(call, caller)
    question = _Question(
        caller,
        _with_more(call, policies, resources[0]),
        _owner_in(call, caller),
        _entries(call),
    )
    pairs = [(action, resource) for action in actions for resource in resources]
    return call.page("EvaluationResults", pairs, _answers(call, question))


def _caller_in(call: QueryCall, caller: Caller) -> Caller:
    """The user whom CallerArn names, or `caller`."""
    arn = call.form.optional("CallerArn")
    if not arn:
        return caller
    found = _USER.fullmatch(arn)
    if found is None:
        raise ApiError("InvalidInput", f"CallerArn {arn[:200]} is not the ARN of a user.")
    account, name = found.groups()
    return Caller(kind=CallerKind.USER, account_id=account, arn=arn, user_id=name, name=name)


def _owner_in(call: QueryCall, caller: Caller) -> str:
    """The account of the resources: that of ResourceOwner, else the caller's."""
    given = call.form.optional("ResourceOwner")
    account = given.split(":")[4] if given.count(":") >= 5 else given
    if account and not (account.isascii() and account.isdecimal() and len(account) == 12):
        raise ApiError("InvalidInput", "ResourceOwner must be an account.")
    return account or caller.account_id


def _with_more(call: QueryCall, policies: Policies, resource: str) -> Policies:
    """With the boundary and the resource's policy that the request brings."""
    bounds = call.form.members("PermissionsBoundaryPolicyInputList")
    if len(bounds) > 1:
        raise ApiError("InvalidInput", "There can be one permissions boundary.")
    if bounds:
        boundary = _compiled("PermissionsBoundaryPolicyInputList.1", bounds[0])
        policies = replace(policies, boundary=boundary)
    text = call.form.optional("ResourcePolicy")
    if text:
        bucket = resource.removeprefix(S3_ARN).partition("/")[0]
        policies = replace(policies, resource=_compiled("ResourcePolicy", text, bucket))
    return policies


def _entries(call: QueryCall) -> dict[str, tuple[str, ...]]:
    """The condition keys in ContextEntries."""
    names = call.form.fields_of("ContextEntries", "ContextKeyName")
    return {
        normalize_key(name): tuple(
            call.form.members(f"ContextEntries.member.{number}.ContextKeyValues")
        )
        for number, name in enumerate(names, 1)
    }


def _answers(call: QueryCall, question: _Question) -> Callable[[tuple[str, str]], dict[str, Any]]:
    """What answers one pair of action and resource."""
    lookup = RequestKeys(
        RequestFacts(
            caller=question.caller,
            headers={},
            query={},
            peer="",
            is_secure=True,
            now_ms=call.clock.now_ms(),
            region=call.region,
            resource_account_id=question.owner,
        ),
        question.given,
    )
    policies = question.policies
    missing = [key for key in sorted(policies.keys_used()) if not lookup(key)]

    def answer(pair: tuple[str, str]) -> dict[str, Any]:
        action, resource = pair
        access = Access(question.caller, action, resource, question.owner, lookup)
        verdict = evaluate(access, policies)
        shown: dict[str, Any] = {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _DECISIONS[verdict.outcome],
            "MatchedStatements": [_matched(each) for each in verdict.deciding],
            "MissingContextValues": missing,
        }
        if policies.boundary is not None:
            alone = evaluate(access, Policies(identity=(policies.boundary,)))
            shown["PermissionsBoundaryDecisionDetail"] = {
                "AllowedByPermissionsBoundary": alone.is_allowed
            }
        return shown

    return answer


def _matched(deciding: Deciding) -> dict[str, str]:
    """A statement that decided: its policy, and where that comes from."""
    name = deciding.policy
    if deciding.layer is Layer.RESOURCE:
        source = "resource"
    elif name.startswith("arn:aws:iam::aws:"):
        source = "aws-managed"
    elif name.startswith("arn:"):
        source = "user-managed"
    else:
        source = next(
            (each for each in ("user", "group", "role") if f" of {each} " in name), "none"
        )
    return {"SourcePolicyId": name, "SourcePolicyType": source}
