"""The payload pump: from the network to a stage, with every promise about the bytes checked.

    request.body -> aws-chunked decoder, if any -> digests -> Stage.write

The everyday picture is a goods-in desk: the delivery note (`BodyPlan`) is read and found sound
before the lorry is let in, the goods are weighed as they pass, and at the end the sums must be
those of the note, or everything goes back: the stage is left without a submit and nothing is
stored. Checked are the length (Content-Length, x-amz-decoded-content-length, 5 GiB), the signed
SHA-256, Content-MD5, and the one checksum in a header or trailer.

Bodies of at most INLINE_BYTES_MAX are hashed on the event loop, since a thread hop costs more;
larger ones take the belt in `pump`. Memory per request: that belt, and in front of a decoder what
the body stream gives out at a time. A document, which is held whole, and a signed chunk, which is
held until it is verified, take what is beyond the usual from a common pool (`rs3gwd.base.memory`).

Sources: PutObject and UploadPart in the Amazon S3 API Reference; "Checking object integrity in
Amazon S3"; "Error responses" for the codes.
"""

import base64
import binascii
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import RequestBodyTimeout
from rs3gwd.base.limits import PUT_BYTES_MAX
from rs3gwd.base.memory import Holding
from rs3gwd.base.ports import Buffer, DirectBody, Stage
from rs3gwd.base.records import Checksum, ChecksumAlgorithm
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import (
    CHECKSUM_HEADERS,
    DEFAULT_ALGORITHM,
    GivenChecksum,
    check_value,
    given_checksum,
    mismatch,
)
from rs3gwd.s3.hashing import BodyDigests
from rs3gwd.s3.pump import Fill, pump

INLINE_BYTES_MAX = 32 * 1024
"""Bytes hashed on the event loop: MD5 of 32 KiB takes 45 us, a hop to a thread about 80 us."""

CHUNKS_MAX = 512
"""Chunks held before they are joined: a client may send two bytes at a time, and a bytes object of
two costs 35."""

DOCUMENT_SECONDS_MAX = 120.0
"""How long a document may take to come: the longest one, 4 MiB, at 35 kB/s. What is held whole must
not be held for ever by a client that is just not slow enough to be cut off."""


class BodyPlan(Struct, frozen=True):
    """What a body must be, known before its first byte is read.

    `size_bytes` is None when the length is not declared. `md5` is 16 bytes, `sha256` 64 hex digits;
    `stored` is the checksum to keep with the bytes. `with_md5` says that their MD5 is wanted
    whether it was promised or not.
    """

    size_bytes: int | None
    limit_bytes: int
    md5: bytes | None
    sha256: str | None
    given: GivenChecksum | None
    stored: ChecksumAlgorithm
    with_md5: bool = True


class ReceivedBody(Struct, frozen=True):
    """A body that came whole and as promised.

    `checksum` is the one to keep, `given` the one that its sender gave and that was found right.
    `md5_hex` is empty where the plan did not want it.
    """

    size_bytes: int
    md5_hex: str
    checksum: Checksum
    given: Checksum | None = None


def plan_body(
    call: Call,
    *,
    limit_bytes: int = PUT_BYTES_MAX,
    stored_algorithm: ChecksumAlgorithm | None = None,
    with_md5: bool = True,
) -> BodyPlan:
    """Reads what the head of a request says of an object's body.

    The checksum kept is `stored_algorithm`, else the caller's own, else CRC64NVME. Raises
    ApiError: MissingContentLength, EntityTooLarge, InvalidDigest, InvalidRequest, NotImplemented.
    Nothing of the body is read, so a client that waits for 100-continue is refused for free.
    """
    size = _declared_size(call)
    if size is not None and size > limit_bytes:
        raise _too_large(size, limit_bytes)
    given = given_checksum(call.request.headers, call.payload.trailer_names)
    stored = stored_algorithm or (given.algorithm if given else DEFAULT_ALGORITHM)
    return BodyPlan(
        size_bytes=size,
        limit_bytes=limit_bytes,
        md5=content_md5(call.request.headers.get("content-md5")),
        sha256=call.payload.expected_sha256,
        given=given,
        stored=stored,
        with_md5=with_md5,
    )


def content_md5(value: str | None) -> bytes | None:
    """The 16 bytes of a Content-MD5 header. Raises ApiError InvalidDigest."""
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid_digest(value) from error
    if len(digest) != 16:
        raise _invalid_digest(value)
    return digest


