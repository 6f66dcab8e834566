"""The aws-chunked decoder: payload bytes out of a body that is sent in signed chunks.

Not HTTP's chunked transfer coding, which may be around it. A client that cannot hash a body before
sending it sends it in chunks, each with a signature over itself and the signature before it; the
request's own signature is the seed. So no chunk can be altered, left out, moved or taken from
another request. Trailing headers (checksums) may follow, signed as the last link of the chain.

    signed     10000;chunk-signature=<64 hex>\\r\\n <65536 bytes> \\r\\n
               0;chunk-signature=<64 hex>\\r\\n \\r\\n
    trailer    0;chunk-signature=<64 hex>\\r\\n
               x-amz-checksum-crc32c:sOO8/Q==\\r\\n
               x-amz-trailer-signature:<64 hex>\\r\\n \\r\\n
    unsigned   10000\\r\\n <65536 bytes> \\r\\n 0\\r\\n x-amz-checksum-crc32c:sOO8/Q==\\r\\n \\r\\n

Bytes of a signed chunk are given out only after its signature was verified, so a signed chunk is
held back whole: CHUNK_BYTES_MAX bounds it. Bytes of an unsigned chunk flow at once.

Written to take what clients send: minio-go ends trailer lines with a bare line feed and puts an
empty line before the trailer signature and one more behind an unsigned trailer; AWS's own example
ends without the last empty line. Refused: any other byte at the end, as AWS does any chunk but the
last below 8 KiB (it bounds the hashing per byte of payload), a sum of sizes that is not
x-amz-decoded-content-length.

Sources: "Transferring Payload in Multiple Chunks (Chunked Upload)" and "Signature calculations for
trailing headers" in the Amazon S3 API Reference. Invariants: at most CHUNK_BYTES_MAX and one line
are held; the bytes given out never exceed the announced length; after an error the decoder gives
nothing more.
"""

import hmac
from collections.abc import Sequence
from enum import Enum
from hashlib import sha256

from rs3gwd.base.errors import ApiError
from rs3gwd.base.ports import Buffer
from rs3gwd.iam.refusal import signature_does_not_match
from rs3gwd.iam.sigv4 import SignedRequest

CHUNK_BYTES_MAX = 16 * 1024 * 1024
"""Bytes in a signed chunk, held back until verified. Clients use 64 KiB to 1 MiB."""

CHUNK_BYTES_MIN = 8192
"""Bytes in any chunk but the last, AWS's rule for signed and unsigned chunks."""

LINE_BYTES_MAX = 1024
"""Bytes in a chunk header or trailer line; the longest known is a SHA-512 checksum's, about 120."""

TRAILERS_MAX = 8
"""Trailing headers; S3 takes one checksum and the trailer signature."""

_EMPTY_SHA256 = sha256(b"").hexdigest()
_SIGNATURE_PREFIX = b";chunk-signature="
_TRAILER_SIGNATURE = "x-amz-trailer-signature"
_PIECE_BYTES_MIN = 1024
_SIZE_DIGITS_MAX = 16
_EMPTY_LINES_MAX = 2
_HEX_DIGITS = b"0123456789abcdefABCDEF"


class _State(Enum):
    HEADER = 1
    DATA = 2
    DATA_END = 3
    LAST_LINE = 4
    TRAILER = 5
    DONE = 6
    FAILED = 7


class _SignatureChain:
    """The signatures of one body, each over the one before it."""

    def __init__(self, seed: SignedRequest) -> None:
        self._key = seed.signing_key
        self._access_key_id = seed.principal.access_key_id
        self._where = f"{seed.timestamp}\n{seed.scope}\n"
        self._previous = seed.signature

    def verify_chunk(self, sha256_hex: str, signature: bytes) -> None:
        """Raises ApiError SignatureDoesNotMatch, else moves one link on."""
        self._verify("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY_SHA256}\n{sha256_hex}", signature)

    def verify_trailer(self, canonical_trailer: bytes, signature: bytes) -> None:
        """As `verify_chunk`, for the lines `name:value\\n` of the trailer."""
        digest = sha256(canonical_trailer).hexdigest()
        self._verify("AWS4-HMAC-SHA256-TRAILER", digest, signature)

    def _verify(self, algorithm: str, rest: str, signature: bytes) -> None:
        text = f"{algorithm}\n{self._where}{self._previous}\n{rest}".encode("latin-1")
        expected = self._key.sign(text)
        if not hmac.compare_digest(expected.encode(), signature):
            raise signature_does_not_match(
                access_key_id=self._access_key_id,
                signature_provided=signature.decode("latin-1"),
                string_to_sign=text,
            )
        self._previous = expected


