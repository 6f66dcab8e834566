"""The bounds of the network front, given by the daemon from the configuration.

Every queue, buffer and wait of the front is bounded by a field here: a client that asks for more is
refused or loses its connection; it never makes the node slower for the others. RFC 9112 section
2.5 and section 9.5 ask for such bounds and leave their values to the server.
"""

from msgspec import Struct


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """All bounds of one gateway; counts are at least 1, seconds above 0.

    `connections_max` open client connections (nginx: 512 to 1,024 per worker; ours cost about
    10 KiB each). `requests_max` requests between their head and the last byte of their answer; the
    next one gets 503 SlowDown. `buffered_bytes_max` bytes that the front itself holds: unfinished
    heads, pipelined requests, answers that slow clients have not taken.

    `request_line_bytes_max` fits a 1,024-byte key in percent-encoding and a presigned query with
    a session token; `head_bytes_max` is the whole head with its empty line (AWS: 8 KiB of
    headers), `headers_max` the number of fields.

    `head_seconds` from the first byte of a head to its last, and for the first byte on a new
    connection. `idle_seconds` between two requests. `patience_seconds` and
    `bytes_per_second_min` say which client is too slow with a body, in either direction; see
    `rs3gwd.gateway.patience`. `handshake_seconds` bounds TLS.

    `unread_body_bytes_max` is how much of a request body that no handler read is thrown away to
    keep the connection; beyond it the connection closes. `linger_seconds` and
    `linger_bytes_max` bound the reading that follows a refusal, without which TCP's reset
    could destroy the answer on its way (RFC 9112 section 9.6).

    `refusals_max` connections beyond `connections_max` are told 503 at the same time; further
    ones are closed without a word. `receive_bytes` is the size of one read of a body.
    `sweep_seconds` is how exact all these times are.
    """

    connections_max: int = 4096
    requests_max: int = 1024
    buffered_bytes_max: int = 256 << 20
    request_line_bytes_max: int = 16 << 10
    head_bytes_max: int = 32 << 10
    headers_max: int = 256
    head_seconds: float = 20.0
    idle_seconds: float = 75.0
    patience_seconds: float = 20.0
    bytes_per_second_min: int = 1024
    handshake_seconds: float = 10.0
    unread_body_bytes_max: int = 256 << 10
    linger_seconds: float = 2.0
    linger_bytes_max: int = 1 << 20
    refusals_max: int = 64
    receive_bytes: int = 256 << 10
    sweep_seconds: float = 0.5
