"""What S3 calls a public policy."""

from typing import Any

import pytest
from policy_world import OTHER, read, statement

from rs3gwd.iam.policy.document import PolicyKind
from rs3gwd.iam.policy.public import is_public_policy


def is_public(**fields: Any) -> bool:
    """Whether a policy of one statement, by default for everybody, is public."""
    fields.setdefault("Action", "s3:PutObject")
    if "NotPrincipal" not in fields:
        fields.setdefault("Principal", "*")
    return is_public_policy(read(statement(**fields), kind=PolicyKind.BUCKET))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        ({"StringLike": {"aws:SourceVpc": "vpc-*"}}, True),
        ({"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}, False),
        ({"StringEquals": {"aws:SourceVpc": ["vpc-91237329", "vpc-${aws:userid}"]}}, True),
        ({"StringNotEquals": {"aws:SourceVpc": "vpc-91237329"}}, True),
        ({"StringEqualsIfExists": {"aws:SourceVpc": "vpc-91237329"}}, True),
        ({"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-91237329"}}, True),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalOrgPaths": "o-a/r-b/"}}, False),
        ({"Null": {"aws:SourceVpc": "false"}}, True),
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, False),
        ({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}, True),
        ({"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/0"]}}, True),
        ({"IpAddress": {"aws:SourceIp": "172.16.0.0/12"}}, False),
        ({"IpAddress": {"aws:SourceIp": "11.0.0.0/8"}}, False),
        ({"IpAddress": {"aws:SourceIp": "11.0.0.0/7"}}, True),
        ({"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}, False),
        ({"IpAddress": {"aws:SourceIp": "2001::/16"}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, True),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111111111111:user/x"}}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/x"}}, True),
        ({"StringEquals": {"aws:UserAgent": "mine"}}, True),
        ({"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:eu:1:accesspoint/*"}}, False),
        ({"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:eu:*:accesspoint/*"}}, True),
    ],
)
def test_conditions_keep_the_public_out_or_do_not(condition: Any, expected: bool) -> None:
    """Only a fixed value that must be there does; the examples of S3 are among these."""
    assert is_public(Condition=condition) is expected


def test_fixed_principals_are_not_the_public() -> None:
    """Accounts, users and services by name; but not everybody beside them, nor everybody else."""
    assert not is_public(Principal={"AWS": OTHER})
    assert not is_public(Principal={"Service": "logging.s3.amazonaws.com"})
    assert is_public(Principal={"AWS": [OTHER, "*"]})
    assert is_public(NotPrincipal={"AWS": OTHER})


def test_a_denial_is_never_public_and_one_public_statement_is_enough() -> None:
    """Statements count one by one, and those that deny not at all."""
    assert not is_public(effect="Deny")
    fixed = statement(Principal={"AWS": OTHER})
    everybody = statement(Principal="*")
    assert is_public_policy(read(fixed, everybody, kind=PolicyKind.BUCKET))
