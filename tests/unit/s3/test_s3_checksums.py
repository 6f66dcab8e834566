"""Checksums: names, values, and which may be asked for."""

import base64
import contextlib
import hashlib
import zlib

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Checksum, ChecksumAlgorithm, ChecksumType
from rs3gwd.s3.checksums import (
    CHECKSUM_HEADERS,
    DIGEST_BYTES,
    GivenChecksum,
    algorithm_in,
    check_value,
    checksum_in_headers,
    checksum_response_headers,
    checksum_type_in,
    given_checksum,
    upload_checksum_type,
)
from rs3gwd.s3.hashing import BodyDigests, new_digest

ALGORITHMS = list(ChecksumAlgorithm)
COMPOSITE, FULL = ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT

CHECK_STRING_VALUES = {
    ChecksumAlgorithm.CRC32: "cbf43926",
    ChecksumAlgorithm.CRC32C: "e3069283",
    ChecksumAlgorithm.CRC64NVME: "ae8b14860a799888",
    ChecksumAlgorithm.SHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    ChecksumAlgorithm.SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}
"""The digests of `123456789`: the check values of the CRC catalogue, and FIPS 180."""


def value_of(algorithm: ChecksumAlgorithm, data: bytes = b"") -> str:
    """A well-formed value."""
    digest = new_digest(algorithm)
    digest.update(data)
    return base64.b64encode(digest.digest()).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_gives_its_published_check_value(algorithm: ChecksumAlgorithm) -> None:
    """In one piece and byte by byte."""
    expected = bytes.fromhex(CHECK_STRING_VALUES[algorithm])
    assert len(expected) == DIGEST_BYTES[algorithm]
    whole, pieces = new_digest(algorithm), new_digest(algorithm)
    whole.update(b"123456789")
    for byte in b"123456789":
        pieces.update(bytes([byte]))
    assert whole.digest() == pieces.digest() == expected


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_lanes_give_what_one_pass_gives(pieces: list[bytes]) -> None:
    """Feeding the lanes one after the other is the same as feeding everything at once."""
    whole = b"".join(pieces)
    digests = BodyDigests(ALGORITHMS, with_sha256=True)
    for lane in digests.lanes():
        for piece in pieces:
            lane(piece)
    assert digests.md5 == hashlib.md5(whole).digest()
    assert digests.sha256_hex == hashlib.sha256(whole).hexdigest()
    assert (
        digests.checksum(ChecksumAlgorithm.CRC32)
        == base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
    )
    for algorithm in ALGORITHMS:
        assert digests.checksum(algorithm) == value_of(algorithm, whole)


