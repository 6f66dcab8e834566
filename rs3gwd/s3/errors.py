"""The one table of S3 error codes, and how an error becomes a response.

Nothing else in rs3gwd knows the HTTP status of an error code. A test reads the source of every
package and fails when a code is raised that has no row here.

Messages: what AWS sends is part of the interface (people search for it), so the rows follow it. An
error that is the disk's fault or a bug shows its row's message and never its own text, which may
tell of file names and offsets.

Source: "Error responses" in the Amazon S3 API Reference (REST error responses; list of error
codes; tagging-related error codes).
"""

import re

from msgspec import Struct

from rs3gwd.base.errors import (
    ApiError,
    EntityTooSmall,
    Fault,
    InvalidPart,
    MethodNotAllowed,
    NoSuchKey,
    PreconditionFailed,
    Rs3gwError,
)
from rs3gwd.base.http import Request, RequestBodyError, Response
from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.s3.dates import http_date
from rs3gwd.s3.names import parse_query
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, escape

FIELD_CHARACTERS_MAX = 16 * 1024
"""Characters of a caller's own text that an error repeats; a CanonicalRequest is the longest."""


class ErrorCode(Struct, frozen=True):
    """One row: the HTTP status and the message where the error brings none."""

    status: int
    message: str


def _rows(status: int, messages: dict[str, str]) -> dict[str, ErrorCode]:
    return {code: ErrorCode(status, message) for code, message in messages.items()}


