"""A session: who acts as whom, how long, and within what bounds; and its token.

    Session -> fields, packed and compressed -> wrapped by the keyring -> text: the session token

A session is nowhere stored. All of it, its secret included, is in the token that the client brings
with each request, wrapped so that nobody can read or change it. So every worker and node knows a
session as soon as it is made, and making one writes nothing. What it refers to is looked up each
time: a session ends when its time is over, when the role that it is of is deleted (or deleted and
made again), and when the access key that it was made with is deleted or turned off (of a user's
session; that of a role lives on, as in AWS). A role's sessions are ended earlier by a policy that
denies them by aws:TokenIssueTime.

What it is not: it asks nobody's permission; `rs3gwd.iam.query_api.sts` does.

Format of what is wrapped, version 1 (tokens of an older release are read by every later one):

    offset  bytes
    0       1      version, 1
    1       n      zlib (RFC 1950) of a msgpack array: the fields of `Session`, in order

Source: "Temporary security credentials in IAM" in the IAM User Guide; the AWS STS API Reference.
"""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum

import msgspec
from msgspec import Struct

from rs3gwd.base.errors import FormatError

TOKEN_CHARACTERS_MAX = 8192
"""Characters of a token. It travels in the head of each request, or in a presigned URL, whose line
may have 16 KiB at the front. AWS has a bound that it does not tell."""

PLAIN_BYTES_MAX = 64 << 10
"""Bytes of a session before compression: policies of 2,048 characters and 50 tags fit."""

CONTEXT = b"session"
"""What tokens are wrapped for."""

_VERSION = b"\x01"


class SessionKind(StrEnum):
    """Whose the session is: a role's, a user's own (or the root's), or a federated user's."""

    ROLE = "role"
    USER = "user"
    FEDERATED = "federated"


class Session(Struct, array_like=True, frozen=True):
    """What a token holds; fields are only ever appended.

    `holder` is the name of the role or user, empty for the account's root, and `holder_id` its
    unique id. `made_with` is the access key of a USER or FEDERATED session. `name` is the session's
    own (RoleSessionName, or the name of the federated user). `policies` and `policy_arns` are the
    session policies. `transitive` are the keys of the tags that go on to further roles. `provider`
    is who vouched for a web identity: the ARN of the provider, or empty.
    """

    kind: SessionKind
    canonical_id: str
    access_key_id: str
    secret: str
    issued_ms: int
    expires_ms: int
    holder: str = ""
    holder_id: str = ""
    made_with: str = ""
    name: str = ""
    policies: list[bytes] = []
    policy_arns: list[str] = []
    tags: list[tuple[str, str]] = []
    transitive: list[str] = []
    source_identity: str = ""
    provider: str = ""

    @property
    def has_policies(self) -> bool:
        """Whether session policies bound it."""
        return bool(self.policies or self.policy_arns)


def pack_session(session: Session) -> bytes:
    """What is to be wrapped."""
    return _VERSION + zlib.compress(msgspec.msgpack.encode(session), 9)


def unpack_session(plain: bytes) -> Session:
    """The session that was unwrapped. Raises FormatError (of a later release)."""
    if plain[:1] != _VERSION:
        raise FormatError(f"a session of version {plain[:1].hex()}")
    opener = zlib.decompressobj()
    try:
        packed = opener.decompress(plain[1:], PLAIN_BYTES_MAX)
        return msgspec.msgpack.decode(packed, type=Session)
    except (zlib.error, msgspec.DecodeError) as error:
        raise FormatError("a session that cannot be read") from error


def token_text(wrapped: bytes) -> str:
    """The token as clients see it: URL-safe base64 without padding."""
    return urlsafe_b64encode(wrapped).rstrip(b"=").decode("ascii")


def token_bytes(text: str) -> bytes:
    """What a token holds, still wrapped. Raises FormatError: that is no token."""
    if not text.isascii() or not 0 < len(text) <= TOKEN_CHARACTERS_MAX:
        raise FormatError("a token has 1 to 8,192 characters")
    try:
        wrapped = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise FormatError("a token is base64") from error
    if token_text(wrapped) != text:
        # Else a token could be spelled in many ways, each of which would have to be kept.
        raise FormatError("a token has one spelling")
    return wrapped