@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [b"a" * 100_000, bytes(7), b"b"]])
def test_the_md5_of_a_large_body_is_md5(
    pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the faster implementation, asked in between and at the end, and without it (FIPS)."""
    for _ in range(2):
        digests = BodyDigests(large=True)
        (lane,) = digests.lanes()
        seen = b""
        for piece in pieces:
            lane(memoryview(piece))
            seen += piece
            assert digests.md5 == hashlib.md5(seen).digest()
        assert digests.md5 == digests.md5 == hashlib.md5(seen).digest()
        monkeypatch.setattr(hashes, "MD5", _refuse)


def _refuse() -> None:
    raise UnsupportedAlgorithm("no MD5 here")


def test_a_signed_body_with_a_sha256_checksum_is_hashed_once() -> None:
    """The two digests are one: MD5 in one lane, SHA-256 in the other."""
    assert len(BodyDigests([ChecksumAlgorithm.SHA256], with_sha256=True).lanes()) == 2
    assert len(BodyDigests([ChecksumAlgorithm.CRC64NVME], with_sha256=True).lanes()) == 2
    assert len(BodyDigests([ChecksumAlgorithm.CRC64NVME]).lanes()) == 1
    assert BodyDigests(with_md5=False).lanes() == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_comes_in_a_header_or_a_trailer(algorithm: ChecksumAlgorithm) -> None:
    """PutObject: x-amz-checksum-<algorithm>, or its name in x-amz-trailer."""
    name = CHECKSUM_HEADERS[algorithm]
    value = value_of(algorithm)
    assert given_checksum({name: value}) == GivenChecksum(algorithm, value)
    assert given_checksum({}, [name]) == GivenChecksum(algorithm, None)
    sdk = {"x-amz-sdk-checksum-algorithm": algorithm.value.lower()}
    assert given_checksum(sdk, [name]) == GivenChecksum(algorithm, None)
    assert given_checksum({"x-amz-checksum-mode": "ENABLED"}) is None


CRC32_HEADER = {"x-amz-checksum-crc32": value_of(ChecksumAlgorithm.CRC32)}


@pytest.mark.parametrize(
    ("headers", "trailers", "code"),
    [
        ({"x-amz-checksum-crc32": "AAAA"}, (), "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA"}, (), "InvalidRequest"),
        ({"x-amz-checksum-crc32": "????"}, (), "InvalidRequest"),
        ({"x-amz-checksum-crc32": ""}, (), "InvalidRequest"),
        ({"x-amz-checksum-crc32": "\u00e9AAA=="}, (), "InvalidRequest"),
        ({"x-amz-checksum-sha256": CRC32_HEADER["x-amz-checksum-crc32"]}, (), "InvalidRequest"),
        (CRC32_HEADER, ("x-amz-checksum-sha1",), "InvalidRequest"),
        (CRC32_HEADER | {"x-amz-checksum-crc32c": "AAAAAA=="}, (), "InvalidRequest"),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, (), "InvalidRequest"),
        ({"x-amz-sdk-checksum-algorithm": "CRC99"}, (), "InvalidRequest"),
        (CRC32_HEADER | {"x-amz-sdk-checksum-algorithm": "SHA1"}, (), "InvalidRequest"),
        ({"x-amz-checksum-foo": "AAAA"}, (), "InvalidRequest"),
        ({"x-amz-checksum-sha512": "AAAA"}, (), "NotImplemented"),
        ({"x-amz-checksum-md5": "AAAA"}, (), "NotImplemented"),
        ({}, ("x-amz-checksum-xxhash3",), "NotImplemented"),
    ],
)
def test_checksums_that_cannot_be_checked_are_refused(
    headers: dict[str, str], trailers: tuple[str, ...], code: str
) -> None:
    """Malformed, several, not announced, or of an algorithm that is not here."""
    with pytest.raises(ApiError) as caught:
        given_checksum(headers, trailers)
    assert caught.value.api_code == code


@pytest.mark.parametrize(
    ("algorithm", "wanted", "expected"),
    [
        ("CRC32", None, COMPOSITE),
        ("CRC32C", None, COMPOSITE),
        ("CRC64NVME", None, FULL),
        ("SHA1", None, COMPOSITE),
        ("SHA256", None, COMPOSITE),
        ("CRC32", FULL, FULL),
        ("CRC32C", FULL, FULL),
        ("CRC32C", COMPOSITE, COMPOSITE),
        ("CRC64NVME", FULL, FULL),
        ("CRC64NVME", COMPOSITE, None),
        ("SHA1", FULL, None),
        ("SHA256", FULL, None),
        ("SHA256", COMPOSITE, COMPOSITE),
    ],
)
def test_the_type_follows_the_table_of_the_user_guide(
    algorithm: str, wanted: ChecksumType | None, expected: ChecksumType | None
) -> None:
    """ "Checking object integrity": supported types per algorithm; None stands for a refusal."""
    chosen = ChecksumAlgorithm(algorithm)
    if expected is not None:
        assert upload_checksum_type(chosen, wanted) is expected
        return
    with pytest.raises(ApiError) as caught:
        upload_checksum_type(chosen, wanted)
    assert caught.value.message == (
        f"The {wanted} checksum type cannot be used with the {algorithm.lower()} checksum "
        "algorithm."
    )


def test_a_type_needs_an_algorithm() -> None:
    """CreateMultipartUpload with x-amz-checksum-type alone is InvalidRequest."""
    assert upload_checksum_type(None, None) is None
    with pytest.raises(ApiError):
        upload_checksum_type(None, FULL)


def test_choices_are_read_in_any_letter_case() -> None:
    """And unknown ones are refused."""
    assert algorithm_in({"a": "crc32c"}, "a") is ChecksumAlgorithm.CRC32C
    assert algorithm_in({}, "a") is None
    assert checksum_type_in({"x-amz-checksum-type": "full_object"}) is FULL
    for wrong in ("CRC16", ""):
        with pytest.raises(ApiError):
            algorithm_in({"a": wrong}, "a")
    with pytest.raises(ApiError):
        checksum_type_in({"x-amz-checksum-type": "HALF"})


def test_a_complete_names_the_checksum_of_the_object() -> None:
    """CompleteMultipartUpload: a composite value may carry its number of parts."""
    value = value_of(ChecksumAlgorithm.CRC32)
    assert checksum_in_headers({}, FULL) is None
    assert checksum_in_headers(CRC32_HEADER, FULL) == Checksum(ChecksumAlgorithm.CRC32, value)
    assert checksum_in_headers({"x-amz-checksum-crc32": f"{value}-3"}, FULL) == Checksum(
        ChecksumAlgorithm.CRC32, f"{value}-3", COMPOSITE
    )
    for wrong in (f"{value}-", f"{value}-x", "x-3", "-"):
        with pytest.raises(ApiError):
            checksum_in_headers({"x-amz-checksum-crc32": wrong}, FULL)
    with pytest.raises(ApiError):
        checksum_in_headers(CRC32_HEADER | {"x-amz-checksum-crc32c": value}, FULL)


def test_a_checksum_is_shown_with_its_type() -> None:
    """PutObject's answer, and GetObject's in checksum mode."""
    shown = checksum_response_headers(Checksum(ChecksumAlgorithm.SHA1, "v-2", COMPOSITE))
    assert shown == [("x-amz-checksum-sha1", "v-2"), ("x-amz-checksum-type", "COMPOSITE")]


@given(st.sampled_from(ALGORITHMS), st.text(max_size=50))
def test_no_text_makes_the_check_fail_otherwise(algorithm: ChecksumAlgorithm, text: str) -> None:
    """A value is of the right length in base64, or it is an InvalidRequest."""
    with contextlib.suppress(ApiError):
        check_value(algorithm, text, "header")
        assert len(base64.b64decode(text)) == DIGEST_BYTES[algorithm]