async def receive_body(call: Call, plan: BodyPlan, stage: Stage) -> ReceivedBody:
    """Pumps the body of `call` into `stage` and proves it; the caller then finishes the stage.

    Raises ApiError: IncompleteBody, EntityTooLarge, BadDigest, XAmzContentSHA256Mismatch,
    InvalidRequest, and what the decoder, the body stream and the stage raise. After an error the
    caller leaves the stage without a submit, and nothing is stored.
    """
    algorithms = {plan.stored}
    if plan.given:
        algorithms.add(plan.given.algorithm)
    is_small = plan.size_bytes is not None and plan.size_bytes <= INLINE_BYTES_MAX
    digests = BodyDigests(
        algorithms,
        with_md5=plan.with_md5 or plan.md5 is not None,
        with_sha256=plan.sha256 is not None,
        large=not is_small,
    )
    intake = _Intake(call, plan)
    try:
        if is_small:
            data = await intake.receive_all()
            digests.update(data)
            _verify(plan, digests, intake.trailers)
            if data:
                await stage.write(data)
        else:
            threads = call.services.threads
            await pump(intake.filler(), digests, stage, threads, size_bytes=plan.size_bytes)
            _verify(plan, digests, intake.trailers)
    finally:
        intake.release()
    given = plan.given.algorithm if plan.given else None
    return ReceivedBody(
        size_bytes=intake.received_bytes,
        md5_hex=digests.md5.hex() if plan.with_md5 else "",
        checksum=Checksum(algorithm=plan.stored, value=digests.checksum(plan.stored)),
        given=Checksum(algorithm=given, value=digests.checksum(given)) if given else None,
    )


async def read_body(call: Call, limit_bytes: int, *, with_checksum: bool = True) -> bytes:
    """The whole of a small body, proved, for requests whose body is a document.

    `with_checksum` False leaves x-amz-checksum-* headers alone: in CompleteMultipartUpload they
    speak of the object (a trailer never does). Raises ApiError as `plan_body` and `receive_body`
    do; EntityTooLarge beyond `limit_bytes`. A request without a body gives b"".
    """
    headers = call.request.headers
    given = given_checksum(headers if with_checksum else {}, call.payload.trailer_names)
    size = call.payload.decoded_length if call.payload.decoder else call.request.content_length
    if size is not None and size > limit_bytes:
        raise _too_large(size, limit_bytes)
    plan = BodyPlan(
        size_bytes=size,
        limit_bytes=limit_bytes,
        md5=content_md5(headers.get("content-md5")),
        sha256=call.payload.expected_sha256,
        given=given,
        stored=given.algorithm if given else DEFAULT_ALGORITHM,
    )
    data, trailers = await _receive_document(call, plan)
    digests = BodyDigests(
        [given.algorithm] if given else [],
        with_md5=plan.md5 is not None,
        with_sha256=plan.sha256 is not None,
    )
    if len(data) <= INLINE_BYTES_MAX:
        digests.update(data)
    else:
        await call.services.threads.run(partial(digests.update, data))
    _verify(plan, digests, trailers)
    return data


async def _receive_document(call: Call, plan: BodyPlan) -> tuple[bytes, dict[str, str]]:
    """The bytes of a document and its trailers. Raises RequestBodyTimeout, Overloaded."""
    intake = _Intake(call, plan, keeps_all=True)
    try:
        with trio.move_on_after(DOCUMENT_SECONDS_MAX):
            return await intake.receive_all(), intake.trailers
    finally:
        intake.release()
    raise RequestBodyTimeout("the client sends its document too slowly")


async def gather(receive: Callable[[], Awaitable[Buffer]], bytes_min: int) -> bytes:
    """Joins what `receive` gives until there are `bytes_min` bytes or it gives none."""
    first = await receive()
    size = len(first)
    if size >= bytes_min or not first:
        return bytes(first)
    chunks = [first]
    try:
        while size < bytes_min and (chunk := await receive()):
            chunks.append(chunk)
            size += len(chunk)
            if len(chunks) >= CHUNKS_MAX:
                chunks = [b"".join(chunks)]
    except BaseException:
        # The trace of an error can outlive it by much (see `together`): it must not hold bytes.
        chunks.clear()
        first = b""
        raise
    return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)


