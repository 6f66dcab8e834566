"""What nodes say to each other about bytes, as it crosses."""

from __future__ import annotations

import msgspec
import pytest

from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.node.blob_errors import BlobStreamBroken
from rs3gwd.node.blob_frames import (
    GetHead,
    PinHead,
    PutHead,
    check_head,
    check_pin,
    decode,
    encode,
)
from rs3gwd.node.blob_hints import HintAnswer, HintCall

BLOB_ID = bytes(range(16))

GOLDEN = {
    "93 01 c4 10 000102030405060708090a0b0c0d0e0f ce 00010000": PutHead(1, BLOB_ID, 65536),
    "93 01 c4 10 000102030405060708090a0b0c0d0e0f c0": PutHead(1, BLOB_ID, None),
    "96 01 c4 10 000102030405060708090a0b0c0d0e0f 0a 01 09 c4 02 7070": GetHead(
        1, BLOB_ID, 10, 1, 9, b"pp"
    ),
    "93 01 c4 02 7070 05": PinHead(1, b"pp", 5),
    "93 a1 62 c4 01 6b c4 01 6e": StagedOwner("b", b"k", b"n"),
}


@pytest.mark.parametrize("golden", GOLDEN)
def test_heads_are_those_of_version_1(golden: str) -> None:
    """Both ways."""
    value = GOLDEN[golden]
    data = bytes.fromhex(golden.replace(" ", ""))
    assert encode(value) == data
    assert decode(data, type(value)) == value


def test_a_head_without_a_pin_is_read() -> None:
    """Nodes that know no pins leave it out."""
    data = bytes.fromhex("9501c410000102030405060708090a0b0c0d0e0f0a0109")
    assert decode(data, GetHead) == GetHead(1, BLOB_ID, 10, 1, 9)


def test_hints_are_those_of_version_1() -> None:
    """Both ways."""
    call = HintCall(1, [BLOB_ID], [1023])
    data = bytes.fromhex("9301 91c410000102030405060708090a0b0c0d0e0f 91cd03ff".replace(" ", ""))
    assert msgspec.msgpack.encode(call) == data
    assert decode(data, HintCall) == call
    assert decode(bytes.fromhex("9201c3"), HintAnswer) == HintAnswer(1, True)


@pytest.mark.parametrize(
    "head",
    [
        PutHead(2, BLOB_ID, 1),
        PutHead(1, b"short", 1),
        GetHead(1, BLOB_ID, 10, 5, 11),
        GetHead(1, BLOB_ID, 10, 6, 5),
    ],
)
def test_a_head_that_cannot_be_is_refused(head: PutHead | GetHead) -> None:
    """Of another version, of no blob, of bytes that there are not."""
    with pytest.raises(BlobStreamBroken):
        check_head(head)


@pytest.mark.parametrize(
    "head", [PinHead(2, bytes(16), 1), PinHead(1, b"p", 1), PinHead(1, bytes(16), 0)]
)
def test_a_pin_that_cannot_be_is_refused(head: PinHead) -> None:
    """Of another version, without a name, of nothing."""
    with pytest.raises(BlobStreamBroken):
        check_pin(head)


@pytest.mark.parametrize("cut", range(1, 23))
def test_a_head_that_is_cut_is_refused(cut: int) -> None:
    """At every byte."""
    data = bytes.fromhex("9501c410000102030405060708090a0b0c0d0e0f0a0109")
    with pytest.raises(BlobStreamBroken):
        decode(data[:cut], GetHead)
