"""What a request is, as far as policies can ask.

    Caller    who asks: anonymous, an account's root, a user, a session of a role, ...
    Access    what is asked: caller, action, resource, and how to look up condition keys

Condition keys are looked up by name, one at a time, and only when a statement that could match has
a condition on them: a plain GET in a bucket whose policy has no conditions computes none. A key is
given in normal spelling (`rs3gwd.iam.policy.variables.normalize_key`) and answered with its values,
all texts, or None where the request has no such key. A number or date is given as text.

The keys of a real request are `rs3gwd.iam.policy.request_keys`; those that a person types are
`given_keys`.

Source: "AWS global condition context keys" and "The request context" in the IAM User Guide.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from rs3gwd.iam.policy.principals import account_arn
from rs3gwd.iam.policy.variables import Lookup, normalize_key


class CallerKind(StrEnum):
    """What a caller is."""

    ANONYMOUS = "Anonymous"
    ROOT = "Account"
    USER = "User"
    ROLE_SESSION = "AssumedRole"
    FEDERATED = "FederatedUser"
    SERVICE = "Service"


class Caller(Struct, frozen=True):
    """Who asks. Empty texts mean that there is no such thing.

    `arn` is the caller's own: the account's `...:root`, the user, the session of a role, the
    federated user. `issuer_arn` is the role of a session, or the user who federated. `unique_id` is
    the id of the user or role (`AIDA...`, `AROA...`), `user_id` what aws:userid says. `account_id`
    is 12 digits, `canonical_id` the 64 hex digits of the same account. `provider` is behind a web
    identity that asks for a session, `service` the name of a service. `tags` are those of the
    principal and its session. Of a session `token_issued_ms` is when it was made, `vouched_by` the
    provider behind it and `source_identity` what its maker set.
    """

    kind: CallerKind
    account_id: str = ""
    canonical_id: str = ""
    arn: str = ""
    issuer_arn: str = ""
    unique_id: str = ""
    user_id: str = ""
    name: str = ""
    provider: str = ""
    service: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    token_issued_ms: int | None = None
    vouched_by: str = ""
    source_identity: str = ""

    @property
    def account_arn(self) -> str:
        """The ARN that stands for the caller's account; empty without one."""
        return account_arn(self.account_id) if self.account_id else ""

    @property
    def principal_arn(self) -> str:
        """What aws:PrincipalArn says: of a role's session it is the role."""
        return self.issuer_arn if self.kind is CallerKind.ROLE_SESSION else self.arn


ANONYMOUS = Caller(kind=CallerKind.ANONYMOUS)
"""Whoever sends no signature."""


def root_caller(account_id: str, canonical_id: str = "") -> Caller:
    """The root of an account: whoever uses a key of the account itself."""
    return Caller(
        kind=CallerKind.ROOT,
        account_id=account_id,
        canonical_id=canonical_id,
        arn=account_arn(account_id),
        unique_id=account_id,
        user_id=account_id,
    )


class Access(Struct, frozen=True):
    """One question: may `caller` do `action` to `resource`?

    `action` is as IAM writes it (`s3:GetObject`), `resource` an ARN (`arn:aws:s3:::*` for what is
    done to the account itself). `resource_account_id` is the account that owns the resource; for
    what is done to the caller's own account it is the caller's. `lookup` gives condition keys.
    """

    caller: Caller
    action: str
    resource: str
    resource_account_id: str
    lookup: Lookup


def no_keys(key: str) -> tuple[str, ...] | None:
    """A request that has no condition keys."""
    return None


def given_keys(values: Mapping[str, Sequence[str]]) -> Lookup:
    """Condition keys that are known beforehand, by name in any case."""
    return {normalize_key(key): tuple(each) for key, each in values.items()}.get
