"""Cross-origin resource sharing: the rules of a bucket and what they say of a request; pure.

A browser asks before it sends (a preflight: OPTIONS with the method and headers it means to use)
and afterwards hands an answer to the page only if the answer's headers allow it. The first rule of
the bucket that fits decides. Rules guard nobody's data: whoever is no browser need not ask, so they
never stand in for a permission.

Sources: "Using cross-origin resource sharing" and "Elements of a CORS configuration" in the Amazon
S3 User Guide; PutBucketCors in the API Reference; the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.s3.xml_read import Element, malformed, parse_xml
from rs3gwd.s3.xml_write import document, element, optional_element

METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
RULES_MAX = 100
ID_CHARACTERS_MAX = 255
AGE_DIGITS_MAX = 10

_CHILDREN = (
    "ID",
    "AllowedHeader",
    "AllowedMethod",
    "AllowedOrigin",
    "ExposeHeader",
    "MaxAgeSeconds",
)
_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")


class CorsRule(Struct, frozen=True):
    """One rule. `origins` and `headers` may each hold one `*` as a wildcard."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: int | None = None
    id: str = ""


class CorsConfiguration(Struct, frozen=True):
    """The rules of a bucket, in order; `version` is that of this shape."""

    rules: tuple[CorsRule, ...]
    version: int = 1


def parse_cors(body: bytes) -> CorsConfiguration:
    """The configuration in a CORSConfiguration document.

    Raises ApiError MalformedXML, InvalidRequest (a method, wildcard or name that S3 refuses).
    """
    root = parse_xml(body, "CORSConfiguration")
    root.require_children("CORSRule")
    if not 1 <= len(root.children) <= RULES_MAX:
        raise malformed()
    return CorsConfiguration(tuple(_parse_rule(child) for child in root.children))


def cors_xml(configuration: CorsConfiguration) -> bytes:
    """The document that says the same."""
    return document("CORSConfiguration", [_rule_xml(rule) for rule in configuration.rules])


def find_rule(
    rules: Iterable[CorsRule], *, origin: str, method: str, headers: Sequence[str] = ()
) -> CorsRule | None:
    """The first rule that allows this method from this origin with all these header names."""
    for rule in rules:
        if (
            method in rule.methods
            and any(_matches(pattern, origin) for pattern in rule.origins)
            and all(_allows_header(rule, name) for name in headers)
        ):
            return rule
    return None


def requested_headers(value: str | None) -> list[str]:
    """The names in Access-Control-Request-Headers, in lower case."""
    return [name.strip().lower() for name in (value or "").split(",") if name.strip()]


def response_headers(
    rule: CorsRule, *, origin: str, headers: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """What the answer to a request or a preflight says when `rule` allows it."""
    anyone = "*" in rule.origins
    shown = [("Access-Control-Allow-Origin", "*" if anyone else origin)]
    shown.append(("Access-Control-Allow-Methods", ", ".join(rule.methods)))
    if headers:
        shown.append(("Access-Control-Allow-Headers", ", ".join(headers)))
    if rule.exposed:
        shown.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed)))
    if rule.max_age_s is not None:
        shown.append(("Access-Control-Max-Age", str(rule.max_age_s)))
    if not anyone:
        shown.append(("Access-Control-Allow-Credentials", "true"))
    shown.append(_VARY)
    return shown


def _parse_rule(found: Element) -> CorsRule:
    if found.name != "CORSRule":
        raise malformed()
    found.require_children(*_CHILDREN)
    methods = _texts(found, "AllowedMethod")
    origins = _texts(found, "AllowedOrigin")
    headers = _texts(found, "AllowedHeader")
    if not methods or not origins:
        raise malformed()
    for method in methods:
        if method not in METHODS:
            raise ApiError(
                "InvalidRequest",
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
            )
    for name, patterns in (("AllowedOrigin", origins), ("AllowedHeader", headers)):
        for pattern in patterns:
            if pattern.count("*") > 1:
                raise ApiError(
                    "InvalidRequest", f'{name} "{pattern}" can not have more than one wildcard.'
                )
    exposed = _texts(found, "ExposeHeader")
    for name in exposed:
        if "*" in name:
            raise ApiError(
                "InvalidRequest",
                f'ExposeHeader "{name}" contains wildcard. We currently do not support wildcard '
                "for ExposeHeader.",
            )
    rule_id = found.text_of("ID") or ""
    if len(rule_id) > ID_CHARACTERS_MAX:
        raise malformed()
    return CorsRule(origins, methods, headers, exposed, _max_age(found), rule_id)


def _texts(found: Element, name: str) -> tuple[str, ...]:
    texts = tuple(child.text.strip() for child in found.find_all(name))
    for text in texts:
        # It goes into a header of an answer, where a line break would begin another one.
        if not text or not text.isascii() or not text.isprintable():
            raise malformed()
    return texts


def _max_age(found: Element) -> int | None:
    text = found.text_of("MaxAgeSeconds")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= AGE_DIGITS_MAX):
        raise malformed()
    return int(text)


def _rule_xml(rule: CorsRule) -> str:
    inside = optional_element("ID", rule.id)
    for name, texts in (
        ("AllowedMethod", rule.methods),
        ("AllowedOrigin", rule.origins),
        ("AllowedHeader", rule.headers),
        ("ExposeHeader", rule.exposed),
    ):
        inside += "".join(element(name, text) for text in texts)
    return f"<CORSRule>{inside}{optional_element('MaxAgeSeconds', rule.max_age_s)}</CORSRule>"


def _allows_header(rule: CorsRule, name: str) -> bool:
    return any(_matches(pattern.lower(), name) for pattern in rule.headers)


def _matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which one `*` stands for any text, an empty one included."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return (
        len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)
    )
