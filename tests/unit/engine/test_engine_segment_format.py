"""The bytes of segments: headers, records, block checksums, and the scan that needs no index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.engine import segment_format as f

HEADER = f.RecordHeader(b"i" * 16, 3, 1000, 0xDEADBEEF, last=True)


def test_a_segment_header_reads_back_as_written() -> None:
    """What is packed is unpacked, in 64 bytes."""
    header = f.SegmentHeader(b"s" * 16, 7, 123456)
    packed = f.pack_segment_header(header)
    assert len(packed) == 64
    assert f.unpack_segment_header(packed) == header


def test_every_flipped_bit_of_a_segment_header_is_noticed() -> None:
    """No single bit can change unseen."""
    packed = f.pack_segment_header(f.SegmentHeader(b"s" * 16, 7, 123456))
    for position in range(len(packed) * 8):
        damaged = bytearray(packed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((DataCorrupt, FormatError)):
            f.unpack_segment_header(bytes(damaged))


def test_a_record_header_reads_back_as_written() -> None:
    """What is packed is unpacked, in 40 bytes."""
    packed = f.pack_record_header(HEADER, segment_id=1, offset=64)
    assert len(packed) == 40
    assert f.unpack_record_header(packed, segment_id=1, offset=64) == HEADER


def test_every_flipped_bit_of_a_record_header_is_noticed() -> None:
    """No single bit can change unseen."""
    packed = f.pack_record_header(HEADER, segment_id=1, offset=64)
    for position in range(len(packed) * 8):
        damaged = bytearray(packed)
        damaged[position // 8] ^= 1 << position % 8
        assert f.unpack_record_header(damaged, segment_id=1, offset=64) is None


def test_a_record_header_at_another_place_is_not_believed() -> None:
    """A write that strayed to another offset or segment is no record there."""
    packed = f.pack_record_header(HEADER, segment_id=1, offset=64)
    assert f.unpack_record_header(packed, segment_id=1, offset=72) is None
    assert f.unpack_record_header(packed, segment_id=2, offset=64) is None
    assert f.unpack_record_header(packed[:39], segment_id=1, offset=64) is None


@given(st.integers(0, 300_000))
def test_the_payload_that_is_said_to_fit_fits(room: int) -> None:
    """Never a byte over the room, and not 100 bytes wasted where there is any."""
    payload = f.payload_bytes_that_fit(room)
    assert payload == 0 or f.footprint(payload) <= room
    if room >= 200:
        assert f.footprint(payload + 100) > room


def test_no_extent_is_longer_than_64_mib() -> None:
    """However much room there is."""
    assert f.payload_bytes_that_fit(1 << 40) == 64 << 20


@given(st.integers(0, 200_000), st.lists(st.integers(1, 70_000), max_size=8))
def test_block_checksums_do_not_depend_on_the_pieces(size: int, cuts: list[int]) -> None:
    """Fed in any pieces, the CRCs are those of the 64 KiB blocks of the whole."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    blocks = f.BlockChecksums()
    position = 0
    for cut in cuts:
        blocks.update(data[position : position + cut])
        position += cut
    blocks.update(data[position:])
    crcs = blocks.finish()
    assert len(crcs) == f.block_count(size)
    assert f.verify_blocks(data, crcs) is None


def test_the_first_damaged_block_is_named() -> None:
    """Verification points at the block, counted from 0."""
    data = bytearray(200_000)
    crcs = f.checksums_of(data)
    data[150_000] ^= 1
    assert f.verify_blocks(data, crcs) == 2


def test_a_damaged_block_table_is_noticed() -> None:
    """The CRC kept in the index vouches for the table."""
    crcs = f.checksums_of(bytes(200_000))
    table = f.pack_table(crcs)
    checksum = f.extent_checksum(crcs, table)
    assert list(f.unpack_table(table, checksum)) == crcs
    with pytest.raises(DataCorrupt):
        f.unpack_table(table[:-1] + b"x", checksum)


def _segment(*payloads: bytes) -> tuple[bytearray, list[int]]:
    """A segment with records, and their offsets."""
    data = bytearray(f.pack_segment_header(f.SegmentHeader(b"s" * 16, 1, 0)))
    offsets = []
    for number, payload in enumerate(payloads):
        offset = len(data)
        offsets.append(offset)
        crcs = f.checksums_of(payload)
        table = f.pack_table(crcs)
        header = f.RecordHeader(
            bytes([number]) * 16, 0, len(payload), f.extent_checksum(crcs, table), last=True
        )
        data += f.pack_record_header(header, segment_id=1, offset=offset) + payload + table
        data += bytes(-len(data) % 8)
        assert len(data) == offset + f.footprint(len(payload))
    return data, offsets


def _scan(data: bytes | bytearray) -> list[f.FoundRecord]:
    def read(length: int, offset: int) -> bytes:
        return bytes(data[offset : offset + length])

    return list(f.scan_segment(read, segment_id=1, start=64, end=len(data)))


def test_a_scan_finds_every_record_without_the_index() -> None:
    """Offsets and headers come from the file alone, across the pieces the scan reads."""
    data, offsets = _segment(b"a" * 10, bytes(1_500_000), b"", b"b" * 65_537)
    assert [found.offset for found in _scan(data)] == offsets
    assert [found.header.payload_bytes for found in _scan(data)] == [10, 1_500_000, 0, 65_537]


def test_a_damaged_header_costs_only_its_own_record() -> None:
    """The scan goes on at the next header, even far behind."""
    data, offsets = _segment(b"a" * 10, bytes(2_500_000), b"c" * 100)
    data[offsets[1] + 5] ^= 1
    assert [found.offset for found in _scan(data)] == [offsets[0], offsets[2]]


def test_a_payload_that_looks_like_a_header_is_skipped() -> None:
    """A magic inside a payload, or one in garbage, is no record."""
    data, offsets = _segment(f.RECORD_MAGIC * 4096, b"x")
    assert [found.offset for found in _scan(data)] == offsets
    garbage = data[:64] + f.RECORD_MAGIC * 400_000
    assert _scan(garbage) == []


@given(st.binary(max_size=400))
def test_a_scan_of_garbage_ends_and_finds_nothing(garbage: bytes) -> None:
    """Whatever the bytes are, the scan neither fails nor believes them."""
    assert _scan(bytes(64) + garbage) == []
