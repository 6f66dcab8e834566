"""The payload pump: what comes whole and as promised is kept, anything else leaves nothing."""

import base64
import hashlib
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from object_world import World, code_of, make_world, md5_base64, refusal, refused_code, signed

from rs3gwd.base.errors import ApiError, DiskFull, Overloaded
from rs3gwd.base.http import RequestBodyTimeout
from rs3gwd.base.limits import PUT_BYTES_MAX
from rs3gwd.base.memory import FREE_BYTES
from rs3gwd.base.ports import Buffer
from rs3gwd.base.records import ChecksumAlgorithm
from rs3gwd.engine.system import TrioThreads
from rs3gwd.iam.payload import PayloadKind, PayloadPlan
from rs3gwd.s3.body import (
    CHUNKS_MAX,
    INLINE_BYTES_MAX,
    gather,
    plan_body,
    read_body,
    receive_body,
)
from rs3gwd.s3.call import Call
from rs3gwd.s3.hashing import new_digest
from rs3gwd.s3.objects import put_object
from rs3gwd.s3.pump import LEAN_SLAB_BYTES, LEAN_SLABS, SLAB_BYTES, SLABS
from rs3gwd.testing.bytes_body import BytesBody

LARGE = INLINE_BYTES_MAX * 3 + 7
"""A body that takes the belt."""


class GatheringStage:
    """A stage that keeps what it gets and notes the largest piece."""

    is_lean = False

    def __init__(self) -> None:
        self.data = bytearray()
        self.largest = 0

    async def write(self, data: Buffer) -> None:
        """Yields before it copies, so that a buffer that is filled again too early shows."""
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        self.data += data
        self.largest = max(self.largest, len(data))

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """Keeps the caller's buffer for a while."""
        await self.write(data)
        done()

    async def end(self) -> None:
        """There is nothing to begin."""


class PassingDecoder:
    """Stands for an aws-chunked decoder: drops `|`, gives pieces of three bytes, then trailers."""

    held_bytes = 0

    def __init__(self, trailers: dict[str, str]) -> None:
        self.trailers = trailers

    def feed(self, data: Buffer) -> list[bytes]:
        """As the real one may: no piece, or several."""
        payload = bytes(data).replace(b"|", b"")
        return [payload[at : at + 3] for at in range(0, len(payload), 3)]

    def finish(self) -> dict[str, str]:
        """The verified trailers."""
        return self.trailers


def chunked(
    length: int | None,
    trailers: dict[str, str] | None = None,
    announced: tuple[str, ...] = (),
) -> PayloadPlan:
    """The plan of an aws-chunked body."""
    return PayloadPlan(
        kind=PayloadKind.STREAMING_UNSIGNED_TRAILER,
        expected_sha256=None,
        decoder=PassingDecoder(trailers or {}),
        decoded_length=length,
        trailer_names=announced,
    )


def crc32_base64(data: bytes) -> str:
    """The value of x-amz-checksum-crc32."""
    digest = new_digest(ChecksumAlgorithm.CRC32)
    digest.update(data)
    return base64.b64encode(digest.digest()).decode()


def pattern(length: int) -> bytes:
    """Bytes that differ from piece to piece, none of them the `|` of the decoder."""
    return hashlib.shake_128(length.to_bytes(8, "big")).digest(length).replace(b"|", b"-")


async def pump(call: Call) -> tuple[GatheringStage, object]:
    """What arrives in the stage, and what is said of it."""
    stage = GatheringStage()
    return stage, await receive_body(call, plan_body(call), stage)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, LARGE])
@pytest.mark.parametrize("framing", ["length", "chunked", "aws-chunked"])
async def test_every_byte_arrives_in_order_with_its_digests(size: int, framing: str) -> None:
    """Whatever the framing: with Content-Length, without, and inside aws-chunked."""
    world = await make_world()
    data = pattern(size)
    if framing == "length":
        call = await world.call(body=data)
    elif framing == "chunked":
        call = await world.call(body=BytesBody.cut(data, 999))
    else:
        framed = BytesBody.cut(data + b"|||", 999)
        call = await world.call(body=framed, payload=chunked(size))
    stage, received = await pump(call)
    assert bytes(stage.data) == data
    assert received.size_bytes == len(data)
    assert received.md5_hex == hashlib.md5(data).hexdigest()
    assert received.checksum.algorithm is ChecksumAlgorithm.CRC64NVME
    digest = new_digest(ChecksumAlgorithm.CRC64NVME)
    digest.update(data)
    assert received.checksum.value == base64.b64encode(digest.digest()).decode()


