"""The master key, which seals the keyring and is the one secret outside of the metadata.

What it is not: it does not know where its bytes come from; the daemon does
(`rs3gwd.daemon.master_keys`). A provider that keeps the key to itself has its own class
(`rs3gwd.transform.vault`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Protocol

from rs3gwd.base.errors import DataCorrupt, KeyringRefused
from rs3gwd.base.ports import Random
from rs3gwd.transform.sealed import (
    KEY_BYTES,
    Algorithm,
    Header,
    Wrapper,
    WrongKey,
    check_key,
    seal,
    unseal,
)

MASTER_ID_BYTES = 16

_FINGERPRINT = b"rs3gwd master key 1"


class MasterKey(Protocol):
    """What seals the versions of keys. `id` is 16 bytes that tell master keys apart."""

    @property
    def id(self) -> bytes: ...

    @property
    def provider(self) -> str:
        """Where it is kept, for a person."""
        ...

    async def seal(self, key: bytes, *, context: bytes) -> bytes:
        """The sealed form of a key. Raises KeyProviderUnavailable."""
        ...

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """The key. Raises KeyProviderUnavailable, DataCorrupt (not sealed by it, or damaged)."""
        ...


class LocalMasterKey:
    """A master key whose bytes this process has; `provider` says where from."""

    def __init__(self, key: bytes, *, provider: str, random: Random) -> None:
        """Raises KeyringRefused: no key at all."""
        check_key(key)
        self._key = key
        self._random = random
        self._provider = provider
        self._id = hmac.digest(key, _FINGERPRINT, "sha256")[:MASTER_ID_BYTES]

    def __repr__(self) -> str:
        return f"LocalMasterKey({self._id.hex()})"

    @property
    def id(self) -> bytes:
        return self._id

    @property
    def provider(self) -> str:
        return self._provider

    async def seal(self, key: bytes, *, context: bytes) -> bytes:
        """See the port."""
        header = Header(Algorithm.AES_256_GCM, Wrapper.MASTER_KEY)
        return seal(self._key, key, header=header, context=context, random=self._random)

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """Raises DataCorrupt, FormatError."""
        try:
            return unseal(self._key, sealed, context=context)
        except WrongKey as error:
            raise DataCorrupt("a key of the keyring cannot be opened by the master key") from error


def parse_master_key(text: str, *, source: str) -> bytes:
    """The key written as 64 hex digits or as base64. Raises KeyringRefused, naming `source` only.

    White space around it is of no account.
    """
    text = text.strip()
    if not text:
        raise KeyringRefused(f"{source}: the master key is empty")
    key = _decode(text)
    if key is None or len(key) != KEY_BYTES:
        raise KeyringRefused(f"{source}: a master key is 32 bytes, as 64 hex digits or in base64")
    if len(set(key)) == 1:
        raise KeyringRefused(f"{source}: a master key of one byte repeated is no key")
    return key


def _decode(text: str) -> bytes | None:
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        # What was given is secret: no error repeats it, as the cause would.
        return None
