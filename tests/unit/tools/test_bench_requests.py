"""What is sent: signatures, payload kinds, the file of requests, the tables of workloads."""

import base64
import binascii
import hashlib
import hmac
import io
from collections import Counter
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tools.rs3gw_bench import payloads, workloads
from tools.rs3gw_bench.request_file import HEADER, RECORD, Pool, RequestFile
from tools.rs3gw_bench.signing import SignedRequest, Signer, Target, sign

TARGET = Target("http://127.0.0.1:9000", "AKEXAMPLE", "secret/+key", "eu-west-3", "bench")
PATHS = (
    "/bench/key",
    "/bench/a%20b/%C3%A4",
    "/bench?list-type=2&prefix=a%2F&delimiter=%2F&max-keys=7",
    "/bench/key?uploads",
    "/bench/key?uploadId=x%3D&partNumber=2",
)


class _AsGiven(S3SigV4Auth):
    """botocore's signer over http, where it would hash the body by itself."""

    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
def test_signatures_are_those_of_botocore(method: str, path: str) -> None:
    """Header for header, for plain and encoded paths and for queries in any order."""
    request = AWSRequest(method=method, url=TARGET.url + path)
    credentials = Credentials(TARGET.access_key, TARGET.secret_key)
    _AsGiven(credentials, "s3", TARGET.region).add_auth(request)
    theirs = {name.lower(): str(value) for name, value in request.headers.items()}
    when = datetime.strptime(theirs["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = Signer(TARGET, when).sign(method, path, payload="UNSIGNED-PAYLOAD").headers
    assert ours == {"host": TARGET.host, **theirs}


def test_further_headers_are_signed() -> None:
    """What is sent in x-amz-* headers is named among the signed ones, sorted."""
    request = Signer(TARGET).sign("GET", "/bench/key", headers={"range": "bytes=0-1"})
    names = "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
    assert names in request.headers["authorization"]
    assert request.headers["range"] == "bytes=0-1"


def test_a_body_is_signed_by_its_hash_or_not_at_all() -> None:
    """None stands for UNSIGNED-PAYLOAD."""
    header = "x-amz-content-sha256"
    assert sign(TARGET, "PUT", "/b/k", b"x").headers[header] == hashlib.sha256(b"x").hexdigest()
    assert sign(TARGET, "PUT", "/b/k", None).headers[header] == "UNSIGNED-PAYLOAD"


def chunks_of(body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Extension and data of each chunk, and what follows the last one."""
    found = []
    while True:
        line, _, body = body.partition(b"\r\n")
        size, _, extension = line.partition(b";")
        count = int(size, 16)
        if count == 0:
            return [*found, (extension, b"")], body
        assert body[count : count + 2] == b"\r\n"
        found.append((extension, body[:count]))
        body = body[count + 2 :]


BODY = bytes(range(256)) * 700


@pytest.mark.parametrize("kind", payloads.KINDS)
def test_every_kind_carries_the_body(kind: str) -> None:
    """Decoded, each is what was to be sent, and says how long that is."""
    request, sent = payloads.KINDS[kind](Signer(TARGET), "/bench/key", BODY)
    if kind in ("signed", "unsigned"):
        assert sent == BODY
        return
    chunks, _ = chunks_of(sent)
    assert b"".join(data for _, data in chunks) == BODY
    assert request.headers["x-amz-decoded-content-length"] == str(len(BODY))
    assert request.headers["content-encoding"] == "aws-chunked"


def test_chunks_are_signed_in_a_chain() -> None:
    """Each signature covers the one before, from the headers' own on, as AWS describes it."""
    signer = Signer(TARGET)
    request, sent = payloads.chunk_signed(signer, "/bench/key", BODY)
    key = b"AWS4" + TARGET.secret_key.encode()
    for part in signer.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    before = request.headers["authorization"].rpartition("=")[2]
    for extension, data in chunks_of(sent)[0]:
        lines = (
            "AWS4-HMAC-SHA256-PAYLOAD", signer.timestamp, signer.scope, before,
            hashlib.sha256(b"").hexdigest(), hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
        before = hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()
        assert extension == f"chunk-signature={before}".encode()


def test_a_trailer_holds_the_checksum() -> None:
    """The CRC32 behind the body is the one that zlib has."""
    request, sent = payloads.crc32_trailer(Signer(TARGET), "/bench/key", BODY)
    value = base64.b64encode(binascii.crc32(BODY).to_bytes(4, "big"))
    assert chunks_of(sent)[1] == b"x-amz-checksum-crc32:" + value + b"\r\n\r\n"
    assert request.headers["x-amz-trailer"] == "x-amz-checksum-crc32"


def test_a_file_of_requests_reads_as_its_format_says() -> None:
    """Header, names, records, heads and pool are where load/requests.h has them."""
    pool = Pool(1000)
    requests = RequestFile(pool, ("get", "put"))
    span = pool.body(3, 100)
    requests.add(SignedRequest("GET", "/a", {"host": "x"}), expected=span)
    requests.add(SignedRequest("PUT", "/b", {"host": "x"}), kind=1, body=span, status=201)
    file = io.BytesIO()
    requests.write(file)
    data = file.getvalue()
    magic, version, count, kinds, zero, heads_bytes, pool_bytes = HEADER.unpack_from(data)
    assert (magic, version, count, kinds, zero, pool_bytes) == (b"R3LD", 1, 2, 2, 0, 1000)
    assert data[40:72] == b"get".ljust(16, b"\0") + b"put".ljust(16, b"\0")
    heads = 168 + 2 * RECORD.size
    get, put = RECORD.unpack_from(data, 168), RECORD.unpack_from(data, 168 + RECORD.size)
    assert get[2:] == (200, 0, 2 | 4, 0, 0, span.offset, 100)
    assert put[2:] == (201, 1, 0, span.offset, 100, 0, 0)
    assert data[heads : heads + get[1]] == b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
    put_head = data[heads + put[0] : heads + put[0] + put[1]]
    assert put_head == b"PUT /b HTTP/1.1\r\nhost: x\r\nContent-Length: 100\r\n\r\n"
    assert data[heads + heads_bytes :] == pool.data


def test_bodies_of_different_keys_differ() -> None:
    """An answer that belongs to another key is noticed, whatever the size."""
    for size, count in workloads.KEYS.items():
        pool = Pool(max(3 << 20, workloads.SIZES[size] + (3 << 20)))
        spans = {pool.body(number, workloads.SIZES[size]) for number in range(count)}
        assert len({bytes(pool.data[s.offset : s.offset + 32]) for s in spans}) == count


def test_mixed_is_what_it_says() -> None:
    """45 % GET, 30 % HEAD, 15 % PUT, 10 % DELETE, and no read goes to a key that may be gone."""
    (workload,) = workloads.chosen(["mixed_4k_c64"])
    file = io.BytesIO()
    requests = workloads.build(workload, Signer(TARGET), Pool(3 << 20))
    requests.write(file)
    heads = [line for line in file.getvalue().split(b"\r\n") if line.endswith(b" HTTP/1.1")]
    methods = Counter(_method(head) for head in heads)
    assert len(requests) == workloads.MIXED_REQUESTS
    assert {m: n * 100 // len(requests) for m, n in methods.items()} == {
        b"GET": 45, b"HEAD": 30, b"PUT": 15, b"DELETE": 10,
    }  # fmt: skip
    for head in heads:
        assert (b"/churn-" in head) == (_method(head) in (b"PUT", b"DELETE"))


def _method(head: bytes) -> bytes:
    """The method in what may begin with the bytes of a record."""
    return next(m for m in (b"DELETE", b"HEAD", b"PUT", b"GET") if m + b" /" in head)


def test_names_are_unique_and_sets_exist() -> None:
    """Every name of the quick and the scaling set is in the table, which has none twice."""
    names = [workload.name for workload in workloads.ALL]
    assert len(names) == len(set(names))
    assert set(workloads.QUICK) <= set(names)
    assert set(workloads.SCALING) <= set(workloads.QUICK)
    assert [w.name for w in workloads.chosen(["get_4k_c6?"])] == ["get_4k_c64"]


@pytest.mark.parametrize("workload", workloads.ALL, ids=lambda workload: workload.name)
def test_every_workload_can_be_built(workload: workloads.Workload) -> None:
    """A run never sends more than its bound of bytes, and has requests to send."""
    if workload.size != "1m":
        assert len(workloads.build(workload, Signer(TARGET), Pool(3 << 20))) > 0
    if workload.operation == "put":
        assert workload.limit is not None
        assert workload.limit * workload.size_bytes <= workloads.RUN_BYTES_MAX
