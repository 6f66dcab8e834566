"""HTTP to a Vault: one request at a time, each on a connection of its own, in a thread.

Vault is asked once for each version of a key in each process, and when keys are made: connections
are not worth keeping. The token is read for each request, since an agent replaces it.

What it is not: it knows no keys; `rs3gwd.transform.vault` does.
"""

import http.client
import ipaddress
import ssl
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from rs3gwd.base.errors import KeyProviderUnavailable, KeyringRefused
from rs3gwd.base.ports import Threads

TIMEOUT_SECONDS = 5.0
"""For connecting, and for each read; Vault answers in milliseconds or is in trouble."""

ANSWER_BYTES_MAX = 64 << 10
"""A sealed key is 200 bytes; the rest is for errors."""


class VaultHttp:
    """The port `VaultTransport` to the Vault at `address` (`https://host:port`).

    `ca_path` is a file of certificates to trust in place of the system's, or empty.
    """

    def __init__(self, address: str, *, token_path: str, ca_path: str, threads: Threads) -> None:
        """Raises KeyringRefused: an address that cannot be, or that would show the token."""
        self._token_path = Path(token_path)
        self._threads = threads
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise KeyringRefused(f"encryption.vault_address: {address!r} is no address")
        self._host, self._port = parts.hostname, parts.port
        self._context: ssl.SSLContext | None = None
        if parts.scheme == "https":
            try:
                self._context = ssl.create_default_context(cafile=ca_path or None)
            except OSError as error:
                raise KeyringRefused(f"encryption.vault_ca_file: {error}") from error
        elif not _is_loopback(parts.hostname):
            raise KeyringRefused(
                "encryption.vault_address: without TLS everybody on the way could read the keys; "
                "plain http is for an agent on this machine"
            )

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises KeyProviderUnavailable."""
        return await self._threads.run(partial(self._post, path, body))

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            token = self._token_path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyProviderUnavailable(f"the token for Vault cannot be read: {error}") from error
        headers = {"X-Vault-Token": token, "Content-Type": "application/json"}
        connection = self._connect()
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # A ValueError is a token that cannot be a header; its text would show the token.
            reason = "the token is malformed" if isinstance(error, ValueError) else str(error)
            cause = None if isinstance(error, ValueError) else error
            raise KeyProviderUnavailable(f"Vault does not answer: {reason}") from cause
        finally:
            connection.close()
        return response.status, answer

    def _connect(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._context
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
