"""The aws-chunked decoder: what clients send, whole and split, and what nobody should send."""

import hashlib
import hmac
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iam_world import ALICE, AWS_KEY_ID, EMPTY_SHA256, signing_key

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.chunked import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, AwsChunkedDecoder
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.sigv4 import SignedRequest, SigningKey

TIMESTAMP = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"
SEED = "4f" * 32
CRC = {"x-amz-checksum-crc32": "NhCmhg=="}
KEY = signing_key()


class Signer:
    """Signs chunks and trailers by AWS's recipe, a second time and not by the product's code."""

    def __init__(self, seed: str = SEED) -> None:
        self.previous = seed

    def chunk(self, data: bytes) -> bytes:
        """One signed chunk with its line ends; the empty one has no second line."""
        digest = hashlib.sha256(data).hexdigest()
        self._sign("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY_SHA256}\n{digest}")
        head = f"{len(data):x};chunk-signature={self.previous}\r\n".encode()
        return head + data + b"\r\n" if data else head

    def trailer_signature(self, trailers: dict[str, str]) -> bytes:
        """The line x-amz-trailer-signature without its line end."""
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
        self._sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines.encode()).hexdigest())
        return f"x-amz-trailer-signature:{self.previous}".encode()

    def _sign(self, algorithm: str, rest: str) -> None:
        text = f"{algorithm}\n{TIMESTAMP}\n{SCOPE}\n{self.previous}\n{rest}"
        self.previous = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def signed_body(*chunks: bytes) -> bytes:
    """A signed body without trailer."""
    signer = Signer()
    return b"".join(signer.chunk(chunk) for chunk in (*chunks, b"")) + b"\r\n"


def trailer_body(*chunks: bytes, trailers: dict[str, str] = CRC) -> bytes:
    """A signed body with a signed trailer."""
    signer = Signer()
    body = b"".join(signer.chunk(chunk) for chunk in (*chunks, b""))
    lines = b"".join(f"{name}:{value}\r\n".encode() for name, value in trailers.items())
    return body + lines + signer.trailer_signature(trailers) + b"\r\n\r\n"


def unsigned_body(*chunks: bytes, trailers: dict[str, str] = CRC) -> bytes:
    """An unsigned body with a trailer."""
    body = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    lines = b"".join(f"{name}:{value}\r\n".encode() for name, value in trailers.items())
    return body + b"0\r\n" + lines + b"\r\n"


def decoder(kind: str, length: int, names: tuple[str, ...] = tuple(CRC)) -> AwsChunkedDecoder:
    """A decoder for `signed`, `trailer` or `unsigned` bodies."""
    seed = SignedRequest(
        principal=Principal(account=ALICE, access_key_id=AWS_KEY_ID),
        signing_key=SigningKey(KEY),
        timestamp=TIMESTAMP,
        scope=SCOPE,
        signature=SEED,
        payload_hash="",
    )
    return AwsChunkedDecoder(
        decoded_length=length,
        seed=None if kind == "unsigned" else seed,
        trailer_names=None if kind == "signed" else names,
    )


MAKERS = {"signed": signed_body, "trailer": trailer_body, "unsigned": unsigned_body}
FIRST, SECOND, LAST = b"a" * CHUNK_BYTES_MIN, b"b" * (CHUNK_BYTES_MIN + 5), b"last"
PAYLOAD = FIRST + SECOND + LAST


def run(kind: str, body: bytes, *, length: int = len(PAYLOAD), step: int = 0) -> bytes:
    """The payload of a whole body, fed in pieces of `step` bytes; raises what the decoder does."""
    target = decoder(kind, length)
    step = step or max(len(body), 1)
    out = b"".join(b"".join(target.feed(body[at : at + step])) for at in range(0, len(body), step))
    target.finish()
    return out


def is_taken(target: AwsChunkedDecoder, pieces: list[bytes], out: list[bytes]) -> bool:
    """Whether a body is accepted to its end; its payload goes to `out`, also of a refused one."""
    try:
        for piece in pieces:
            out += target.feed(piece)
        target.finish()
    except ApiError:
        return False
    return True


