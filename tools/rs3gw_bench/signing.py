"""Requests signed before the clock starts, so that the load generator only sends bytes.

Header-signed SigV4 as SDKs do it ("Signature Calculations for the Authorization Header", Amazon S3
API Reference), with botocore as the signer: an implementation other than the server's own.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


@dataclass(frozen=True)
class Target:
    """An S3 endpoint: `url` without a slash at its end."""

    url: str
    access_key: str
    secret_key: str
    region: str
    bucket: str


@dataclass(frozen=True)
class SignedRequest:
    """A request ready to be sent: origin-form target and headers."""

    method: str
    target: str
    headers: dict[str, str]


class _GivenPayload(S3SigV4Auth):  # type: ignore[misc]
    """botocore's signer, but with the payload hash that the caller chose: over http it would
    always hash the body, which a benchmark of unsigned payloads must not."""

    def __init__(self, target: "Target", digest: str) -> None:
        super().__init__(Credentials(target.access_key, target.secret_key), "s3", target.region)
        self._digest = digest

    def payload(self, request: AWSRequest) -> str:
        """What x-amz-content-sha256 says."""
        return self._digest


def sign(target: Target, method: str, path_and_query: str, body: bytes | None) -> SignedRequest:
    """Signs one request; a body of None is sent as UNSIGNED-PAYLOAD."""
    path, _, query = path_and_query.partition("?")
    url = f"{target.url}{path}?{query}" if query else f"{target.url}{path}"
    request = AWSRequest(method=method, url=url)
    digest = "UNSIGNED-PAYLOAD" if body is None else hashlib.sha256(body).hexdigest()
    _GivenPayload(target, digest).add_auth(request)
    headers = {name: str(value) for name, value in request.headers.items()}
    headers["Host"] = target.url.partition("://")[2]
    return SignedRequest(method, path_and_query, headers)


def sign_all(
    target: Target, method: str, paths: Iterable[str], body: bytes | None = b""
) -> list[SignedRequest]:
    """Signs one request for each path."""
    return [sign(target, method, path, body) for path in paths]
