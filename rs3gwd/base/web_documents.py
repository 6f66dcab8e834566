"""The port to documents on the web: how the keys of an identity provider are fetched."""

from typing import Protocol

from rs3gwd.base.errors import Rs3gwError


class DocumentUnavailable(Rs3gwError):
    """A document could not be had; the text says why, and holds nothing of its content."""

    code = "ServiceUnavailable"


class WebDocuments(Protocol):
    """Fetches documents by HTTPS from servers whose certificates are verified."""

    async def fetch(self, url: str) -> bytes:
        """The document at `url`, which begins with `https://`: status 200, no redirection
        followed, bounded in bytes and time.

        Raises DocumentUnavailable.
        """
        ...
