"""Response heads: the exact bytes, and what is never let out."""

import pytest

from rs3gwd.gateway.response_head import ResponseHeads, has_body

HEADS = ResponseHeads(host_id="host")


def encode(status=200, headers=(), **options):
    """A head with usual arguments."""
    arguments = {"content_length": 5, "request_id": "ID", "now_ms": 784_111_777_999, **options}
    return HEADS.encode(status, list(headers), **arguments)


def test_head_is_exact():
    """The bytes of a whole head (the date is RFC 9110's example)."""
    assert encode(headers=[("ETag", '"x"')]) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Server: rs3gwd\r\n"
        b"x-amz-id-2: host\r\n"
        b"x-amz-request-id: ID\r\n"
        b"Content-Length: 5\r\n"
        b'ETag: "x"\r\n\r\n'
    )


def test_date_moves_with_the_clock_and_back():
    """The cached second is never served for another."""
    assert b"08:49:38 GMT" in encode(now_ms=784_111_778_000)
    assert b"08:49:37 GMT" in encode(now_ms=784_111_777_000)


@pytest.mark.parametrize("status", [200, 206, 304, 400, 404, 412, 416, 500, 501, 503, 505, 507])
def test_statuses_of_s3_have_phrases(status):
    """Every status that S3 uses has a line."""
    assert encode(status).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "field",
    [
        ("A", "b\r\nC: d"),
        ("A", "b\nC: d"),
        ("A", "b\rC"),
        ("A", "b\0"),
        ("A: b\r\nC", "d"),
        ("CONTENT-length", "1"),
        ("connection", "close"),
        ("A", "\u20ac"),
    ],
)
def test_field_that_would_change_the_message_raises(field):
    """Line breaks, NUL, the front's own fields and non-latin-1 text are refused."""
    with pytest.raises(ValueError):
        encode(headers=[field])


def test_error_body_is_escaped():
    """Nothing a client sends can break out of the XML."""
    body = HEADS.error_body("BadRequest", "a<b>&", resource="/x'<", request_id="ID")
    assert b"<Message>a&lt;b&gt;&amp;</Message><Resource>/x'&lt;</Resource>" in body
    assert b"<RequestId>ID</RequestId><HostId>host</HostId></Error>" in body


def test_bodyless_statuses():
    """Interim responses, 204 and 304 have no body."""
    assert [status for status in (100, 200, 204, 304, 404) if not has_body(status)] == [
        100,
        204,
        304,
    ]
