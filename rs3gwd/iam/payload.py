"""How the body of a request is protected, as authentication found it.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
Chunks" and "Authenticating Requests" in the Amazon S3 API Reference.
"""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from rs3gwd.base.ports import Buffer
from rs3gwd.iam.principal import Principal


class PayloadKind(StrEnum):
    """The meaning of x-amz-content-sha256."""

    SIGNED = "signed"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class ChunkDecoder(Protocol):
    """Takes aws-chunked bytes, gives payload bytes; sans-IO (`rs3gwd.iam.chunked`)."""

    @property
    def held_bytes(self) -> int:
        """Bytes of a chunk whose signature is not verified yet."""
        ...

    def feed(self, data: Buffer) -> list[Buffer]:
        """The payload bytes that `data` completed and, where signed, proved. Raises ApiError."""
        ...

    def finish(self) -> dict[str, str]:
        """The network body is at its end: the verified trailers, by lower-case name.

        Raises ApiError: IncompleteBody when truncated, MalformedTrailerError.
        """
        ...


class PayloadPlan(Struct, frozen=True):
    """What whoever reads the body must do with it.

    `expected_sha256` is the hex digest of the whole body where `kind` is SIGNED. `decoder` is for
    this one request where the body is aws-chunked, else None. `decoded_length` is the length of
    the payload in bytes (x-amz-decoded-content-length, or Content-Length), None when unknown.
    `trailer_names` are the lower-case names announced in x-amz-trailer.
    """

    kind: PayloadKind
    expected_sha256: str | None
    decoder: ChunkDecoder | None
    decoded_length: int | None
    trailer_names: tuple[str, ...] = ()


class Authenticated(Struct, frozen=True):
    """Who asks, and how to read what they send.

    `query_headers` are the headers that the signer of a presigned request moved into the query
    (x-amz-*; in version 2 also content-type and content-md5), by lower-case name, decoded as
    latin-1 like header values: signed, and meant as headers.
    """

    principal: Principal
    payload: PayloadPlan
    query_headers: dict[str, str] = {}
