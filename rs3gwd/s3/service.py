"""The S3 surface as a whole: one Request in, one Response out.

    route -> who asks -> whose bucket -> may they -> is it the owner they expect -> handler

Whoever may not do a thing learns nothing of what is there: permission is decided before any
precondition or body is looked at, and before any object but for its access control list and tags
where these have a say. What is missing is told to those who may list the bucket. That a bucket
exists is not kept secret, since names are shared by all accounts: a missing one is NoSuchBucket to
everybody.

Every error that rs3gwd raises on purpose becomes S3's XML here; any other exception passes through
to the gateway, which logs it and answers `internal_error_response`. A browser form is signed in its
body and a CORS preflight not at all: both go ways of their own.
"""

from collections.abc import Awaitable

import msgspec

from rs3gwd.base.errors import (
    ApiError,
    NoSuchBucket,
    NoSuchKey,
    NoSuchVersion,
    Rs3gwError,
)
from rs3gwd.base.http import Request, Response
from rs3gwd.base.ports import NotProved, Sessions
from rs3gwd.iam.authenticate import AuthenticationSettings, authenticate
from rs3gwd.iam.payload import Authenticated
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.query_api.service import QueryPorts, QueryService, service_of
from rs3gwd.iam.signers import NotOpened, Signers
from rs3gwd.iam.sigv4 import SigningKeyCache
from rs3gwd.iam.web_identity.issuers import Issuers
from rs3gwd.s3.admission import admit
from rs3gwd.s3.bucket_cors import answer_preflight, cross_origin_headers
from rs3gwd.s3.bucket_website import OPERATION as WEBSITE_OPERATION
from rs3gwd.s3.bucket_website import answer_website
from rs3gwd.s3.call import Call, Services
from rs3gwd.s3.errors import error_response
from rs3gwd.s3.permission import bucket_arn
from rs3gwd.s3.post_object import OPERATION as _FORM_UPLOAD
from rs3gwd.s3.post_object import post_object
from rs3gwd.s3.route import Route, Router
from rs3gwd.s3.website import bucket_of_website

_PREFLIGHT = "Preflight"


