"""Permission: what stands between a request whose sender is known and the handler.

    whose bucket -> may they -> is it the owner they expect -> may they what the headers ask for

Requests and browser forms come through here alike, and a handler's Call is made nowhere else.
"""

from functools import partial
from typing import NoReturn

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.base.ports import Lookups
from rs3gwd.base.records import BucketRecord
from rs3gwd.iam.bucket_access import BucketAccess
from rs3gwd.iam.gate import Gate, is_by_list
from rs3gwd.iam.payload import Authenticated
from rs3gwd.iam.principal import Decision
from rs3gwd.iam.request_side import RequestSide
from rs3gwd.s3.call import Call, Services
from rs3gwd.s3.operations import Level, Operation
from rs3gwd.s3.permission import bucket_arn, check_expected_owner, find_object, object_arn
from rs3gwd.s3.route import Route

EXPECTED_OWNER_HEADER = "x-amz-expected-bucket-owner"

_MFA_HEADER = "x-amz-mfa"

_BUCKET_MAKER = "CreateBucket"
"""The one operation on a bucket that does not need the bucket."""


def admit(
    services: Services,
    request: Request,
    route: Route,
    authenticated: Authenticated,
    lookups: Lookups,
) -> Call:
    """Permission for what `route` asks: every handler is called with what this gives.

    Raises ApiError AccessDenied, NotImplemented; NoSuchBucket.
    """
    operation = route.operation
    record: BucketRecord | None = None
    access: BucketAccess | None = None
    if operation.level is not Level.SERVICE and operation.name != _BUCKET_MAKER:
        record = lookups.get_bucket(route.bucket)
        access = services.access.of(record, lookups.get_configuration)
    side = RequestSide(
        request,
        route.query,
        services.clock.now_ms(),
        services.region,
        operation.creates,
        () if _copies_tags(request) else None,
    )
    principal = authenticated.principal
    gate = Gate(principal, side, services.permissions.of(principal, services.directory))
    decision = _decide(gate, route, access, lookups)
    if access is not None:
        check_expected_owner(request, EXPECTED_OWNER_HEADER, access)
        if operation.header_actions and not is_by_list(decision):
            _decide_headers(gate, request, operation, decision, access)
    if operation.handler is None:
        _not_implemented(operation)
    if _MFA_HEADER in request.headers:
        # Whoever sends a second factor expects it to be proved.
        raise ApiError("NotImplemented", "MFA delete is not implemented")
    return Call(
        request=request,
        operation=operation.name,
        bucket=route.bucket,
        key=route.key,
        query=route.query,
        payload=authenticated.payload,
        decision=decision,
        gate=gate,
        services=services,
        bucket_record=record,
        access=access,
    )


def _decide(gate: Gate, route: Route, access: BucketAccess | None, lookups: Lookups) -> Decision:
    """That the caller may do this. Raises ApiError AccessDenied."""
    operation = route.operation
    action = operation.action
    if operation.version_action and "versionId" in route.query:
        action = operation.version_action
    if access is None:
        if operation.handler is None and gate.principal.account is not None:
            # What is missing belongs to nobody, so that there is nothing to be allowed.
            _not_implemented(operation)
        return gate.require_service(action, bucket_arn(route.bucket))
    if operation.level is Level.BUCKET:
        resource = bucket_arn(route.bucket)
        if operation.is_of_many:
            return gate.require_each(action, resource, access)
        return gate.require(action, resource, access)
    version_id = route.query.get("versionId")
    find = partial(find_object, lookups, route.bucket, route.key, version_id)
    require = gate.require_until_tags if operation.tags_in_body else gate.require
    return require(action, object_arn(route.bucket, route.key), access, find)


def _copies_tags(request: Request) -> bool:
    """Whether the tags are those of a copy's source, so that those of the header do not count."""
    headers = request.headers
    directive = headers.get("x-amz-tagging-directive", "")
    return "x-amz-copy-source" in headers and directive.upper() != "REPLACE"


def _decide_headers(
    gate: Gate, request: Request, operation: Operation, decision: Decision, access: BucketAccess
) -> None:
    """What some headers ask for needs a permission of its own. Raises ApiError AccessDenied."""
    for name, action in operation.header_actions:
        if name in request.headers:
            gate.require(action, decision.resource, access)


def _not_implemented(operation: Operation) -> NoReturn:
    raise ApiError("NotImplemented", f"{operation.name} is not implemented")
