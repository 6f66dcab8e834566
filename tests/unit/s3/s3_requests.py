"""Requests for the tests of the S3 surface, without a network."""

from rs3gwd.base.http import Request


class BytesBody:
    """A request body that is there already, given out in pieces of `piece_bytes`."""

    def __init__(self, data: bytes = b"", *, piece_bytes: int = 65536) -> None:
        self._data = data
        self._piece_bytes = piece_bytes
        self.received = 0

    async def receive(self) -> bytes:
        """The next piece; empty at the end."""
        piece = self._data[self.received : self.received + self._piece_bytes]
        self.received += len(piece)
        return piece


def plain_request(
    method: str = "GET",
    path: str = "/",
    query: str = "",
    *,
    headers: dict[str, str] | None = None,
    host: str = "127.0.0.1:9000",
    body: bytes = b"",
) -> Request:
    """A request as the front makes it; nothing is signed."""
    all_headers = {"host": host, **(headers or {})}
    if body:
        all_headers.setdefault("content-length", str(len(body)))
    return Request(
        method=method,
        raw_path=path,
        raw_query=query,
        headers=all_headers,
        repeated_headers=frozenset(),
        host=host,
        content_length=len(body),
        body=BytesBody(body),
        peer="127.0.0.1",
        secure=False,
        request_id="0123456789ABCDEF",
    )