def refusal(kind: str, body: bytes, *, length: int = len(PAYLOAD)) -> ApiError:
    """The error for a body, the same whole and in pieces."""
    with pytest.raises(ApiError) as whole:
        run(kind, body, length=length)
    with pytest.raises(ApiError) as pieces:
        run(kind, body, length=length, step=997)
    assert pieces.value.api_code == whole.value.api_code
    return whole.value


@pytest.mark.parametrize("kind", MAKERS)
def test_what_a_decoder_holds_is_told(kind: str) -> None:
    """At most the chunk that is under way, nothing of an unsigned one, nothing at the end."""
    body = MAKERS[kind](FIRST, SECOND, LAST)
    target = decoder(kind, len(PAYLOAD))
    given = 0
    seen = []
    for at in range(0, len(body), 1000):
        given += sum(map(len, target.feed(body[at : at + 1000])))
        assert target.held_bytes <= max(at + 1000 - given, 0)
        seen.append(target.held_bytes)
    assert seen[-1] == 0
    assert any(seen) == ("unsigned" not in kind)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("step", [0, 1, 2, 3, 85, 1024, 8192, 65536])
def test_a_body_decodes_however_it_arrives(kind: str, step: int) -> None:
    """Whole or in pieces of any size, the payload and the trailers are the same."""
    body = MAKERS[kind](FIRST, SECOND, LAST)
    target = decoder(kind, len(PAYLOAD))
    step = step or len(body)
    out = [piece for at in range(0, len(body), step) for piece in target.feed(body[at : at + step])]
    assert b"".join(out) == PAYLOAD
    assert all(out)
    assert target.finish() == ({} if kind == "signed" else CRC)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_body_decodes_split_at_every_byte(kind: str) -> None:
    """Two feeds, parted at any place, give the payload."""
    body = MAKERS[kind](LAST)
    for at in range(len(body) + 1):
        target = decoder(kind, len(LAST))
        out = target.feed(body[:at]) + target.feed(memoryview(bytearray(body[at:])))
        assert b"".join(out) == LAST
        target.finish()


@pytest.mark.parametrize("kind", MAKERS)
def test_an_empty_body_decodes(kind: str) -> None:
    """Only the last chunk: no payload, and the trailers."""
    assert run(kind, MAKERS[kind](), length=0) == b""


@pytest.mark.parametrize("kind", MAKERS)
def test_a_truncated_body_is_incomplete_wherever_it_ends(kind: str) -> None:
    """A body cut short is refused at the end, and no signed chunk came out that was not whole."""
    body = MAKERS[kind](FIRST, LAST)
    payload = FIRST + LAST
    for end in [*range(200), *range(len(body) - 200, len(body) - 2)]:
        target = decoder(kind, len(payload))
        out = b"".join(target.feed(body[:end]))
        assert payload.startswith(out)
        if kind != "unsigned":
            assert out in (b"", FIRST, payload)
        with pytest.raises(ApiError) as caught:
            target.finish()
        assert caught.value.api_code == "IncompleteBody"


@pytest.mark.parametrize("kind", ["signed", "trailer"])
def test_a_changed_byte_of_a_signed_body_is_refused(kind: str) -> None:
    """One flipped bit anywhere is refused, and nothing of its chunk or later ones comes out."""
    body = MAKERS[kind](FIRST, LAST)
    second = body.index(b"\r\n4;") + 2
    places = [*range(120), 4000, *range(second - 6, len(body))]
    for place in places:
        changed = body[:place] + bytes([body[place] ^ 0x01]) + body[place + 1 :]
        target = decoder(kind, len(FIRST + LAST))
        out: list[bytes] = []
        assert not is_taken(target, [changed[:second], changed[second:]], out)
        assert b"".join(out) in ((b"",) if place < second else (FIRST, FIRST + LAST))


