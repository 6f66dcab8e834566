"""The admin API as a whole: one Request in, one Response out, on the same port as S3.

    body (bounded) -> current accounts and policies -> signature -> row -> gate -> handler -> JSON

Signatures are SigV4 in the Authorization header, for the service `rs3gwd`, so that nothing that was
signed for S3 is good here, and cover the body. Who is asked of is the cluster that the store's root
account runs: its root may do everything, its users and roles what their policies say, and other
accounts nothing (`Gate.require_admin`).

What it is not: S3. A path below `PREFIX` names no bucket, and is looked at here alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from rs3gwd.admin.errors import CONTENT_TYPE, error_response
from rs3gwd.admin.operations import ADMIN_OPERATIONS, PREFIX, AdminCall, Operation
from rs3gwd.base.cluster_admin import ClusterAdmin, NotACluster
from rs3gwd.base.errors import ApiError, Rs3gwError
from rs3gwd.base.http import Request, Response
from rs3gwd.base.ports import Clock, Directory
from rs3gwd.iam.canonical import canonical_query_pairs
from rs3gwd.iam.gate import Gate
from rs3gwd.iam.identities.permissions import PermissionCache
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.request_side import RequestSide
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4 import SigningKeyCache, verify_header

SERVICE: Final = "rs3gwd"
"""The service of the scope that requests are signed for."""

BODY_BYTES_MAX: Final = 16 << 10

_NOBODY = Principal(None)

Handler = Callable[[Request], Response | Awaitable[Response]]


class AdminPorts(Struct, frozen=True):
    """What the admin API works with. `begin` waits until accounts and policies are current, None
    where they always are; `cluster` is None on a node of none."""

    directory: Directory
    clock: Clock
    region: str
    permissions: PermissionCache
    signers: Signers
    cluster: ClusterAdmin | None = None
    begin: Callable[[], Awaitable[object]] | None = None
    uses: KeyUses | None = None


class AdminService:
    """Answers requests below `PREFIX`; one per event loop."""

    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports
        self._signing_keys = SigningKeyCache()

    def before(self, handle: Handler, is_other: Callable[[Request], bool]) -> Handler:
        """A handler that takes what is for this service and leaves the rest to `handle`;
        `is_other` says of a path that it is a key, because the host names a bucket."""

        def begin(request: Request) -> Response | Awaitable[Response]:
            if not request.raw_path.startswith(PREFIX) or is_other(request):
                return handle(request)
            return self.handle(request)

        return begin

    async def handle(self, request: Request) -> Response:
        """The response to a request; every Rs3gwError becomes an error document."""
        ports = self._ports
        name, principal = "Unknown", ""
        try:
            body = await _read_body(request)
            if ports.begin is not None:
                await ports.begin()
            who = await self._authenticate(request, body)
            principal = who.access_key_id
            if ports.uses is not None and who.account is not None:
                ports.uses.note(who, SERVICE, ports.clock.now_ms())
            row, places = find_operation(request.method, request.raw_path)
            name = row.name
            response = await self._carry_out(row, places, request, who, body)
        except Rs3gwError as error:
            ports.signers.note_refusal(error, request.peer, ports.clock.now_ms())
            response = error_response(error, request.request_id)
        response.operation = name
        response.principal = principal
        return response

    async def _authenticate(self, request: Request, body: bytes) -> Principal:
        """Who asks; nobody where there is no signature."""
        if "authorization" not in request.headers:
            return _NOBODY
        ports = self._ports
        verify = partial(
            verify_header,
            request,
            canonical_query_pairs(request.raw_query),
            signers=ports.signers,
            now_ms=ports.clock.now_ms(),
            region=ports.region,
            signing_keys=self._signing_keys,
            service=SERVICE,
            payload_hash=sha256(body).hexdigest(),
        )
        return (await ports.signers.when_opened(verify)).principal

    async def _carry_out(
        self, row: Operation, places: dict[str, str], request: Request, who: Principal, body: bytes
    ) -> Response:
        ports = self._ports
        side = RequestSide(request, {}, ports.clock.now_ms(), ports.region)
        gate = Gate(who, side, ports.permissions.of(who, ports.directory))
        decision = gate.require_admin(row.action, row.resource.format(**places))
        if ports.cluster is None:
            raise NotACluster("this node is of no cluster")
        result = await row.handler(AdminCall(decision, ports.cluster, places, body))
        return Response(200, [CONTENT_TYPE], msgspec.json.encode(result))


def find_operation(method: str, raw_path: str) -> tuple[Operation, dict[str, str]]:
    """The row of a request and what stands in its places.

    Raises ApiError NoSuchOperation, MethodNotAllowed.
    """
    parts = raw_path.removeprefix(PREFIX).split("/")
    allowed = []
    for row in ADMIN_OPERATIONS:
        places = _match(row.path.split("/"), parts)
        if places is None:
            continue
        if row.method == method:
            return row, places
        allowed.append(row.method)
    if allowed:
        raise ApiError("MethodNotAllowed", f"It takes {', '.join(allowed)}.")
    raise ApiError("NoSuchOperation", "There is nothing at this path.")


def _match(wanted: list[str], parts: list[str]) -> dict[str, str] | None:
    if len(wanted) != len(parts):
        return None
    places = {}
    for want, part in zip(wanted, parts, strict=True):
        if want.startswith("{"):
            places[want[1:-1]] = part
        elif want != part:
            return None
    return places


async def _read_body(request: Request) -> bytes:
    """The whole body. Raises ApiError RequestEntityTooLarge, RequestBodyError."""
    body = bytearray()
    while chunk := await request.body.receive():
        if len(body) + len(chunk) > BODY_BYTES_MAX:
            raise ApiError("RequestEntityTooLarge", f"A body has {BODY_BYTES_MAX} bytes at most.")
        body += chunk
    return bytes(body)
