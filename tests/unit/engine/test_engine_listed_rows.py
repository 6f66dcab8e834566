"""Rows as a listing reads them: the same record, less of it, and no damage overlooked."""

import pytest
from msgspec import structs

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.ports import ListEntry
from rs3gwd.base.records import (
    Attributes,
    Checksum,
    ChecksumAlgorithm,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine.listings import ListedRows
from rs3gwd.engine.tables import LISTED_CODEC, VERSION_CODEC

VERSION = VersionRecord(
    kind=VersionKind.OBJECT,
    version_id="null",
    seq=7,
    last_modified_ms=1_700_000_000_123,
    size_bytes=5 << 40,
    etag="0" * 32,
    attributes=Attributes("f" * 64, headers={"content-type": "text/plain"}, tags=[("a", "b")]),
    checksum=Checksum(ChecksumAlgorithm.CRC64NVME, "AAAAAAAAAAA="),
)

VERSIONS = [
    VERSION,
    structs.replace(VERSION, seq=8, size_bytes=0, checksum=None),
    structs.replace(VERSION, attributes=Attributes("e" * 64, storage_class="GLACIER")),
    structs.replace(VERSION, attributes=Attributes("e" * 64, storage_class="GLACIER"), seq=9),
]


def rows_of(versions: list[VersionRecord]) -> list[tuple[bytes, bytes]]:
    """Stored rows of one bucket."""
    keys = [bytes(8) + b"key %d" % number for number in range(len(versions))]
    return [
        (key, VERSION_CODEC.seal(key, version)) for key, version in zip(keys, versions, strict=True)
    ]


def test_an_entry_is_that_of_the_whole_record() -> None:
    """Whatever a row has or lacks, and traits of equal neighbours are one object."""
    rows = rows_of(VERSIONS)
    entries = ListedRows().read(rows)
    assert entries == [
        ListEntry.of(row_key[8:], version)
        for (row_key, _), version in zip(rows, VERSIONS, strict=True)
    ]
    assert entries[2].traits is entries[3].traits


def test_no_flipped_bit_is_overlooked() -> None:
    """Every bit of a row, among rows that are sound."""
    rows = rows_of(VERSIONS)
    row_key, value = rows[1]
    for place in range(8 * len(value)):
        damaged = bytearray(value)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(DataCorrupt):
            LISTED_CODEC.open_all([rows[0], (row_key, bytes(damaged)), rows[2]])
    for length in range(len(value)):
        with pytest.raises(DataCorrupt):
            LISTED_CODEC.open_all([(row_key, value[:length])])
    with pytest.raises(DataCorrupt):
        LISTED_CODEC.open_all([(rows[0][0], value)])


def test_a_version_or_shape_that_is_not_known_is_a_format_error() -> None:
    """As `open` has it, with the row named."""
    newer = type(VERSION_CODEC)(VersionRecord, name="version", version=2)
    other = type(VERSION_CODEC)(Attributes, name="version")
    key = bytes(8) + b"k"
    for value in (newer.seal(key, VERSION), other.seal(key, Attributes("f" * 64))):
        with pytest.raises(FormatError, match="version row"):
            LISTED_CODEC.open_all([(key, value)])
