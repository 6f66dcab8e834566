"""Requests for every row of the table of operations, signed in every way, and ways to forge them.

No tests and no code of the server: the signer is written from "Signature Calculations for the
Authorization Header", "Using Query Parameters" and "Transferring Payload in Multiple Chunks" in the
Amazon S3 API Reference, and from "Signing and authenticating REST requests" for version 2.
"""

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from urllib.parse import quote

from msgspec import Struct, structs
from s3_world import HOST, make_request

from rs3gwd.base.http import Request
from rs3gwd.s3.operations import OPERATIONS, Level, Operation

SCOPE_TAIL = "us-east-1/s3/aws4_request"
_TOKEN = "x-amz-security-token"
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_V2_SIGNED = {"uploads", "uploadId", "partNumber", "versionId", "tagging", "acl", "location"} | {
    *("versions", "versioning", "delete", "cors", "lifecycle", "policy", "logging", "website"),
    *("accelerate", "analytics", "inventory", "metrics", "notification", "object-lock"),
    *("replication", "requestPayment", "restore", "select", "torrent"),
}


class Variant(StrEnum):
    """How a request is signed."""

    HEADER = "header"
    PRESIGNED = "presigned"
    CHUNKS = "chunk-signed"
    SIGNED_TRAILER = "signed-trailer"
    UNSIGNED_TRAILER = "unsigned-trailer"
    QUERY_V2 = "sigv2-query"


_STREAMS = {
    Variant.CHUNKS: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    Variant.SIGNED_TRAILER: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    Variant.UNSIGNED_TRAILER: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
}

ROWS = [row for row in OPERATIONS if not row.alias_of and row.name != "PostObject"]
"""Every row that a request can be signed for: a form carries its signature in its body."""


class Signer(Struct, frozen=True):
    """An access key, its secret, the moment of signing (basic ISO 8601) and a session's token."""

    access_key_id: str
    secret: str
    timestamp: str
    token: str = ""

    @classmethod
    def now(cls, access_key_id: str, secret: str, token: str = "") -> "Signer":
        """A signer whose clock is right."""
        return cls(access_key_id, secret, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), token)

    @property
    def scope(self) -> str:
        """`date/region/service/terminator`."""
        return f"{self.timestamp[:8]}/{SCOPE_TAIL}"

    def sign(self, text: str) -> str:
        """Signs with the key of the day."""
        key = f"AWS4{self.secret}".encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode("latin-1"), "sha256").hex()

    def request_signature(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        headers: dict[str, str],
        payload_hash: str,
    ) -> str:
        """The signature of a request all of whose headers are signed."""
        names = sorted(headers)
        canonical = "\n".join(
            [
                method,
                path,
                encode_query(query),
                *(f"{name}:{headers[name]}" for name in names),
                "",
                ";".join(names),
                payload_hash,
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return self.sign(f"AWS4-HMAC-SHA256\n{self.timestamp}\n{self.scope}\n{digest}")


class Cell(Struct, frozen=True):
    """One row signed in one way, in pieces that can be put together again wrongly."""

    row: Operation
    variant: Variant
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def request(self) -> Request:
        """The request as the front would make it."""
        headers = dict(self.headers)
        if self.body or self.method in ("PUT", "POST"):
            headers["content-length"] = str(len(self.body))
        target = self.path + (f"?{encode_query(self.query)}" if self.query else "")
        return make_request(self.method, target, headers, self.body)


def encode_query(query: dict[str, str]) -> str:
    """The canonical query string."""
    return "&".join(
        f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items())
    )


def target_of(
    row: Operation, *, bucket: str, key: str, upload_id: str
) -> tuple[str, dict[str, str]]:
    """A path and query that are routed to the row."""
    values = {"uploadId": upload_id, "partNumber": "1", "list-type": "2"}
    query = {name: values.get(name, "") for name in row.query}
    path = {Level.SERVICE: "/", Level.BUCKET: f"/{bucket}", Level.OBJECT: f"/{bucket}/{key}"}
    return path[row.level], query


def sign_cell(
    row: Operation, variant: Variant, signer: Signer, *, path: str, query: dict[str, str]
) -> Cell:
    """The row's request signed in one way, with a small body where its method has one."""
    headers = {"host": HOST}
    if row.header:
        headers[row.header] = "bucket/key" if "copy" in row.header else "x"
    body = b"<Broken/>" if row.method in ("PUT", "POST") else b""
    if variant is Variant.QUERY_V2:
        return _sign_v2(row, signer, path=path, query=query, headers=headers)
    headers["x-amz-date"] = signer.timestamp
    if variant is Variant.PRESIGNED:
        return _presign(row, signer, path=path, query=query, headers=headers, body=body)
    if signer.token:
        headers[_TOKEN] = signer.token
    payload_hash = _STREAMS.get(variant, hashlib.sha256(body).hexdigest())
    headers["x-amz-content-sha256"] = payload_hash
    if variant in _STREAMS:
        headers["x-amz-decoded-content-length"] = str(len(body))
    if variant in (Variant.SIGNED_TRAILER, Variant.UNSIGNED_TRAILER):
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    seed = signer.request_signature(row.method, path, query, headers, payload_hash)
    if variant in _STREAMS:
        body = _frame(variant, signer, seed, body)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.access_key_id}/{signer.scope}, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={seed}"
    )
    return Cell(row, variant, row.method, path, query, headers, body)