def test_a_changed_payload_byte_names_the_signature() -> None:
    """SignatureDoesNotMatch carries the chunk's string to sign and the signature it had."""
    body = signed_body(FIRST, LAST).replace(b"last", b"Last")
    error = refusal("signed", body, length=len(FIRST + LAST))
    assert error.api_code == "SignatureDoesNotMatch"
    assert error.fields["AWSAccessKeyId"] == AWS_KEY_ID
    assert error.fields["StringToSign"].startswith("AWS4-HMAC-SHA256-PAYLOAD\n")
    assert KEY.hex() not in str(error.fields)


def test_chunks_cannot_be_moved_left_out_or_played_again() -> None:
    """The chain of signatures breaks when chunks are swapped, dropped, doubled or foreign."""
    signer = Signer()
    first, second, last = signer.chunk(FIRST), signer.chunk(SECOND), signer.chunk(b"")
    length = len(FIRST + SECOND)
    foreign = Signer("aa" * 32).chunk(FIRST)
    for parts in (
        (second, first, last),
        (first, last),
        (first, first, last),
        (first, second, second),
        (foreign, second, last),
    ):
        body = b"".join(parts) + b"\r\n"
        for size in (length, 2 * len(FIRST), 3 * len(SECOND), len(FIRST)):
            with pytest.raises(ApiError):
                run("signed", body, length=size)
    assert run("signed", first + second + last + b"\r\n", length=length) == FIRST + SECOND


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("difference", [-1, 1])
def test_the_sum_of_chunks_must_be_the_decoded_length(kind: str, difference: int) -> None:
    """One byte more or less than x-amz-decoded-content-length is IncompleteBody."""
    body = MAKERS[kind](FIRST, SECOND, LAST)
    error = refusal(kind, body, length=len(PAYLOAD) + difference)
    assert error.api_code == "IncompleteBody"
    assert error.fields == {
        "NumberBytesExpected": str(len(PAYLOAD) + difference),
        "NumberBytesProvided": str(len(PAYLOAD)),
    }


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("end", [b"x", b"0\r\n\r\n", b"\n", b"\r\n\r\n\r\n", b"\r\nx\r\n"])
def test_bytes_behind_the_end_are_refused(kind: str, end: bytes) -> None:
    """After the end only an empty line or two may come (minio-go sends one)."""
    body = MAKERS[kind](LAST) + end
    assert refusal(kind, body, length=len(LAST)).api_code == "IncompleteBody"


def test_the_forms_of_minio_go_decode() -> None:
    """Bare line feeds in trailers, an empty line before the signature, one behind the end."""
    body = b"4\r\nlast\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n"
    assert run("unsigned", body, length=4) == LAST
    signer = Signer()
    chunks = signer.chunk(LAST) + signer.chunk(b"")
    trailer = b"x-amz-checksum-crc32:NhCmhg==\n\r\n" + signer.trailer_signature(CRC)
    assert run("trailer", chunks + trailer + b"\r\n\r\n", length=4) == LAST


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b" 4",
        b"4 ",
        b"+4",
        b"-4",
        b"0x4",
        b"4_0",
        b"g",
        b"4;",
        b"4;name=value",
        b"4;chunk-signature=" + b"0" * 64,
        b"0" * 17,
        b"4" * 2000,
        b"\xd9\xa3",
    ],
)
def test_a_chunk_size_is_hex_digits_and_nothing_else(header: bytes) -> None:
    """Signs, prefixes, blanks, extensions and digits of other scripts are refused."""
    error = refusal("unsigned", header + b"\r\nlast\r\n0\r\n\r\n", length=4)
    assert error.api_code == "IncompleteBody"


def test_a_chunk_header_ends_with_cr_lf() -> None:
    """A bare line feed behind a chunk header or chunk is refused."""
    assert refusal("unsigned", b"4\nlast\r\n0\r\n", length=4).api_code == "IncompleteBody"
    assert refusal("unsigned", b"4\r\nlast\n0\r\n", length=4).api_code == "IncompleteBody"


