"""Large bodies: 64 MiB in one PUT and one GET, and 1 GiB in parts.

The floor of a PUT is MD5, since S3 wants the MD5 of every body as its ETag and MD5 cannot be split;
that of a GET is a loopback socket. Both are measured between the transfers, and so is the disk,
which on some machines is slower than MD5.
"""

import re
from dataclasses import dataclass

from tools.rs3gw_bench import floors, payloads, processes, workloads
from tools.rs3gw_bench.figures import FLOOR, Figures
from tools.rs3gw_bench.generator import LoadError, Shape
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.session import Session
from tools.rs3gw_bench.signing import UNSIGNED_PAYLOAD, SignedRequest
from tools.rs3gw_bench.wire import Wire

MIB = 1 << 20
LARGE_BYTES = 64 * MIB
PART_BYTES = 64 * MIB
GIB_PARTS = 16
TRANSFER_SECONDS_MAX = 300.0


def measure_large(session: Session, figures: Figures, *, rounds: int, suffix: str = "") -> None:
    """64 MiB up with and without a checksum in a trailer, and down again, compared."""
    pool = Pool(LARGE_BYTES + 4096)
    target = session.server.name
    requests = _large_requests(session, pool)
    for _ in range(rounds):
        figures.add(FLOOR, f"md5{suffix}_bps", floors.md5_speed())
        figures.add(FLOOR, f"loopback{suffix}_bps", floors.loopback_speed())
        figures.add(FLOOR, f"disk{suffix}_bps", floors.disk_speed(session.bench.data))
        for name, put in requests.puts.items():
            up = _transfer(session, put, name)
            # What is stored wrongly was not uploaded, however fast: it is read back first.
            down = _transfer(session, requests.get, f"get after {name}")
            figures.add(target, f"{name}{suffix}_bps", up)
            figures.add(target, f"get_64m{suffix}_bps", down)


@dataclass(frozen=True)
class _Requests:
    """PUTs of one object in several ways, and the GET that must bring it back."""

    puts: dict[str, RequestFile]
    get: RequestFile


def _transfer(session: Session, file: RequestFile, name: str) -> float:
    load = session.run(file, Shape(seconds=TRANSFER_SECONDS_MAX, limit=len(file))).load
    if not load.is_clean:
        raise LoadError(f"{name}: {load.complaint()}")
    return LARGE_BYTES / (load.latency.mean_us / 1e6)


def _large_requests(session: Session, pool: Pool) -> _Requests:
    signer = session.server.signer()
    path = workloads.key_path(session.server.target.bucket, "64m", 0)
    body = pool.body(0, LARGE_BYTES)
    put, get = RequestFile(pool), RequestFile(pool)
    put.add(signer.sign("PUT", path, payload=UNSIGNED_PAYLOAD), body=body)
    get.add(signer.sign("GET", path), expected=body)
    trailer_pool = Pool(0)
    request, sent = payloads.crc64nvme_trailer(signer, path, pool.bytes_of(body))
    with_trailer = RequestFile(trailer_pool)
    with_trailer.add(request, body=trailer_pool.keep(sent))
    return _Requests({"put_64m": put, "put_64m_crc64nvme": with_trailer}, get)


def measure_multipart(session: Session, figures: Figures, *, rounds: int, suffix: str = "") -> None:
    """Uploads 1 GiB in sixteen parts, completes it, and deletes it. Raises WireError.

    `multipart_complete_ms` is CompleteMultipartUpload by itself, and `multipart_written_bytes` what
    the server wrote meanwhile: joining parts should not copy them.
    """
    pool = Pool(PART_BYTES)
    for _ in range(rounds):
        _upload_gib(session, figures, pool, suffix)


def _upload_gib(session: Session, figures: Figures, pool: Pool, suffix: str) -> None:
    server, target = session.server, session.server.name
    path = f"/{server.target.bucket}/multipart/1g"
    with Wire(server.endpoint) as wire:
        signer = server.signer()
        begun = wire.ask(signer.sign("POST", f"{path}?uploads"), b"")
        upload = begun.text_of("UploadId")
        seconds, etags = 0.0, []
        with memoryview(pool.data) as data:
            for number in range(1, GIB_PARTS + 1):
                target_path = f"{path}?partNumber={number}&uploadId={_quoted(upload)}"
                request = signer.sign("PUT", target_path, payload=UNSIGNED_PAYLOAD)
                answer = wire.ask(request, data)
                seconds += answer.seconds
                etags.append(answer.headers["etag"])
        complete, document = _completion(session, f"{path}?uploadId={_quoted(upload)}", etags)
        written = processes.written_bytes(server.pid) if server.pid else 0
        done = wire.ask(complete, document)
        if b"<Error>" in done.body:
            raise LoadError(f"CompleteMultipartUpload: {done.body[:300]!r}")
        if server.pid:
            copied = processes.written_bytes(server.pid) - written
            figures.add(target, f"multipart_written{suffix}_bytes", copied)
        figures.add(target, f"multipart_complete{suffix}_ms", done.seconds * 1e3)
        figures.add(
            target, f"multipart_1g{suffix}_bps", GIB_PARTS * PART_BYTES / (seconds + done.seconds)
        )
        length = wire.ask(signer.sign("HEAD", path)).headers["content-length"]
        if int(length) != GIB_PARTS * PART_BYTES:
            raise LoadError(f"the completed object has {length} bytes")
        wire.ask(signer.sign("DELETE", path), status=204)


def _completion(session: Session, target: str, etags: list[str]) -> tuple[SignedRequest, bytes]:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    document = (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{parts}</CompleteMultipartUpload>"
    ).encode()
    request = session.server.signer().sign("POST", target, payload=UNSIGNED_PAYLOAD)
    return request, document


def _quoted(upload: str) -> str:
    return re.sub(r"[^A-Za-z0-9._~-]", lambda found: f"%{ord(found.group()):02X}", upload)
