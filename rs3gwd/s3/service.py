"""The S3 surface as a whole: one Request in, one Response out.

    route -> who asks -> whose bucket -> may they -> is it the owner they expect -> handler

Whoever may not do a thing learns nothing of what is there: permission is decided from the bucket's
owner alone, before any object, precondition or body is looked at. That a bucket exists is not kept
secret, since names are shared by all accounts: a missing one is NoSuchBucket to everybody.

Every error that rs3gwd raises on purpose becomes S3's XML here; any other exception passes through
to the gateway, which logs it and answers `internal_error_response`. The browser form carries no
signature outside its body, so what it asks for is refused before the question of who asks; a CORS
preflight carries none at all and gets an answer of its own.
"""

from collections.abc import Awaitable
from typing import NoReturn

import msgspec

from rs3gwd.base.errors import ApiError, NoSuchBucket, Rs3gwError
from rs3gwd.base.http import Request, Response
from rs3gwd.base.ports import Lookups
from rs3gwd.base.records import BucketRecord
from rs3gwd.iam.authenticate import AuthenticationSettings, authenticate
from rs3gwd.iam.authorize import authorize
from rs3gwd.iam.payload import Authenticated
from rs3gwd.iam.principal import Decision
from rs3gwd.iam.sigv4 import SigningKeyCache
from rs3gwd.s3.bucket_cors import answer_preflight, cross_origin_headers
from rs3gwd.s3.call import Call, Services
from rs3gwd.s3.errors import error_response
from rs3gwd.s3.operations import Level, Operation
from rs3gwd.s3.route import Route, Router

EXPECTED_OWNER_HEADER = "x-amz-expected-bucket-owner"

_BUCKET_MAKER = "CreateBucket"
"""The one operation on a bucket that does not need the bucket."""

_FORM_UPLOAD = "PostObject"
_PREFLIGHT = "Preflight"


