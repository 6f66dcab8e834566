"""How the parts of an upload become one object: the rules, as a pure function.

What it is not: it reads no rows and copies no bytes. An object of parts is a list of blobs with
their end offsets (a ManifestRecord), so completing 10,000 parts of 5 GiB costs milliseconds.

- The ETag is the MD5 of the parts' MD5s in binary, then `-` and the number of parts, one part
  included.
- A COMPOSITE checksum is the algorithm's digest of the parts' digests in binary, shown with
  `-<parts>` behind. A FULL_OBJECT one is that of the whole bytes; a CRC of joined pieces follows
  from the CRCs and lengths of the pieces, so nothing is read again.
- An upload that names an algorithm has a checksum on every part. One that names none may have
  them: then, when all parts have the same CRC, the object gets that CRC, full object, as S3 does
  with its default CRC64NVME; with SHA sums or a mixture it gets none.

Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3" ("Using full object
checksums", "Using composite checksums"), "Multipart upload limits"; API Reference,
CompleteMultipartUpload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from struct import pack

import awscrt.checksums
from msgspec import Struct

from rs3gwd.base.commands import CompletePart
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

_EMPTY_BLOB_ID = bytes(16)

SALT_BYTES = 16
"""Bytes of the salt of a part that is encrypted."""


class Assembly(Struct, frozen=True):
    """An object made of parts, before it has a place."""

    size_bytes: int
    etag: str
    checksum: Checksum | None
    manifest: ManifestRecord
    part_count: int


def assemble(
    named: Sequence[CompletePart],
    stored: Mapping[int, PartRecord],
    *,
    algorithm: ChecksumAlgorithm | None,
    checksum_type: ChecksumType | None,
    expected: Checksum | None = None,
    expected_size_bytes: int | None = None,
) -> Assembly:
    """Checks the parts that the caller names against those stored and joins them.

    `algorithm` and `checksum_type` are the upload's. `expected` is the object's checksum the
    caller computed, a composite one with or without its `-<parts>`. Raises InvalidRequest,
    InvalidPartOrder, InvalidPart, EntityTooSmall, BadDigest, in this order of checks.
    """
    if not 0 < len(named) <= PART_NUMBER_MAX:
        raise InvalidRequest(f"an upload is completed with 1 to {PART_NUMBER_MAX} parts")
    _check_order(named)
    composite = checksum_type is ChecksumType.COMPOSITE
    parts = _match_parts(named, stored, algorithm if composite else None)
    _check_sizes(parts)
    sizes = [part.size_bytes for part in parts]
    size_bytes = sum(sizes)
    if expected_size_bytes not in (None, size_bytes):
        raise InvalidRequest(
            "The provided 'x-amz-mp-object-size' header does not match what was computed: "
            f"{size_bytes} bytes"
        )
    checksum, part_values = _join_checksums(parts, algorithm, checksum_type)
    if expected is not None:
        _check_expected(expected, checksum)
    stored_sizes = [part.blob.size_bytes if part.blob else 0 for part in parts]
    manifest = ManifestRecord(
        end_offsets=_end_offsets(sizes),
        blob_ids=b"".join([part.blob.blob_id if part.blob else _EMPTY_BLOB_ID for part in parts]),
        numbers=pack(f">{len(parts)}H", *[part.number for part in parts]),
        checksums=part_values,
        stored_end_offsets=b"" if stored_sizes == sizes else _end_offsets(stored_sizes),
        salts=_join_salts(parts),
    )
    return Assembly(
        size_bytes=size_bytes,
        etag=multipart_etag([part.etag for part in parts]),
        checksum=checksum,
        manifest=manifest,
        part_count=len(parts),
    )


def multipart_etag(part_etags: Sequence[str]) -> str:
    """The ETag of an object of parts. Raises InvalidPart when an ETag is no MD5 in hex."""
    try:
        digests = bytes.fromhex("".join(part_etags))
    except ValueError as error:
        raise InvalidPart("an ETag of a part is not an MD5 in hex") from error
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(part_etags)}"


def _end_offsets(sizes: Sequence[int]) -> bytes:
    return pack(f">{len(sizes)}Q", *accumulate(sizes))


def _join_salts(parts: Sequence[PartRecord]) -> bytes:
    """Raises InvalidPart when only some of the parts have one."""
    salts = b"".join([part.salt for part in parts])
    if len(salts) not in (0, SALT_BYTES * len(parts)):
        raise InvalidPart("some parts of the upload are encrypted and others are not")
    return salts


def _check_order(named: Sequence[CompletePart]) -> None:
    last = 0
    for part in named:
        if part.number <= last:
            raise InvalidPartOrder(
                "The list of parts was not in ascending order. "
                "The parts list must be specified in order by part number."
            )
        last = part.number


def _match_parts(
    named: Sequence[CompletePart],
    stored: Mapping[int, PartRecord],
    required: ChecksumAlgorithm | None,
) -> list[PartRecord]:
    """The stored parts in the order named; `required` must be on every part that is named."""
    parts = []
    for wanted in named:
        part = stored.get(wanted.number)
        if part is None or part.etag != wanted.etag:
            raise InvalidPart(
                "One or more of the specified parts could not be found. The part may not have "
                "been uploaded, or the specified entity tag may not match the part's entity tag.",
                number=wanted.number,
                etag=wanted.etag,
            )
        if wanted.checksum is None:
            if required is not None:
                raise InvalidRequest(
                    f"The upload was created using a {required.lower()} checksum. The complete "
                    "request must include the checksum for each part. It was missing for part "
                    f"{wanted.number} in the request."
                )
        elif part.checksum is None or part.checksum.value != wanted.checksum:
            raise InvalidPart(
                f"The checksum of part {wanted.number} does not match.",
                number=wanted.number,
                etag=wanted.etag,
            )
        parts.append(part)
    return parts


def _check_sizes(parts: Sequence[PartRecord]) -> None:
    for part in parts[:-1]:
        if part.size_bytes < PART_BYTES_MIN:
            raise EntityTooSmall(
                "Your proposed upload is smaller than the minimum allowed size",
                number=part.number,
                size_bytes=part.size_bytes,
            )


def _join_checksums(
    parts: Sequence[PartRecord],
    algorithm: ChecksumAlgorithm | None,
    checksum_type: ChecksumType | None,
) -> tuple[Checksum | None, list[str]]:
    """The object's checksum and the parts' values, where the parts have what it needs."""
    if algorithm is None:
        algorithm = _common_crc(parts)
        checksum_type = ChecksumType.FULL_OBJECT
    if algorithm is None or checksum_type is None:
        return None, []
    values = []
    for part in parts:
        if part.checksum is None or part.checksum.algorithm is not algorithm:
            raise InvalidPart(f"part {part.number} has no {algorithm} checksum")
        values.append(part.checksum.value)
    try:
        digests = [binascii.a2b_base64(value, strict_mode=True) for value in values]
    except binascii.Error as error:
        raise InvalidPart("a stored part checksum is not base64") from error
    if checksum_type is ChecksumType.COMPOSITE:
        digest = _HASHES[algorithm](b"".join(digests))
        value = f"{base64.b64encode(digest).decode()}-{len(parts)}"
    else:
        digest = _combine_crcs(algorithm, digests, [part.size_bytes for part in parts])
        value = base64.b64encode(digest).decode()
    return Checksum(algorithm, value, checksum_type), values


def _common_crc(parts: Sequence[PartRecord]) -> ChecksumAlgorithm | None:
    first = parts[0].checksum
    if first is None or first.algorithm not in _COMBINERS:
        return None
    for part in parts:
        if part.checksum is None or part.checksum.algorithm is not first.algorithm:
            return None
    return first.algorithm


def _combine_crcs(
    algorithm: ChecksumAlgorithm, digests: Sequence[bytes], sizes: Sequence[int]
) -> bytes:
    combine = _COMBINERS[algorithm]
    total = 0
    for digest, size_bytes in zip(digests, sizes, strict=True):
        total = combine(total, int.from_bytes(digest, "big"), size_bytes)
    return total.to_bytes(len(digests[0]), "big")


def _check_expected(expected: Checksum, computed: Checksum | None) -> None:
    if computed is None:
        raise InvalidRequest(
            f"the {expected.algorithm} checksum cannot be checked: the parts have none"
        )
    if expected.algorithm is not computed.algorithm:
        raise InvalidRequest(
            f"Checksum Type mismatch occurred, expected checksum Type: "
            f"{computed.algorithm.lower()}, actual checksum Type: {expected.algorithm.lower()}"
        )
    allowed = [computed.value]
    if computed.type is ChecksumType.COMPOSITE:
        allowed.append(computed.value.rpartition("-")[0])
    if expected.value not in allowed:
        raise BadDigest(
            f"The {expected.algorithm} you specified did not match the calculated checksum."
        )


def _crc32(data: bytes) -> bytes:
    return binascii.crc32(data).to_bytes(4, "big")


def _crc32c(data: bytes) -> bytes:
    value: int = awscrt.checksums.crc32c(data)
    return value.to_bytes(4, "big")


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_HASHES: dict[ChecksumAlgorithm, Callable[[bytes], bytes]] = {
    ChecksumAlgorithm.CRC32: _crc32,
    ChecksumAlgorithm.CRC32C: _crc32c,
    ChecksumAlgorithm.SHA1: _sha1,
    ChecksumAlgorithm.SHA256: _sha256,
}

_COMBINERS: dict[ChecksumAlgorithm, Callable[[int, int, int], int]] = {
    ChecksumAlgorithm.CRC32: awscrt.checksums.combine_crc32,
    ChecksumAlgorithm.CRC32C: awscrt.checksums.combine_crc32c,
    ChecksumAlgorithm.CRC64NVME: awscrt.checksums.combine_crc64nvme,
}
