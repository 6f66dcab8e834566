"""Sessions: AssumeRole, GetSessionToken, GetFederationToken, and whose an access key is.

    AssumeRole           a session of a role, which the trust policy and the caller's own permit
    GetSessionToken      a session of the caller's own, without a second factor
    GetFederationToken   a session with a name, that may what the caller may and its policy says

A session of a role can become another role's for an hour at most, takes its transitive tags along
and keeps its source identity.

Source: the actions of the same names in the AWS STS API Reference; "Role chaining" and "Pass
session tags in AWS STS" in the IAM User Guide.
"""

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityRecord
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.identities.names import check_tags, invalid
from rs3gwd.iam.identities.permissions import managed_document, merged_tags
from rs3gwd.iam.policy.document import SESSION_CHARACTERS_MAX
from rs3gwd.iam.policy.request_keys import resource_tag_keys
from rs3gwd.iam.query_api.call import QueryCall, Result, show_time
from rs3gwd.iam.query_api.trust import find_role, require_trust
from rs3gwd.iam.sessions.issue import issue_token, new_session, packed_percent
from rs3gwd.iam.sessions.session import Session, SessionKind

SESSION_S_MIN = 900
SESSION_S_DEFAULT = 3600
CHAINED_S_MAX = 3600
"""Seconds of a role's session that was made by a role's session."""

ROOT_S_MAX = 3600
OWN_S_MAX = 129_600
OWN_S_DEFAULT = 43_200
"""Seconds of GetSessionToken and GetFederationToken; of the root an hour."""

POLICY_ARNS_MAX = 10

_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_FEDERATED_NAME = re.compile(r"[\w+=,.@-]{2,32}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_ABSENT = (
    "SerialNumber",
    "TokenCode",
    "MinimumSessionTokenSize",
    "ProvidedContexts.member.1.ProviderArn",
    "ProvidedContexts.member.1.ContextAssertion",
)


class Wish(Struct, frozen=True):
    """What a request wants its session to have; `tags` includes those that come along."""

    name: str
    policies: list[bytes]
    policy_arns: list[str]
    tags: list[tuple[str, str]] = []
    transitive: list[str] = []
    source_identity: str = ""

    def actions(self, action: str) -> list[str]:
        """What a trust policy must permit."""
        also = ["sts:TagSession"] if self.tags else []
        also += ["sts:SetSourceIdentity"] if self.source_identity else []
        return [action, *also]

    def keys(self) -> dict[str, tuple[str, ...]]:
        """The condition keys that come from it."""
        keys = resource_tag_keys(self.tags)
        keys["sts:rolesessionname"] = (self.name,)
        if self.transitive:
            keys["sts:transitivetagkeys"] = tuple(self.transitive)
        if self.source_identity:
            keys["sts:sourceidentity"] = (self.source_identity,)
        return keys


def refuse_absent(call: QueryCall) -> None:
    """Raises ApiError NotImplemented for parameters of AWS's that nothing here would heed."""
    for field in _ABSENT:
        if call.form.optional(field):
            raise ApiError("NotImplemented", f"{field} is not implemented.")


async def assume_role(call: QueryCall) -> Result:
    """AssumeRole."""
    secrets = sealer_of(call)
    if call.principal.is_root:
        raise ApiError("AccessDenied", "Roles may not be assumed by root accounts.")
    refuse_absent(call)
    arn = call.form.text("RoleArn")
    found = find_role(call.directory, arn)
    account = call.canonical_id if found is None else found.canonical_id
    wish = _role_wish(call, account)
    keys = wish.keys()
    external_id = call.form.optional("ExternalId")
    if external_id:
        if not _EXTERNAL_ID.fullmatch(external_id):
            raise invalid("ExternalId is invalid.")
        keys["sts:externalid"] = (external_id,)
    role = require_trust(
        call, found, arn=arn, own=call.own, actions=wish.actions("sts:AssumeRole"), keys=keys
    )
    seconds = role_seconds(call, role, is_chained=_role_session(call) is not None)
    return await role_answer(call, role, wish, seconds=seconds, secrets=secrets)