ERROR_CODES: dict[str, ErrorCode] = {
    **_rows(
        301,
        {
            "PermanentRedirect": "The bucket you are attempting to access must be addressed using"
            " the specified endpoint. Please send all future requests to this endpoint.",
        },
    ),
    **_rows(304, {"NotModified": "Not Modified"}),
    **_rows(307, {"TemporaryRedirect": "You are being redirected to the bucket."}),
    **_rows(
        400,
        {
            "AccessControlListNotSupported": "The bucket does not allow ACLs",
            "AuthorizationHeaderMalformed": "The authorization header you provided is invalid.",
            "AuthorizationQueryParametersError": "The authorization query parameters that you"
            " provided are not valid.",
            "BadDigest": "The Content-MD5 or checksum value that you specified did not match what"
            " the server received.",
            "BadRequest": "Bad Request",
            "CredentialsNotSupported": "This request does not support credentials.",
            "EntityTooLarge": "Your proposed upload exceeds the maximum allowed size",
            "EntityTooSmall": "Your proposed upload is smaller than the minimum allowed size",
            "ExpiredToken": "The provided token has expired.",
            "IllegalLocationConstraintException": "The specified location constraint is"
            " incompatible for the region specific endpoint this request was sent to.",
            "IllegalVersioningConfigurationException": "The Versioning element must be specified",
            "IncompleteBody": "You did not provide the number of bytes specified by the"
            " Content-Length HTTP header",
            "InvalidAccessPoint": "The specified access point name or account is not valid.",
            "InvalidArgument": "Invalid Argument",
            "InvalidBucketAclWithObjectOwnership": "Bucket cannot have ACLs set with"
            " ObjectOwnership's BucketOwnerEnforced setting",
            "InvalidBucketName": "The specified bucket is not valid.",
            "InvalidChunkSizeError": "Only the last chunk is allowed to have a size less than 8192"
            " bytes",
            "InvalidDigest": "The Content-MD5 you specified was invalid",
            "InvalidEncryptionAlgorithmError": "The encryption request you specified is not valid.",
            "InvalidHTTPHeader": "The request contains an invalid header.",
            "InvalidLocationConstraint": "The specified location-constraint is not valid",
            "InvalidPart": "One or more of the specified parts could not be found. The part may not"
            " have been uploaded, or the specified entity tag may not match the part's entity tag.",
            "InvalidPartOrder": "The list of parts was not in ascending order. Parts must be"
            " ordered by part number.",
            "InvalidPolicyDocument": "The content of the form does not meet the conditions"
            " specified in the policy document.",
            "InvalidRequest": "Invalid Request",
            "InvalidStorageClass": "The storage class you specified is not valid",
            "InvalidTag": "The tag provided was not a valid tag. This error can occur if the tag"
            " did not pass input validation.",
            "InvalidTargetBucketForLogging": "The target bucket for logging does not exist.",
            "InvalidToken": "The provided token is malformed or otherwise not valid.",
            "InvalidURI": "Couldn't parse the specified URI.",
            "KMS.DisabledException": "The request was rejected because the specified KMS key is not"
            " enabled.",
            "KMS.InvalidStateException": "The request was rejected because the state of the KMS key"
            " is not valid for it.",
            "KMS.NotFoundException": "The request was rejected because the specified KMS key could"
            " not be found.",
            "KeyTooLongError": "Your key is too long",
            "MalformedACLError": "The XML you provided was not well-formed or did not validate"
            " against our published schema",
            "MalformedPOSTRequest": "The body of your POST request is not well-formed"
            " multipart/form-data.",
            "MalformedPolicy": "Policies must be valid JSON and the first byte must be '{'",
            "MalformedTrailerError": "The request contained trailing data that was not well-formed"
            " or did not conform to our published schema.",
            "MalformedXML": "The XML you provided was not well-formed or did not validate against"
            " our published schema",
            "MaxMessageLengthExceeded": "Your request was too big.",
            "MaxPostPreDataLengthExceededError": "Your POST request fields preceding the upload"
            " file were too large.",
            "MetadataTooLarge": "Your metadata headers exceed the maximum allowed metadata size",
            "MissingAuthenticationToken": "The request was not signed.",
            "MissingRequestBodyError": "Request Body is empty",
            "MissingSecurityElement": "The SOAP 1.1 request is missing a security element.",
            "MissingSecurityHeader": "Your request was missing a required header",
            "NoLoggingStatusForKey": "There is no such thing as a logging status subresource for a"
            " key.",
            "RequestHeaderSectionTooLarge": "Your request header section exceeds the maximum"
            " allowed header section size.",
            "RequestIsNotMultiPartContent": "Bucket POST must be of the enclosure-type"
            " multipart/form-data.",
            "RequestTimeout": "Your socket connection to the server was not read from or written to"
            " within the timeout period. Idle connections will be closed.",
            "TokenRefreshRequired": "The provided token must be refreshed.",
            "TooManyBuckets": "You have attempted to create more buckets than allowed",
            "UnexpectedContent": "This request does not support content",
            "UnresolvableGrantByEmailAddress": "The e-mail address you provided does not match any"
            " account on record.",
            "UnsupportedArgument": "The request contained an unsupported argument.",
            "UnsupportedSignature": "The provided request is signed with an unsupported STS Token"
            " version or the signature version is not supported.",
            "UserKeyMustBeSpecified": "The bucket POST must contain the specified field name.",
            "XAmzContentChecksumMismatch": "The provided 'x-amz-checksum' header does not match"
            " what was computed.",
            "XAmzContentSHA256Mismatch": "The provided 'x-amz-content-sha256' header does not match"
            " what was computed.",
        },
    ),
    **_rows(
        403,
        {
            "AccessDenied": "Access Denied",
            "AccessForbidden": "CORSResponse: CORS is not enabled for this bucket.",
            "AccountProblem": "There is a problem with your account that prevents the operation"
            " from completing successfully.",
            "AllAccessDisabled": "All access to this object has been disabled",
            "InvalidAccessKeyId": "The access key ID you provided does not exist in our records.",
            "InvalidObjectState": "The operation is not valid for the object's storage class",
            "InvalidPayer": "All access to this object has been disabled.",
            "InvalidSecurity": "The provided security credentials are not valid.",
            "NotSignedUp": "Your account is not signed up for the service.",
            "RequestTimeTooSkewed": "The difference between the request time and the current time"
            " is too large.",
            "SignatureDoesNotMatch": "The request signature we calculated does not match the"
            " signature you provided. Check your key and signing method.",
        },
    ),
    **_rows(
        404,
        {
            "NoSuchAccount": "No such account.",
            "NoSuchEntity": "The request referenced an entity that does not exist.",
            "NoSuchBucket": "The specified bucket does not exist",
            "NoSuchBucketPolicy": "The bucket policy does not exist",
            "NoSuchCORSConfiguration": "The CORS configuration does not exist",
            "NoSuchKey": "The specified key does not exist.",
            "NoSuchPublicAccessBlockConfiguration": "The public access block configuration was not"
            " found",
            "NoSuchObjectLockConfiguration": "The specified object does not have a ObjectLock"
            " configuration",
            "NoSuchLifecycleConfiguration": "The lifecycle configuration does not exist",
            "NoSuchTagSet": "The TagSet does not exist",
            "NoSuchTagSetError": "There is no tag set associated with the bucket.",
            "NoSuchUpload": "The specified upload does not exist. The upload ID may be invalid, or"
            " the upload may have been aborted or completed.",
            "NoSuchVersion": "The specified version does not exist.",
            "NoSuchWebsiteConfiguration": "The specified bucket does not have a website"
            " configuration",
            "ObjectLockConfigurationNotFoundError": "Object Lock configuration does not exist for"
            " this bucket",
            "OwnershipControlsNotFoundError": "The bucket ownership controls were not found",
            "ReplicationConfigurationNotFoundError": "The replication configuration was not found",
            "ServerSideEncryptionConfigurationNotFoundError": "The server side encryption"
            " configuration was not found",
        },
    ),
    **_rows(
        405, {"MethodNotAllowed": "The specified method is not allowed against this resource."}
    ),
    **_rows(
        409,
        {
            "AccountAlreadyExists": "The account exists already.",
            "ConcurrentModification": "Another request changed the entity; try again.",
            "DeleteConflict": "The entity still has subordinate entities.",
            "EntityAlreadyExists": "The entity exists already.",
            "BucketAlreadyExists": "The requested bucket name is not available. The bucket"
            " namespace is shared by all users of the system. Please select a different name and"
            " try again.",
            "BucketAlreadyOwnedByYou": "Your previous request to create the named bucket succeeded"
            " and you already own it.",
            "BucketNotEmpty": "The bucket you tried to delete is not empty",
            "ConditionalRequestConflict": "The conditional request cannot succeed due to a"
            " conflicting operation against this resource.",
            "InvalidBucketState": "The request is not valid with the current state of the bucket.",
            "OperationAborted": "A conflicting conditional operation is currently in progress"
            " against this resource. Please try again.",
            "RestoreAlreadyInProgress": "Object restore is already in progress",
        },
    ),
    **_rows(411, {"MissingContentLength": "You must provide the Content-Length HTTP header."}),
    **_rows(
        412,
        {
            "PreconditionFailed": "At least one of the pre-conditions you specified did not hold",
        },
    ),
    **_rows(
        416,
        {
            "InvalidPartNumber": "The requested partnumber is not satisfiable",
            "InvalidRange": "The requested range is not satisfiable",
        },
    ),
    **_rows(500, {"InternalError": "We encountered an internal error. Please try again."}),
    **_rows(
        501,
        {
            "NotImplemented": "A header or operation you provided implies functionality that is not"
            " implemented"
        },
    ),
    **_rows(
        503,
        {
            "ServiceUnavailable": "Service is unable to handle request.",
            "SlowDown": "Please reduce your request rate.",
        },
    ),
    **_rows(507, {"InsufficientStorage": "There is no room left to store this request."}),
}
"""Every code that a client can meet; codes whose operations are still to come are here too."""

