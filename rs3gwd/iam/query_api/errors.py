"""The errors of the query API: their statuses and their XML.

Whatever is refused is answered here, those refusals included that come from authentication and the
store; what has no row is the server's fault.

Source: "Common Errors" and the errors of the actions in the IAM API Reference.
"""

from rs3gwd.base.errors import ApiError, Rs3gwError
from rs3gwd.base.http import Response
from rs3gwd.iam.query_api.xml import CONTENT_TYPE, Service, element

STATUSES: dict[str, int] = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "ConcurrentModification": 409,
    "DeleteConflict": 409,
    "EntityAlreadyExists": 409,
    "ExpiredToken": 403,
    "ExpiredTokenException": 400,
    "IDPCommunicationError": 400,
    "IDPRejectedClaim": 403,
    "IncompleteBody": 400,
    "IncompleteSignature": 400,
    "InvalidAction": 400,
    "InvalidAuthenticationToken": 403,
    "InvalidClientTokenId": 403,
    "InvalidIdentityToken": 400,
    "InvalidInput": 400,
    "InvalidParameterValue": 400,
    "LimitExceeded": 409,
    "MalformedPolicyDocument": 400,
    "MissingAction": 400,
    "MissingAuthenticationToken": 403,
    "MissingParameter": 400,
    "NoSuchEntity": 404,
    "NotImplemented": 501,
    "PackedPolicyTooLarge": 400,
    "RequestEntityTooLarge": 413,
    "RequestExpired": 400,
    "RequestTimeout": 400,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "Throttling": 400,
    "UnmodifiableEntity": 400,
    "ValidationError": 400,
}
"""HTTP statuses by code."""

_RENAMED = {
    "AuthorizationHeaderMalformed": "IncompleteSignature",
    "AccountAlreadyExists": "EntityAlreadyExists",
    "InvalidAccessKeyId": "InvalidClientTokenId",
    "InvalidArgument": "ValidationError",
    "InvalidRequest": "ValidationError",
    "InvalidToken": "InvalidClientTokenId",
    "NoSuchAccount": "NoSuchEntity",
    "RequestTimeTooSkewed": "RequestExpired",
}
"""What other parts call an error that has another name here."""

_MESSAGES = {
    "InvalidClientTokenId": "The security token included in the request is invalid.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match the signature you "
    "provided. Check your AWS Secret Access Key and signing method. Consult the service "
    "documentation for details.",
}


def error_response(error: Rs3gwError, service: Service, request_id: str) -> Response:
    """The answer to a request that is refused or fails."""
    code = error.api_code if isinstance(error, ApiError) else error.code
    code = _RENAMED.get(code, code)
    message = error.message if isinstance(error, ApiError) else str(error)
    status = STATUSES.get(code, 500)
    if status == 500:
        code, message = "ServiceFailure", "The request processing has failed."
    inside = (
        element("Type", "Sender" if status < 500 else "Receiver")
        + element("Code", code)
        + element("Message", _MESSAGES.get(code) or message or code)
    )
    body = (
        f'<ErrorResponse xmlns="{service.namespace}"><Error>{inside}</Error>'
        f"{element('RequestId', request_id)}</ErrorResponse>"
    )
    response = Response(status, [CONTENT_TYPE], body.encode())
    response.error_code = code
    return response
