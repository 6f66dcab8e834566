"""The rules by which parts become an object, against sums taken over the whole bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from struct import unpack

import awscrt.checksums
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.commands import CompletePart
from rs3gwd.base.errors import (
    BadDigest,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
    StoreError,
)
from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.base.records import BlobRef, Checksum, ChecksumAlgorithm, ChecksumType, PartRecord
from rs3gwd.engine import multipart
from rs3gwd.engine.multipart import Assembly, assemble

CRC32, SHA256 = ChecksumAlgorithm.CRC32, ChecksumAlgorithm.SHA256
CRCS = [CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME]
COMPOSITE, FULL_OBJECT = ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT

DIGESTS: dict[ChecksumAlgorithm, Callable[[bytes], bytes]] = {
    ChecksumAlgorithm.CRC32: lambda data: binascii.crc32(data).to_bytes(4, "big"),
    ChecksumAlgorithm.CRC32C: lambda data: awscrt.checksums.crc32c(data).to_bytes(4, "big"),
    ChecksumAlgorithm.CRC64NVME: lambda data: awscrt.checksums.crc64nvme(data).to_bytes(8, "big"),
    ChecksumAlgorithm.SHA1: lambda data: hashlib.sha1(data).digest(),
    ChecksumAlgorithm.SHA256: lambda data: hashlib.sha256(data).digest(),
}


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stored_part(number: int, body: bytes, algorithm: ChecksumAlgorithm | None) -> PartRecord:
    """The record of a part with these bytes; its blob id is made of its number."""
    checksum = None
    if algorithm is not None:
        checksum = Checksum(algorithm, base64_text(DIGESTS[algorithm](body)))
    return PartRecord(
        number=number,
        size_bytes=len(body),
        etag=hashlib.md5(body).hexdigest(),
        last_modified_ms=1,
        blob=BlobRef(number.to_bytes(16, "big"), len(body)) if body else None,
        checksum=checksum,
    )


def assembled(
    bodies: list[bytes],
    algorithm: ChecksumAlgorithm | None = None,
    checksum_type: ChecksumType | None = None,
    *,
    part_algorithm: ChecksumAlgorithm | None = None,
    expected: Checksum | None = None,
) -> Assembly:
    """All of the parts joined."""
    parts = {
        2 * index + 1: stored_part(2 * index + 1, body, algorithm or part_algorithm)
        for index, body in enumerate(bodies)
    }
    named = [
        CompletePart(part.number, part.etag, part.checksum and part.checksum.value)
        for part in parts.values()
    ]
    return assemble(
        named, parts, algorithm=algorithm, checksum_type=checksum_type, expected=expected
    )


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of any size may stand before the last."""
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 0)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    "algorithm", [CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME]
)
def test_a_full_object_crc_is_that_of_the_joined_bytes(algorithm: ChecksumAlgorithm) -> None:
    """Combining the parts' CRCs gives the CRC of the whole, empty parts included."""
    bodies = [b"first", b"", b"a" * 1000, b"\0" * 7]
    whole = base64_text(DIGESTS[algorithm](b"".join(bodies)))
    expected = Checksum(algorithm, whole, FULL_OBJECT)
    found = assembled(bodies, algorithm, FULL_OBJECT, expected=expected)
    assert found.checksum == expected


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("algorithm", [one for one in DIGESTS if one.value != "CRC64NVME"])
def test_a_composite_checksum_is_that_of_the_parts_sums(algorithm: ChecksumAlgorithm) -> None:
    """The digest of the digests, with the number of parts; the caller may leave the number out."""
    bodies = [b"first", b"second", b"third"]
    digest = DIGESTS[algorithm](b"".join(DIGESTS[algorithm](body) for body in bodies))
    value = base64_text(digest)
    for given_value in (value, f"{value}-3"):
        expected = Checksum(algorithm, given_value, COMPOSITE)
        found = assembled(bodies, algorithm, COMPOSITE, expected=expected)
        assert found.checksum == Checksum(algorithm, f"{value}-3", COMPOSITE)
    assert len(found.manifest.checksums) == 3


@pytest.mark.usefixtures("any_size")
def test_the_etag_is_the_md5_of_the_parts_md5s() -> None:
    """As AWS makes it, with the number of parts behind, a single part included."""
    bodies = [b"first", b"second"]
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert assembled(bodies).etag == f"{hashlib.md5(digests).hexdigest()}-2"
    single = hashlib.md5(hashlib.md5(b"x").digest()).hexdigest()
    assert assembled([b"x"]).etag == f"{single}-1"


@pytest.mark.usefixtures("any_size")
def test_the_manifest_lists_the_parts() -> None:
    """Exclusive end offsets, blob ids with zeros for an empty part, and the client's numbers."""
    found = assembled([b"12345", b"", b"123"])
    assert unpack(">3Q", found.manifest.end_offsets) == (5, 5, 8)
    assert unpack(">3H", found.manifest.numbers) == (1, 3, 5)
    one, five = (1).to_bytes(16, "big"), (5).to_bytes(16, "big")
    assert found.manifest.blob_ids == one + bytes(16) + five
    assert (found.size_bytes, found.part_count) == (8, 3)
    assert found.manifest.checksums == []


