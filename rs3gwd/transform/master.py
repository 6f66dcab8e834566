"""The master key: what seals the keyring, and is never stored with it.

`MasterKey` is the port that a provider implements; `LocalMaster` holds the key itself, wherever the
daemon read it, `rs3gwd.transform.vault` leaves it with Vault. What is sealed carries the id and the
number of the key-encryption key inside, so that sealed keys cannot be exchanged.

A master key as text is 64 hex digits or base64 of 32 bytes.
"""

import base64
import binascii
import hmac
import re
from typing import Protocol

from rs3gwd.base.errors import FormatError
from rs3gwd.base.ports import Random
from rs3gwd.transform.errors import MasterKeyError, WrongKey
from rs3gwd.transform.material import check_key
from rs3gwd.transform.wrapping import CALLERS_KEY, unwrap, wrap

_CONTEXT = b"rs3gwd keyring 1"


class MasterKey(Protocol):
    """Seals and opens key-encryption keys."""

    @property
    def name(self) -> str:
        """Tells this master key from any other, and nothing of it."""
        ...

    async def seal(self, plain: bytes) -> bytes:
        """Raises ProviderUnavailable."""
        ...

    async def open(self, sealed: bytes) -> bytes:
        """Raises ProviderUnavailable, MasterKeyError (it was sealed by another one)."""
        ...


class LocalMaster:
    """A master key that this process holds."""

    def __init__(self, key: bytes, random: Random) -> None:
        """Raises MasterKeyError for what is no key."""
        self._key = check_key(key, "the master key")
        self._random = random
        self.name = "local:" + hmac.digest(key, b"rs3gwd master key name 1", "sha256")[:8].hex()

    async def seal(self, plain: bytes) -> bytes:
        """See the port."""
        return wrap(self._key, CALLERS_KEY, plain, _CONTEXT, self._random)

    async def open(self, sealed: bytes) -> bytes:
        """See the port."""
        try:
            return unwrap(self._key, sealed, _CONTEXT)
        except (WrongKey, FormatError) as error:
            raise MasterKeyError("the master key does not open the keyring") from error


def parse_master_key(text: str, where: str) -> bytes:
    """The key written as text at `where`. Raises MasterKeyError, which does not show it."""
    text = text.strip()
    if not text:
        raise MasterKeyError(f"{where} holds no master key")
    try:
        key = (
            bytes.fromhex(text)
            if re.fullmatch(r"[0-9a-fA-F]{64}", text)
            else base64.b64decode(text, validate=True)
        )
    except (binascii.Error, ValueError):
        # Without the cause: its text may show what was there.
        raise MasterKeyError(
            f"{where} holds neither 64 hex digits nor base64 of 32 bytes"
        ) from None
    return check_key(key, f"the master key of {where}")
