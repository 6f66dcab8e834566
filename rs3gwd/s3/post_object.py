"""PostObject: an upload by a form in a browser.

    fields of the form -> who signed it -> does its policy allow them -> may they -> PutObject

The fields become the headers that a PUT would have, and the file becomes its body, so what is
stored, proved and refused is what PutObject stores, proves and refuses. Nothing is looked at but
the form until it is known who sent it. A file that is too long or too short for its policy is
refused in mid-stream and nothing of it is stored.

Source: "POST Object" and "Creating an HTML form" in the Amazon S3 API Reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request, Response
from rs3gwd.base.limits import KEY_BYTES_MAX, OBJECT_TAGS_MAX
from rs3gwd.base.ports import BodyStream
from rs3gwd.iam.payload import Authenticated, PayloadKind, PayloadPlan
from rs3gwd.iam.post_form import VERSION_2_FIELDS, VERSION_4_FIELDS, authenticate_form
from rs3gwd.iam.post_policy import PostPolicy, check_post_policy, read_post_policy
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4 import SigningKeyCache
from rs3gwd.iam.sigv4_claim import TOKEN_HEADER
from rs3gwd.s3.admission import admit
from rs3gwd.s3.call import Call, Services
from rs3gwd.s3.form_reader import FormReader, boundary_of
from rs3gwd.s3.objects import put_object
from rs3gwd.s3.operations import OPERATIONS
from rs3gwd.s3.route import Route
from rs3gwd.s3.tag_set import parse_tagging
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, url_encode

OPERATION = "PostObject"
_PUT_OBJECT = next(row for row in OPERATIONS if row.name == "PutObject")

FILE_NAME_VARIABLE = "${filename}"

_HEADER_FIELDS = frozenset(
    {
        "cache-control",
        "content-type",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "expires",
    }
)
_PRIVATE_FIELDS = frozenset({*VERSION_4_FIELDS, *VERSION_2_FIELDS, TOKEN_HEADER})
_STATUSES = {"200": 200, "201": 201}


class FormFile:
    """The port `BodyStream` over the file of a form, within the bounds of its policy."""

    def __init__(self, body: BodyStream, reader: FormReader, pieces: list[bytes]) -> None:
        self._body = body
        self._reader = reader
        self._pieces = pieces
        self._size_bytes = 0
        self._minimum = 0
        self._maximum: int | None = None

    def bound(self, policy: PostPolicy) -> None:
        """Takes the bounds of a policy over."""
        self._minimum = policy.minimum or 0
        self._maximum = policy.maximum

    async def receive(self) -> bytes:
        """The next bytes; empty at the end.

        Raises ApiError EntityTooLarge, EntityTooSmall (for the policy), MalformedPOSTRequest (the
        form ends before its file), and what the body raises.
        """
        while not self._pieces and not self._reader.is_complete:
            data = await self._body.receive()
            if not data:
                raise ApiError("MalformedPOSTRequest")
            self._pieces = self._reader.feed(data)
        if self._pieces:
            piece = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
            self._pieces = []
            self._size_bytes += len(piece)
            if self._maximum is not None and self._size_bytes > self._maximum:
                raise self._wrong_size("EntityTooLarge", "MaxSizeAllowed", self._maximum)
            return piece
        if self._size_bytes < self._minimum:
            raise self._wrong_size("EntityTooSmall", "MinSizeAllowed", self._minimum)
        return b""

    def _wrong_size(self, code: str, bound: str, limit: int) -> ApiError:
        fields = {"ProposedSize": str(self._size_bytes), bound: str(limit)}
        return ApiError(code, fields=fields)


class Form(Struct, frozen=True):
    """A form up to its file. `fields` by lower-case name; `file` gives the bytes of the file."""

    fields: dict[str, str]
    file_name: str
    file: FormFile


async def post_object(
    request: Request,
    bucket: str,
    *,
    services: Services,
    signers: Signers,
    signing_keys: SigningKeyCache,
) -> tuple[Response, Principal]:
    """Stores the file of a form; the answer and who sent it.

    Raises ApiError for what a form may not be, and as PutObject does.
    """
    form = await read_form(request)
    principal = await signers.when_opened(
        partial(
            authenticate_form,
            form.fields,
            signers=signers,
            now_ms=services.clock.now_ms(),
            peer=request.peer,
            region=services.region,
            signing_keys=signing_keys,
            takes_version_2="POST" in services.presigned_v2_methods,
        )
    )
    if principal.account is not None:
        policy = read_post_policy(form.fields["policy"])
        facts = {**form.fields, "bucket": bucket}
        check_post_policy(policy, facts, now_ms=services.clock.now_ms())
        form.file.bound(policy)
    call = await _admit(request, bucket, form, principal, services)
    stored = await put_object(call)
    return _answer(call, form.fields, stored), principal


async def read_form(request: Request) -> Form:
    """Receives a form up to its file.

    Raises ApiError RequestIsNotMultiPartContent, MalformedPOSTRequest,
    MaxPostPreDataLengthExceededError, InvalidArgument (no file, a field twice).
    """
    reader = FormReader(boundary_of(request.headers.get("content-type", "")))
    pieces: list[bytes] = []
    while reader.file_name is None:
        data = await request.body.receive()
        if not data:
            raise ApiError(
                "InvalidArgument",
                "POST requires exactly one file upload per request.",
                fields={"ArgumentName": "file", "ArgumentValue": "0"},
            )
        pieces += reader.feed(data)
    file = FormFile(request.body, reader, pieces)
    return Form(reader.fields, reader.file_name, file)


def form_key(fields: Mapping[str, str], file_name: str) -> bytes:
    """The key that a form names. Raises ApiError InvalidArgument, KeyTooLongError."""
    key = fields.get("key", "").replace(FILE_NAME_VARIABLE, file_name).encode()
    if not key:
        raise ApiError(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the "
            "order of the fields.",
            fields={"ArgumentName": "key"},
        )
    if len(key) > KEY_BYTES_MAX:
        raise ApiError("KeyTooLongError")
    return key


def form_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """The headers that a PUT of the same would have.

    Raises ApiError InvalidArgument, InvalidTag, MalformedXML.
    """
    headers: dict[str, str] = {}
    for name, value in fields.items():
        if name in _PRIVATE_FIELDS:
            continue
        if name in _HEADER_FIELDS or name.startswith("x-amz-"):
            if not value.isprintable():
                raise ApiError(
                    "InvalidArgument",
                    "A field that becomes a header cannot hold control characters.",
                    fields={"ArgumentName": name},
                )
            headers[name] = value.encode().decode("latin-1")
    if "acl" in fields:
        headers["x-amz-acl"] = fields["acl"]
    if "tagging" in fields:
        tags = parse_tagging(
            fields["tagging"].encode(), count_max=OBJECT_TAGS_MAX, subject="Object"
        )
        headers["x-amz-tagging"] = urlencode(tags)
    return headers


async def _admit(
    request: Request, bucket: str, form: Form, principal: Principal, services: Services
) -> Call:
    """The PUT that the form stands for, permitted. Raises ApiError AccessDenied; NoSuchBucket."""
    key = form_key(form.fields, form.file_name)
    put = replace(request, headers=form_headers(form.fields), content_length=None, body=form.file)
    payload = PayloadPlan(
        kind=PayloadKind.UNSIGNED, expected_sha256=None, decoder=None, decoded_length=None
    )
    return admit(
        services,
        put,
        Route(_PUT_OBJECT, bucket, key, {}),
        Authenticated(principal=principal, payload=payload),
        await services.store.wait_lookups(),
    )


def _answer(call: Call, fields: Mapping[str, str], stored: Response) -> Response:
    """What the form wants to hear: nothing, a document, or to be sent elsewhere."""
    etag = next(value for name, value in stored.headers if name == "ETag")
    scheme = "https" if call.request.secure else "http"
    location = f"{scheme}://{call.request.host}/{call.bucket}/{url_encode(call.key)}"
    redirect = fields.get("success_action_redirect") or fields.get("redirect")
    if redirect and (target := _redirect_target(redirect)):
        query = urlencode({"bucket": call.bucket, "key": call.key.decode(), "etag": etag})
        headers = [*stored.headers, ("Location", f"{target}{query}")]
        return Response(303, headers)
    headers = [*stored.headers, ("Location", location)]
    status = _STATUSES.get(fields.get("success_action_status", ""), 204)
    if status != 201:
        return Response(status, headers)
    inside = (
        element("Location", location)
        + element("Bucket", call.bucket)
        + element("Key", call.key.decode())
        + element("ETag", etag)
    )
    return Response(201, [*headers, CONTENT_TYPE], document("PostResponse", inside, namespace=""))


def _redirect_target(url: str) -> str | None:
    """Where to send the browser, ready for the query to be added; None for what is no address."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
        return None
    return url + ("&" if parts.query else "?")