class S3Service:
    """Answers S3 requests over the ports in `services`, and those of the query API of IAM.

    One per event loop.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._router = Router(domains=services.virtual_host_domains)
        self._signing_keys = SigningKeyCache()
        self._signers = Signers(services.directory, services.secrets, services.brake)
        self._settings = AuthenticationSettings(
            region=services.region,
            presigned_v2_methods=services.presigned_v2_methods,
            virtual_host_domains=services.virtual_host_domains,
        )
        self._query_api = QueryService(
            QueryPorts(
                store=services.store,
                directory=services.directory,
                clock=services.clock,
                random=services.random,
                region=services.region,
                permissions=services.permissions,
                signers=self._signers,
                secrets=services.secrets,
                uses=services.uses,
                issuers=None
                if services.web_documents is None
                else Issuers(services.web_documents, services.clock),
            ),
            self._signing_keys,
        )

    async def handle(self, request: Request) -> Response:
        """The response to a request; for every Rs3gwError it is the S3 error document.

        Other exceptions are bugs, and pass through.
        """
        answer = self.begin(request)
        return answer if isinstance(answer, Response) else await answer

    def begin(self, request: Request) -> Response | Awaitable[Response]:
        """The same as far as it goes without waiting: the response, or what waits for it."""
        if self._services.website_domains:
            bucket = bucket_of_website(request.host, self._services.website_domains)
            if bucket is not None:
                return self._answer_website(request, bucket)
        sessions = self._services.sessions
        if sessions is None:
            return self._begin(request, self._services)
        bucket, key = self._place(request)
        store = sessions.begin_now(bucket, key, _reads_key(request))
        if store is None:
            return self._begin_when_current(request, sessions, bucket, key)
        return self._begin(request, msgspec.structs.replace(self._services, store=store))

    def _place(self, request: Request) -> tuple[str, bytes]:
        """The bucket and key of a request; nothing where they cannot be made out: whoever answers
        meets the same error, and says it better."""
        try:
            return self._router.place(request)
        except ApiError:
            return "", b""

    async def _answer_website(self, request: Request, bucket: str) -> Response:
        store, sessions = self._services.store, self._services.sessions
        try:
            if sessions is not None:
                store = await sessions.begin(bucket, b"", False)
            return await answer_website(request, bucket, store, self.handle)
        except Rs3gwError as error:
            return self._error_response(
                error, request, bucket=bucket, key=b"", operation=WEBSITE_OPERATION
            )

    async def _begin_when_current(
        self, request: Request, sessions: Sessions, bucket: str, key: bytes
    ) -> Response:
        """Nobody is asked who they are before it is known that this node knows who there is."""
        try:
            store = await sessions.begin(bucket, key, _reads_key(request))
        except Rs3gwError as error:
            return self._error_response(error, request, bucket=bucket, key=key, operation="Unknown")
        answer = self._begin(request, msgspec.structs.replace(self._services, store=store))
        return answer if isinstance(answer, Response) else await answer

    def _begin(self, request: Request, services: Services) -> Response | Awaitable[Response]:
        if request.method == "OPTIONS":
            return self._answer_preflight(request, services)
        if request.method == "POST" and (service := service_of(request)) is not None:
            return self._query_api.handle(request, service)
        answer = self._answer(request, services)
        if "origin" in request.headers:
            return self._with_cross_origin_headers(request, answer, services)
        return answer

    async def _answer_preflight(self, request: Request, services: Services) -> Response:
        bucket, key = "", b""
        try:
            bucket, key = self._router.place(request)
            response = await answer_preflight(services.store, request, bucket=bucket, key=key)
            response.operation = _PREFLIGHT
        except Rs3gwError as error:
            response = self._error_response(
                error, request, bucket=bucket, key=key, operation=_PREFLIGHT
            )
        return response

    async def _with_cross_origin_headers(
        self, request: Request, answer: Response | Awaitable[Response], services: Services
    ) -> Response:
        response = answer if isinstance(answer, Response) else await answer
        response.headers += await self._cross_origin_headers(request, services)
        return response

    async def _cross_origin_headers(
        self, request: Request, services: Services
    ) -> list[tuple[str, str]]:
        """What the rules of the bucket add to an answer, an error too; no bucket has no rules."""
        try:
            name, _ = self._router.place(request)
            if not name:
                return []
            bucket = await services.store.get_bucket(name)
        except (ApiError, NoSuchBucket):
            return []
        return await cross_origin_headers(services.store, request, bucket)

    def _answer(
        self, request: Request, services: Services, authenticated: Authenticated | None = None
    ) -> Response | Awaitable[Response]:
        """Everything but what CORS adds; `authenticated` where that had to be waited for."""
        route: Route | None = None
        call: Call | None = None
        principal = ""
        try:
            route = self._router.route(request)
            if route.operation.name == _FORM_UPLOAD:
                return self._answer_form(request, route, services)
            if authenticated is None:
                try:
                    authenticated = self._authenticate(request)
                except NotOpened:
                    return self._answer_when_opened(request, services)
            principal = authenticated.principal.access_key_id
            self._note_use(authenticated.principal)
            if authenticated.query_headers:
                request = _with_headers(request, authenticated.query_headers)
                # A header may choose the operation (x-amz-copy-source).
                route = self._router.route(request)
            lookups = services.store.lookups_now()
            if lookups is None:
                return self._carry_out(request, route, authenticated, services)
            try:
                call = admit(services, request, route, authenticated, lookups)
                at_once = route.operation.at_once
                response = at_once(call, lookups) if at_once is not None else None
            except NotProved:
                return self._carry_out(request, route, authenticated, services)
            if response is None:
                return self._carry_out(request, route, authenticated, services, call)
            _note(response, call)
        except Rs3gwError as error:
            response = self._refusal(error, request, route, call)
        response.principal = principal
        return response

    async def _answer_when_opened(self, request: Request, services: Services) -> Response:
        """The signer's secret, or the session's token, is unwrapped first."""
        try:
            authenticated = await self._signers.when_opened(lambda: self._authenticate(request))
        except Rs3gwError as error:
            return self._refusal(error, request, self._router.route(request))
        answer = self._answer(request, services, authenticated)
        return answer if isinstance(answer, Response) else await answer

    async def _answer_form(self, request: Request, route: Route, services: Services) -> Response:
        """An upload by a form, whose signature is in its body."""
        principal = ""
        try:
            response, sender = await post_object(
                request,
                route.bucket,
                services=services,
                signers=self._signers,
                signing_keys=self._signing_keys,
            )
            response.operation = _FORM_UPLOAD
            principal = sender.access_key_id
            self._note_use(sender)
        except Rs3gwError as error:
            response = self._refusal(error, request, route)
        response.principal = principal
        return response

    async def _carry_out(
        self,
        request: Request,
        route: Route,
        authenticated: Authenticated,
        services: Services,
        call: Call | None = None,
    ) -> Response:
        """What has to wait: the handler, and where need be the permission, which gives `call`."""
        try:
            if call is None:
                lookups = await services.store.wait_lookups()
                call = admit(services, request, route, authenticated, lookups)
            handler = route.operation.handler
            assert handler is not None, "what nobody handles is not admitted"
            response = await handler(call)
            _note(response, call)
        except Rs3gwError as error:
            response = self._refusal(error, request, route, call)
        response.principal = authenticated.principal.access_key_id
        return response

    def _note_use(self, principal: Principal) -> None:
        if self._services.uses is not None:
            self._services.uses.note(principal, "s3", self._services.clock.now_ms())

    def _authenticate(self, request: Request) -> Authenticated:
        return authenticate(
            request,
            signers=self._signers,
            now_ms=self._services.clock.now_ms(),
            settings=self._settings,
            signing_keys=self._signing_keys,
        )

    def _refusal(
        self, error: Rs3gwError, request: Request, route: Route | None, call: Call | None = None
    ) -> Response:
        if call is None:
            self._signers.note_refusal(error, request.peer, self._services.clock.now_ms())
        return self._error_response(
            error if call is None else _as_far_as_known(error, call),
            request,
            bucket=route.bucket if route else "",
            key=route.key if route else b"",
            operation=route.operation.name if route else "Unknown",
        )

    def _error_response(
        self, error: Rs3gwError, request: Request, *, bucket: str, key: bytes, operation: str
    ) -> Response:
        return error_response(
            error,
            request,
            bucket=bucket,
            key=key,
            region=self._services.region,
            host_id=self._services.host_id,
            operation=operation,
        )


def _reads_key(request: Request) -> bool:
    """Whether a request begins by reading its key: a write is decided where it is applied."""
    return request.method != "PUT" or "uploadId=" in request.raw_query


def _note(response: Response, call: Call) -> None:
    """Says in an answer what it answers, and that its caller pays where that is so."""
    response.operation = call.operation
    if call.access is not None and call.access.requester_pays and call.gate.is_charged(call.access):
        response.headers.append(("x-amz-request-charged", "requester"))


def _as_far_as_known(error: Rs3gwError, call: Call) -> Rs3gwError:
    """The error of a call, to somebody who may not list the bucket without what is missing in it.

    Source: "GetObject", Permissions, in the Amazon S3 API Reference.
    """
    if not isinstance(error, NoSuchKey | NoSuchVersion) or call.access is None:
        return error
    if call.gate.allows("s3:ListBucket", bucket_arn(call.bucket), call.access):
        return error
    return ApiError("AccessDenied", "Access Denied")


def _with_headers(request: Request, more: dict[str, str]) -> Request:
    return msgspec.structs.replace(request, headers={**request.headers, **more})
