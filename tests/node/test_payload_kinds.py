"""Every way in which clients protect a body, byte for byte as they send it, over one socket.

The combinations are those recorded from real clients: Content-Length or chunked transfer coding,
with and without `Expect: 100-continue`, each payload kind of SigV4, checksums in headers and
trailers. The signatures are made here, from the specification, with another implementation than
the node's: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
Chunks" and "... with trailing headers", Amazon S3 API Reference.
"""

import base64
import datetime
import hashlib
import hmac
import socket
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from node_clients import s3_of

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

EMPTY = hashlib.sha256(b"").hexdigest()
BODY = bytes(range(256)) * 700
CHUNK = 64 << 10

KINDS = (
    "hex",
    "UNSIGNED-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
)


def mac(key: bytes, text: str) -> bytes:
    """HMAC-SHA256."""
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Signer:
    """One request's signing key and the chain of its chunk signatures."""

    def __init__(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.timestamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        self.scope = f"{day}/{REGION}/s3/aws4_request"
        key = f"AWS4{SECRET_KEY}".encode()
        for text in (day, REGION, "s3", "aws4_request"):
            key = mac(key, text)
        self.key = key
        self.last = ""

    def authorize(self, method: str, path: str, headers: dict[str, str]) -> str:
        """The Authorization header; all headers given are signed."""
        names = sorted(headers)
        canonical = "\n".join(
            [
                method,
                path,
                "",
                *(f"{name}:{headers[name]}" for name in names),
                "",
                ";".join(names),
                headers["x-amz-content-sha256"],
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", self.timestamp, self.scope, digest])
        self.last = mac(self.key, text).hex()
        return (
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{self.scope},"
            f"SignedHeaders={';'.join(names)},Signature={self.last}"
        )

    def chunk(self, data: bytes) -> str:
        """The next chunk's signature."""
        digest = hashlib.sha256(data).hexdigest()
        text = ["AWS4-HMAC-SHA256-PAYLOAD", self.timestamp, self.scope, self.last, EMPTY, digest]
        self.last = mac(self.key, "\n".join(text)).hex()
        return self.last

    def trailer(self, line: str) -> str:
        """The trailer's signature."""
        digest = hashlib.sha256(f"{line}\n".encode()).hexdigest()
        text = ["AWS4-HMAC-SHA256-TRAILER", self.timestamp, self.scope, self.last, digest]
        return mac(self.key, "\n".join(text)).hex()


def encode(kind: str, body: bytes, signer: Signer) -> Iterator[bytes]:
    """The body as the payload kind frames it."""
    if not kind.startswith("STREAMING"):
        yield body
        return
    signed = "HMAC" in kind
    for start in [*range(0, len(body), CHUNK), len(body)]:
        data = body[start : start + CHUNK]
        extension = f";chunk-signature={signer.chunk(data)}" if signed else ""
        yield f"{len(data):x}{extension}\r\n".encode() + data + (b"\r\n" if data else b"")
    if kind.endswith("TRAILER"):
        line = f"x-amz-checksum-crc32:{crc32_of(body)}"
        yield f"{line}\r\n".encode()
        if signed:
            yield f"x-amz-trailer-signature:{signer.trailer(line)}\r\n".encode()
    yield b"\r\n"


def crc32_of(body: bytes) -> str:
    """The CRC-32 as S3 writes it."""
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def transfer(blocks: Iterator[bytes], chunked: bool) -> bytes:
    """What goes on the wire: as it is, or in the chunked transfer coding of HTTP/1.1."""
    if not chunked:
        return b"".join(blocks)
    return b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in blocks) + b"0\r\n\r\n"


def put(
    node: NodeProcess,
    kind: str,
    *,
    chunked: bool = False,
    expects: bool = False,
    alter: int | None = None,
    more: dict[str, str] | None = None,
) -> tuple[bytes, bytes]:
    """One PUT of BODY: what came before the body was sent, and the final answer's head.

    `alter` flips a bit of that byte of what goes on the wire. `more` are further signed headers.
    """
    signer = Signer()
    streaming = kind.startswith("STREAMING")
    headers = {
        "host": node.host,
        "x-amz-date": signer.timestamp,
        "x-amz-content-sha256": hashlib.sha256(BODY).hexdigest() if kind == "hex" else kind,
    }
    if streaming:
        headers["x-amz-decoded-content-length"] = str(len(BODY))
        headers["content-encoding"] = "aws-chunked"
    if kind.endswith("TRAILER"):
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    headers |= more or {}
    authorization = signer.authorize("PUT", "/kinds/k", headers)
    wire = bytearray(transfer(encode(kind, BODY, signer), chunked))
    if alter is not None:
        wire[alter] ^= 1
    lines = ["PUT /kinds/k HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"authorization: {authorization}")
    lines.append("transfer-encoding: chunked" if chunked else f"content-length: {len(wire)}")
    if expects:
        lines.append("expect: 100-continue")
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        before = connection.recv(65536) if expects else b""
        connection.sendall(wire)
        return before, connection.recv(65536)


@pytest.fixture(scope="module", params=[NodeProcess, ClusterProcess], ids=["one", "three"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess | ClusterProcess]:
    """One node, and three, with one bucket."""
    folder: Path = tmp_path_factory.mktemp("kinds")
    with request.param(folder / "data") as running:
        s3_of(running).create_bucket(Bucket="kinds")
        yield running


@pytest.mark.parametrize(
    ("kind", "chunked", "expects"), list(product(KINDS, (False, True), (False, True)))
)
def test_a_body_sent_as_clients_send_it_is_stored(
    node: NodeProcess, kind: str, chunked: bool, expects: bool
) -> None:
    """Each payload kind works with each framing, and 100-continue comes before the body."""
    before, answer = put(node, kind, chunked=chunked, expects=expects)
    assert before == (b"HTTP/1.1 100 Continue\r\n\r\n" if expects else b"")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    got = s3_of(node).get_object(Bucket="kinds", Key="k")
    assert got["Body"].read() == BODY
    assert "aws-chunked" not in got.get("ContentEncoding", "")
    s3_of(node).delete_object(Bucket="kinds", Key="k")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "UNSIGNED-PAYLOAD"])
@pytest.mark.parametrize("where", [300, 100_000])
def test_an_altered_body_stores_nothing(node: NodeProcess, kind: str, where: int) -> None:
    """One bit changed on its way is refused with a 4xx, and no object is there."""
    _, answer = put(node, kind, chunked=False, expects=False, alter=where)
    assert answer.split()[1] in (b"400", b"403"), answer
    assert s3_of(node).list_objects_v2(Bucket="kinds")["KeyCount"] == 0


def test_a_wrong_signature_is_refused_before_the_body_is_asked_for(node: NodeProcess) -> None:
    """A client that waits for 100-continue and may not write is told so, and sends nothing."""
    signer = Signer()
    headers = {
        "host": node.host,
        "x-amz-date": signer.timestamp,
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    authorization = signer.authorize("PUT", "/kinds/other", headers)
    lines = ["PUT /kinds/k HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines += [f"authorization: {authorization}", "content-length: 5", "expect: 100-continue"]
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"SignatureDoesNotMatch" in answer


@pytest.mark.parametrize("crc32", [crc32_of(BODY), crc32_of(b"another")])
def test_a_checksum_in_a_header_may_be_announced_as_a_trailer_too(
    node: NodeProcess, crc32: str
) -> None:
    """The AWS SDK for Java 2.x signs the chunks and names the header's checksum a trailer."""
    more = {"x-amz-checksum-crc32": crc32, "x-amz-trailer": "x-amz-checksum-crc32"}
    _, answer = put(node, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", more=more)
    if crc32 == crc32_of(BODY):
        assert answer.startswith(b"HTTP/1.1 200 "), answer
    else:
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"<Code>BadDigest</Code>" in answer