async def test_a_large_body_in_threads_arrives_in_order_on_a_bounded_belt() -> None:
    """Several times the belt's memory, with real threads: pieces are bounded, digests right."""
    world = await make_world(TrioThreads())
    data = pattern(SLAB_BYTES * SLABS * 3 + 12345)
    call = await world.call(
        body=BytesBody.cut(data, 300_001),
        headers={"content-length": str(len(data)), "content-md5": md5_base64(data)},
        payload=signed(data),
    )
    stage, received = await pump(call)
    assert bytes(stage.data) == data
    assert stage.largest <= SLAB_BYTES
    assert received.md5_hex == hashlib.md5(data).hexdigest()


async def test_bytes_that_come_in_twos_are_joined_before_they_pile_up() -> None:
    """A hostile client's chunks cost no more memory than their bytes."""
    sizes: list[int] = []

    async def receive() -> bytes:
        sizes.append(2)
        return b"ab" if len(sizes) <= CHUNKS_MAX * 5 else b""

    assert await gather(receive, SLAB_BYTES) == b"ab" * (CHUNKS_MAX * 5)


@given(cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=60))
@settings(max_examples=25)
async def test_no_cut_of_the_network_changes_what_arrives(cuts: list[int]) -> None:
    """Pieces of any size, around the size of the buffers too."""
    world = await make_world()
    data = pattern(sum(cuts) + INLINE_BYTES_MAX + 1)
    pieces, at = [], 0
    for cut in [*cuts, len(data)]:
        pieces.append(data[at : at + cut])
        at += cut
    call = await world.call(body=BytesBody(pieces), headers={"content-length": str(len(data))})
    stage, received = await pump(call)
    assert bytes(stage.data) == data
    assert received.md5_hex == hashlib.md5(data).hexdigest()


REFUSED_HEADS = [
    ({"content-md5": "AAAA"}, "InvalidDigest"),
    ({"content-md5": "not base64 at all"}, "InvalidDigest"),
    ({"content-md5": ""}, "InvalidDigest"),
    ({"x-amz-checksum-crc32": "x"}, "InvalidRequest"),
    ({"x-amz-sdk-checksum-algorithm": "CRC32"}, "InvalidRequest"),
    ({"x-amz-checksum-sha512": "x"}, "NotImplemented"),
]


@pytest.mark.parametrize(("headers", "code"), REFUSED_HEADS)
async def test_a_head_that_cannot_be_right_is_refused_before_a_byte_is_read(
    headers: dict[str, str], code: str
) -> None:
    """So a client that waits for 100-continue never sends its body."""
    world = await make_world()
    body = BytesBody(b"hello")
    call = await world.call(body=body, headers={"content-length": "5", **headers})
    assert await refused_code(put_object(call)) == code
    assert body.received == 0
    assert await world.keys() == []


async def test_lengths_are_checked_before_a_byte_is_read() -> None:
    """411 without a length, EntityTooLarge above 5 GiB."""
    world = await make_world()
    missing = await world.call(body=None)
    assert await refused_code(put_object(missing)) == "MissingContentLength"
    undecoded = await world.call(body=BytesBody(b"x"), payload=chunked(None))
    assert await refused_code(put_object(undecoded)) == "MissingContentLength"
    call = await world.call(body=BytesBody(b"x"), payload=chunked(PUT_BYTES_MAX + 1))
    error = await refusal(put_object(call))
    assert code_of(error) == "EntityTooLarge"
    assert isinstance(error, ApiError)
    assert error.fields["MaxSizeAllowed"] == str(PUT_BYTES_MAX)


