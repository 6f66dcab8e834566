"""The query API as a whole: one Request in, one Response out, on the same port as S3.

    body (bounded) -> signature over it -> action -> may they -> handler -> XML

A request is for it when its signature says so: the scope ends in `/iam/aws4_request` or
`/sts/aws4_request`. Since a signature here covers the body and no header says what it is, the body
is read first, up to a bound; nothing else is done with it before the signature is proved.

The region of the scope is the endpoint's, or us-east-1, which clients of these services take where
they think of them as global.
"""

from functools import partial
from hashlib import sha256

from msgspec import Struct

from rs3gwd.base.errors import ApiError, Rs3gwError
from rs3gwd.base.http import Request, Response
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Random
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.identities.permissions import PermissionCache
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.query_api.call import QueryCall
from rs3gwd.iam.query_api.errors import error_response
from rs3gwd.iam.query_api.form import FORM_BYTES_MAX, Form, read_form
from rs3gwd.iam.query_api.operations import QUERY_OPERATIONS
from rs3gwd.iam.query_api.permission import require
from rs3gwd.iam.query_api.row import Row
from rs3gwd.iam.query_api.unanswered import UNANSWERED, UNSIGNED
from rs3gwd.iam.query_api.xml import CONTENT_TYPE, Service, answer
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4 import SigningKeyCache, verify_header
from rs3gwd.iam.web_identity.issuers import Issuers

FORM_TYPE = "application/x-www-form-urlencoded"

GLOBAL_REGION = "us-east-1"
"""The region that services without regions are signed for."""


_NOBODY = Principal(None)


class QueryPorts(Struct, frozen=True):
    """What the query API works with."""

    store: ObjectStore
    directory: Directory
    clock: Clock
    random: Random
    region: str
    permissions: PermissionCache
    signers: Signers
    secrets: SecretWrapper | None = None
    issuers: Issuers | None = None
    uses: KeyUses | None = None


class QueryService:
    """Answers requests for IAM and STS; one per event loop."""

    def __init__(self, ports: QueryPorts, signing_keys: SigningKeyCache) -> None:
        self._ports = ports
        self._signing_keys = signing_keys
        self._rows = {(row.service, row.name): row for row in QUERY_OPERATIONS}

    async def handle(self, request: Request, service: Service) -> Response:
        """The response to a request; every Rs3gwError becomes an error document."""
        name, principal = "Unknown", ""
        try:
            body = await _read_body(request)
            if "authorization" in request.headers:
                who = await self._authenticate(request, service, body)
                principal = who.access_key_id
                if self._ports.uses is not None:
                    self._ports.uses.note(who, service.scope, self._ports.clock.now_ms())
                form = read_form(body)
                row = self._row(service, form)
            else:
                who = _NOBODY
                form = read_form(body)
                row = self._unsigned_row(service, form)
            name = row.action
            response = await self._carry_out(row, form, request, who)
        except Rs3gwError as error:
            self._ports.signers.note_refusal(error, request.peer, self._ports.clock.now_ms())
            response = error_response(error, service, request.request_id)
        response.operation = name
        response.principal = principal
        return response

    async def _authenticate(self, request: Request, service: Service, body: bytes) -> Principal:
        is_global = f"/{GLOBAL_REGION}/{service.scope}/" in request.headers["authorization"]
        verify = partial(
            verify_header,
            request,
            [],
            signers=self._ports.signers,
            now_ms=self._ports.clock.now_ms(),
            region=GLOBAL_REGION if is_global else self._ports.region,
            signing_keys=self._signing_keys,
            service=service.scope,
            payload_hash=sha256(body).hexdigest(),
        )
        signed = await self._ports.signers.when_opened(verify)
        return signed.principal

    def _unsigned_row(self, service: Service, form: Form) -> Row:
        action = form.optional("Action")
        if service is Service.STS and action in UNSIGNED:
            raise _not_implemented(action)
        row = self._rows.get((service, action))
        if row is None or not row.is_unsigned:
            raise ApiError("MissingAuthenticationToken", "Request is missing Authentication Token")
        return row

    def _row(self, service: Service, form: Form) -> Row:
        action = form.optional("Action")
        if not action:
            raise ApiError("MissingAction", "The request is missing an action.")
        row = self._rows.get((service, action))
        if action in UNANSWERED[service]:
            raise _not_implemented(action)
        if row is None:
            raise ApiError(
                "InvalidAction",
                f"Could not find operation {action[:64]} for version "
                f"{form.optional('Version', service.version)[:16]}",
            )
        return row

    async def _carry_out(
        self, row: Row, form: Form, request: Request, principal: Principal
    ) -> Response:
        ports = self._ports
        own = ports.permissions.of(principal, ports.directory)
        require(
            row,
            form,
            request=request,
            principal=principal,
            own=own,
            directory=ports.directory,
            now_ms=ports.clock.now_ms(),
            region=ports.region,
        )
        call = QueryCall(
            principal=principal,
            canonical_id=principal.canonical_id,
            form=form,
            store=ports.store,
            directory=ports.directory,
            clock=ports.clock,
            random=ports.random,
            own=own,
            request=request,
            region=ports.region,
            secrets=ports.secrets,
            issuers=ports.issuers,
        )
        result = await row.handler(call)
        return Response(
            200, [CONTENT_TYPE], answer(row.service, row.name, result, request.request_id)
        )


def service_of(request: Request) -> Service | None:
    """The service of the query API that a request is for; None for one of S3.

    A form that is not signed is for STS: nobody sends S3 one at this path.
    """
    if request.method != "POST" or request.raw_path != "/" or request.raw_query:
        return None
    authorization = request.headers.get("authorization")
    if authorization is None:
        is_form = request.headers.get("content-type", "").startswith(FORM_TYPE)
        return Service.STS if is_form else None
    for service in Service:
        if f"/{service.scope}/aws4_request" in authorization:
            return service
    return None


async def _read_body(request: Request) -> bytes:
    """The whole body. Raises ApiError RequestEntityTooLarge, RequestBodyError."""
    if (request.content_length or 0) > FORM_BYTES_MAX:
        raise _too_large()
    # One buffer: a list of what comes two bytes at a time would take thirty times the room.
    body = bytearray()
    while chunk := await request.body.receive():
        if len(body) + len(chunk) > FORM_BYTES_MAX:
            raise _too_large()
        body += chunk
    return bytes(body)


def _not_implemented(action: str) -> ApiError:
    return ApiError("NotImplemented", f"{action} is not implemented")


def _too_large() -> ApiError:
    return ApiError(
        "RequestEntityTooLarge", f"A request may have a body of {FORM_BYTES_MAX} bytes."
    )
