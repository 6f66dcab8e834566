"""AssumeRoleWithWebIdentity: a session of a role, for whom a provider vouches. It is not signed.

    token -> issuer -> the provider of that issuer in the role's account -> its key -> claims
          -> one of the provider's clients -> the role's trust policy

Until a provider's signature has been verified nobody learns whether there is such a role.

Source: AssumeRoleWithWebIdentity in the AWS STS API Reference; "Available keys for AWS OIDC
federation" and "Pass session tags in AWS STS" in the IAM User Guide.
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.iam.identities.names import check_tags
from rs3gwd.iam.identities.permissions import Permissions
from rs3gwd.iam.policy.context import Caller, CallerKind
from rs3gwd.iam.policy.variables import normalize_key
from rs3gwd.iam.query_api.call import QueryCall, Result, arn_of
from rs3gwd.iam.query_api.providers import name_of
from rs3gwd.iam.query_api.sts import (
    Wish,
    check_source_identity,
    refuse_absent,
    role_answer,
    role_seconds,
    sealer_of,
    session_name,
    session_policies,
)
from rs3gwd.iam.query_api.trust import account_of_role, find_role, require_trust
from rs3gwd.iam.web_identity.tokens import WebClaims, invalid_token, read_token, verify_token

ACTION = "sts:AssumeRoleWithWebIdentity"


async def assume_role_with_web_identity(call: QueryCall) -> Result:
    """AssumeRoleWithWebIdentity."""
    secrets = sealer_of(call)
    if call.issuers is None:
        raise ApiError("NotImplemented", "This node asks no identity providers.")
    refuse_absent(call)
    if call.form.optional("ProviderId"):
        raise ApiError("NotImplemented", "Providers of OAuth 2.0 access tokens are not known.")
    arn = call.form.text("RoleArn")
    name = session_name(call)
    token = read_token(call.form.text("WebIdentityToken"))
    provider = _provider(call, account_of_role(call.directory, arn), token.issuer)
    key = await call.issuers.find_key(provider.url, token.key_id)
    claims = verify_token(token, key, now_s=call.clock.now_ms() / 1000)
    if not set(claims.audience) & set(provider.clients):
        raise invalid_token("it was made for an audience that is no client of the provider")
    role, wish = _admit(call, arn, name, provider, claims)
    result = await role_answer(
        call,
        role,
        wish,
        seconds=role_seconds(call, role, is_chained=False),
        secrets=secrets,
        provider=arn_of(provider),
    )
    return {
        **result,
        "SubjectFromWebIdentityToken": claims.subject,
        "Provider": arn_of(provider),
        "Audience": claims.audience[0],
    }


def _provider(call: QueryCall, canonical_id: str | None, issuer: str) -> IdentityRecord:
    """The provider of an issuer in an account. Raises ApiError InvalidIdentityToken."""
    found = None
    if canonical_id is not None:
        found = call.directory.identity(canonical_id, IdentityKind.PROVIDER, name_of(issuer))
    if found is None or found.url != issuer:
        raise ApiError(
            "InvalidIdentityToken",
            f"No OpenIDConnect provider found in your account for {issuer[:256]}",
        )
    return found


def _admit(
    call: QueryCall, arn: str, name: str, provider: IdentityRecord, claims: WebClaims
) -> tuple[IdentityRecord, Wish]:
    """The role and what its session shall have. Raises ApiError AccessDenied, and others."""
    policies, arns = session_policies(call, provider.canonical_id)
    tags = check_tags(claims.tags)
    given = {key.lower() for key, _ in tags}
    if not {key.lower() for key in claims.transitive} <= given:
        raise invalid_token("its transitive tags are not among its tags")
    wish = Wish(
        name=name,
        policies=policies,
        policy_arns=arns,
        tags=tags,
        transitive=list(claims.transitive),
        source_identity=check_source_identity(claims.source_identity),
    )
    role = require_trust(
        call,
        find_role(call.directory, arn),
        arn=arn,
        own=Permissions(Caller(kind=CallerKind.FEDERATED, provider=arn_of(provider))),
        actions=wish.actions(ACTION),
        keys={**wish.keys(), **_keys(provider, claims)},
    )
    return role, wish


def _keys(provider: IdentityRecord, claims: WebClaims) -> dict[str, tuple[str, ...]]:
    """The condition keys of the provider: `ISSUER:aud`, `:sub`, `:oaud`, `:azp`, `:amr`, `:email`.

    `aud` is the `azp` claim where there is one, and `oaud` the audience as it stands in the token.
    """
    values = {
        "aud": claims.audience,
        "sub": (claims.subject,),
        "oaud": claims.clients,
        "azp": (claims.party,) if claims.party else (),
        "amr": claims.methods,
        "email": (claims.email,) if claims.email else (),
    }
    return {
        normalize_key(f"{provider.name}:{name}"): given for name, given in values.items() if given
    }