def sign_form(signer: Signer, **given: str) -> Request:
    """An upload of the key `form` to `bucket` by a browser's form, signed with version 4.

    Fields in `given` are not in the policy. Source: "Browser-Based Uploads Using POST" in the
    Amazon S3 API Reference.
    """
    fields = {
        "key": "form",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{signer.access_key_id}/{signer.scope}",
        "x-amz-date": signer.timestamp,
        **({_TOKEN: signer.token} if signer.token else {}),
    }
    expires = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 300))
    conditions = [*({name: value} for name, value in fields.items()), {"bucket": "bucket"}]
    document = json.dumps({"expiration": expires, "conditions": conditions})
    fields["policy"] = base64.b64encode(document.encode()).decode()
    fields["x-amz-signature"] = signer.sign(fields["policy"])
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {**fields, **given}.items()
    )
    end = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n1\r\n--b--\r\n'
    body = (parts + end).encode()
    headers = {
        "host": HOST,
        "content-type": "multipart/form-data; boundary=b",
        "content-length": str(len(body)),
    }
    return make_request("POST", "/bucket", headers, body)


def forgeries(cell: Cell) -> Iterator[tuple[str, Cell]]:
    """The cell altered in ways that its signature does not allow, each with what was done."""
    yield from _forged_signatures(cell)
    other = {"GET": "DELETE", "HEAD": "GET", "PUT": "DELETE", "POST": "PUT", "DELETE": "GET"}
    yield "another path", structs.replace(cell, path=cell.path + "x" if cell.path != "/" else "//x")
    yield "another method", structs.replace(cell, method=other[cell.method])
    if cell.variant is not Variant.QUERY_V2:
        # Version 2 signs neither the host nor what only shapes a listing.
        yield "another host", _with_headers(cell, host="evil.example.org")
        yield "one more parameter", structs.replace(cell, query={**cell.query, "prefix": "a"})
        yield "one more x-amz header", _with_headers(cell, **{"x-amz-acl": "private"})
        yield "a copy", _with_headers(cell, **{"x-amz-copy-source": "bucket/other"})
    for name in ("x-amz-date", "x-amz-content-sha256", "x-amz-decoded-content-length"):
        if name in cell.headers:
            value = cell.headers[name]
            yield f"without {name}", _with_headers(cell, **{name: ""})
            yield f"another {name}", _with_headers(cell, **{name: _next_digit(value)})
    for name in cell.query:
        if cell.variant is Variant.QUERY_V2 and name in cell.row.query and name not in _V2_SIGNED:
            continue
        left = {each: value for each, value in cell.query.items() if each != name}
        yield f"without ?{name}", structs.replace(cell, query=left)
        yield (
            f"another ?{name}",
            structs.replace(cell, query={**cell.query, name: f"{cell.query[name]}9"}),
        )


def _forged_signatures(cell: Cell) -> Iterator[tuple[str, Cell]]:
    """Every position of the signature changed, cut or lengthened; other keys."""
    value, put = _signature_place(cell)
    for place in range(0, len(value), 3):
        changed = "0" if value[place] != "0" else "1"
        yield f"signature byte {place}", put(value[:place] + changed + value[place + 1 :])
    for name, forged in (
        ("cut", value[:-1]),
        ("longer", f"{value}0"),
        ("upper case", value.upper() if value.upper() != value else value[::-1]),
        ("zeros", "0" * len(value)),
        ("non-ascii", "\xe9" * len(value)),
    ):
        yield f"signature {name}", put(forged)


