"""Whether a bucket policy is public, as S3 means it: for PolicyStatus and BlockPublicPolicy.

S3 takes a policy for public until it is shown not to be: every statement that allows must give
access only to fixed values, ones without wildcard or variable, of

- a principal: the Principal element names accounts, users, roles or services, or a condition fixes
  aws:PrincipalArn, aws:PrincipalAccount, aws:PrincipalOrgID, aws:PrincipalOrgPaths or aws:userid;
- aws:SourceIp ranges, none broader than /8 (version 4) or /32 (version 6), those of RFC 1918 aside;
- aws:SourceArn, aws:SourceVpc, aws:SourceVpce, aws:SourceOwner, aws:SourceAccount,
  s3:x-amz-server-side-encryption-aws-kms-key-id, s3:DataAccessPointAccount;
- s3:DataAccessPointArn, where the name of the access point may be a wildcard.

A condition fixes a key only if it is false for a request that lacks the key: IfExists and
ForAllValues do not, nor do negated operators. What actions the statement names does not matter.

Source: "The meaning of 'public'" in "Blocking public access to your Amazon S3 storage", Amazon S3
User Guide.
"""

from collections.abc import Callable
from ipaddress import IPv4Network

from rs3gwd.iam.policy.conditions import Condition, Family, Qualifier
from rs3gwd.iam.policy.document import Document, Effect, Statement
from rs3gwd.iam.policy.values import read_network

PREFIX_BITS_MIN = {4: 8, 6: 32}
"""Ranges with fewer bits than these are too broad to keep the public out."""

_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))

_FIXED_KEYS = frozenset(
    {
        "aws:principalarn",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:userid",
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourceowner",
        "aws:sourceaccount",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "s3:dataaccesspointaccount",
    }
)


def is_public_policy(document: Document) -> bool:
    """Whether a bucket policy gives anything to the public."""
    return any(is_public_statement(statement) for statement in document.statements)


def is_public_statement(statement: Statement) -> bool:
    """Whether a statement gives something to the public; one that denies never does."""
    if statement.effect is Effect.DENY:
        return False
    principals = statement.principals
    if principals is not None and not statement.is_not_principal and not principals.is_everyone:
        return False
    return not any(_fixes(condition) for condition in statement.conditions)


def _fixes(condition: Condition) -> bool:
    """Whether a condition lets only fixed values through."""
    if condition.if_exists or condition.operator.is_negated:
        return False
    if condition.qualifier is Qualifier.ALL or condition.open_values:
        return False
    family = condition.operator.family
    if condition.key == "aws:sourceip":
        return family is Family.ADDRESS and _all_values(condition, _is_narrow)
    if family not in (Family.STRING, Family.ARN):
        return False
    if condition.key == "s3:dataaccesspointarn":
        return _all_values(condition, _has_fixed_account)
    return condition.key in _FIXED_KEYS and _all_values(condition, _is_fixed)


def _all_values(condition: Condition, is_good: Callable[[str], bool]) -> bool:
    return all(is_good(value) for value in condition.values)


def _is_fixed(value: str) -> bool:
    return not any(mark in value for mark in ("*", "?", "${"))


def _has_fixed_account(value: str) -> bool:
    parts = value.split(":", 5)
    return len(parts) == 6 and bool(parts[4]) and all(_is_fixed(part) for part in parts[:5])


def _is_narrow(value: str) -> bool:
    network = read_network(value)
    if network is None:
        return False
    if isinstance(network, IPv4Network) and any(network.subnet_of(each) for each in _PRIVATE):
        return True
    return network.prefixlen >= PREFIX_BITS_MIN[network.version]
