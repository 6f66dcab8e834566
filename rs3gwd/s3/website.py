"""A bucket as a static website: its configuration, and what a path of the website names; pure.

    /            -> index document of the bucket
    /docs/       -> docs/ + index document
    /docs        -> the object, else (there is docs/ + index document) a redirection to /docs/
    anything missing or refused -> the error document, with the status that says so

Redirections and routing rules are not served yet, so a configuration with them is refused with 501
rather than stored and not obeyed.

Source: PutBucketWebsite in the Amazon S3 API Reference; "Configuring an index document",
"Configuring a custom error document" and "Website endpoints" in the User Guide.
"""

from __future__ import annotations

from html import escape

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.s3.xml_read import malformed, parse_xml
from rs3gwd.s3.xml_write import document, element

KEY_BYTES_MAX = 1024

_LATER = ("RedirectAllRequestsTo", "RoutingRules")


class WebsiteConfiguration(Struct, frozen=True):
    """The documents of a website; `error_key` may be empty. `version` is that of this shape."""

    index_suffix: str
    error_key: str = ""
    version: int = 1


def parse_website(body: bytes) -> WebsiteConfiguration:
    """The configuration in a WebsiteConfiguration document.

    Raises ApiError MalformedXML, InvalidArgument (a suffix with a slash), NotImplemented.
    """
    root = parse_xml(body, "WebsiteConfiguration")
    root.require_children("IndexDocument", "ErrorDocument", *_LATER)
    for name in _LATER:
        if root.find(name) is not None:
            raise ApiError("NotImplemented", f"{name} of a website is not implemented.")
    index, error = root.find("IndexDocument"), root.find("ErrorDocument")
    if index is None:
        raise malformed()
    index.require_children("Suffix")
    suffix = index.text_of("Suffix") or ""
    if not suffix or "/" in suffix:
        raise ApiError(
            "InvalidArgument",
            "The IndexDocument Suffix is not well formed",
            fields={"ArgumentName": "IndexDocument", "ArgumentValue": suffix[:KEY_BYTES_MAX]},
        )
    error_key = ""
    if error is not None:
        error.require_children("Key")
        error_key = error.text_of("Key") or ""
        if not error_key:
            raise malformed()
    if max(len(suffix.encode()), len(error_key.encode())) > KEY_BYTES_MAX:
        raise ApiError("KeyTooLongError")
    return WebsiteConfiguration(suffix, error_key)


def website_xml(configuration: WebsiteConfiguration) -> bytes:
    """The document that says the same."""
    parts = [f"<IndexDocument>{element('Suffix', configuration.index_suffix)}</IndexDocument>"]
    if configuration.error_key:
        parts.append(f"<ErrorDocument>{element('Key', configuration.error_key)}</ErrorDocument>")
    return document("WebsiteConfiguration", parts)


def bucket_of_website(host: str, domains: tuple[str, ...]) -> str | None:
    """The bucket that a host names below one of the website domains; None for other hosts."""
    name = host.lower()
    front, colon, port = name.rpartition(":")
    if colon and port.isdecimal():
        name = front
    for domain in domains:
        if name.endswith(f".{domain}"):
            return name[: -len(domain) - 1]
    return None


def error_page(status: int, code: str, message: str, request_id: str) -> Response:
    """The page of a website without an error document, as plain as that of S3."""
    title = f"{status} {code}"
    items = "".join(
        f"<li>{name}: {escape(value)}</li>"
        for name, value in (("Code", code), ("Message", message), ("RequestId", request_id))
    )
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{escape(title)}</title></head>"
        f"<body><h1>{escape(title)}</h1><ul>{items}</ul></body></html>\n"
    )
    headers = [("Content-Type", "text/html; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    response = Response(status, headers, page.encode())
    response.error_code = code
    return response
