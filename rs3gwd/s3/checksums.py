"""The checksums of S3: their names, their values and which may be asked for; pure.

A caller may protect what it sends by one checksum of five kinds, in a header or (aws-chunked) in a
trailer. Multipart objects have either a checksum of the checksums of their parts (COMPOSITE) or
one of all their bytes (FULL_OBJECT), which only CRCs can give, since they can be combined.
Whoever sends none gets CRC64NVME, computed by the store.

Source: "Checking object integrity in Amazon S3" in the Amazon S3 User Guide, and the checksum
members of botocore's service model. Algorithms of that model that are not here (SHA512, MD5,
XXHASH64, XXHASH3, XXHASH128) are answered with NotImplemented, never taken unchecked.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Checksum, ChecksumAlgorithm, ChecksumType

DEFAULT_ALGORITHM = ChecksumAlgorithm.CRC64NVME
"""What an object uploaded without a checksum gets (AWS since December 2024)."""

_PREFIX = "x-amz-checksum-"

CHECKSUM_HEADERS = {algorithm: _PREFIX + algorithm.lower() for algorithm in ChecksumAlgorithm}
"""The header and trailer name of each algorithm."""

CHECKSUM_ELEMENTS = {algorithm: f"Checksum{algorithm}" for algorithm in ChecksumAlgorithm}
"""The XML element of each algorithm."""

_ALGORITHMS_BY_HEADER = {header: algorithm for algorithm, header in CHECKSUM_HEADERS.items()}

_SETTINGS = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})
"""Headers with the same prefix that hold no value of a checksum."""

_UNSUPPORTED_ALGORITHMS = frozenset({"SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"})

DIGEST_BYTES = {
    ChecksumAlgorithm.CRC32: 4,
    ChecksumAlgorithm.CRC32C: 4,
    ChecksumAlgorithm.CRC64NVME: 8,
    ChecksumAlgorithm.SHA1: 20,
    ChecksumAlgorithm.SHA256: 32,
}

_COMBINABLE = frozenset(
    {ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME}
)


class GivenChecksum(Struct, frozen=True):
    """The checksum a caller sends with a body; `value` is None when it comes in the trailer."""

    algorithm: ChecksumAlgorithm
    value: str | None


def encode_digest(digest: bytes) -> str:
    """A digest as S3 writes it: base64."""
    return base64.b64encode(digest).decode("ascii")


def given_checksum(
    headers: Mapping[str, str], trailer_names: Iterable[str] = ()
) -> GivenChecksum | None:
    """The one checksum that headers or announced trailers give for a body.

    Raises ApiError: InvalidRequest (several, or a malformed value, or
    x-amz-sdk-checksum-algorithm without its value), NotImplemented (an algorithm we do not have).
    """
    given: list[GivenChecksum] = []
    for name in headers:
        if name.startswith(_PREFIX) and name not in _SETTINGS:
            algorithm = _algorithm_of_header(name)
            check_value(algorithm, headers[name], f"{name} header")
            given.append(GivenChecksum(algorithm, headers[name]))
    given += [
        GivenChecksum(_algorithm_of_header(name), None)
        for name in trailer_names
        if name.startswith(_PREFIX)
    ]
    if len(given) > 1:
        raise ApiError(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    chosen = headers.get("x-amz-sdk-checksum-algorithm")
    if chosen is not None:
        _check_sdk_algorithm(chosen, given)
    return given[0] if given else None


def checksum_in_headers(headers: Mapping[str, str], default_type: ChecksumType) -> Checksum | None:
    """The checksum of the whole object that CompleteMultipartUpload's headers name.

    Its type is x-amz-checksum-type, else `default_type`. Raises ApiError InvalidRequest.
    """
    values = {
        name: value
        for name, value in headers.items()
        if name.startswith(_PREFIX) and name not in _SETTINGS
    }
    if not values:
        return None
    if len(values) > 1:
        raise ApiError(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    name, value = values.popitem()
    algorithm = _algorithm_of_header(name)
    digest, dash, count = value.partition("-")
    check_value(algorithm, digest, f"{name} header")
    if dash and not (count.isascii() and count.isdigit()):
        raise _invalid_value(f"{name} header")
    kind = checksum_type_in(headers) or (ChecksumType.COMPOSITE if dash else default_type)
    return Checksum(algorithm=algorithm, value=value, type=kind)


def algorithm_in(headers: Mapping[str, str], name: str) -> ChecksumAlgorithm | None:
    """The algorithm that the header `name` chooses, any letter case.

    Raises ApiError InvalidRequest (unknown), NotImplemented (known to AWS, not to us).
    """
    value = headers.get(name)
    return None if value is None else _algorithm_named(value, name)


def checksum_type_in(headers: Mapping[str, str]) -> ChecksumType | None:
    """x-amz-checksum-type. Raises ApiError InvalidRequest."""
    value = headers.get("x-amz-checksum-type")
    if value is None:
        return None
    try:
        return ChecksumType(value.upper())
    except ValueError as error:
        raise _invalid_value("x-amz-checksum-type header") from error


def upload_checksum_type(
    algorithm: ChecksumAlgorithm | None, wanted: ChecksumType | None
) -> ChecksumType | None:
    """The checksum type of a multipart upload created with these two choices.

    CRC64NVME is FULL_OBJECT only, SHA1 and SHA256 COMPOSITE only, CRC32 and CRC32C COMPOSITE
    unless FULL_OBJECT is asked for. Raises ApiError InvalidRequest for another combination.
    """
    if algorithm is None:
        if wanted is not None:
            raise ApiError(
                "InvalidRequest",
                "The x-amz-checksum-type header can only be used with the "
                "x-amz-checksum-algorithm header.",
            )
        return None
    only_full = algorithm is ChecksumAlgorithm.CRC64NVME
    kind = wanted or (ChecksumType.FULL_OBJECT if only_full else ChecksumType.COMPOSITE)
    legal = algorithm in _COMBINABLE if kind is ChecksumType.FULL_OBJECT else not only_full
    if not legal:
        raise ApiError(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} "
            "checksum algorithm.",
        )
    return kind


def check_value(algorithm: ChecksumAlgorithm, value: str, place: str) -> None:
    """Raises ApiError InvalidRequest unless `value` is base64 of the algorithm's length."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid_value(place) from error
    if len(digest) != DIGEST_BYTES[algorithm]:
        raise _invalid_value(place)