_OWN_MESSAGE = frozenset(
    {
        "BadDigest",
        "EntityTooSmall",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidRequest",
    }
)
"""Codes of the store whose errors explain more than the table does."""

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_BODILESS_STATUSES = frozenset({304})

_REGION_STATUSES = frozenset({301, 307, 400, 403, 404})
"""Statuses of a bucket's own errors from which clients learn the region to sign for."""


def error_code(error: Rs3gwError) -> str:
    """The S3 code of an error."""
    return error.api_code if isinstance(error, ApiError) else error.code


def error_status(code: str) -> int:
    """The HTTP status of a code; 500 for one that is not in the table, which is a bug."""
    row = ERROR_CODES.get(code)
    return row.status if row else 500


def error_message(error: Rs3gwError) -> str:
    """The message a client may see: the error's own where it is the caller's fault."""
    code = error_code(error)
    row = ERROR_CODES.get(code, ERROR_CODES["InternalError"])
    if isinstance(error, ApiError):
        return error.message or row.message
    if error.fault is Fault.CALLER and code in _OWN_MESSAGE:
        return str(error) or row.message
    return row.message


def error_xml(
    *,
    code: str,
    message: str,
    resource: str,
    request_id: str,
    host_id: str,
    fields: dict[str, str],
) -> bytes:
    """The `<Error>` document; `fields` stand between the message and the resource.

    What a caller sent is repeated as far as XML can hold it: an error must be readable above all.
    """
    extra = "".join(
        element(name, _NOT_XML.sub("\ufffd", value[:FIELD_CHARACTERS_MAX]))
        for name, value in fields.items()
    )
    return document(
        "Error",
        f"<Code>{code}</Code><Message>{escape(message)}</Message>{extra}"
        f"{element('Resource', resource)}<RequestId>{request_id}</RequestId>"
        f"<HostId>{host_id}</HostId>",
        namespace="",
    )


