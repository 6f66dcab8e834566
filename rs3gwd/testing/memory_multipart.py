"""CompleteMultipartUpload in the reference model: the rules of AWS, over bytes in memory.

What it is not: it is not how the engine does it. The engine never reads the bytes again and joins
the CRCs of the parts; here the object is one byte string and its checksum is taken of that.

Source: Amazon S3 API Reference, CompleteMultipartUpload; Amazon S3 User Guide, "Checking object
integrity in Amazon S3".
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from struct import pack

import awscrt.checksums

from rs3gwd.base.commands import CompletePart, CompleteUpload
from rs3gwd.base.errors import (
    BadDigest,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
)
from rs3gwd.base.limits import PART_BYTES_MIN, PART_NUMBER_MAX
from rs3gwd.base.records import (
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    ManifestRecord,
    PartRecord,
)
from rs3gwd.testing.memory_state import MemoryState, MemoryUpload

CRCS = (ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME)
"""The algorithms with which an object of parts can have a checksum of all its bytes."""


def checksum_of(algorithm: ChecksumAlgorithm, data: bytes) -> bytes:
    """The checksum of `data` in binary."""
    return _FUNCTIONS[algorithm](data)


def multipart_etag(etags: list[str]) -> str:
    """The MD5 of the binary MD5s of the parts, then `-` and their number."""
    digests = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(etags)}"


def named_parts(upload: MemoryUpload, command: CompleteUpload) -> list[PartRecord]:
    """The parts that the command names, checked.

    Raises InvalidRequest, InvalidPartOrder, InvalidPart, EntityTooSmall.
    """
    if not 1 <= len(command.parts) <= PART_NUMBER_MAX:
        raise InvalidRequest("an upload is completed with 1 to 10,000 parts")
    numbers = [part.number for part in command.parts]
    if numbers != sorted(set(numbers)) or numbers[0] < 1:
        raise InvalidPartOrder("The list of parts was not in ascending order.")
    parts = [_match(upload, named) for named in command.parts]
    for part in parts[:-1]:
        if part.size_bytes < PART_BYTES_MIN:
            raise EntityTooSmall(
                "Your proposed upload is smaller than the minimum allowed size",
                number=part.number,
                size_bytes=part.size_bytes,
            )
    size = sum(part.size_bytes for part in parts)
    if command.object_size is not None and command.object_size != size:
        raise InvalidRequest("x-amz-mp-object-size does not match the parts")
    return parts


def object_checksum(
    state: MemoryState,
    upload: MemoryUpload,
    parts: list[PartRecord],
    expected: Checksum | None,
) -> Checksum | None:
    """The checksum of the object of these parts, held against the one the caller gives.

    Raises InvalidRequest (there is none, or of another algorithm), BadDigest.
    """
    computed = _compute(state, upload, parts)
    if expected is None:
        return computed
    if computed is None or computed.algorithm is not expected.algorithm:
        raise InvalidRequest("Checksum Type mismatch occurred")
    allowed = {computed.value}
    if computed.type is ChecksumType.COMPOSITE:
        allowed.add(computed.value.split("-")[0])
    if expected.value not in allowed:
        raise BadDigest("The checksum you specified did not match the calculated checksum.")
    return computed


def manifest_of(parts: list[PartRecord], checksum: Checksum | None) -> ManifestRecord:
    """The manifest of an object made of these parts."""
    ends = _ends([part.size_bytes for part in parts])
    stored_ends = _ends([part.blob.size_bytes if part.blob else 0 for part in parts])
    values = [part.checksum.value for part in parts if part.checksum is not None]
    return ManifestRecord(
        end_offsets=ends,
        blob_ids=b"".join(part.blob.blob_id if part.blob else bytes(16) for part in parts),
        numbers=b"".join(pack(">H", part.number) for part in parts),
        checksums=[] if checksum is None else values,
        stored_end_offsets=b"" if stored_ends == ends else stored_ends,
        salts=b"".join(part.salt for part in parts),
    )


def _ends(sizes: list[int]) -> bytes:
    ends = [sum(sizes[: count + 1]) for count in range(len(sizes))]
    return b"".join(pack(">Q", end) for end in ends)


def _match(upload: MemoryUpload, named: CompletePart) -> PartRecord:
    part = upload.parts.get(named.number)
    if part is None or part.etag != named.etag:
        raise InvalidPart("The part is not there.", number=named.number, etag=named.etag)
    if named.checksum is None:
        if upload.record.checksum_type is ChecksumType.COMPOSITE:
            raise InvalidRequest("The complete request must include the checksum for each part.")
    elif part.checksum is None or part.checksum.value != named.checksum:
        raise InvalidPart(f"the checksum of part {named.number} does not match")
    return part


def _compute(state: MemoryState, upload: MemoryUpload, parts: list[PartRecord]) -> Checksum | None:
    algorithm, type_ = upload.record.checksum_algorithm, upload.record.checksum_type
    if algorithm is None:
        used = {part.checksum.algorithm if part.checksum else None for part in parts}
        algorithm = used.pop()
        if used or algorithm not in CRCS:
            return None
        type_ = ChecksumType.FULL_OBJECT
    if any(part.salt for part in parts):
        return _compute_unread(algorithm, type_, parts)
    bodies = [state.blobs[part.blob.blob_id] if part.blob else b"" for part in parts]
    if type_ is ChecksumType.FULL_OBJECT:
        whole = checksum_of(algorithm, b"".join(bodies))
        return Checksum(algorithm, base64.b64encode(whole).decode(), type_)
    assert type_ is ChecksumType.COMPOSITE, "an upload with an algorithm has a type"
    digest = checksum_of(algorithm, b"".join(checksum_of(algorithm, body) for body in bodies))
    return Checksum(algorithm, f"{base64.b64encode(digest).decode()}-{len(parts)}", type_)


def _compute_unread(
    algorithm: ChecksumAlgorithm, type_: ChecksumType | None, parts: list[PartRecord]
) -> Checksum:
    """The same from the checksums of the parts: what is stored of them is encrypted."""
    digests = [base64.b64decode(part.checksum.value) for part in parts if part.checksum is not None]
    if type_ is ChecksumType.COMPOSITE:
        value = base64.b64encode(checksum_of(algorithm, b"".join(digests))).decode()
        return Checksum(algorithm, f"{value}-{len(parts)}", type_)
    combine = getattr(awscrt.checksums, f"combine_{algorithm.lower()}")
    total = 0
    for digest, part in zip(digests, parts, strict=True):
        total = combine(total, int.from_bytes(digest, "big"), part.size_bytes)
    whole = total.to_bytes(len(digests[0]), "big")
    return Checksum(algorithm, base64.b64encode(whole).decode(), ChecksumType.FULL_OBJECT)


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def _crc32c(data: bytes) -> bytes:
    value: int = awscrt.checksums.crc32c(data)
    return value.to_bytes(4, "big")


def _crc64nvme(data: bytes) -> bytes:
    value: int = awscrt.checksums.crc64nvme(data)
    return value.to_bytes(8, "big")


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_FUNCTIONS: dict[ChecksumAlgorithm, Callable[[bytes], bytes]] = {
    ChecksumAlgorithm.CRC32: _crc32,
    ChecksumAlgorithm.CRC32C: _crc32c,
    ChecksumAlgorithm.CRC64NVME: _crc64nvme,
    ChecksumAlgorithm.SHA1: _sha1,
    ChecksumAlgorithm.SHA256: _sha256,
}
