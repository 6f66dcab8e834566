"""A master key that never leaves a Vault: HashiCorp Vault's (or OpenBao's) transit engine.

    POST /v1/<mount>/encrypt/<key>   {"plaintext": base64, "associated_data": base64}
                                     -> {"data": {"ciphertext": "vault:v1:..."}}
    POST /v1/<mount>/decrypt/<key>   {"ciphertext": ..., "associated_data": base64}
                                     -> {"data": {"plaintext": base64}}

The transit key must be of an authenticated kind (aes256-gcm96, the default, or chacha20-poly1305),
since its associated data binds a version of a key to its place in the keyring. Vault's own rotation
of it needs nothing from us: the ciphertext names its version.

What it is not: no connection; that is the port `VaultTransport`. No other method of login than a
token, which an agent keeps fresh in a file.

Source: "Transit secrets engine (API)" in the Vault documentation; "Status codes" in its HTTP API.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Protocol

import msgspec
from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, KeyProviderUnavailable, KeyringRefused
from rs3gwd.transform.master_key import MASTER_ID_BYTES
from rs3gwd.transform.sealed import KEY_BYTES


class VaultTransport(Protocol):
    """Carries requests to one Vault, with a token."""

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a JSON body. Raises KeyProviderUnavailable."""
        ...


class _Data(Struct, frozen=True):
    ciphertext: str = ""
    plaintext: str = ""


class _Answer(Struct, frozen=True):
    data: _Data = _Data()
    errors: list[str] = []


_decoder = msgspec.json.Decoder(_Answer)


class VaultMasterKey:
    """The port `MasterKey` over the transit key `name` of the engine mounted at `mount`."""

    def __init__(self, transport: VaultTransport, *, mount: str, name: str) -> None:
        self._transport = transport
        self._mount = mount
        self._name = name
        named = f"vault\0{mount}\0{name}".encode()
        self._id = hashlib.sha256(named).digest()[:MASTER_ID_BYTES]

    @property
    def id(self) -> bytes:
        return self._id

    @property
    def provider(self) -> str:
        return f"Vault, transit key {self._mount}/{self._name}"

    async def seal(self, key: bytes, *, context: bytes) -> bytes:
        """Raises KeyProviderUnavailable (no answer, no right, an answer that is not understood)."""
        answer = await self._ask("encrypt", {"plaintext": _encode(key)}, context)
        if not answer.ciphertext.startswith("vault:v"):
            raise KeyProviderUnavailable("Vault has answered without a ciphertext")
        # What is not readable again must not be written: once it is, the key is in use.
        if await self.unseal(answer.ciphertext.encode(), context=context) != key:
            raise KeyProviderUnavailable("Vault gives back another key than it was given")
        return answer.ciphertext.encode()

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """Raises KeyProviderUnavailable, KeyringRefused (not sealed by this key)."""
        answer = await self._ask("decrypt", {"ciphertext": sealed.decode("latin-1")}, context)
        try:
            key = base64.b64decode(answer.plaintext, validate=True)
        except (ValueError, binascii.Error):
            # The cause would show what Vault has answered, which may be the key.
            key = b""
        if len(key) != KEY_BYTES:
            raise DataCorrupt("what Vault has opened is no key")
        return key

    async def _ask(self, action: str, fields: dict[str, str], context: bytes) -> _Data:
        body = msgspec.json.encode({**fields, "associated_data": _encode(context)})
        path = f"/v1/{self._mount}/{action}/{self._name}"
        status, answer = await self._transport.post(path, body)
        try:
            decoded = _decoder.decode(answer)
        except msgspec.DecodeError as error:
            raise KeyProviderUnavailable(
                f"Vault has answered {status} with something that is not understood"
            ) from error
        if status == 200:
            return decoded.data
        reason = "; ".join(decoded.errors)[:200] or "no reason given"
        if status == 400 and action == "decrypt":
            raise KeyringRefused(f"{self.provider} does not open this keyring: {reason}")
        raise KeyProviderUnavailable(f"Vault refuses to {action}: status {status}, {reason}")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