@pytest.mark.parametrize("size", [5, LARGE])
async def test_a_body_that_breaks_its_promise_stores_nothing(size: int) -> None:
    """Each of the digests, shorter and longer than declared, small and large."""
    data = pattern(size)
    other = pattern(size + 1)[1:]
    crc32 = "x-amz-checksum-crc32"
    length = {"content-length": str(size)}
    cases: list[tuple[str, dict[str, object]]] = [
        ("BadDigest", {"body": data, "headers": {"content-md5": md5_base64(other)}}),
        ("BadDigest", {"body": data, "headers": {crc32: crc32_base64(other)}}),
        ("XAmzContentSHA256Mismatch", {"body": data, "payload": signed(other)}),
        ("IncompleteBody", {"body": BytesBody(data), "payload": chunked(size + 1)}),
        ("IncompleteBody", {"body": BytesBody(data), "payload": chunked(size - 1)}),
        (
            "BadDigest",
            {
                "body": BytesBody(data),
                "payload": chunked(size, {crc32: crc32_base64(other)}, (crc32,)),
            },
        ),
        (
            "InvalidRequest",
            {"body": BytesBody(data), "payload": chunked(size, {crc32: "x"}, (crc32,))},
        ),
        (
            "MalformedTrailerError",
            {"body": BytesBody(data), "payload": chunked(size, {}, (crc32,))},
        ),
        (
            "RequestTimeout",
            {
                "body": BytesBody([data[: size // 2]], error=RequestBodyTimeout()),
                "headers": length,
            },
        ),
    ]
    world = await make_world()
    for code, arguments in cases:
        call = await world.call(**arguments)  # type: ignore[arg-type]
        assert await refused_code(put_object(call)) == code, arguments
        assert await world.keys() == []
    assert not world.store.state.blobs, "the space was given back"


async def test_a_plain_body_that_ends_early_is_incomplete() -> None:
    """The body stream itself says so over HTTP/1.1; the pump does not rely on it."""
    world = await make_world()
    for size in (10, LARGE):
        body = BytesBody(b"x" * 9)
        call = await world.call(body=body, headers={"content-length": str(size)})
        assert await refused_code(put_object(call)) == "IncompleteBody"


async def test_a_right_trailer_is_taken_and_kept() -> None:
    """The checksum of an object uploaded with a trailer is the trailer's."""
    world = await make_world()
    name = "x-amz-checksum-crc32"
    value = crc32_base64(b"hello")
    call = await world.call(body=BytesBody(b"he|llo"), payload=chunked(5, {name: value}, (name,)))
    response = await put_object(call)
    assert (name, value) in response.headers
    version = await world.store.get_version("bucket", b"key", None)
    assert version.checksum is not None
    assert version.checksum.value == value


async def test_both_checksums_are_computed_when_the_stored_one_is_another() -> None:
    """A part of an upload with a default checksum may come with the sender's own."""
    world = await make_world()
    call = await world.call(body=b"hello", headers={"x-amz-checksum-crc32": crc32_base64(b"hello")})
    plan = plan_body(call, stored_algorithm=ChecksumAlgorithm.SHA1)
    received = await receive_body(call, plan, GatheringStage())  # type: ignore[arg-type]
    assert received.checksum.algorithm is ChecksumAlgorithm.SHA1
    assert received.given is not None
    assert received.given.value == crc32_base64(b"hello")


async def test_an_error_of_the_stage_is_raised_as_it_is() -> None:
    """Out of the belt's nursery too: a full disk must not become an ExceptionGroup."""

    class FullStage:
        is_lean = False

        async def write(self, data: Buffer) -> None:
            raise DiskFull("no room")

        async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
            raise DiskFull("no room")

    world = await make_world()
    for size in (5, LARGE):
        call = await world.call(body=pattern(size))
        with pytest.raises(DiskFull):
            await receive_body(call, plan_body(call), FullStage())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("is_lean", "bytes_max"),
    [
        (False, SLABS * SLAB_BYTES + 100_000),
        (True, LEAN_SLABS * LEAN_SLAB_BYTES + 100_000),
    ],
)
async def test_a_slow_stage_stops_the_network(is_lean: bool, bytes_max: int) -> None:
    """Memory per request is bounded: no more is received than the belt holds."""
    world = await make_world()
    received = 0

    class EndlessBody:
        async def receive(self) -> bytes:
            nonlocal received
            received += 100_000
            return bytes(100_000)

    class StuckStage:
        def __init__(self) -> None:
            self.is_lean = is_lean

        async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
            """Takes what it is given and is never done."""

    call = await world.call(body=EndlessBody())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_body, call, plan_body(call), StuckStage())
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert received <= bytes_max


async def test_a_document_is_held_within_the_common_pool() -> None:
    """What is beyond the usual is counted while it is held, refused when there is no room."""
    world = await make_world()
    large = 4 * FREE_BYTES
    call = await world.call(body=pattern(large))
    assert await read_body(call, large) == pattern(large)
    assert call.services.memory.bytes_held == 0
    room = call.services.memory.bytes_max - FREE_BYTES
    call.services.memory.take(room)
    for size in (FREE_BYTES, 2 * FREE_BYTES):
        small = await world.call(body=pattern(size))
        assert await read_body(small, size) == pattern(size)
    again = await world.call(body=pattern(large))
    with pytest.raises(Overloaded):
        await read_body(again, large)
    assert call.services.memory.bytes_held == room


async def test_a_document_that_never_ends_is_cut_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However steadily it drips: what is held whole has an end."""

    class DrippingBody:
        async def receive(self) -> bytes:
            await trio.sleep(1)
            return b"x" * 1024

    world = await make_world()
    call = await world.call(body=DrippingBody(), headers={"content-length": "1000000"})
    with pytest.raises(RequestBodyTimeout):
        await read_body(call, 1 << 20)
    assert call.services.memory.bytes_held == 0


async def test_a_cancelled_upload_stores_nothing() -> None:
    """The client went away half-way through a large body."""
    world = await make_world()

    class SilentBody:
        def __init__(self) -> None:
            self.given = False

        async def receive(self) -> bytes:
            if self.given:
                await trio.sleep_forever()
            self.given = True
            return b"x" * INLINE_BYTES_MAX

    call = await world.call(body=SilentBody(), headers={"content-length": str(LARGE)})
    with trio.move_on_after(0) as scope:
        await put_object(call)
    assert scope.cancelled_caught
    assert await world.keys() == []


async def read(world: World, limit: int = 100, **arguments: object) -> bytes:
    """`read_body` of a call."""
    return await read_body(await world.call(**arguments), limit)  # type: ignore[arg-type]


async def test_a_document_is_read_whole_and_proved() -> None:
    """For requests whose body is XML."""
    world = await make_world()
    assert await read(world) == b""
    assert await read(world, body=b"<x/>", headers={"content-md5": md5_base64(b"<x/>")}) == b"<x/>"
    assert await read(world, body=b"<x/>", payload=signed(b"<x/>")) == b"<x/>"
    assert await read(world, body=BytesBody.cut(b"x" * 100, 7)) == b"x" * 100
    assert await read(world, body=BytesBody(b"he|llo"), payload=chunked(5)) == b"hello"
    big = pattern(INLINE_BYTES_MAX + 1)
    assert await read(world, INLINE_BYTES_MAX * 2, body=big, payload=signed(big)) == big


async def test_a_document_that_is_not_as_promised_is_refused() -> None:
    """Too large (declared or not), altered, or with a wrong digest."""
    world = await make_world()
    over = b"x" * 101
    cases: list[tuple[str, dict[str, object]]] = [
        ("EntityTooLarge", {"body": over}),
        ("EntityTooLarge", {"body": BytesBody.cut(over, 7)}),
        ("BadDigest", {"body": b"a", "headers": {"content-md5": md5_base64(b"b")}}),
        ("BadDigest", {"body": b"a", "headers": {"x-amz-checksum-crc32": crc32_base64(b"b")}}),
        ("XAmzContentSHA256Mismatch", {"body": b"a", "payload": signed(b"b")}),
        ("IncompleteBody", {"body": BytesBody(b"a"), "payload": chunked(2)}),
    ]
    for code, arguments in cases:
        assert await refused_code(read(world, **arguments)) == code


async def test_checksums_of_an_object_are_not_held_against_a_document() -> None:
    """CompleteMultipartUpload: the header speaks of the object."""
    world = await make_world()
    headers = {"x-amz-checksum-crc32": crc32_base64(b"the object")}
    call = await world.call(body=b"<x/>", headers=headers)
    assert await read_body(call, 100, with_checksum=False) == b"<x/>"
    call = await world.call(body=b"<x/>", headers=headers)
    assert await refused_code(read_body(call, 100)) == "BadDigest"
