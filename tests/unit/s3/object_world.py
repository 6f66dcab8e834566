"""One bucket on the reference model, and calls to the handlers of objects, without a network."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from xml.etree import ElementTree

import pytest

from rs3gwd.base.commands import CreateBucket, PutBucketVersioning
from rs3gwd.base.errors import ApiError, Rs3gwError
from rs3gwd.base.http import Request, Response, StreamedBody
from rs3gwd.base.ports import BodyStream, Threads
from rs3gwd.base.records import AccountRecord, Versioning
from rs3gwd.iam.bucket_access import read_access
from rs3gwd.iam.gate import Gate
from rs3gwd.iam.payload import PayloadKind, PayloadPlan
from rs3gwd.iam.principal import Decision, Principal
from rs3gwd.iam.request_side import RequestSide
from rs3gwd.s3.call import Call, Services
from rs3gwd.s3.operations import OPERATIONS
from rs3gwd.testing.bytes_body import BytesBody
from rs3gwd.testing.clock import ManualClock
from rs3gwd.testing.memory_store import MemoryStore
from rs3gwd.testing.random import SeededRandom
from rs3gwd.testing.threads import InlineThreads

OWNER = AccountRecord("a" * 64, "ann", "ann@example.com", 1, is_root=True)
STRANGER = AccountRecord("b" * 64, "bob", "bob@example.com", 1)
BUCKET = "bucket"
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"

Handler = Callable[[Call], Awaitable[Response]]

AT_ONCE = {row.handler: row.at_once for row in OPERATIONS if row.at_once is not None}


class World:
    """A store with the bucket `bucket` of OWNER; `run` calls one handler as OWNER."""

    def __init__(self, store: MemoryStore, threads: Threads) -> None:
        self.store = store
        self.clock = ManualClock()
        self.services = Services(
            store=store,
            directory=store.directory,
            clock=self.clock,
            random=SeededRandom(7),
            threads=threads,
            region="us-east-1",
        )
        store.directory.add_account(OWNER)
        store.directory.add_account(STRANGER)

    async def call(
        self,
        key: str = "key",
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        body: bytes | BodyStream | None = None,
        payload: PayloadPlan | None = None,
        bucket: str = BUCKET,
        account: AccountRecord | None = OWNER,
        method: str = "PUT",
    ) -> Call:
        """A call as the service makes it; Content-Length is added for a body of bytes."""
        all_headers = dict(headers or {})
        length: int | None = None
        if isinstance(body, bytes):
            all_headers.setdefault("content-length", str(len(body)))
            length = len(body)
        elif body is None:
            length = 0
        elif "content-length" in all_headers:
            length = int(all_headers["content-length"])
        stream: BodyStream = BytesBody.cut(body or b"", 1000) if not _is_stream(body) else body
        request = Request(
            method=method,
            raw_path=f"/{bucket}/{key}",
            raw_query="",
            headers=all_headers,
            repeated_headers=frozenset(),
            host="127.0.0.1:9000",
            content_length=length,
            body=stream,
            peer="127.0.0.1",
            secure=False,
            request_id="0123456789ABCDEF",
        )
        plan = payload or PayloadPlan(
            kind=PayloadKind.UNSIGNED, expected_sha256=None, decoder=None, decoded_length=length
        )
        record = await self.store.get_bucket(bucket)
        side = RequestSide(request, query or {}, self.clock.now_ms(), "us-east-1")
        return Call(
            request=request,
            operation="Test",
            bucket=bucket,
            key=key.encode(),
            query=query or {},
            payload=plan,
            decision=Decision(Principal(account), "s3:Test", "arn", "test"),
            gate=Gate(Principal(account), side),
            services=self.services,
            bucket_record=record,
            access=read_access(record, self.store.lookups.get_configuration),
        )

    async def run(self, handler: Handler, key: str = "key", **arguments: object) -> Response:
        """Calls a handler; see `call` for the arguments.

        Where the operation has a form that waits for nothing, it must answer the same or nothing.
        """
        call = await self.call(key, **arguments)  # type: ignore[arg-type]
        if handler not in AT_ONCE:
            return await handler(call)
        try:
            at_once = AT_ONCE[handler](call, self.store.lookups)
        except Rs3gwError as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                await handler(call)
            raise
        response = await handler(call)
        if at_once is not None:
            assert (at_once.status, at_once.headers) == (response.status, response.headers)
            assert at_once.length_override == response.length_override
            if not isinstance(response.body, StreamedBody):
                assert await body_of(at_once) == response.body
        return response

    async def make_bucket(self, name: str, owner: AccountRecord = OWNER) -> None:
        """Makes a further bucket."""
        await self.store.submit(
            CreateBucket(name=name, owner_id=owner.canonical_id, now_ms=1, region="us-east-1")
        )

    async def set_versioning(self, state: Versioning) -> None:
        """Enables or suspends versioning of the bucket."""
        await self.store.submit(PutBucketVersioning(name=BUCKET, versioning=state))

    async def keys(self) -> list[str]:
        """The keys there are."""
        page = await self.store.list_objects(BUCKET)
        return [entry.key.decode() for entry in page.entries]


def _is_stream(body: object) -> bool:
    return hasattr(body, "receive")


async def make_world(threads: Threads | None = None, store: MemoryStore | None = None) -> World:
    """A world with its bucket."""
    world = World(store or MemoryStore(), threads or InlineThreads())
    await world.make_bucket(BUCKET)
    return world


async def body_of(response: Response) -> bytes:
    """The whole body of a response, read as the front does."""
    if not isinstance(response.body, StreamedBody):
        return response.body
    pieces = []
    async with response.body.source as reader:
        while data := await reader.read():
            pieces.append(bytes(data))
    assert sum(map(len, pieces)) == response.body.length
    return b"".join(pieces)


def headers_of(response: Response) -> dict[str, str]:
    """Headers by lower-case name; none may be repeated."""
    found = {name.lower(): value for name, value in response.headers}
    assert len(found) == len(response.headers), response.headers
    return found


async def refusal(awaitable: Awaitable[object]) -> Rs3gwError:
    """The error that awaiting raises."""
    try:
        await awaitable
    except Rs3gwError as error:
        return error
    raise AssertionError("nothing was refused")


def code_of(error: Rs3gwError) -> str:
    """The S3 code of an error."""
    return error.api_code if isinstance(error, ApiError) else error.code


async def refused_code(awaitable: Awaitable[object]) -> str:
    """The code of the error that awaiting raises."""
    return code_of(await refusal(awaitable))


def xml_of(body: object) -> ElementTree.Element:
    """The root of an XML body."""
    assert isinstance(body, bytes)
    return ElementTree.fromstring(body)


def text_in(root: ElementTree.Element, path: str) -> str | None:
    """The text of an element by its path of local names."""
    found = root.find("/".join(NAMESPACE + name for name in path.split("/")))
    return None if found is None else found.text or ""


def md5_base64(data: bytes) -> str:
    """The value of Content-MD5."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def signed(data: bytes) -> PayloadPlan:
    """The plan of a body whose SHA-256 was signed."""
    return PayloadPlan(
        kind=PayloadKind.SIGNED,
        expected_sha256=hashlib.sha256(data).hexdigest(),
        decoder=None,
        decoded_length=len(data),
    )
