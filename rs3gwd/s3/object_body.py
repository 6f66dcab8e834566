"""Which bytes of a version an answer gives, and how they are opened.

A GET or HEAD asks for all bytes, for a range, or for one part of a multipart object. A small body
that lies in the page cache is read at once and sent with its head; any other is opened here,
before the head is made, since only now can a version that was replaced in between be looked up
anew (VersionGone). The front leaves the context when it has sent the body.

Source: GetObject in the Amazon S3 API Reference (Range, partNumber, x-amz-checksum-mode).
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from struct import unpack_from
from types import TracebackType

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import StreamedBody
from rs3gwd.base.ports import BodyReader, Lookups
from rs3gwd.base.records import Checksum, ManifestRecord, VersionRecord
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import checksum_response_headers
from rs3gwd.s3.conditions import range_applies
from rs3gwd.s3.object_arguments import part_number_in
from rs3gwd.s3.object_encryption import open_object, place_of
from rs3gwd.s3.ranges import ByteRange, content_range, parse_range

SMALL_BYTES_MAX = 64 * 1024
"""Bodies that `Lookups.read_small` takes."""


class Selection(Struct, frozen=True):
    """The half-open range `start` to `end` of a version, and what the answer says of it."""

    start: int
    end: int
    status: int
    headers: Sequence[tuple[str, str]] = ()


def needs_manifest(query: Mapping[str, str], version: VersionRecord) -> bool:
    """Whether a GET or HEAD asks for one part of a version that was uploaded in parts."""
    return "partNumber" in query and version.manifest_id is not None


def select_bytes(call: Call, version: VersionRecord, manifest: ManifestRecord | None) -> Selection:
    """The bytes that a GET or HEAD asks for; `manifest` is given where `needs_manifest` says so.

    Raises ApiError: InvalidRange and InvalidPartNumber (416), InvalidArgument, InvalidRequest.
    """
    headers = call.request.headers
    range_header = headers.get("range")
    number = part_number_in(call.query) if call.query else None
    wants_checksum = headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if number is not None:
        if range_header is not None:
            raise ApiError(
                "InvalidRequest",
                "Cannot specify both Range header and partNumber query parameter",
            )
        return _select_part(version, manifest, number, wants_checksum)
    size = version.size_bytes
    if range_header is not None and range_applies(
        headers.get("if-range"), etag=version.etag, last_modified_ms=version.last_modified_ms
    ):
        part = parse_range(range_header, size)
        if part is not None:
            # A checksum of the whole object says nothing about a range of it.
            shown = [("Content-Range", content_range(part, size))]
            return Selection(part.start, part.end, 206, shown)
    shown = (
        checksum_response_headers(version.checksum) if wants_checksum and version.checksum else []
    )
    return Selection(0, size, 200, shown)


def read_at_once(lookups: Lookups, version: VersionRecord, selection: Selection) -> bytes | None:
    """The body of a GET that is small, at hand and not encrypted, else None.

    Raises VersionGone, DataCorrupt.
    """
    if version.attributes.encryption is not None:
        return None
    if selection.start == selection.end:
        return b""
    if version.size_bytes > SMALL_BYTES_MAX or version.blob is None:
        return None
    data = lookups.read_small(version)
    if data is None or selection.end - selection.start == len(data):
        return data
    return data[selection.start : selection.end]


async def open_bytes(
    call: Call, version: VersionRecord, selection: Selection
) -> bytes | StreamedBody:
    """The body of a GET. Raises as `open_object` does, and what else the store raises."""
    if selection.start == selection.end:
        return b""
    context = await open_object(call, place_of(call), version, selection.start, selection.end)
    reader = await context.__aenter__()
    return StreamedBody(length=selection.end - selection.start, source=OpenedBody(reader, context))


class OpenedBody(AbstractAsyncContextManager[BodyReader]):
    """A body that is open already; entering gives the reader, leaving closes it."""

    def __init__(
        self, reader: BodyReader, context: AbstractAsyncContextManager[BodyReader]
    ) -> None:
        self._reader = reader
        self._context = context

    async def __aenter__(self) -> BodyReader:
        return self._reader

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, traceback)


def part_sizes(manifest: ManifestRecord) -> list[tuple[int, int]]:
    """The number and size in bytes of each part, in order."""
    count = len(manifest.numbers) // 2
    numbers = unpack_from(f">{count}H", manifest.numbers)
    ends = unpack_from(f">{count}Q", manifest.end_offsets)
    sizes = [end - start for start, end in zip((0, *ends), ends, strict=False)]
    return list(zip(numbers, sizes, strict=True))


def _select_part(
    version: VersionRecord, manifest: ManifestRecord | None, number: int, wants_checksum: bool
) -> Selection:
    if version.manifest_id is None:
        if number != 1:
            raise _invalid_part_number(number, 1)
        whole = Selection(0, version.size_bytes, 206)
        checksum = version.checksum if wants_checksum else None
        return _with_part_headers(whole, version, checksum)
    assert manifest is not None, "a part of many is found in the manifest"
    count = len(manifest.numbers) // 2
    numbers = unpack_from(f">{count}H", manifest.numbers)
    index = bisect_left(numbers, number)
    if index == count or numbers[index] != number:
        raise _invalid_part_number(number, count)
    start = unpack_from(">Q", manifest.end_offsets, 8 * (index - 1))[0] if index else 0
    end = unpack_from(">Q", manifest.end_offsets, 8 * index)[0]
    checksum = None
    if wants_checksum and manifest.checksums and version.checksum:
        checksum = Checksum(
            version.checksum.algorithm, manifest.checksums[index], version.checksum.type
        )
    return _with_part_headers(Selection(start, end, 206), version, checksum)


def _with_part_headers(
    part: Selection, version: VersionRecord, checksum: Checksum | None
) -> Selection:
    headers: list[tuple[str, str]] = []
    if version.part_count:
        headers.append(("x-amz-mp-parts-count", str(version.part_count)))
    if checksum is not None:
        headers += checksum_response_headers(checksum)
    if part.start == part.end:
        # Content-Range cannot name an empty range (RFC 9110 section 14.4), so it is no 206.
        return Selection(part.start, part.end, 200, headers)
    shown = content_range(ByteRange(part.start, part.end), version.size_bytes)
    headers.append(("Content-Range", shown))
    return Selection(part.start, part.end, part.status, headers)


def _invalid_part_number(number: int, count: int) -> ApiError:
    return ApiError(
        "InvalidPartNumber",
        fields={"PartNumberRequested": str(number), "ActualPartCount": str(count)},
    )
