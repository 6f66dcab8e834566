"""The errors of the admin API: their statuses and their JSON. What has no row is the server's."""

from typing import Final

import msgspec

from rs3gwd.base.errors import ApiError, Rs3gwError
from rs3gwd.base.http import Response

CONTENT_TYPE: Final = ("Content-Type", "application/json")

STATUSES: Final[dict[str, int]] = {
    "AccessDenied": 403,
    "AuthorityRefused": 409,
    "AuthorizationHeaderMalformed": 400,
    "ExpiredToken": 403,
    "IncompleteBody": 400,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidRequest": 400,
    "InvalidToken": 403,
    "LayoutBusy": 409,
    "LayoutRefused": 409,
    "MalformedJSON": 400,
    "MethodNotAllowed": 405,
    "NoSuchGroup": 404,
    "NoSuchNode": 404,
    "NodeHoldsCopies": 409,
    "NoSuchOperation": 404,
    "NotACluster": 409,
    "NotAVoter": 409,
    "NotHandedOver": 503,
    "NotImplemented": 501,
    "NotRemoved": 503,
    "RequestEntityTooLarge": 413,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
}
"""HTTP statuses by code."""


def error_response(error: Rs3gwError, request_id: str) -> Response:
    """The answer to a request that is refused or fails."""
    code = error.api_code if isinstance(error, ApiError) else error.code
    message = error.message if isinstance(error, ApiError) else str(error)
    status = STATUSES.get(code, 500)
    if status == 500:
        code, message = "InternalError", "see the node's log"
    body = msgspec.json.encode(
        {"error": {"code": code, "message": message or code, "request_id": request_id}}
    )
    response = Response(status, [CONTENT_TYPE], body)
    response.error_code = code
    return response
