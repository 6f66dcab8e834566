"""The stored records of identities: users, groups and roles, and the managed policies they have.

Like the records in `rs3gwd.base.records`, and under the same rule: fields are only ever appended.

An identity belongs to an account and is named within it and its kind, without regard to case. Its
`revision` grows by one with every change; a change names the revision that it was made from, so of
two changes of one record at one time one is refused and made again.

Policies are named by ARN: those of the account (`arn:aws:iam::123456789012:policy/name`), and those
that every account has (`arn:aws:iam::aws:policy/name`).

Source: "IAM identities" in the IAM User Guide; the data types of the IAM API Reference.
"""

from enum import StrEnum

from msgspec import Struct

SHARED_POLICY_ARN = "arn:aws:iam::aws:policy/"
"""What the ARN of a policy that every account has begins with."""


class IdentityKind(StrEnum):
    """What an identity is."""

    USER = "user"
    GROUP = "group"
    ROLE = "role"
    PROVIDER = "oidc-provider"


HOLDERS = (IdentityKind.USER, IdentityKind.GROUP, IdentityKind.ROLE)
"""The kinds that can have policies; a provider vouches for others and may nothing itself."""


class InlinePolicy(Struct, array_like=True, frozen=True):
    """A policy that is part of one identity."""

    name: str
    document: bytes


class IdentityRecord(Struct, array_like=True, frozen=True):
    """A user, group or role of an account, or a provider of web identities that it trusts.

    `unique_id` is never used again, even for the same name. `attached` are ARNs of managed
    policies. `groups` are the names of a user's groups; `boundary` the ARN of the policy that is
    the permissions boundary of a user or role, or empty; `trust` says who may assume a role, and
    `session_s_max` for how many seconds. `url` is the issuer of a provider, `clients` are the
    audiences and `thumbprints` the certificates that go with it.
    """

    canonical_id: str
    kind: IdentityKind
    name: str
    path: str
    unique_id: str
    created_ms: int
    revision: int = 0
    tags: list[tuple[str, str]] = []
    inline: list[InlinePolicy] = []
    attached: list[str] = []
    groups: list[str] = []
    boundary: str = ""
    trust: bytes = b""
    description: str = ""
    session_s_max: int = 3600
    url: str = ""
    clients: list[str] = []
    thumbprints: list[str] = []


class PolicyVersion(Struct, array_like=True, frozen=True):
    """A version of a managed policy; numbers are given out from 1 and never again."""

    number: int
    document: bytes
    created_ms: int


class PolicyRecord(Struct, array_like=True, frozen=True):
    """A managed policy of an account. `versions` are in order; `default_number` is in force."""

    canonical_id: str
    name: str
    path: str
    unique_id: str
    created_ms: int
    changed_ms: int
    versions: list[PolicyVersion]
    default_number: int
    last_number: int
    revision: int = 0
    description: str = ""
    tags: list[tuple[str, str]] = []

    @property
    def document(self) -> bytes:
        """The document that is in force."""
        return next(one.document for one in self.versions if one.number == self.default_number)


def policy_name_of(arn: str) -> str | None:
    """The name of an account's own policy, None for one that every account has."""
    if arn.startswith(SHARED_POLICY_ARN):
        return None
    return arn.rpartition("/")[2]
