"""A body in each of the ways in which S3 lets clients send it ("payload kinds").

`signed`, `unsigned`, `chunk_signed` and the two with a CRC in a trailer, as they stand in
"Transferring a payload in multiple chunks" and "Including trailing headers" (Amazon S3 API
Reference, signature calculations). Everything is made before the clock starts, so that what is
measured is the server checking it.
"""

import base64
import hashlib
from collections.abc import Callable

from awscrt import checksums

from tools.rs3gw_bench.signing import UNSIGNED_PAYLOAD, SignedRequest, Signer

CHUNK_BYTES = 64 << 10
"""What SDKs cut signed bodies into; AWS demands at least 8 KiB."""

UNSIGNED_CHUNK_BYTES = 1 << 20
"""Chunks of an unsigned body with a trailer: botocore uses this size."""

Made = tuple[SignedRequest, bytes]


def signed(signer: Signer, path: str, body: bytes) -> Made:
    """The hash of the body is part of the signature."""
    digest = hashlib.sha256(body).hexdigest()
    return signer.sign("PUT", path, payload=digest), body


def unsigned(signer: Signer, path: str, body: bytes) -> Made:
    """The signature covers the headers alone."""
    return signer.sign("PUT", path, payload=UNSIGNED_PAYLOAD), body


def chunk_signed(signer: Signer, path: str, body: bytes) -> Made:
    """aws-chunked, each chunk signed in a chain that begins with the signature of the headers."""
    request = signer.sign(
        "PUT",
        path,
        payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        headers={
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(body)),
        },
    )
    nothing = hashlib.sha256(b"").hexdigest()
    parts, before = [], request.signature
    for start in [*range(0, len(body), CHUNK_BYTES), len(body)]:
        chunk = body[start : start + CHUNK_BYTES]
        before = signer.signature(
            "AWS4-HMAC-SHA256-PAYLOAD", before, nothing, hashlib.sha256(chunk).hexdigest()
        )
        parts.append(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), before.encode(), chunk))
    return request, b"".join(parts)


def crc64nvme_trailer(signer: Signer, path: str, body: bytes) -> Made:
    """Unsigned chunks, and the CRC64NVME of the body behind them: what SDKs do over TLS."""
    return _with_trailer(signer, path, body, "x-amz-checksum-crc64nvme", crc64nvme(body))


def crc32_trailer(signer: Signer, path: str, body: bytes) -> Made:
    """Unsigned chunks, and the CRC32 of the body behind them."""
    crc = checksums.crc32(body).to_bytes(4, "big")
    return _with_trailer(signer, path, body, "x-amz-checksum-crc32", base64.b64encode(crc).decode())


KINDS: dict[str, Callable[[Signer, str, bytes], Made]] = {
    "signed": signed,
    "unsigned": unsigned,
    "chunk_signed": chunk_signed,
    "crc32_trailer": crc32_trailer,
    "crc64nvme_trailer": crc64nvme_trailer,
}


def crc64nvme(body: bytes) -> str:
    """As S3 writes it: big-endian, base64."""
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()


def _with_trailer(signer: Signer, path: str, body: bytes, name: str, value: str) -> Made:
    request = signer.sign(
        "PUT",
        path,
        payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        headers={
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(len(body)),
            "x-amz-trailer": name,
        },
    )
    parts = []
    for start in range(0, len(body), UNSIGNED_CHUNK_BYTES):
        chunk = body[start : start + UNSIGNED_CHUNK_BYTES]
        parts.append(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    parts.append(f"0\r\n{name}:{value}\r\n\r\n".encode())
    return request, b"".join(parts)