class AwsChunkedDecoder:
    """Decodes one aws-chunked body; implements `rs3gwd.iam.payload.ChunkDecoder`."""

    def __init__(
        self,
        *,
        decoded_length: int,
        seed: SignedRequest | None,
        trailer_names: Sequence[str] | None,
    ) -> None:
        """A decoder at the beginning of a body.

        `decoded_length` is x-amz-decoded-content-length in bytes. `seed` is the verified request
        whose chunks are signed, None for unsigned ones. `trailer_names` are the lower-case names
        announced in x-amz-trailer, None for a body without trailer.
        """
        self._chain = _SignatureChain(seed) if seed else None
        self._trailer_names = None if trailer_names is None else frozenset(trailer_names)
        self._decoded_length = decoded_length
        self._state = _State.HEADER
        self._line = bytearray()
        self._announced = 0
        self._chunk_count = 0
        self._chunk_bytes = 0
        self._chunk_left = 0
        self._chunk_signature = b""
        self._hash = sha256()
        self._held: list[Buffer] = []
        self._held_small = bytearray()
        self._trailers: dict[str, str] = {}
        self._trailer_signature: bytes | None = None
        self._empty_lines = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of a signed chunk that are held back until its signature is verified."""
        if self._chain is None or self._state not in (_State.DATA, _State.DATA_END):
            return 0
        return self._chunk_bytes - self._chunk_left

    def feed(self, data: Buffer) -> list[Buffer]:
        """The payload bytes that `data` completed and, where signed, proved; may be empty.

        They are slices of what was fed: nothing is copied.
        Raises ApiError: IncompleteBody (framing, wrong length, bytes behind the end),
        InvalidChunkSizeError, SignatureDoesNotMatch, MalformedTrailerError. After an error every
        further call raises IncompleteBody.
        """
        if self._state is _State.FAILED:
            raise _malformed("an earlier part of it was refused")
        try:
            return self._consume(data if isinstance(data, bytes) else bytes(data))
        except ApiError:
            self._state = _State.FAILED
            self._held.clear()
            self._held_small.clear()
            raise

    def finish(self) -> dict[str, str]:
        """The body is at its end: the trailers by lower-case name, without the signature.

        Raises ApiError: IncompleteBody when the body was cut short, MalformedTrailerError.
        """
        if self._state is _State.TRAILER and self._trailer_signature is not None:
            # The proof is complete; AWS's own example lacks the empty line behind it.
            self._end_trailer()
        if self._state is not _State.DONE or self._line:
            self._state = _State.FAILED
            raise _malformed("it ends inside a chunk or line")
        return self._trailers

    def _consume(self, data: bytes) -> list[Buffer]:
        out: list[Buffer] = []
        view = memoryview(data)
        position, end = 0, len(data)
        while position < end:
            if self._state is _State.DATA:
                stop = min(end, position + self._chunk_left)
                self._take(view[position:stop], out)
                position = stop
                continue
            newline = data.find(b"\n", position)
            stop = end if newline < 0 else newline + 1
            if len(self._line) + stop - position > LINE_BYTES_MAX:
                raise _malformed("a line in it is too long")
            self._line += data[position:stop]
            position = stop
            if newline >= 0:
                line = bytes(self._line)
                self._line.clear()
                self._on_line(line)
                self._release(out)
        return out

    def _take(self, piece: memoryview, out: list[Buffer]) -> None:
        """Bytes of the current chunk; small ones are joined, so that few objects are held."""
        self._chunk_left -= len(piece)
        if not self._chunk_left:
            self._state = _State.DATA_END
        if self._chain is None:
            out.append(piece)
            return
        self._hash.update(piece)
        if len(piece) < _PIECE_BYTES_MIN:
            self._held_small += piece
            return
        if self._held_small:
            self._held.append(bytes(self._held_small))
            self._held_small.clear()
        self._held.append(piece)

    def _release(self, out: list[Buffer]) -> None:
        """Gives out the chunk that was just verified, if one was."""
        if self._state is _State.HEADER:
            out.extend(self._held)
            self._held.clear()
            if self._held_small:
                out.append(bytes(self._held_small))
                self._held_small.clear()

    def _on_line(self, line: bytes) -> None:
        if self._state is _State.HEADER:
            self._on_header(line)
        elif self._state is _State.DATA_END:
            if line != b"\r\n":
                raise _malformed("a chunk is longer than its header says")
            if self._chain is not None:
                self._chain.verify_chunk(self._hash.hexdigest(), self._chunk_signature)
                self._hash = sha256()
            self._state = _State.HEADER
        elif self._state is _State.LAST_LINE:
            if line != b"\r\n":
                raise _malformed("there are bytes behind the last chunk")
            self._state = _State.DONE
        elif self._state is _State.TRAILER:
            self._on_trailer_line(line)
        else:
            self._on_empty_line(line)

    def _on_header(self, line: bytes) -> None:
        """`size` and, where signed, `;chunk-signature=`; sizes are hex digits and nothing else."""
        if not line.endswith(b"\r\n"):
            raise _malformed("a chunk header does not end with CR LF")
        digits, separator, signature = line[:-2].partition(_SIGNATURE_PREFIX)
        if bool(separator) != (self._chain is not None):
            raise _malformed("a chunk signature is missing or not expected")
        if not digits or len(digits) > _SIZE_DIGITS_MAX or digits.translate(None, _HEX_DIGITS):
            raise _malformed("a chunk size is not a hexadecimal number")
        size = int(digits, 16)
        self._chunk_signature = signature
        if size == 0:
            self._on_last_chunk()
            return
        if self._chunk_count and self._chunk_bytes < CHUNK_BYTES_MIN:
            raise _chunk_too_small(self._chunk_count, self._chunk_bytes)
        if self._chain is not None and size > CHUNK_BYTES_MAX:
            raise ApiError(
                "InvalidChunkSizeError",
                f"A signed chunk may have at most {CHUNK_BYTES_MAX} bytes",
                fields={"Chunk": str(self._chunk_count + 1), "BadChunkSize": str(size)},
            )
        self._announced += size
        if self._announced > self._decoded_length:
            raise _wrong_length(self._decoded_length, self._announced)
        self._chunk_count += 1
        self._chunk_bytes = self._chunk_left = size
        self._state = _State.DATA

    def _on_last_chunk(self) -> None:
        if self._chain is not None:
            self._chain.verify_chunk(_EMPTY_SHA256, self._chunk_signature)
        if self._announced != self._decoded_length:
            raise _wrong_length(self._decoded_length, self._announced)
        self._state = _State.LAST_LINE if self._trailer_names is None else _State.TRAILER

    def _on_trailer_line(self, line: bytes) -> None:
        text = line.rstrip(b"\r\n")
        if not text:
            if self._chain is not None and self._trailer_signature is None and self._trailers:
                self._on_empty_line(line)
                return
            self._end_trailer()
            return
        if self._trailer_signature is not None:
            raise _malformed_trailer("The trailer signature must come last.")
        raw_name, colon, raw_value = text.partition(b":")
        name = raw_name.decode("latin-1").lower()
        value = raw_value.strip(b" \t").decode("latin-1")
        if not colon or name in self._trailers or len(self._trailers) >= TRAILERS_MAX:
            raise _malformed_trailer()
        if name == _TRAILER_SIGNATURE and self._chain is not None:
            self._trailer_signature = value.encode("latin-1")
            self._verify_trailer(self._chain, self._trailer_signature)
        elif self._trailer_names is not None and name in self._trailer_names:
            self._trailers[name] = value
        else:
            raise _malformed_trailer("A trailing header was not announced in x-amz-trailer.")

    def _verify_trailer(self, chain: _SignatureChain, signature: bytes) -> None:
        lines = [f"{name}:{value}\n" for name, value in sorted(self._trailers.items())]
        chain.verify_trailer("".join(lines).encode("latin-1"), signature)

    def _end_trailer(self) -> None:
        if self._trailer_names != self._trailers.keys():
            raise _malformed_trailer("A header announced in x-amz-trailer did not come.")
        if self._chain is not None and self._trailer_signature is None:
            raise _malformed_trailer("The trailer signature is missing.")
        self._state = _State.DONE

    def _on_empty_line(self, line: bytes) -> None:
        """An empty line that need not be there: minio-go sends one before or behind the end."""
        self._empty_lines += 1
        if line != b"\r\n" or self._empty_lines > _EMPTY_LINES_MAX:
            raise _malformed("there are bytes behind its end")


def _malformed(detail: str) -> ApiError:
    return ApiError("IncompleteBody", f"The aws-chunked request body is malformed: {detail}.")


def _wrong_length(expected: int, provided: int) -> ApiError:
    return ApiError(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the x-amz-decoded-content-length "
        "HTTP header",
        fields={"NumberBytesExpected": str(expected), "NumberBytesProvided": str(provided)},
    )


def _chunk_too_small(chunk: int, size: int) -> ApiError:
    return ApiError(
        "InvalidChunkSizeError",
        f"Only the last chunk is allowed to have a size less than {CHUNK_BYTES_MIN} bytes",
        fields={"Chunk": str(chunk), "BadChunkSize": str(size)},
    )


def _malformed_trailer(detail: str = "") -> ApiError:
    lead = (
        "The request contained trailing data that was not well-formed or did not conform to our "
        "published schema."
    )
    return ApiError("MalformedTrailerError", f"{lead} {detail}".rstrip())