async def get_session_token(call: QueryCall) -> Result:
    """GetSessionToken; needs no permission, and gives none."""
    secrets = sealer_of(call)
    refuse_absent(call)
    session = _own_session(call, SessionKind.USER)
    token = await issue_token(session, secrets)
    return {"Credentials": show_credentials(session, token)}


async def get_federation_token(call: QueryCall) -> Result:
    """GetFederationToken."""
    secrets = sealer_of(call)
    refuse_absent(call)
    name = call.form.text("Name")
    if not _FEDERATED_NAME.fullmatch(name):
        raise invalid("Name must have 2 to 32 characters of A-Z a-z 0-9 _+=,.@-")
    wish = _policies_wish(call, name, call.canonical_id)
    session = replace(
        _own_session(call, SessionKind.FEDERATED),
        name=name,
        policies=wish.policies,
        policy_arns=wish.policy_arns,
        tags=check_tags(call.form.tags()),
    )
    token = await issue_token(session, secrets)
    account_id = account_id_of(call.canonical_id)
    return {
        "Credentials": show_credentials(session, token),
        "FederatedUser": {
            "FederatedUserId": f"{account_id}:{name}",
            "Arn": f"arn:aws:sts::{account_id}:federated-user/{name}",
        },
        "PackedPolicySize": packed_percent(token),
    }


async def get_access_key_info(call: QueryCall) -> Result:
    """GetAccessKeyInfo, of keys that are for ever: of a session nothing is stored."""
    access_key_id = call.form.text("AccessKeyId")
    record = call.directory.access_key(access_key_id)
    if record is None:
        raise invalid(f"There is no access key {access_key_id[:128]}.")
    return {"Account": account_id_of(record.canonical_id)}


def sealer_of(call: QueryCall) -> SecretWrapper:
    """Who wraps tokens. Raises ApiError NotImplemented where nobody does."""
    if call.secrets is None:
        raise ApiError("NotImplemented", "This node has no keyring, so it has no sessions.")
    return call.secrets


def session_name(call: QueryCall) -> str:
    """RoleSessionName, checked. Raises ApiError ValidationError."""
    name = call.form.text("RoleSessionName")
    if not _SESSION_NAME.fullmatch(name):
        raise invalid("RoleSessionName must have 2 to 64 characters of A-Z a-z 0-9 _+=,.@-")
    return name


def check_source_identity(text: str) -> str:
    """A source identity, which may be empty. Raises ApiError ValidationError."""
    if text and not _SESSION_NAME.fullmatch(text):
        raise invalid("SourceIdentity must have 2 to 64 characters of A-Z a-z 0-9 _+=,.@-")
    return text


def session_policies(call: QueryCall, canonical_id: str) -> tuple[list[bytes], list[str]]:
    """The documents and the managed policies that a session shall have, of the role's account.

    Raises ApiError MalformedPolicyDocument, ValidationError, PackedPolicyTooLarge.
    """
    policies = []
    if call.form.optional("Policy"):
        policies = [call.document("Policy", SESSION_CHARACTERS_MAX)]
    arns = call.form.fields_of("PolicyArns", "arn")
    if len(arns) > POLICY_ARNS_MAX:
        raise invalid(f"A session may have {POLICY_ARNS_MAX} managed policies.")
    for arn in arns:
        if managed_document(arn, canonical_id, call.directory) is None:
            raise invalid(f"PolicyArns: {arn[:256]} cannot be found.")
    return policies, arns


def role_seconds(call: QueryCall, role: IdentityRecord, *, is_chained: bool) -> int:
    """DurationSeconds within its bounds. Raises ApiError ValidationError."""
    if is_chained:
        return call.form.number(
            "DurationSeconds", CHAINED_S_MAX, low=SESSION_S_MIN, high=CHAINED_S_MAX
        )
    return call.form.number(
        "DurationSeconds", SESSION_S_DEFAULT, low=SESSION_S_MIN, high=role.session_s_max
    )


