"""The port `SecretWrapper` with a key of its own in memory, and faults on request.

What it is not: `rs3gwd.transform.keyring` over keys in the metadata. Each wrapping draws on a
counter, so that a test sees the same bytes each time.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rs3gwd.base.errors import DataCorrupt, KeyProviderUnavailable

_NONCE_BYTES = 12


class MemorySecrets:
    """Wraps with `key`, 32 bytes. While `is_down` is set, nobody answers. `unwrapped` counts."""

    def __init__(self, key: bytes = b"a key that every test may know .") -> None:
        self._cipher = AESGCM(key)
        self._count = 0
        self.is_down = False
        self.unwrapped = 0

    async def wrap_secret(self, secret: bytes, *, context: bytes) -> bytes:
        """See the port."""
        self._check()
        self._count += 1
        nonce = self._count.to_bytes(_NONCE_BYTES, "big")
        return nonce + self._cipher.encrypt(nonce, secret, context)

    async def unwrap_secret(self, wrapped: bytes, *, context: bytes) -> bytes:
        """See the port."""
        self._check()
        self.unwrapped += 1
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise DataCorrupt("this was wrapped by somebody else") from error

    def _check(self) -> None:
        if self.is_down:
            raise KeyProviderUnavailable("nobody answers")