class _Intake:
    """Payload bytes as they come, counted and without their aws-chunked framing."""

    __slots__ = (
        "_body",
        "_decoder",
        "_ended",
        "_holding",
        "_keeps_all",
        "_limit_bytes",
        "_pending",
        "_size_bytes",
        "received_bytes",
        "trailers",
    )

    def __init__(self, call: Call, plan: BodyPlan, *, keeps_all: bool = False) -> None:
        """`keeps_all`: what was received stays in memory to the end."""
        self._body = call.request.body
        self._decoder = call.payload.decoder
        self._holding = Holding(call.services.memory)
        self._keeps_all = keeps_all
        self._size_bytes = plan.size_bytes
        self._limit_bytes = plan.limit_bytes
        self._pending: deque[Buffer] = deque()
        self._ended = plan.size_bytes == 0 and self._decoder is None
        self.received_bytes = 0
        self.trailers: dict[str, str] = {}

    async def receive(self) -> Buffer:
        """The next payload bytes, empty at the end, which is reached only when all are there."""
        while not self._pending and not self._ended:
            data = await self._body.receive()
            if not data:
                self._end()
            elif self._decoder is None:
                self._take(data)
                # A plain body of declared length ends with its last byte; asking again is a call
                # more for each small PUT.
                self._ended = self.received_bytes == self._size_bytes
            else:
                for chunk in self._decoder.feed(data):
                    self._take(chunk)
            if self._keeps_all or self._decoder is not None:
                self._hold()
        return self._pending.popleft() if self._pending else b""

    def filler(self) -> Fill:
        """How the belt is filled: by the body stream itself, where it can and no framing is in
        the way."""
        if self._decoder is None and isinstance(self._body, DirectBody):
            return partial(self._fill_directly, self._body)
        return self._fill_by_copy

    async def _fill_directly(self, body: DirectBody, target: memoryview) -> int:
        if self._ended:
            return 0
        count = await body.receive_into(target)
        if count:
            self._count(count)
            self._ended = self.received_bytes == self._size_bytes
        else:
            self._end()
        return count

    async def _fill_by_copy(self, target: memoryview) -> int:
        piece = await self.receive()
        filled = 0
        while piece:
            count = min(len(piece), len(target) - filled)
            view = memoryview(piece)
            target[filled : filled + count] = view[:count]
            filled += count
            if count < len(piece):
                self._pending.appendleft(view[count:])
                break
            piece = self._pending.popleft() if self._pending else b""
        return filled

    async def receive_all(self) -> bytes:
        """The whole body; only for plans whose limit or size is small."""
        return await gather(self.receive, self._limit_bytes + 1)

    def release(self) -> None:
        """Nothing of the body is held any more."""
        self._holding.release()

    def _hold(self) -> None:
        """Raises Overloaded when what is held is more than there is room for."""
        held_bytes = self._decoder.held_bytes if self._decoder is not None else 0
        self._holding.hold(held_bytes + self.received_bytes if self._keeps_all else held_bytes)

    def _take(self, chunk: Buffer) -> None:
        self._count(len(chunk))
        if chunk:
            self._pending.append(chunk)

    def _count(self, count: int) -> None:
        self.received_bytes += count
        if self._size_bytes is not None and self.received_bytes > self._size_bytes:
            raise _incomplete()
        if self.received_bytes > self._limit_bytes:
            raise _too_large(self.received_bytes, self._limit_bytes)

    def _end(self) -> None:
        self._ended = True
        if self._decoder is not None:
            self.trailers = self._decoder.finish()
        if self._size_bytes is not None and self.received_bytes != self._size_bytes:
            raise _incomplete()


def _verify(plan: BodyPlan, digests: BodyDigests, trailers: dict[str, str]) -> None:
    if plan.sha256 is not None and digests.sha256_hex != plan.sha256:
        raise ApiError(
            "XAmzContentSHA256Mismatch",
            fields={
                "ClientComputedContentSHA256": plan.sha256,
                "S3ComputedContentSHA256": digests.sha256_hex,
            },
        )
    if plan.md5 is not None and digests.md5 != plan.md5:
        raise ApiError(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
            fields={
                "ExpectedDigest": plan.md5.hex(),
                "CalculatedDigest": base64.b64encode(digests.md5).decode("ascii"),
            },
        )
    if plan.given is not None:
        expected = plan.given.value or _trailer_value(plan.given.algorithm, trailers)
        if digests.checksum(plan.given.algorithm) != expected:
            raise mismatch(plan.given.algorithm)


def _trailer_value(algorithm: ChecksumAlgorithm, trailers: dict[str, str]) -> str:
    name = CHECKSUM_HEADERS[algorithm]
    value = trailers.get(name)
    if value is None:
        raise ApiError(
            "MalformedTrailerError",
            "The request contained trailing data that was not well-formed or did not conform to "
            "our published schema.",
        )
    check_value(algorithm, value, f"{name} trailing header")
    return value


def _declared_size(call: Call) -> int | None:
    if call.payload.decoder is not None:
        if call.payload.decoded_length is None:
            raise ApiError("MissingContentLength")
        return call.payload.decoded_length
    headers = call.request.headers
    if call.request.content_length == 0 and "content-length" not in headers:
        raise ApiError("MissingContentLength")
    return call.request.content_length


def _too_large(size_bytes: int, limit_bytes: int) -> ApiError:
    return ApiError(
        "EntityTooLarge",
        fields={"ProposedSize": str(size_bytes), "MaxSizeAllowed": str(limit_bytes)},
    )


def _incomplete() -> ApiError:
    return ApiError("IncompleteBody")


def _invalid_digest(value: str) -> ApiError:
    return ApiError("InvalidDigest", fields={"Content-MD5": value})
