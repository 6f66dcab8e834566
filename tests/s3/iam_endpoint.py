"""boto3's clients of IAM, STS and S3 on a service in memory: no network, real requests and answers.

botocore prepares and signs a request, `S3Service` answers it, botocore reads the answer by its
model of the service.
"""

import io
from typing import Any
from urllib.parse import urlsplit

import boto3
import trio
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from s3_world import ALICE, HOST, SECRET, S3World

from rs3gwd.base.http import Request, Response, StreamedBody
from rs3gwd.s3.service import S3Service
from rs3gwd.testing.bytes_body import BytesBody


class IamEndpoint:
    """A world with clients; `now` is the real time, since botocore signs with it."""

    def __init__(self, world: S3World | None = None) -> None:
        self.world = world or S3World()

    def client(
        self, service: str, access_key: str = "", secret: str = "", token: str | None = None
    ) -> Any:
        """A client of a service; without a key it is that of alice's account."""
        client = boto3.client(
            service,
            endpoint_url=f"http://{HOST}",
            region_name="us-east-1",
            aws_access_key_id=access_key or self.world.key_id(ALICE),
            aws_secret_access_key=secret or SECRET,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        client.meta.events.register("before-send", self._send)
        return client

    def user_client(self, service: str, name: str) -> Any:
        """A client with a new key of a user."""
        key = self.client("iam").create_access_key(UserName=name)["AccessKey"]
        return self.client(service, key["AccessKeyId"], key["SecretAccessKey"])

    def session_client(self, service: str, credentials: dict[str, str]) -> Any:
        """A client with the credentials of a session."""
        return self.client(
            service,
            credentials["AccessKeyId"],
            credentials["SecretAccessKey"],
            credentials["SessionToken"],
        )

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        response, body = trio.run(answer, self.world.service, prepared(request))
        headers = dict(response.headers)
        return AWSResponse(request.url, response.status, headers, RawBody(body))


class RawBody(io.BytesIO):
    """The body of an answer as botocore wants it."""

    def stream(self, **_: Any) -> Any:
        """All of it."""
        yield self.read()


def prepared(request: AWSPreparedRequest) -> Request:
    """A request of botocore's as the front would give it."""
    parts = urlsplit(request.url)
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    body = body if isinstance(body, bytes) else body.read()
    headers = {
        name.lower(): value if isinstance(value, str) else value.decode()
        for name, value in request.headers.items()
    }
    return Request(
        method=request.method,
        raw_path=parts.path or "/",
        raw_query=parts.query,
        headers=headers,
        repeated_headers=frozenset(),
        host=HOST,
        content_length=len(body),
        body=BytesBody(body),
        peer="127.0.0.1",
        secure=False,
        request_id="0123456789ABCDEF",
    )


async def answer(service: S3Service, request: Request) -> tuple[Response, bytes]:
    """The response and its whole body."""
    response = await service.handle(request)
    if not isinstance(response.body, StreamedBody):
        return response, response.body
    pieces = []
    async with response.body.source as reader:
        while piece := await reader.read():
            pieces.append(bytes(piece))
    return response, b"".join(pieces)
