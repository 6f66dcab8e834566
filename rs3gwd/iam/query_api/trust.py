"""May this caller become that role? The role's trust policy and the caller's own policies together.

The same evaluator as everywhere: the trust policy is the resource's policy. It must permit each
thing that is asked for: to assume the role, to bring tags (sts:TagSession) and a source identity
(sts:SetSourceIdentity). A role that is not there is refused like one that may not be had.

Source: "Update a role trust policy", "Pass session tags in AWS STS", "Monitor and control actions
taken with assumed roles" in the IAM User Guide.
"""

from collections.abc import Mapping, Sequence

from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.base.ports import Directory
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.identities.names import invalid
from rs3gwd.iam.identities.permissions import Permissions
from rs3gwd.iam.policy.context import Access
from rs3gwd.iam.policy.document import TRUST_CHARACTERS_MAX, PolicyKind
from rs3gwd.iam.policy.evaluate import Policies, evaluate
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.request_keys import RequestKeys
from rs3gwd.iam.policy.statements import CompiledPolicy
from rs3gwd.iam.query_api.call import QueryCall, arn_of
from rs3gwd.iam.query_api.permission import facts_of, not_authorized

_ROLE_ARN = "arn:aws:iam::"


def find_role(directory: Directory, arn: str) -> IdentityRecord | None:
    """The role with this ARN, of any account. Raises ApiError ValidationError: that is no ARN."""
    canonical_id = account_of_role(directory, arn)
    if canonical_id is None:
        return None
    found = directory.identity(canonical_id, IdentityKind.ROLE, arn.rpartition("/")[2])
    return found if found is not None and arn_of(found) == arn else None


def account_of_role(directory: Directory, arn: str) -> str | None:
    """The canonical id of the account in the ARN of a role, if there is such an account.

    Raises ApiError ValidationError: that is no ARN of a role.
    """
    account_id, _, path = arn.removeprefix(_ROLE_ARN).partition(":role/")
    if not arn.startswith(_ROLE_ARN) or len(account_id) != 12 or not path:
        raise invalid(f"{arn[:256]} is invalid")
    ids = (account.canonical_id for account in directory.accounts())
    return next((each for each in ids if account_id_of(each) == account_id), None)


def require_trust(
    call: QueryCall,
    role: IdentityRecord | None,
    *,
    arn: str,
    own: Permissions,
    actions: Sequence[str],
    keys: Mapping[str, tuple[str, ...]],
) -> IdentityRecord:
    """The role, which the caller may have. Raises ApiError AccessDenied.

    `own` is who asks and their policies, `keys` the condition keys that only this request has.
    """
    if role is None:
        raise not_authorized(own.caller, actions[0], arn)
    document = read_policy(role.trust, PolicyKind.TRUST, characters_max=TRUST_CHARACTERS_MAX)
    policies = Policies(
        identity=own.identity,
        boundary=own.boundary,
        session=own.session,
        resource=CompiledPolicy(f"trust policy of {role.name}", document),
        is_trust=True,
    )
    account_id = account_id_of(role.canonical_id)
    facts = facts_of(
        own.caller,
        call.request,
        now_ms=call.clock.now_ms(),
        region=call.region,
        account_id=account_id,
        tags=role.tags,
    )
    lookup = RequestKeys(facts, keys)
    for action in actions:
        access = Access(
            caller=own.caller,
            action=action,
            resource=arn,
            resource_account_id=account_id,
            lookup=lookup,
        )
        if not evaluate(access, policies).is_allowed:
            raise not_authorized(own.caller, action, arn)
    return role