def test_signed_chunks_need_their_signature() -> None:
    """A chunk without, or with an empty, short or upper-case signature is refused."""
    body = signed_body(LAST)
    signature = body[body.index(b"=") + 1 :][:64]
    bare = body.replace(b";chunk-signature=" + signature, b"", 1)
    assert refusal("signed", bare, length=4).api_code == "IncompleteBody"
    for other in (b"", signature[:-1], signature.upper(), signature + b" ", b"\xe9" * 64):
        changed = body.replace(signature, other, 1)
        if changed != body:
            assert refusal("signed", changed, length=4).api_code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("kind", MAKERS)
def test_only_the_last_chunk_may_be_small(kind: str) -> None:
    """A chunk below 8 KiB before another one is InvalidChunkSizeError, as at AWS."""
    small = b"s" * (CHUNK_BYTES_MIN - 1)
    error = refusal(kind, MAKERS[kind](small, LAST), length=len(small + LAST))
    assert error.api_code == "InvalidChunkSizeError"
    assert error.fields == {"Chunk": "1", "BadChunkSize": "8191"}
    assert run(kind, MAKERS[kind](FIRST, LAST), length=len(FIRST + LAST)) == FIRST + LAST


def test_a_signed_chunk_is_bounded_and_an_unsigned_one_is_not() -> None:
    """Signed chunks are held back, so 16 MiB is their bound; unsigned bytes flow at once."""
    size = CHUNK_BYTES_MAX + 1
    head = f"{size:x};chunk-signature={'0' * 64}\r\n".encode()
    error = refusal("signed", head, length=size)
    assert error.api_code == "InvalidChunkSizeError"
    target = decoder("unsigned", size)
    assert target.feed(f"{size:x}\r\n".encode() + b"abc") == [b"abc"]
    assert target.feed(b"d") == [b"d"]


def test_nothing_of_a_signed_chunk_comes_out_before_its_proof() -> None:
    """The payload appears with the line end behind the chunk, not earlier."""
    body = signed_body(FIRST)
    at = body.index(b"\r\n0;")
    target = decoder("signed", len(FIRST))
    assert target.feed(body[: at + 1]) == []
    assert b"".join(target.feed(body[at + 1 :])) == FIRST


def test_memory_for_a_chunk_in_single_bytes_is_bounded() -> None:
    """A chunk that arrives byte by byte costs about its size, not an object per byte."""
    size = 200_000
    target = decoder("signed", size)
    target.feed(f"{size:x};chunk-signature={'0' * 64}\r\n".encode())
    tracemalloc.start()
    try:
        for _ in range(size - 1):
            target.feed(b"x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * size


def test_whole_buffers_are_not_copied() -> None:
    """A piece of payload is given on as a view of the network buffer that it came in."""
    target = decoder("unsigned", 20_000)
    target.feed(b"4e20\r\n")
    piece = b"x" * 10_000
    given = target.feed(piece)[0]
    assert isinstance(given, memoryview)
    assert given.obj is piece


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (b"\r\n", "MalformedTrailerError"),
        (b"x-amz-checksum-crc32c:NhCmhg==\r\n\r\n", "MalformedTrailerError"),
        (b"x-amz-checksum-crc32 NhCmhg==\r\n\r\n", "MalformedTrailerError"),
        (
            b"x-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
            "MalformedTrailerError",
        ),
        (b"x-amz-checksum-crc32:NhCmhg==\r\nx-amz-acl:a\r\n\r\n", "MalformedTrailerError"),
        (
            b"x-amz-checksum-crc32:NhCmhg==\r\nx-amz-trailer-signature:a\r\n\r\n",
            "MalformedTrailerError",
        ),
        (b"x-amz-checksum-crc32:" + b"a" * 2000 + b"\r\n\r\n", "IncompleteBody"),
        (b"x-amz-checksum-crc32:NhCmhg==\r\n", "IncompleteBody"),
    ],
)
def test_an_unsigned_trailer_is_what_was_announced(lines: bytes, code: str) -> None:
    """Missing, further, repeated, malformed and cut trailers are refused."""
    assert refusal("unsigned", b"4\r\nlast\r\n0\r\n" + lines, length=4).api_code == code


