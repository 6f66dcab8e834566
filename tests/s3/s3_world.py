"""The S3 surface on the reference store, with two accounts and requests signed by botocore.

No network and no disk: a request goes straight into `S3Service`. Signatures come from botocore,
so that a mistake of our own signing would not be repeated here.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import msgspec
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rs3gwd.base.encryption import ObjectKeys
from rs3gwd.base.http import Request, Response, StreamedBody
from rs3gwd.base.new_buckets import NewBuckets
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.base.web_documents import WebDocuments
from rs3gwd.iam.brake import Brake
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.s3.call import Services
from rs3gwd.s3.service import S3Service
from rs3gwd.testing.bytes_body import BytesBody
from rs3gwd.testing.clock import ManualClock
from rs3gwd.testing.memory_secrets import MemorySecrets
from rs3gwd.testing.memory_store import MemoryStore
from rs3gwd.testing.random import SeededRandom
from rs3gwd.testing.threads import InlineThreads

if TYPE_CHECKING:
    from three_nodes import ThreeNodes

HOST = "127.0.0.1:9000"
ALICE = AccountRecord(
    canonical_id="a" * 64, display_name="alice", email="alice@example.org", created_ms=0
)
BOB = AccountRecord(
    canonical_id="b" * 64, display_name="bob & co", email="bob@example.org", created_ms=0
)
SECRET = "a secret of forty characters for the test"


class Answer(msgspec.Struct, frozen=True):
    """A response with its body read to the end; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    response: Response

    @property
    def code(self) -> str:
        """The error code, from the document where there is one."""
        if not self.body or self.status < 300:
            return self.response.error_code
        return self.text("Code")

    @property
    def xml(self) -> ElementTree.Element:
        """The document without its namespace."""
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def text(self, path: str) -> str:
        """The text of the first element at `path`; empty where there is none."""
        return self.xml.findtext(path) or ""

    def texts(self, path: str) -> list[str]:
        """The texts of all elements at `path`."""
        return [element.text or "" for element in self.xml.findall(path)]


class S3World:
    """A store with alice and bob; calls are signed as alice unless they say otherwise."""

    def __init__(
        self,
        *,
        region: str = "us-east-1",
        domains: tuple[str, ...] = (),
        website_domains: tuple[str, ...] = (),
        presigned_v2_methods: frozenset[str] = frozenset({"GET", "HEAD"}),
        new_buckets: NewBuckets = NewBuckets.AWS_2023,
        keys: ObjectKeys | None = None,
        takes_customer_keys_in_clear: bool = False,
        web_documents: WebDocuments | None = None,
        brake: Brake | None = None,
        uses: KeyUses | None = None,
    ) -> None:
        self.region = region
        self.nodes = self.open_nodes()
        self.store: Any = self.nodes.store if self.nodes else MemoryStore()
        self.secrets = MemorySecrets()
        # botocore signs with the time of day.
        self.clock = ManualClock(int(time.time()) * 1000)
        for account in (ALICE, BOB):
            self.store.directory.add_account(account)
            self.store.directory.add_access_key(
                AccessKeyRecord(
                    access_key_id=self.key_id(account),
                    secret=SECRET,
                    canonical_id=account.canonical_id,
                    created_ms=0,
                )
            )
        services = Services(
            store=self.store,
            directory=self.store.directory,
            clock=self.clock,
            random=SeededRandom(1),
            threads=InlineThreads(),
            region=region,
            virtual_host_domains=domains,
            website_domains=website_domains,
            presigned_v2_methods=presigned_v2_methods,
            new_buckets=new_buckets,
            keys=keys,
            takes_customer_keys_in_clear=takes_customer_keys_in_clear,
            secrets=self.secrets,
            web_documents=web_documents,
            brake=brake or Brake(burst=1 << 40),
            uses=uses,
        )
        self.service: Any = self.nodes.serve(services) if self.nodes else S3Service(services)

    @staticmethod
    def open_nodes() -> ThreeNodes | None:
        """Three nodes to stand on; here none, but the reference store (see conftest.py)."""
        return None

    def snapshot(self) -> bytes:
        """All that the store holds, to be compared."""
        if self.nodes is not None:
            return self.nodes.snapshot()
        state = self.store.state
        return msgspec.msgpack.encode([state.buckets, state.blobs, state.last_seq, state.last_id])

    @staticmethod
    def key_id(account: AccountRecord) -> str:
        """The account's access key id."""
        return f"AKIATEST{account.canonical_id[:12].upper()}"

    async def call(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        by: AccountRecord | None = ALICE,
        host: str = HOST,
    ) -> Answer:
        """Signs (not for `by` None) and sends."""
        request = self.request(method, target, body=body, headers=headers, by=by, host=host)
        return await self.send(request)

    async def send(self, request: Request) -> Answer:
        """What the service answers, its body read whole."""
        response = await self.service.handle(request)
        body = b""
        if isinstance(response.body, StreamedBody):
            async with response.body.source as reader:
                while piece := await reader.read():
                    body += piece
        else:
            body = response.body
        headers = {name.lower(): value for name, value in response.headers}
        return Answer(response.status, headers, body, response)

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        by: AccountRecord | None = ALICE,
        host: str = HOST,
    ) -> Request:
        """A request as the front makes it, signed in its header."""
        signed = {"host": host, **(headers or {})}
        if by is not None:
            signed = self._sign(method, target, signed, body, by)
        if body or method in ("PUT", "POST"):
            signed.setdefault("content-length", str(len(body)))
        return make_request(method, target, signed, body)

    def presigned(self, method: str, target: str, *, expires_s: int = 600) -> Request:
        """A request signed in its query, as alice."""
        aws_request = AWSRequest(method=method, url=f"http://{HOST}{target}", headers={})
        S3SigV4QueryAuth(self._credentials(ALICE), "s3", self.region, expires=expires_s).add_auth(
            aws_request
        )
        return make_request(
            method, aws_request.url.removeprefix(f"http://{HOST}"), {"host": HOST}, b""
        )

    def _sign(
        self, method: str, target: str, headers: dict[str, str], body: bytes, by: AccountRecord
    ) -> dict[str, str]:
        path, _, query = target.partition("?")
        aws_request = AWSRequest(
            method=method,
            url=f"http://{headers['host']}{path}",
            headers=headers,
            data=body,
            # As pairs, so that botocore spells the query canonically, however the target does.
            params=parse_qsl(query, keep_blank_values=True),
        )
        S3SigV4Auth(self._credentials(by), "s3", self.region).add_auth(aws_request)
        return {name.lower(): value for name, value in aws_request.headers.items()}

    def _credentials(self, account: AccountRecord) -> Credentials:
        return Credentials(self.key_id(account), SECRET)


def make_request(method: str, target: str, headers: dict[str, str], body: bytes) -> Request:
    """A Request with exactly these headers, whose names are lower case."""
    path, _, query = target.partition("?")
    return Request(
        method=method,
        raw_path=path,
        raw_query=query,
        headers=headers,
        repeated_headers=frozenset(),
        host=headers["host"],
        content_length=len(body),
        body=BytesBody(body),
        peer="127.0.0.1",
        secure=False,
        request_id="0123456789ABCDEF",
    )


def iso_of(time_ms: int) -> str:
    """The time as S3's XML has it."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
