"""What a principal may do: the one gate before every action.

Until policies come the rule is short: an account may list its buckets and create new ones, the
owner of a bucket may do everything in it, and nobody else, anonymous callers included, may do
anything. Only this module makes a Decision, and a handler cannot be called without one.
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.principal import Decision, Principal

SERVICE_ACTIONS = frozenset({"s3:ListAllMyBuckets", "s3:CreateBucket"})
"""What any account may do outside a bucket of its own; names as in IAM policies."""


def authorize(
    principal: Principal, *, action: str, resource: str, owner_id: str | None
) -> Decision:
    """The permission for `action` (`s3:GetObject`) on `resource` (an ARN).

    `owner_id` is the canonical id of the bucket's owner, None at service level. Raises ApiError
    AccessDenied.
    """
    if principal.account is None:
        raise _access_denied()
    if owner_id is None:
        if action not in SERVICE_ACTIONS:
            raise _access_denied()
        return Decision(
            principal=principal, action=action, resource=resource, reason="has an account"
        )
    if owner_id != principal.account.canonical_id:
        raise _access_denied()
    return Decision(principal=principal, action=action, resource=resource, reason="owns the bucket")


def _access_denied() -> ApiError:
    return ApiError("AccessDenied", "Access Denied")
