"""Which operation a request asks for, on which bucket and key. Pure.

Two styles name a bucket: in the path (`/bucket/key`) and in the host (`bucket.domain`, for each
domain the operator configured; the longest one that fits wins, and the bare domain means path
style). Ports are ignored. The path is taken apart before it is decoded, so that `%2F` in a key is a
slash of the key; nothing is normalised.

The operation is found by method, level and sub-resources. A sub-resource that the method does not
have is refused, never ignored: `DELETE /bucket?versioning` must not delete the bucket. Parameters
that are no sub-resource of any operation are ignored, as AWS does.

Source: "Virtual hosting of general purpose buckets" in the Amazon S3 User Guide; "Making requests"
in the API Reference.
"""

from collections.abc import Iterable

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.s3.names import check_bucket_name, decode_key, decode_path_part, parse_query
from rs3gwd.s3.operations import OPERATIONS, Level, Operation

_OBJECT_LAMBDA_BUCKET = "WriteGetObjectResponse"
"""No bucket: POST on this path is an operation of the service."""


class Route(Struct, frozen=True):
    """The operation a request asks for; `bucket` and `key` are empty above their level."""

    operation: Operation
    bucket: str
    key: bytes
    query: dict[str, str]


class Router:
    """The index of the table of operations, and the host names of this endpoint.

    `domains` are the lower-case names, without port, below which a label names a bucket.
    """

    def __init__(
        self, *, domains: Iterable[str] = (), operations: Iterable[Operation] = OPERATIONS
    ) -> None:
        rows = [row for row in operations if not row.alias_of]
        rows.sort(key=lambda row: (len(row.query), bool(row.header)), reverse=True)
        self._rows: dict[tuple[Level, str, str], list[Operation]] = {}
        for row in rows:
            name = row.query[0] if row.query else ""
            self._rows.setdefault((row.level, row.method, name), []).append(row)
        self._sub_resources = frozenset(row.query[0] for row in rows if row.query)
        # Longest first, so that the most exact domain decides.
        self._suffixes = tuple(
            f".{domain.lower()}" for domain in sorted(domains, key=len, reverse=True)
        )

    def route(self, request: Request) -> Route:
        """Raises ApiError: InvalidURI, InvalidBucketName, KeyTooLongError, MethodNotAllowed,
        InvalidArgument, InvalidRequest.
        """
        bucket, raw_key = self.split_target(request.host, request.raw_path)
        query = parse_query(request.raw_query) if request.raw_query else {}
        if bucket == _OBJECT_LAMBDA_BUCKET and request.method == "POST" and not raw_key:
            bucket = ""
        if not bucket:
            return Route(self._select(request, Level.SERVICE, query), "", b"", query)
        check_bucket_name(bucket)
        if not raw_key:
            return Route(self._select(request, Level.BUCKET, query), bucket, b"", query)
        key = decode_key(raw_key)
        return Route(self._select(request, Level.OBJECT, query), bucket, key, query)

    def place(self, request: Request) -> tuple[str, bytes]:
        """The bucket and the key of a request, whatever it asks for; each may be empty.

        Raises ApiError InvalidURI, InvalidBucketName, KeyTooLongError.
        """
        bucket, raw_key = self.split_target(request.host, request.raw_path)
        if bucket:
            check_bucket_name(bucket)
        return bucket, decode_key(raw_key) if raw_key else b""

    def split_target(self, host: str, raw_path: str) -> tuple[str, str]:
        """The bucket's name and the key as it stands in the path; each may be empty.

        Raises ApiError InvalidURI for a path that does not begin with `/` or cannot be decoded.
        """
        if raw_path[:1] != "/":
            raise ApiError("InvalidURI", fields={"URI": raw_path})
        if self._suffixes and (bucket := self._bucket_of_host(host)):
            return bucket, raw_path[1:]
        raw_bucket, _, raw_key = raw_path[1:].partition("/")
        if not raw_bucket and raw_key:
            raise ApiError("InvalidBucketName", fields={"BucketName": ""})
        if "%" in raw_bucket:
            return decode_path_part(raw_bucket).decode(), raw_key
        return raw_bucket, raw_key

    def _bucket_of_host(self, host: str) -> str:
        """The label or labels in front of a configured domain, empty where there are none."""
        name = host.lower()
        if name[-1:].isdigit() or name[-1:] == ":":
            front, colon, _ = name.rpartition(":")
            name = front if colon else name
        for suffix in self._suffixes:
            if name.endswith(suffix):
                return name[: -len(suffix)]
            if name == suffix[1:]:
                return ""
        return ""

    def _select(self, request: Request, level: Level, query: dict[str, str]) -> Operation:
        """The row for a request at a level."""
        method = request.method
        name = self._sub_resource(query) if query else ""
        if not name and "partNumber" in query and method == "PUT":
            # A part of nothing must not become a whole object.
            raise ApiError(
                "InvalidArgument",
                "This operation does not accept partNumber without uploadId",
                fields={"ArgumentName": "partNumber", "ArgumentValue": query["partNumber"]},
            )
        for row in self._rows.get((level, method, name), ()):
            if _fits(row, request, query):
                return row
        if name and level is not Level.SERVICE:
            self._check_no_sub_resource(method, level, name)
        for row in self._rows.get((level, method, ""), ()):
            if _fits(row, request, query):
                return row
        raise _method_not_allowed(method, self._allowed(level, ""), str(level))

    def _sub_resource(self, query: dict[str, str]) -> str:
        """The one sub-resource that a query names, empty where it names none."""
        names = [name for name in query if name in self._sub_resources]
        if len(names) > 1:
            raise ApiError(
                "InvalidArgument",
                f"Conflicting query string parameters: {', '.join(names)}",
                fields={"ArgumentName": "ResourceType", "ArgumentValue": names[0]},
            )
        return names[0] if names else ""

    def _check_no_sub_resource(self, method: str, level: Level, name: str) -> None:
        """Refuses what would be another request if the sub-resource were overlooked."""
        if name == "uploadId" and (level, method, name) in self._rows:
            others = [other for other in self._allowed(level, name) if other != method]
            raise _method_not_allowed(method, others, "upload")
        if level is Level.OBJECT and (Level.BUCKET, method, name) in self._rows:
            raise ApiError(
                "InvalidRequest", f"Key is not expected for the {method} method ?{name} subresource"
            )
        if level is Level.BUCKET and (Level.OBJECT, method, name) in self._rows:
            raise ApiError("InvalidRequest", "A key must be specified")
        # Not a resource but an argument of GET: HEAD and others may carry it without harm.
        if name != "list-type":
            raise _method_not_allowed(method, self._allowed(level, name), name)

    def _allowed(self, level: Level, name: str) -> list[str]:
        return sorted(row[1] for row in self._rows if (row[0], row[2]) == (level, name))


def _fits(row: Operation, request: Request, query: dict[str, str]) -> bool:
    """Whether a request has what the row wants besides method, level and sub-resource."""
    if row.header and row.header not in request.headers:
        return False
    return len(row.query) < 2 or all(name in query for name in row.query)


def _method_not_allowed(method: str, allowed: list[str], resource: str) -> ApiError:
    """405; RFC 9110 section 15.5.6 wants the methods that are allowed."""
    return ApiError(
        "MethodNotAllowed",
        fields={"Method": method, "ResourceType": resource.upper()},
        headers=[("Allow", ", ".join(allowed))],
    )
