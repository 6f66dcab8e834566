"""Requests signed before the clock starts, so that the load generator only sends bytes.

Header-signed SigV4 as SDKs do it ("Signature Calculations for the Authorization Header", Amazon S3
API Reference). It is written out here rather than taken from botocore because a run over a million
keys signs a million requests: this takes 10 us each, botocore 150. The tests hold it to botocore,
which keeps it independent of the server's own code.

Paths and queries are given as they go over the wire, percent-encoded already.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Target:
    """An S3 endpoint: `url` without a slash at its end."""

    url: str
    access_key: str
    secret_key: str
    region: str
    bucket: str

    @property
    def host(self) -> str:
        """Name or address with the port, as the Host header has it."""
        return self.url.partition("://")[2]


@dataclass(frozen=True)
class SignedRequest:
    """A request ready to be sent: origin-form target and headers.

    `signature` (hexadecimal) is what the signatures of a body's chunks go on from.
    """

    method: str
    target: str
    headers: dict[str, str]
    signature: str = field(default="", compare=False)

    def head(self, body_bytes: int | None = None) -> bytes:
        """Request line and headers as HTTP/1.1 has them; `body_bytes` gives a Content-Length."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if body_bytes is not None:
            lines.append(f"Content-Length: {body_bytes}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Signer:
    """Signs for one target, all requests with one time: they hold for fifteen minutes."""

    def __init__(
        self, target: Target, when: datetime | None = None, *, service: str = "s3"
    ) -> None:
        now = when or datetime.now(UTC)
        self.target = target
        self.timestamp = now.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.timestamp[:8]}/{target.region}/{service}/aws4_request"
        key = b"AWS4" + target.secret_key.encode()
        for part in self.scope.split("/"):
            key = _hmac(key, part)
        self._key = key

    def sign(
        self,
        method: str,
        path_and_query: str,
        *,
        payload: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> SignedRequest:
        """Signs one request whose x-amz-content-sha256 is `payload` (empty: of no body).

        `headers` are sent and signed as well; their names are in lower case.
        """
        path, _, query = path_and_query.partition("?")
        signed = {
            "host": self.target.host,
            "x-amz-content-sha256": payload or _NO_BODY,
            "x-amz-date": self.timestamp,
            **(headers or {}),
        }
        names = sorted(signed)
        canonical = "\n".join(
            (
                method,
                path,
                _canonical_query(query),
                *(f"{name}:{signed[name].strip()}" for name in names),
                "",
                ";".join(names),
                signed["x-amz-content-sha256"],
            )
        )
        signature = self.signature("AWS4-HMAC-SHA256", _sha256(canonical.encode()))
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.target.access_key}/{self.scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return SignedRequest(method, path_and_query, signed, signature)

    def signature(self, algorithm: str, *lines: str) -> str:
        """The signature of a string to sign that begins with algorithm, time and scope."""
        text = "\n".join((algorithm, self.timestamp, self.scope, *lines))
        return hmac.digest(self._key, text.encode(), "sha256").hex()


def sign(target: Target, method: str, path_and_query: str, body: bytes | None) -> SignedRequest:
    """Signs one request, now; a body of None is sent as UNSIGNED-PAYLOAD."""
    payload = UNSIGNED_PAYLOAD if body is None else _sha256(body)
    return Signer(target).sign(method, path_and_query, payload=payload)


def sign_form(target: Target, service: str, body: bytes) -> SignedRequest:
    """Signs a call of a service that is asked by forms (IAM, STS), now."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return Signer(target, service=service).sign("POST", "/", payload=_sha256(body), headers=headers)


def _canonical_query(query: str) -> str:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(f"{name}={value}" for name, _, value in sorted(pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_NO_BODY = _sha256(b"")
