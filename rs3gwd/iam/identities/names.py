"""What names, paths, tags and ids of identities look like, and how many there may be.

Generated ids have the prefixes of AWS, by which people and programs tell kinds apart. Randomness is
an argument.

Source: "IAM and AWS STS quotas" and "IAM identifiers" in the IAM User Guide; the parameters of
CreateUser, CreateGroup, CreateRole, CreatePolicy and TagUser in the IAM API Reference.
"""

import re
from base64 import b32encode
from collections.abc import Sequence

from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.ports import Random

NAME_CHARACTERS_MAX = {
    IdentityKind.USER: 64,
    IdentityKind.GROUP: 128,
    IdentityKind.ROLE: 64,
}
POLICY_NAME_CHARACTERS_MAX = 128
PATH_CHARACTERS_MAX = 512

IDENTITIES_MAX = {
    IdentityKind.USER: 5000,
    IdentityKind.GROUP: 300,
    IdentityKind.ROLE: 1000,
    IdentityKind.PROVIDER: 100,
}
"""Identities of a kind in one account."""

POLICIES_MAX = 1500
POLICY_VERSIONS_MAX = 5
ATTACHED_MAX = 10
GROUPS_MAX = 10
ACCESS_KEYS_MAX = 2
TAGS_MAX = 50
TAG_KEY_CHARACTERS_MAX = 128
TAG_VALUE_CHARACTERS_MAX = 256

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/", re.ASCII)
_TAG = re.compile(r"[\w\s+=.@:/-]*")
_PREFIXES = {IdentityKind.USER: "AIDA", IdentityKind.GROUP: "AGPA", IdentityKind.ROLE: "AROA"}
_POLICY_PREFIX = "ANPA"


def make_unique_id(kind: IdentityKind | None, random: Random) -> str:
    """A new id, 20 characters; `kind` None for a managed policy."""
    prefix = _POLICY_PREFIX if kind is None else _PREFIXES[kind]
    return prefix + b32encode(random.token_bytes(10)).decode("ascii")


def check_name(field: str, name: str, characters_max: int) -> str:
    """`name` when it is 1 to `characters_max` of `A-Z a-z 0-9 _ + = , . @ -`; raises ApiError."""
    if len(name) <= characters_max and _NAME.fullmatch(name):
        return name
    raise invalid(
        f"The specified value for {field} is invalid. It must contain 1 to {characters_max} "
        "alphanumeric characters or characters of _+=,.@-"
    )


def check_path(path: str) -> str:
    """`path` when it begins and ends with a slash; raises ApiError."""
    if len(path) <= PATH_CHARACTERS_MAX and _PATH.fullmatch(path) and "*" not in path:
        return path
    raise invalid(
        "The specified value for path is invalid. It must begin and end with / and contain only "
        "visible ASCII characters."
    )


def check_tags(tags: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Tags of an identity, whose keys differ in more than case; raises ApiError."""
    if len(tags) > TAGS_MAX:
        raise ApiError("LimitExceeded", f"Cannot exceed quota for TagsPerResource: {TAGS_MAX}")
    if len({key.lower() for key, _ in tags}) != len(tags):
        raise ApiError("InvalidInput", "Duplicate tag keys found. Tag keys are case insensitive.")
    for key, value in tags:
        if not 0 < len(key) <= TAG_KEY_CHARACTERS_MAX or not _TAG.fullmatch(key):
            raise invalid(f"The tag key {key[:20]!r} is invalid.")
        if len(value) > TAG_VALUE_CHARACTERS_MAX or not _TAG.fullmatch(value):
            raise invalid(f"The value of the tag {key[:20]!r} is invalid.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys that begin with aws: are reserved.")
    return list(tags)


def invalid(message: str) -> ApiError:
    """ValidationError, as the query API says it."""
    return ApiError("ValidationError", message)
