"""One wrong request of the table of malformed requests, and how it is made."""

import base64
import hashlib
from collections.abc import Callable, Mapping

import msgspec
from s3_world import ALICE, S3World

from rs3gwd.base.http import Request
from rs3gwd.base.records import AccountRecord
from rs3gwd.testing.bytes_body import BytesBody

Change = Callable[[dict[str, str]], Mapping[str, str | None]]

LONG_KEY = "k" * 1025


class Case(msgspec.Struct, frozen=True):
    """One wrong request.

    `change` takes the signed headers and gives those to replace afterwards (None removes one);
    `presigned` signs in the query; `query_tail` is added behind the signature; `sent` is the body
    that comes in place of the signed one.
    """

    name: str
    method: str
    target: str
    status: int
    code: str
    headers: dict[str, str] = {}
    body: bytes = b""
    by: AccountRecord | None = ALICE
    change: Change | None = None
    presigned: bool = False
    sent: bytes | None = None
    query_tail: str = ""

    def request(self, world: S3World, upload_id: str) -> Request:
        """The request, signed in `world` and then made wrong."""
        target = self.target.replace("{upload}", upload_id)
        if self.presigned:
            return self._alter(world.presigned(self.method, target))
        return self._alter(
            world.request(
                self.method, target, body=self.body, headers=dict(self.headers), by=self.by
            )
        )

    def _alter(self, request: Request) -> Request:
        """The request with what `change` and `query_tail` say."""
        headers = dict(request.headers)
        for name, value in (self.change(headers) if self.change else {}).items():
            if value is None:
                headers.pop(name, None)
            else:
                headers[name] = value
        length = headers.get("content-length")
        return msgspec.structs.replace(
            request,
            headers=headers,
            host=headers["host"],
            raw_query=request.raw_query + self.query_tail,
            content_length=int(length) if length else 0,
            body=BytesBody(self.body if self.sent is None else self.sent),
        )


def md5_header(body: bytes) -> dict[str, str]:
    """The header that some documents must come with."""
    return {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
