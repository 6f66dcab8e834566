"""The canonical form of a request: the one spelling that signer and verifier agree on.

The same request can be written in many ways (percent-escapes, order of parameters, blanks in
header values), so both sides first rewrite it to one. S3 differs from other services: the path is
neither normalised (`//`, `/./` and `/../` are legal in keys) nor encoded twice.

Fast paths take text that is canonical already, which most of what clients send is: one
`bytes.translate` that deletes the unreserved characters and leaves nothing shows it.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in a Single
Chunk" in the Amazon S3 API Reference. Invariants: every function is total on ASCII input; two
inputs with one canonical form are decoded to the same key and parameters by the S3 surface (`+`
in a query is a blank there, and `%20` here).
"""

from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

QueryPairs = list[tuple[str, str]]
"""Names and values, each UriEncoded, sorted by name and then by value."""

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_UNRESERVED_AND_SLASH = _UNRESERVED + b"/"
_UNRESERVED_IN_QUERY = _UNRESERVED + b"&="


def canonical_uri(raw_path: str) -> str:
    """The path with each escape decoded and every byte but unreserved ones and `/` escaped."""
    if not raw_path.encode().translate(None, _UNRESERVED_AND_SLASH):
        return raw_path or "/"
    return quote(unquote_to_bytes(raw_path), safe="/-._~")


def canonical_query_pairs(raw_query: str) -> QueryPairs:
    """The parameters in canonical spelling and order; an empty part between two `&` is nothing."""
    if not raw_query:
        return []
    pairs = []
    is_plain = not raw_query.encode().translate(None, _UNRESERVED_IN_QUERY)
    for part in raw_query.split("&"):
        if part:
            name, _, value = part.partition("=")
            if not is_plain or "=" in value:
                name, value = _encode_again(name), _encode_again(value)
            pairs.append((name, value))
    if len(pairs) > 1:
        pairs.sort()
    return pairs


def join_query(pairs: QueryPairs) -> str:
    """The canonical query string of canonical pairs."""
    return "&".join([f"{name}={value}" for name, value in pairs])


def decode_query_text(encoded: str) -> str:
    """A canonical name or value decoded, one latin-1 character per byte."""
    if "%" not in encoded:
        return encoded
    return unquote_to_bytes(encoded).decode("latin-1")


def canonical_header_value(value: str) -> str:
    """The value without outer blanks and with each run of blanks inside as one space.

    Only space, tab and line breaks are blanks: `str.split()` would also split at U+0085 and U+00A0,
    which in latin-1 are bytes of UTF-8 text.
    """
    if " " not in value and value.isprintable():
        return value
    if "\t" in value or "\n" in value or "\r" in value:
        value = value.replace("\t", " ").replace("\n", " ").replace("\r", " ")
    if "  " in value or value[:1] == " " or value[-1:] == " ":
        return " ".join([word for word in value.split(" ") if word])
    return value


def canonical_headers(headers: Sequence[tuple[str, str]]) -> str:
    """The block of header lines; `headers` are lower-case names in order, each with its value."""
    return "".join([f"{name}:{canonical_header_value(value)}\n" for name, value in headers])


def canonical_request(
    *, method: str, uri: str, query: str, headers: str, signed_headers: str, payload_hash: str
) -> bytes:
    """The canonical request; `uri`, `query` and `headers` are canonical, the result is latin-1."""
    return f"{method}\n{uri}\n{query}\n{headers}\n{signed_headers}\n{payload_hash}".encode(
        "latin-1"
    )


def _encode_again(text: str) -> str:
    if not text.encode().translate(None, _UNRESERVED):
        return text
    return quote(unquote_to_bytes(text.replace("+", "%20")), safe="-._~")
