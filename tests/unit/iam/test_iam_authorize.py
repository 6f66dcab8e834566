"""The one gate."""

import pytest
from iam_world import ALICE

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.authorize import authorize
from rs3gwd.iam.principal import Principal

SIGNED = Principal(account=ALICE, access_key_id="k")
ANONYMOUS = Principal(account=None)


@pytest.mark.parametrize(
    ("principal", "action", "owner_id", "is_allowed"),
    [
        (SIGNED, "s3:GetObject", ALICE.canonical_id, True),
        (SIGNED, "s3:DeleteBucket", ALICE.canonical_id, True),
        (SIGNED, "s3:GetObject", "b" * 64, False),
        (SIGNED, "s3:GetObject", "", False),
        (SIGNED, "s3:ListAllMyBuckets", None, True),
        (SIGNED, "s3:CreateBucket", None, True),
        (SIGNED, "s3:GetObject", None, False),
        (ANONYMOUS, "s3:GetObject", ALICE.canonical_id, False),
        (ANONYMOUS, "s3:GetObject", "", False),
        (ANONYMOUS, "s3:ListAllMyBuckets", None, False),
        (ANONYMOUS, "s3:CreateBucket", None, False),
    ],
)
def test_only_owners_get_in(
    principal: Principal, action: str, owner_id: str | None, is_allowed: bool
) -> None:
    """Owners may do all, accounts list and create buckets, all else is AccessDenied."""
    resource = "arn:aws:s3:::bucket/key"
    if is_allowed:
        decision = authorize(principal, action=action, resource=resource, owner_id=owner_id)
        assert decision.principal == principal
        assert (decision.action, decision.resource) == (action, resource)
        assert decision.reason
        return
    with pytest.raises(ApiError) as caught:
        authorize(principal, action=action, resource=resource, owner_id=owner_id)
    assert caught.value.api_code == "AccessDenied"
