"""A sample of the malformed requests over a real socket: the front adds and loses nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from xml.etree import ElementTree

import pytest
import trio
from malformed_case import Case
from malformed_cases import MALFORMED
from s3_world import BOB, S3World

from rs3gwd.base.http import Request
from rs3gwd.engine.system import SystemClock
from rs3gwd.gateway.gateway import Gateway
from rs3gwd.gateway.listener import ListenAddress
from rs3gwd.testing.random import SeededRandom

Receive = Callable[[], Awaitable[dict[str, object]]]
Send = Callable[[dict[str, object]], Awaitable[None]]

HOST_ID = "a-node-of-the-tests"

ON_THE_WIRE = [
    case
    for case in MALFORMED
    # A path without a slash and a length that is not the body's are the HTTP parser's own cases.
    if case.target.startswith("/") and case.code != "IncompleteBody" and case.status != 411
][::5]


class NoObserver:
    """Takes what the front reports."""

    def __getattr__(self, name: str) -> object:
        return lambda *args, **options: None


async def no_pages(scope: dict[str, object], receive: Receive, send: Send) -> None:
    """Has a lifespan and no pages: none of the sample is for one."""
    assert scope["type"] == "lifespan", scope
    while True:
        event = str((await receive())["type"])
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


@asynccontextmanager
async def listening(world: S3World) -> AsyncIterator[tuple[str, int]]:
    """The S3 surface of `world` on a port, for as long as the context lasts."""
    gateway = Gateway(
        handler=world.service.handle,
        pages=no_pages,
        addresses=[ListenAddress(host="127.0.0.1", port=0)],
        observer=NoObserver(),
        clock=SystemClock(),
        random=SeededRandom(2),
        host_id=HOST_ID,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway.serve)
        yield gateway.addresses[0]
        nursery.cancel_scope.cancel()


def bytes_of(request: Request, body: bytes) -> bytes:
    """The request as it goes over the wire, with `Connection: close`."""
    target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
    fields = {**request.headers, "connection": "close"}
    if body:
        fields.setdefault("content-length", str(len(body)))
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return ("\r\n".join([*lines, "", ""])).encode("latin-1") + body


@pytest.mark.parametrize("case", ON_THE_WIRE, ids=lambda case: case.name)
async def test_a_malformed_request_gets_its_error_over_a_socket(case: Case) -> None:
    """Status, code and host id are those of the surface and of the front."""
    world = S3World()
    await world.call("PUT", "/bucket")
    await world.call("PUT", "/bobs-bucket", by=BOB)
    await world.call("PUT", "/bucket/key", body=b"hello")
    upload_id = (await world.call("POST", "/bucket/part-key?uploads")).text("UploadId")
    request = case.request(world, upload_id)
    async with listening(world) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        received = b""
        with trio.fail_after(10):
            await stream.send_all(bytes_of(request, case.body if case.sent is None else case.sent))
            async for piece in stream:
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(case.status).encode(), received
    assert f"x-amz-id-2: {HOST_ID}".encode() in head
    root = ElementTree.fromstring(body)
    assert (root.tag, root.findtext("Code")) == ("Error", case.code)