def mismatch(algorithm: ChecksumAlgorithm) -> ApiError:
    """The error for bytes that do not have the checksum their sender gave."""
    return ApiError(
        "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
    )


def checksum_response_headers(checksum: Checksum) -> list[tuple[str, str]]:
    """How PutObject, GetObject and HeadObject show a checksum."""
    return [
        (CHECKSUM_HEADERS[checksum.algorithm], checksum.value),
        ("x-amz-checksum-type", checksum.type),
    ]


def _algorithm_of_header(name: str) -> ChecksumAlgorithm:
    algorithm = _ALGORITHMS_BY_HEADER.get(name)
    if algorithm is not None:
        return algorithm
    return _algorithm_named(name.removeprefix(_PREFIX), name)


def _algorithm_named(value: str, header: str) -> ChecksumAlgorithm:
    upper = value.upper()
    if upper in _UNSUPPORTED_ALGORITHMS:
        raise ApiError(
            "NotImplemented",
            f"The checksum algorithm {upper} is not implemented.",
            fields={"Header": header},
        )
    try:
        return ChecksumAlgorithm(upper)
    except ValueError as error:
        raise ApiError(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid "
            "types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        ) from error


def _check_sdk_algorithm(chosen: str, given: list[GivenChecksum]) -> None:
    algorithm = _algorithm_named(chosen, "x-amz-sdk-checksum-algorithm")
    if not given:
        raise ApiError(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
            "x-amz-trailer headers were found.",
        )
    if given[0].algorithm is not algorithm:
        raise _invalid_value("x-amz-sdk-checksum-algorithm header")


def _invalid_value(place: str) -> ApiError:
    return ApiError("InvalidRequest", f"Value for {place} is invalid.")