@pytest.mark.usefixtures("any_size")
def test_an_upload_without_an_algorithm_takes_the_parts_crc() -> None:
    """A CRC that all parts have becomes the full object's; a SHA sum or none gives no checksum."""
    bodies = [b"first", b"second"]
    found = assembled(bodies, part_algorithm=ChecksumAlgorithm.CRC64NVME)
    whole = base64_text(DIGESTS[ChecksumAlgorithm.CRC64NVME](b"firstsecond"))
    assert found.checksum == Checksum(ChecksumAlgorithm.CRC64NVME, whole, FULL_OBJECT)
    assert assembled(bodies, part_algorithm=SHA256).checksum is None
    assert assembled(bodies).checksum is None


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    ("algorithm", "checksum_type", "expected", "error"),
    [
        (CRC32, FULL_OBJECT, Checksum(CRC32, "AAAAAA=="), BadDigest),
        (SHA256, COMPOSITE, Checksum(SHA256, base64_text(bytes(32))), BadDigest),
        (SHA256, COMPOSITE, Checksum(CRC32, "AAAAAA=="), InvalidRequest),
        (None, None, Checksum(CRC32, "AAAAAA=="), InvalidRequest),
    ],
)
def test_a_wrong_expectation_is_refused(
    algorithm: ChecksumAlgorithm | None,
    checksum_type: ChecksumType | None,
    expected: Checksum,
    error: type[StoreError],
) -> None:
    """A value that differs is a bad digest; one that cannot be checked is a bad request."""
    with pytest.raises(error):
        assembled([b"first", b"second"], algorithm, checksum_type, expected=expected)


def refusal(
    named: list[CompletePart], parts: list[PartRecord], **rules: object
) -> type[StoreError]:
    """The class of the error that the parts named deserve."""
    arguments: dict[str, object] = {"algorithm": None, "checksum_type": None, **rules}
    with pytest.raises(StoreError) as caught:
        assemble(named, {part.number: part for part in parts}, **arguments)  # type: ignore[arg-type]
    return caught.type


def test_what_is_named_must_be_there_in_order_and_large_enough() -> None:
    """Each rule of CompleteMultipartUpload has its error."""
    first, second = stored_part(1, b"x", None), stored_part(2, b"yz", None)
    stored = [first, second]
    name_first, name_second = CompletePart(1, first.etag), CompletePart(2, second.etag)
    assert refusal([], stored) is InvalidRequest
    assert refusal([name_first] * 10_001, stored) is InvalidRequest
    assert refusal([name_second, name_first], stored) is InvalidPartOrder
    assert refusal([name_first, name_first], stored) is InvalidPartOrder
    assert refusal([CompletePart(0, first.etag)], stored) is InvalidPartOrder
    assert refusal([CompletePart(3, first.etag)], stored) is InvalidPart
    assert refusal([CompletePart(1, second.etag)], stored) is InvalidPart
    assert refusal([CompletePart(1, first.etag, "AAAAAA==")], stored) is InvalidPart
    assert refusal([name_first, name_second], stored) is EntityTooSmall
    assert refusal([name_first], stored, expected_size_bytes=2) is InvalidRequest


def test_a_part_of_exactly_5_mib_is_large_enough() -> None:
    """The bound is on parts before the last and includes 5 MiB."""
    for size_bytes, is_enough in ((PART_BYTES_MIN, True), (PART_BYTES_MIN - 1, False)):
        parts = [
            PartRecord(1, size_bytes, "0" * 32, 1, BlobRef(bytes(16), size_bytes)),
            PartRecord(2, 1, "1" * 32, 1, BlobRef(bytes(16), 1)),
        ]
        named = [CompletePart(part.number, part.etag) for part in parts]
        if is_enough:
            stored = {part.number: part for part in parts}
            found = assemble(named, stored, algorithm=None, checksum_type=None)
            assert found.size_bytes == size_bytes + 1
        else:
            assert refusal(named, parts) is EntityTooSmall


def test_a_composite_upload_wants_each_parts_checksum() -> None:
    """With COMPOSITE the request must name the parts' checksums; with FULL_OBJECT it need not."""
    part = stored_part(1, b"x", CRC32)
    named = [CompletePart(1, part.etag)]
    assert refusal(named, [part], algorithm=CRC32, checksum_type=COMPOSITE) is InvalidRequest
    found = assemble(named, {1: part}, algorithm=CRC32, checksum_type=FULL_OBJECT)
    assert found.checksum is not None


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_any_split_has_the_crc_of_the_whole(bodies: list[bytes]) -> None:
    """However the bytes are cut into parts, the combined CRC is the same."""
    parts = [
        PartRecord(
            number=index + 1,
            size_bytes=len(body),
            etag="0" * 32,
            last_modified_ms=1,
            checksum=Checksum(CRC32, base64_text(DIGESTS[CRC32](body))),
        )
        for index, body in enumerate(bodies)
    ]
    joined, values = multipart._join_checksums(parts, CRC32, FULL_OBJECT)
    assert joined == Checksum(CRC32, base64_text(DIGESTS[CRC32](b"".join(bodies))))
    assert len(values) == len(parts)
