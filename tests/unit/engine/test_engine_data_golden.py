"""What version 1 wrote is read for ever: the bytes of segments and of the node's own tables.

A change that breaks one of these needs a new version and a reader for the old one; the bytes here
are never rewritten.
"""

from rs3gwd.engine.blobs import (
    BLOB_CODEC,
    SEGMENT_CODEC,
    STORE_CODEC,
    UNSYNCED_CODEC,
    BlobRecord,
    Extent,
    SegmentRecord,
    SegmentState,
    StoreRecord,
    UnsyncedRecord,
)
from rs3gwd.engine.segment_format import (
    RecordHeader,
    SegmentHeader,
    checksums_of,
    footprint,
    pack_record_header,
    pack_segment_header,
    pack_table,
    unpack_record_header,
    unpack_segment_header,
)

ID = bytes(range(16))
TIME_MS = 1_700_000_000_000


def test_a_segment_header_of_version_1_is_read() -> None:
    """64 bytes, and they are still what is written."""
    golden = bytes.fromhex(
        "52533347575345470001000000000000000102030405060708090a0b0c0d0e0f"
        "00000000000001020000018bcfe568000000000000000000000000001cf02ab6"
    )
    header = SegmentHeader(ID, 0x0102, TIME_MS)
    assert unpack_segment_header(golden) == header
    assert pack_segment_header(header) == golden


def test_a_record_header_of_version_1_is_read() -> None:
    """40 bytes, and they are still what is written."""
    golden = bytes.fromhex(
        "ab52534201010000000102030405060708090a0b0c0d0e0f0000000300011170deadbeefa771afcf"
    )
    header = RecordHeader(ID, 3, 70_000, 0xDEADBEEF, last=True)
    assert unpack_record_header(golden, segment_id=0x0102, offset=64) == header
    assert pack_record_header(header, segment_id=0x0102, offset=64) == golden


def test_the_block_table_of_version_1_is_what_is_written() -> None:
    """CRC-32C of each 64 KiB, big-endian; RFC 3720 B.4 gives 8a9136aa for 32 zeros."""
    assert checksums_of(bytes(32)) == [0x8A9136AA]
    payload = bytes(65_536) + bytes(32)
    assert pack_table(checksums_of(payload)).hex()[8:] == "8a9136aa"
    assert footprint(len(payload)) == 40 + 65_568 + 8


def test_a_row_of_blobs_of_version_1_is_read() -> None:
    """A blob of two extents."""
    golden = bytes.fromhex(
        "0192ce000111759294cd010240ce00011170cedeadbeef94cd0103cd1000050781b87102"
    )
    record = BlobRecord(70_005, [Extent(258, 64, 70_000, 0xDEADBEEF), Extent(259, 4096, 5, 7)])
    assert BLOB_CODEC.open(ID, golden) == record


def test_rows_of_blobs_of_version_2_are_read() -> None:
    """A blob in an extent, and one whose five bytes are in the row."""
    in_extent = BlobRecord(5, [Extent(259, 4096, 5, 7)])
    assert BLOB_CODEC.open(ID, bytes.fromhex("0293059194cd0103cd10000507c4002df9a4e8")) == in_extent
    inline = BlobRecord(5, [], b"hello")
    assert BLOB_CODEC.open(ID, bytes.fromhex("02930590c40568656c6c6fffc494b5")) == inline
    assert BLOB_CODEC.seal(ID, inline).hex() == "02930590c40568656c6c6fffc494b5"


def test_a_row_of_segments_of_version_1_is_read() -> None:
    """A sealed segment's account."""
    golden = bytes.fromhex("019601cf0000018bcfe56800cd03e8cd0384cd0320cc88f32d25d5")
    record = SegmentRecord(SegmentState.SEALED, TIME_MS, 1000, 900, 800, 136)
    assert SEGMENT_CODEC.open(bytes(7) + b"\x01", golden) == record


def test_a_row_of_unsynced_of_version_1_is_read() -> None:
    """A hint at a version."""
    golden = bytes.fromhex("0193a162c4016ba46e756c6c7e2fc382")
    assert UNSYNCED_CODEC.open(ID, golden) == UnsyncedRecord("b", b"k", "null")


def test_the_identity_of_a_store_of_version_1_is_read() -> None:
    """META row `store`."""
    golden = bytes.fromhex("0192c410000102030405060708090a0b0c0d0e0fcf0000018bcfe5680013430cf9")
    assert STORE_CODEC.open(b"store", golden) == StoreRecord(ID, TIME_MS)