def error_response(
    error: Rs3gwError,
    request: Request,
    *,
    bucket: str = "",
    key: bytes = b"",
    region: str = "",
    host_id: str = "",
    operation: str = "Unknown",
) -> Response:
    """The response for an error; HEAD and 304 have no body.

    `bucket` and `key` are what the request was routed to, empty where it was not; `host_id` is
    what the front says in x-amz-id-2.
    """
    code = error_code(error)
    status = error_status(code)
    headers: list[tuple[str, str]] = []
    body = b""
    if status not in _BODILESS_STATUSES:
        headers.append(CONTENT_TYPE)
        if request.method != "HEAD":
            body = error_xml(
                code=code,
                message=error_message(error),
                resource=request.raw_path,
                request_id=request.request_id,
                host_id=host_id,
                fields=_fields(error, code, request, bucket=bucket, key=key),
            )
    if bucket and not key and status in _REGION_STATUSES:
        headers.append(("x-amz-bucket-region", region))
    if status == 503:
        headers.append(("Retry-After", "1"))
    headers += _headers(error)
    return Response(
        status=status,
        headers=headers,
        body=body,
        operation=operation,
        error_code=code,
        close=isinstance(error, RequestBodyError),
    )


def internal_error_response(request: Request, *, host_id: str = "") -> Response:
    """What the gateway answers when a handler raised something that nobody expected."""
    return error_response(Rs3gwError(), request, host_id=host_id)


def _fields(
    error: Rs3gwError, code: str, request: Request, *, bucket: str, key: bytes
) -> dict[str, str]:
    """The elements that AWS adds to each kind of error."""
    if isinstance(error, ApiError):
        return error.fields
    if isinstance(error, PreconditionFailed):
        return {"Condition": error.condition}
    if isinstance(error, MethodNotAllowed):
        return {"Method": request.method, "ResourceType": "DeleteMarker"}
    if isinstance(error, InvalidPart | EntityTooSmall):
        return _part_fields(error, request)
    if code == "NoSuchUpload":
        return {"UploadId": parse_query(request.raw_query).get("uploadId", "")}
    if code == "NoSuchKey":
        return {"Key": key.decode("utf-8", "replace")}
    if code == "NoSuchVersion":
        version_id = parse_query(request.raw_query).get("versionId", "")
        return {"Key": key.decode("utf-8", "replace"), "VersionId": version_id}
    if "Bucket" in code:
        return {"BucketName": bucket}
    return {}


def _part_fields(error: InvalidPart | EntityTooSmall, request: Request) -> dict[str, str]:
    """Which part of an upload of up to 10,000 it was, where it was one."""
    if not error.number:
        return {}
    if isinstance(error, EntityTooSmall):
        return {
            "ProposedSize": str(error.size_bytes),
            "MinSizeAllowed": str(PART_BYTES_MIN),
            "PartNumber": str(error.number),
        }
    return {
        "UploadId": parse_query(request.raw_query).get("uploadId", ""),
        "PartNumber": str(error.number),
        "ETag": error.etag,
    }


def _headers(error: Rs3gwError) -> list[tuple[str, str]]:
    """The headers that the error itself brings."""
    if isinstance(error, ApiError):
        return error.headers
    if not isinstance(error, NoSuchKey | MethodNotAllowed):
        return []
    if error.delete_marker_version_id is None:
        return []
    headers = [
        ("x-amz-delete-marker", "true"),
        ("x-amz-version-id", error.delete_marker_version_id),
    ]
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", "DELETE"))
        if error.last_modified_ms is not None:
            headers.append(("Last-Modified", http_date(error.last_modified_ms)))
    return headers
