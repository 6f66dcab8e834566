"""Policy documents: read, checked, and kept as immutable records.

    bucket      what PutBucketPolicy takes: has principals, speaks of that bucket alone
    identity    what users, groups, roles, boundaries and sessions have: no principals
    trust       who may assume a role: principals, no resources

`rs3gwd.iam.policy.reading` checks what AWS checks at PUT, in its words: a document that cannot mean
what it says is refused there, not ignored later. What may be meant and is probably a mistake is for
`rs3gwd.iam.policy.lint` to say. Conditions and templates come compiled, since compiling is how they
are checked; the rest of compiling is `rs3gwd.iam.policy.statements`.

Invariants: a Document has at least one statement; a statement has exactly one of Action and
NotAction, of Resource and NotResource (a trust policy neither), and one of Principal and
NotPrincipal unless it is of an identity policy.

Source: "Grammar of the IAM JSON policy language", "IAM JSON policy elements reference" and "IAM and
AWS STS quotas" in the IAM User Guide, "Bucket policies" in the Amazon S3 User Guide.
"""

from enum import StrEnum

from msgspec import Struct

from rs3gwd.iam.policy.conditions import Condition
from rs3gwd.iam.policy.principals import Principals
from rs3gwd.iam.policy.variables import Template

VERSION_2008 = "2008-10-17"
VERSION_2012 = "2012-10-17"

BUCKET_CHARACTERS_MAX = 20_480
MANAGED_CHARACTERS_MAX = 6_144
USER_INLINE_CHARACTERS_MAX = 2_048
GROUP_INLINE_CHARACTERS_MAX = 5_120
ROLE_INLINE_CHARACTERS_MAX = 10_240
SESSION_CHARACTERS_MAX = 2_048
TRUST_CHARACTERS_MAX = 2_048
"""Characters of a document without blanks between its parts: the quotas of AWS. The three inline
ones are for all inline policies of one user, group or role together."""

DOCUMENT_BYTES_MAX = 65_536
"""Bytes of a document as sent, blanks included: what is parsed at all."""


class PolicyKind(StrEnum):
    """What a document is attached to."""

    BUCKET = "bucket"
    IDENTITY = "identity"
    TRUST = "trust"


class Effect(StrEnum):
    """What a statement does when it matches."""

    ALLOW = "Allow"
    DENY = "Deny"


class Statement(Struct, frozen=True):
    """One statement. `index` counts from 0. `actions` and `resources` are as written.

    `principals` is None in an identity policy; `resources` is empty in a trust policy.
    """

    index: int
    sid: str
    effect: Effect
    principals: Principals | None
    is_not_principal: bool
    actions: tuple[str, ...]
    is_not_action: bool
    resources: tuple[Template, ...]
    is_not_resource: bool
    conditions: tuple[Condition, ...]

    @property
    def label(self) -> str:
        """What a person calls it: its Sid, else its number counted from 1."""
        return self.sid or f"statement {self.index + 1}"


class Document(Struct, frozen=True):
    """A policy that was checked. `policy_id` is its Id element, empty where it has none."""

    kind: PolicyKind
    version: str
    policy_id: str
    statements: tuple[Statement, ...]
    characters: int