class S3Service:
    """Answers S3 requests over the ports in `services`; one per event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._router = Router(domains=services.virtual_host_domains)
        self._signing_keys = SigningKeyCache()
        self._settings = AuthenticationSettings(
            region=services.region,
            presigned_v2_methods=services.presigned_v2_methods,
            virtual_host_domains=services.virtual_host_domains,
        )

    async def handle(self, request: Request) -> Response:
        """The response to a request; for every Rs3gwError it is the S3 error document.

        Other exceptions are bugs, and pass through.
        """
        answer = self.begin(request)
        return answer if isinstance(answer, Response) else await answer

    def begin(self, request: Request) -> Response | Awaitable[Response]:
        """The same as far as it goes without waiting: the response, or what waits for it."""
        if request.method == "OPTIONS":
            return self._answer_preflight(request)
        answer = self._answer(request)
        if "origin" in request.headers:
            return self._with_cross_origin_headers(request, answer)
        return answer

    async def _answer_preflight(self, request: Request) -> Response:
        bucket, key = "", b""
        try:
            bucket, key = self._router.place(request)
            response = await answer_preflight(self._services.store, request, bucket=bucket, key=key)
            response.operation = _PREFLIGHT
        except Rs3gwError as error:
            response = self._error_response(
                error, request, bucket=bucket, key=key, operation=_PREFLIGHT
            )
        return response

    async def _with_cross_origin_headers(
        self, request: Request, answer: Response | Awaitable[Response]
    ) -> Response:
        response = answer if isinstance(answer, Response) else await answer
        response.headers += await self._cross_origin_headers(request)
        return response

    async def _cross_origin_headers(self, request: Request) -> list[tuple[str, str]]:
        """What the rules of the bucket add to an answer, an error too; no bucket has no rules."""
        try:
            name, _ = self._router.place(request)
            if not name:
                return []
            bucket = await self._services.store.get_bucket(name)
        except (ApiError, NoSuchBucket):
            return []
        return await cross_origin_headers(self._services.store, request, bucket)

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        """Everything but what CORS adds."""
        route: Route | None = None
        principal = ""
        try:
            route = self._router.route(request)
            if route.operation.name == _FORM_UPLOAD:
                _not_implemented(route.operation)
            authenticated = self._authenticate(request)
            principal = authenticated.principal.access_key_id
            if authenticated.query_headers:
                request = _with_headers(request, authenticated.query_headers)
                # A header may choose the operation (x-amz-copy-source).
                route = self._router.route(request)
            lookups = self._services.store.lookups_now()
            if lookups is None:
                return self._carry_out(request, route, authenticated)
            call = self._admit(request, route, authenticated, lookups)
            at_once = route.operation.at_once
            response = at_once(call, lookups) if at_once is not None else None
            if response is None:
                return self._carry_out(request, route, authenticated, call)
            response.operation = route.operation.name
        except Rs3gwError as error:
            response = self._refusal(error, request, route)
        response.principal = principal
        return response

    async def _carry_out(
        self, request: Request, route: Route, authenticated: Authenticated, call: Call | None = None
    ) -> Response:
        """What has to wait: the handler, and where need be the permission, which gives `call`."""
        try:
            if call is None:
                lookups = await self._services.store.wait_lookups()
                call = self._admit(request, route, authenticated, lookups)
            handler = route.operation.handler
            assert handler is not None, "what nobody handles is not admitted"
            response = await handler(call)
            response.operation = route.operation.name
        except Rs3gwError as error:
            response = self._refusal(error, request, route)
        response.principal = authenticated.principal.access_key_id
        return response

    def _authenticate(self, request: Request) -> Authenticated:
        return authenticate(
            request,
            directory=self._services.directory,
            now_ms=self._services.clock.now_ms(),
            settings=self._settings,
            signing_keys=self._signing_keys,
        )

    def _admit(
        self, request: Request, route: Route, authenticated: Authenticated, lookups: Lookups
    ) -> Call:
        """Permission: every handler is called with what this gives. Raises ApiError."""
        operation = route.operation
        record: BucketRecord | None = None
        if operation.level is not Level.SERVICE and operation.name != _BUCKET_MAKER:
            record = lookups.get_bucket(route.bucket)
        decision = _decide(route, authenticated, record)
        if record is not None:
            _check_expected_owner(request, record)
        if operation.handler is None:
            _not_implemented(operation)
        return Call(
            request=request,
            operation=operation.name,
            bucket=route.bucket,
            key=route.key,
            query=route.query,
            payload=authenticated.payload,
            decision=decision,
            services=self._services,
            bucket_record=record,
        )

    def _refusal(self, error: Rs3gwError, request: Request, route: Route | None) -> Response:
        return self._error_response(
            error,
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


def _decide(route: Route, authenticated: Authenticated, record: BucketRecord | None) -> Decision:
    """That the caller may do this. Raises ApiError AccessDenied."""
    operation, principal = route.operation, authenticated.principal
    action = operation.action
    if operation.version_action and "versionId" in route.query:
        action = operation.version_action
    if record is not None:
        # The key was proved to be UTF-8 by the router.
        path = f"{route.bucket}/{route.key.decode()}" if route.key else route.bucket
        return authorize(
            principal,
            action=action,
            resource=f"arn:aws:s3:::{path}",
            owner_id=record.owner_id,
        )
    if operation.handler is None and principal.account is not None:
        # What is missing belongs to nobody, so that there is nothing to be allowed.
        _not_implemented(operation)
    return authorize(
        principal, action=action, resource=f"arn:aws:s3:::{route.bucket or '*'}", owner_id=None
    )


def _check_expected_owner(request: Request, record: BucketRecord) -> None:
    """The caller may name the owner they expect, by canonical id.

    Source: "Verifying bucket ownership with bucket owner condition" in the Amazon S3 User Guide.
    """
    expected = request.headers.get(EXPECTED_OWNER_HEADER)
    if expected is not None and expected != record.owner_id:
        raise ApiError("AccessDenied")


def _with_headers(request: Request, more: dict[str, str]) -> Request:
    return msgspec.structs.replace(request, headers={**request.headers, **more})


def _not_implemented(operation: Operation) -> NoReturn:
    raise ApiError("NotImplemented", f"{operation.name} is not implemented")