def test_trailer_names_are_of_either_case_and_values_stripped() -> None:
    """Names come out in lower case, values without outer blanks."""
    target = decoder("unsigned", 0)
    target.feed(b"0\r\nX-Amz-Checksum-CRC32:  NhCmhg== \r\n\r\n")
    assert target.finish() == CRC


def test_a_signed_trailer_must_be_signed_last_and_rightly() -> None:
    """No signature, a wrong one, and a trailer behind the signature are refused."""
    signer = Signer()
    chunks = signer.chunk(LAST) + signer.chunk(b"")
    line = b"x-amz-checksum-crc32:NhCmhg==\r\n"
    good = signer.trailer_signature(CRC) + b"\r\n"
    assert run("trailer", chunks + line + good + b"\r\n", length=4) == LAST
    bare = refusal("trailer", chunks + line + b"\r\n\r\n\r\n", length=4)
    assert bare.api_code == "IncompleteBody"
    wrong = line.replace(b"N", b"M") + good + b"\r\n"
    assert refusal("trailer", chunks + wrong, length=4).api_code == "SignatureDoesNotMatch"
    behind = refusal("trailer", chunks + good + line + b"\r\n", length=4)
    assert behind.api_code == "SignatureDoesNotMatch"
    late = refusal("trailer", chunks + line + good + line + b"\r\n", length=4)
    assert late.api_code == "MalformedTrailerError"


def test_several_trailers_are_signed_sorted() -> None:
    """The trailer signature covers the lines in the order of their names."""
    trailers = {"x-amz-checksum-sha1": "b", "x-amz-checksum-crc32": "a"}
    target = decoder("trailer", 0, names=tuple(trailers))
    target.feed(trailer_body(trailers=trailers))
    assert target.finish() == trailers


def test_a_decoder_that_refused_once_gives_nothing_more() -> None:
    """After an error both feed and finish raise, whatever comes."""
    target = decoder("unsigned", 4)
    with pytest.raises(ApiError):
        target.feed(b"x\r\n")
    with pytest.raises(ApiError):
        target.feed(b"4\r\nlast\r\n")
    with pytest.raises(ApiError):
        target.finish()


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"\r\n",
            b"4\r\nlast\r\n",
            b"0\r\n",
            b";chunk-signature=",
            b"x-amz-checksum-crc32:NhCmhg==\r\n",
            b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n",
            signed_body(LAST),
            trailer_body(LAST),
            unsigned_body(LAST),
            Signer().chunk(LAST),
        ]
    ),
)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(MAKERS)), st.lists(PIECES, max_size=8))
def test_any_bytes_are_decoded_or_refused(kind: str, pieces: list[bytes]) -> None:
    """Only ApiError ever escapes, and what comes out never exceeds the announced length."""
    target = decoder(kind, len(LAST))
    out: list[bytes] = []
    if is_taken(target, pieces, out):
        assert b"".join(out) == LAST
    assert len(b"".join(out)) <= len(LAST)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(MAKERS)),
    st.lists(st.integers(CHUNK_BYTES_MIN, 3 * CHUNK_BYTES_MIN), max_size=3),
    st.integers(0, 5000),
    st.lists(st.integers(1, 20_000), min_size=1, max_size=20),
)
def test_any_body_that_is_made_rightly_decodes(
    kind: str, sizes: list[int], tail: int, steps: list[int]
) -> None:
    """Chunks of any legal sizes in network pieces of any sizes give the payload."""
    chunks = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    chunks += [b"t" * tail] if tail else []
    body = MAKERS[kind](*chunks)
    target = decoder(kind, sum(map(len, chunks)))
    out: list[bytes] = []
    at = turn = 0
    while at < len(body):
        step = steps[turn % len(steps)]
        out += target.feed(body[at : at + step])
        at, turn = at + step, turn + 1
    assert b"".join(out) == b"".join(chunks)
    target.finish()
