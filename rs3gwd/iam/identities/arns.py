"""Account numbers and ARNs: the names by which policies know accounts and identities.

An account is a canonical id of 64 hex digits here and a number of 12 digits in every ARN. The
number follows from the id, so nothing has to be stored and it is the same on every node. Two
accounts out of a thousand would share a number with a probability of one in two million, and the
second of them is refused when it is to be made.

Source: "IAM identifiers" in the IAM User Guide.
"""

import hashlib
from functools import lru_cache

from rs3gwd.base.identities import IdentityKind

ACCOUNTS_KEPT = 4096
"""Accounts whose number is kept, at about 200 bytes."""


@lru_cache(ACCOUNTS_KEPT)
def account_id_of(canonical_id: str) -> str:
    """The 12 digits by which policies name the account with this canonical id."""
    digest = hashlib.sha256(b"account id " + canonical_id.encode()).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**12:012}"


def identity_arn(canonical_id: str, kind: IdentityKind, path: str, name: str) -> str:
    """The ARN of a user, group or role; `path` begins and ends with a slash."""
    return f"arn:aws:iam::{account_id_of(canonical_id)}:{kind}{path}{name}"


def policy_arn(canonical_id: str, path: str, name: str) -> str:
    """The ARN of a managed policy of an account."""
    return f"arn:aws:iam::{account_id_of(canonical_id)}:policy{path}{name}"


def policies_prefix(canonical_id: str) -> str:
    """What the ARN of every managed policy of an account begins with."""
    return f"arn:aws:iam::{account_id_of(canonical_id)}:policy/"
