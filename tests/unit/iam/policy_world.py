"""Short ways to make policies and callers for the policy tests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rs3gwd.iam.policy.context import Access, Caller, CallerKind, given_keys, root_caller
from rs3gwd.iam.policy.document import Document, PolicyKind
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.statements import CompiledPolicy

OWNER, OTHER = "111111111111", "222222222222"
ROOT = root_caller(OWNER, "a" * 64)
OTHER_ROOT = root_caller(OTHER, "b" * 64)


def user(name: str, account: str = OWNER, **more: Any) -> Caller:
    """A user of an account."""
    return Caller(
        kind=CallerKind.USER,
        account_id=account,
        canonical_id=("a" if account == OWNER else "b") * 64,
        arn=f"arn:aws:iam::{account}:user/{name}",
        unique_id=f"AIDA{name.upper():0>16}",
        user_id=f"AIDA{name.upper():0>16}",
        name=name,
        **more,
    )


def session(role: str, name: str, account: str = OWNER) -> Caller:
    """A session of a role."""
    return Caller(
        kind=CallerKind.ROLE_SESSION,
        account_id=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
        issuer_arn=f"arn:aws:iam::{account}:role/{role}",
        unique_id=f"AROA{role.upper():0>16}",
        user_id=f"AROA{role.upper():0>16}:{name}",
    )


def statement(effect: str = "Allow", **fields: Any) -> dict[str, Any]:
    """A statement of an identity policy: everything is allowed, unless `fields` say otherwise."""
    if "NotAction" not in fields:
        fields.setdefault("Action", "s3:*")
    if "NotResource" not in fields:
        fields.setdefault("Resource", "*")
    return {"Effect": effect, **fields}


def read(
    *statements: Mapping[str, Any],
    kind: PolicyKind = PolicyKind.IDENTITY,
    version: str = "2012-10-17",
) -> Document:
    """A document of these statements, of bucket `b` if it is a bucket policy."""
    text = json.dumps({"Version": version, "Statement": list(statements)})
    return read_policy(text, kind, characters_max=20_480, bucket="b")


def identity(*statements: Mapping[str, Any], **more: Any) -> CompiledPolicy:
    """A compiled identity policy."""
    return CompiledPolicy("identity", read(*statements, **more))


def bucket(*statements: Mapping[str, Any], **more: Any) -> CompiledPolicy:
    """A compiled policy of bucket `b`; statements without a principal speak of everybody."""
    named = [
        each if {"Principal", "NotPrincipal"} & set(each) else {"Principal": "*", **each}
        for each in statements
    ]
    return CompiledPolicy("bucket", read(*named, kind=PolicyKind.BUCKET, **more))


def access(
    caller: Caller,
    action: str = "s3:GetObject",
    resource: str = "arn:aws:s3:::b/key",
    keys: Mapping[str, Sequence[str]] | None = None,
    owner: str = OWNER,
) -> Access:
    """A question about bucket `b`, which OWNER owns."""
    return Access(
        caller=caller,
        action=action,
        resource=resource,
        resource_account_id=owner,
        lookup=given_keys(keys or {}),
    )
