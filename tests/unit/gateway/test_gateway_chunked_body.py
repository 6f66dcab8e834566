"""The chunked decoder against a model: what was encoded comes back, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.http import RequestBodyMalformed
from rs3gwd.gateway.chunked_body import (
    EXTENSION_BYTES_MAX,
    SIZE_LINE_BYTES_MAX,
    TRAILER_BYTES_MAX,
    TRAILERS_MAX,
    ChunkedDecoder,
)


def decode(pieces: list[bytes]) -> tuple[bytes, bytes, ChunkedDecoder]:
    """The body, what was not consumed, and the decoder."""
    decoder = ChunkedDecoder()
    held, body = b"", b""
    for piece in pieces:
        held += piece
        while data := decoder.decode(held, 0):
            body += data[0]
            held = held[data[1] :]
            if not data[0]:
                break
        assert len(held) <= max(SIZE_LINE_BYTES_MAX, TRAILER_BYTES_MAX) or decoder.finished
    return body, held, decoder


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
CUTS = st.lists(st.integers(1, 30), max_size=20)


@given(CHUNKS, CUTS, st.binary(max_size=20))
def test_encoded_body_comes_back_and_what_follows_stays(chunks, cuts, behind):
    """Any chunks in any pieces decode to the body; bytes behind the end are not touched."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data += b"0\r\na: b\r\n\r\n" + behind
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    body, held, decoder = decode([*pieces, data[at:]])
    assert body == b"".join(chunks)
    assert decoder.finished
    assert held == behind
    assert decoder.trailers == [("a", "b")]


@given(st.binary(max_size=200), CUTS)
def test_random_bytes_are_decoded_or_malformed_whatever_the_cut(data, cuts):
    """Random bytes raise RequestBodyMalformed or nothing, and the cut changes neither."""

    def outcome(pieces: list[bytes]) -> object:
        try:
            body, held, decoder = decode(pieces)
        except RequestBodyMalformed:
            return "malformed"
        return body, held, decoder.finished

    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    assert outcome([*pieces, data[at:]]) == outcome([data])


@pytest.mark.parametrize(
    ("line", "longest"), [(b"1", SIZE_LINE_BYTES_MAX), (b"0\r\na:", TRAILER_BYTES_MAX)]
)
def test_line_without_end_is_refused_at_its_bound(line, longest):
    """An unfinished line is held up to its bound and no further."""
    decoder = ChunkedDecoder()
    decoder.decode(line + b"a" * (longest - 10), 0)
    with pytest.raises(RequestBodyMalformed):
        ChunkedDecoder().decode(line + b"a" * (longest + 10), 0)


def test_bounds_are_exact():
    """Extensions and trailers at their bounds pass, one more does not."""
    extension = b";" + b"a" * 127
    count = EXTENSION_BYTES_MAX // len(extension)
    chunk = b"1" + extension + b"\r\nx\r\n"
    body, _, _ = decode([chunk * count])
    assert len(body) == count
    with pytest.raises(RequestBodyMalformed):
        decode([chunk * (count + 1)])
    _, _, decoder = decode([b"0\r\n" + b"a: b\r\n" * TRAILERS_MAX + b"\r\n"])
    assert len(decoder.trailers) == TRAILERS_MAX
    with pytest.raises(RequestBodyMalformed):
        decode([b"0\r\n" + b"a: b\r\n" * (TRAILERS_MAX + 1) + b"\r\n"])


def test_large_pieces_are_given_out_alone():
    """A piece from 16 KiB on is not joined with the next one, and nothing is lost."""
    large, small = b"x" * 20_000, b"y" * 10
    data = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (small, large, small, small))
    data += b"0\r\n\r\n"
    decoder = ChunkedDecoder()
    given, at = [], 0
    while True:
        piece, at = decoder.decode(data, at)
        if not piece:
            break
        given.append(piece)
    assert given == [small + large, small + small]
    assert decoder.finished