async def role_answer(
    call: QueryCall,
    role: IdentityRecord,
    wish: Wish,
    *,
    seconds: int,
    secrets: SecretWrapper,
    provider: str = "",
) -> dict[str, Any]:
    """Makes the session of a role that was permitted, and says so."""
    session = replace(
        new_session(
            SessionKind.ROLE,
            role.canonical_id,
            seconds=seconds,
            now_ms=call.clock.now_ms(),
            random=call.random,
        ),
        holder=role.name,
        holder_id=role.unique_id,
        name=wish.name,
        policies=wish.policies,
        policy_arns=wish.policy_arns,
        tags=wish.tags,
        transitive=wish.transitive,
        source_identity=wish.source_identity,
        provider=provider,
    )
    token = await issue_token(session, secrets)
    account_id = account_id_of(role.canonical_id)
    has_more = session.has_policies or session.tags
    return {
        "Credentials": show_credentials(session, token),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.unique_id}:{wish.name}",
            "Arn": f"arn:aws:sts::{account_id}:assumed-role/{role.name}/{wish.name}",
        },
        "PackedPolicySize": packed_percent(token) if has_more else None,
        "SourceIdentity": wish.source_identity or None,
    }


def show_credentials(session: Session, token: str) -> dict[str, Any]:
    """The credentials of a session, shown this once."""
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret,
        "SessionToken": token,
        "Expiration": show_time(session.expires_ms),
    }


def _own_session(call: QueryCall, kind: SessionKind) -> Session:
    """A session that ends with the caller's key. Raises ApiError ValidationError."""
    longest = ROOT_S_MAX if call.principal.is_root else OWN_S_MAX
    seconds = call.form.number(
        "DurationSeconds", min(OWN_S_DEFAULT, longest), low=SESSION_S_MIN, high=OWN_S_MAX
    )
    session = new_session(
        kind,
        call.canonical_id,
        # AWS shortens what the root asks for, too.
        seconds=min(seconds, longest),
        now_ms=call.clock.now_ms(),
        random=call.random,
    )
    user = call.principal.user
    return replace(
        session,
        holder="" if user is None else user.name,
        holder_id="" if user is None else user.unique_id,
        made_with=call.principal.access_key_id,
    )


def _role_session(call: QueryCall) -> Session | None:
    """The session of the caller, where it is a role's."""
    session = call.principal.session
    return session if session is not None and session.kind is SessionKind.ROLE else None


def _policies_wish(call: QueryCall, name: str, canonical_id: str) -> Wish:
    policies, arns = session_policies(call, canonical_id)
    return Wish(name=name, policies=policies, policy_arns=arns)


def _role_wish(call: QueryCall, canonical_id: str) -> Wish:
    """What AssumeRole is asked for, with what the caller's session passes on."""
    wish = _policies_wish(call, session_name(call), canonical_id)
    tags = check_tags(call.form.tags())
    given = {key.lower() for key, _ in tags}
    transitive = call.form.members("TransitiveTagKeys")
    if not {key.lower() for key in transitive} <= given:
        raise invalid("TransitiveTagKeys may name only tags that are in Tags.")
    source_identity = check_source_identity(call.form.optional("SourceIdentity"))
    session = _role_session(call)
    if session is not None:
        passed_on = {key.lower() for key in session.transitive}
        if passed_on & given:
            raise invalid(
                "One of the specified tag keys can't be set because it conflicts with a transitive "
                "tag key from the calling session."
            )
        inherited = [pair for pair in session.tags if pair[0].lower() in passed_on]
        tags = check_tags(merged_tags(inherited, tags))
        transitive = [*session.transitive, *transitive]
        if session.source_identity:
            if source_identity not in ("", session.source_identity):
                raise ApiError("AccessDenied", "The source identity of a session cannot change.")
            source_identity = session.source_identity
    return replace(wish, tags=tags, transitive=transitive, source_identity=source_identity)