def _signature_place(cell: Cell) -> tuple[str, Callable[[str], Cell]]:
    if cell.variant in (Variant.PRESIGNED, Variant.QUERY_V2):
        name = "X-Amz-Signature" if cell.variant is Variant.PRESIGNED else "Signature"
        return cell.query[name], lambda text: structs.replace(
            cell, query={**cell.query, name: text}
        )
    head, _, value = cell.headers["authorization"].rpartition("=")
    return value, lambda text: _with_headers(cell, authorization=f"{head}={text}")


def _with_headers(cell: Cell, **changed: str) -> Cell:
    """The cell with these headers; an empty value takes one away."""
    headers = {**cell.headers, **changed}
    return structs.replace(cell, headers={name: text for name, text in headers.items() if text})


def _next_digit(text: str) -> str:
    """The text with its last letter or digit replaced by another."""
    for place in range(len(text) - 1, -1, -1):
        if text[place].isdigit():
            return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    return f"{text[:-1]}_"


def _presign(
    row: Operation,
    signer: Signer,
    *,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
) -> Cell:
    headers = {name: value for name, value in headers.items() if name != "x-amz-date"}
    parameters = {
        **query,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{signer.access_key_id}/{signer.scope}",
        "X-Amz-Date": signer.timestamp,
        "X-Amz-Expires": "600",
        "X-Amz-SignedHeaders": ";".join(sorted(headers)),
        **({"X-Amz-Security-Token": signer.token} if signer.token else {}),
    }
    parameters["X-Amz-Signature"] = signer.request_signature(
        row.method, path, parameters, headers, "UNSIGNED-PAYLOAD"
    )
    return Cell(row, Variant.PRESIGNED, row.method, path, parameters, headers, body)


def _sign_v2(
    row: Operation,
    signer: Signer,
    *,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
) -> Cell:
    expires = str(int(time.time()) + 600)
    signed = [f"{name}={query[name]}" for name in sorted(query) if name in _V2_SIGNED]
    resource = path + (f"?{'&'.join(signed)}" if signed else "")
    given = {_TOKEN: signer.token} if signer.token else {}
    signed_headers = {**headers, **given}
    amz = [f"{name}:{signed_headers[name]}" for name in sorted(signed_headers) if "x-amz" in name]
    text = "\n".join([row.method, "", "", expires, *amz, resource])
    digest = hmac.digest(signer.secret.encode(), text.encode(), "sha1")
    parameters = {
        **query,
        "AWSAccessKeyId": signer.access_key_id,
        "Expires": expires,
        "Signature": base64.b64encode(digest).decode(),
        **given,
    }
    return Cell(row, Variant.QUERY_V2, row.method, path, parameters, headers, b"")


def _frame(variant: Variant, signer: Signer, seed: str, body: bytes) -> bytes:
    """The body in aws-chunked form."""
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    trailer = f"x-amz-checksum-crc32:{checksum}\n"
    if variant is Variant.UNSIGNED_TRAILER:
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk + b"0\r\n" + trailer.strip().encode() + b"\r\n\r\n"
    framed, previous = b"", seed
    for data in (body, b"") if body else (b"",):
        previous = _chunk_signature(signer, previous, data)
        framed += f"{len(data):x};chunk-signature={previous}\r\n".encode()
        framed += data + b"\r\n" if data else b""
    if variant is Variant.SIGNED_TRAILER:
        digest = hashlib.sha256(trailer.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{signer.timestamp}\n{signer.scope}\n{previous}\n{digest}"
        framed += f"{trailer.strip()}\r\nx-amz-trailer-signature:{signer.sign(text)}\r\n".encode()
    return framed + b"\r\n"


def _chunk_signature(signer: Signer, previous: str, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return signer.sign(
        f"AWS4-HMAC-SHA256-PAYLOAD\n{signer.timestamp}\n{signer.scope}\n{previous}\n"
        f"{_EMPTY_SHA256}\n{digest}"
    )
