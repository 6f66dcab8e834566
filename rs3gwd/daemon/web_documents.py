"""Documents of identity providers over HTTPS: one request at a time, each in a thread.

Two small documents are fetched in an hour for each provider: connections are not worth keeping.
The certificate is always verified, nothing but HTTPS is spoken, no redirection is followed and no
credential is sent, so that an address that an account's administrator registers can make this node
reach nothing that answers to a name it has no certificate for.

What it is not: it knows no keys; `rs3gwd.iam.web_identity` does.
"""

import http.client
import ssl
import time
from functools import partial
from urllib.parse import urlsplit

from rs3gwd.base.ports import Threads
from rs3gwd.base.web_documents import DocumentUnavailable

TIMEOUT_SECONDS = 5.0
"""For connecting, and for each read."""

DOCUMENT_SECONDS_MAX = 15.0
DOCUMENT_BYTES_MAX = 256 << 10
READ_BYTES = 16 << 10


class HttpsDocuments:
    """The port `WebDocuments`. `ca_path` is a file of certificates to trust in place of the
    system's, or empty."""

    def __init__(self, *, ca_path: str, threads: Threads) -> None:
        """Raises OSError (with ssl.SSLError): the file cannot be read."""
        self._threads = threads
        try:
            self._context = ssl.create_default_context(cafile=ca_path or None)
        except OSError as error:
            raise OSError(f"oidc_ca_file: {ca_path}: {error}") from error

    async def fetch(self, url: str) -> bytes:
        """The document. Raises DocumentUnavailable."""
        return await self._threads.run(partial(self._fetch, url))

    def _fetch(self, url: str) -> bytes:
        try:
            parts = urlsplit(url)
            if parts.scheme != "https" or not parts.hostname:
                raise DocumentUnavailable("the address does not begin with https://")
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_SECONDS, context=self._context
            )
        except ValueError as error:
            raise DocumentUnavailable("the address cannot be read") from error
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("GET", target, headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise DocumentUnavailable(f"it answers with status {response.status}")
            return _read(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DocumentUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body, in time and within its bound. Raises DocumentUnavailable, OSError."""
    until = time.monotonic() + DOCUMENT_SECONDS_MAX
    document = bytearray()
    while piece := response.read1(READ_BYTES):
        document += piece
        if len(document) > DOCUMENT_BYTES_MAX:
            raise DocumentUnavailable(f"it has more than {DOCUMENT_BYTES_MAX} bytes")
        if time.monotonic() > until:
            raise DocumentUnavailable("it takes too long")
    return bytes(document)
