"""Keys as bytes: what is one, how a new one is made, and how one follows from another.

Every key has 32 bytes. Keys that serve one body or one wrapping follow from the key above them by
HKDF-Expand with SHA-256 (RFC 5869, section 2.3): of 32 bytes it is one HMAC, and the keys above are
uniformly random, so the extraction of section 2.2 is not needed (section 3.3).

Invariant: a key is never empty, short or all zeros: rs3gw fell back to zeros when its source of
randomness failed.
"""

import hmac

from rs3gwd.base.ports import Random
from rs3gwd.transform.errors import MasterKeyError

KEY_BYTES = 32


def check_key(key: bytes, what: str) -> bytes:
    """The key itself. Raises MasterKeyError, which says `what` it is and shows nothing of it."""
    if len(key) != KEY_BYTES:
        raise MasterKeyError(f"{what} has {len(key)} bytes, not {KEY_BYTES}")
    if not any(key):
        raise MasterKeyError(f"{what} is all zeros")
    return key


def new_key(random: Random) -> bytes:
    """A random key. Raises MasterKeyError where the source of randomness gives none."""
    return check_key(random.token_bytes(KEY_BYTES), "what the source of randomness gave")


def derive_key(key: bytes, label: bytes, salt: bytes) -> bytes:
    """The key that follows from `key` for one purpose and salt.

    `label` has no zero byte, so that no two pairs of label and salt are the same input.
    """
    assert b"\0" not in label
    return hmac.digest(key, label + b"\0" + salt + b"\x01", "sha256")


def context_of(*parts: bytes) -> bytes:
    """The parts behind their lengths (4 bytes, big-endian): no two lists give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
