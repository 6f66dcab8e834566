"""Continuation tokens: opaque to the client, a name to continue behind for us.

A token is URL-safe base64, unpadded, of `kind (1 byte) | CRC-32 (4 bytes, big-endian) | name`. It
is no secret and gives no access: the checksum is there so that an altered, cut or foreign token is
refused (InvalidArgument, as in AWS) and does not quietly list something else. Pure.
"""

import base64
import binascii
import re
import zlib
from enum import IntEnum

from rs3gwd.base.errors import ApiError
from rs3gwd.base.limits import KEY_BYTES_MAX

TOKEN_CHARACTERS_MAX = 2048
"""A key of 1,024 bytes makes a token of 1,372 characters."""

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class TokenKind(IntEnum):
    """What a token continues; a token of one kind is refused by the other."""

    OBJECTS = 1
    BUCKETS = 2


def make_token(kind: TokenKind, after: bytes) -> str:
    """The token that continues a listing behind the name `after`."""
    checksum = zlib.crc32(after, kind)
    raw = bytes([kind]) + checksum.to_bytes(4, "big") + after
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_token(kind: TokenKind, token: str) -> bytes:
    """The name inside a token. Raises ApiError InvalidArgument when it is not one of ours."""
    after = _open_token(kind, token)
    if after is None:
        raise ApiError(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            fields={"ArgumentName": "continuation-token", "ArgumentValue": token},
        )
    return after


def _open_token(kind: TokenKind, token: str) -> bytes | None:
    if len(token) > TOKEN_CHARACTERS_MAX or not _ALPHABET.fullmatch(token):
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        return None
    after = raw[5:]
    if not after or raw[0] != kind or int.from_bytes(raw[1:5], "big") != zlib.crc32(after, kind):
        return None
    try:
        after.decode()
    except UnicodeDecodeError:
        return None
    return after if len(after) <= KEY_BYTES_MAX else None
