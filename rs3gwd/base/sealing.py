"""The port to whoever keeps secrets closed: secrets at rest, and the tokens of sessions.

What is wrapped can be stored, or given to a client to bring back: nobody else can read it, change
it, or use it for what it was not made for. The keyring of `rs3gwd.transform` is the real one.
"""

from typing import Protocol


class SecretWrapper(Protocol):
    """Wraps and unwraps; `context` says what for and must be the same in both.

    Every process of a node, and every node of a cluster, unwraps what another one wrapped.
    """

    async def wrap_secret(self, secret: bytes, *, context: bytes) -> bytes:
        """Raises KeyringRefused, KeyProviderUnavailable."""
        ...

    async def unwrap_secret(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Raises DataCorrupt (damaged, or wrapped for another context), FormatError, ApiError
        KMS.NotFoundException, KeyringRefused, KeyProviderUnavailable."""
        ...
