"""The examples that AWS publishes in the S3 API Reference, as vectors.

Sources: "Signature Calculations for the Authorization Header: Transferring Payload in a Single
Chunk", "... in Multiple Chunks", "Signature calculations for trailing headers", "Authenticating
Requests: Using Query Parameters".
"""

import pytest
from iam_world import ALICE, AWS_KEY_ID, EMPTY_SHA256, check, make_request

from rs3gwd.base.http import Request
from rs3gwd.iam.payload import PayloadKind

SCOPE = f"{AWS_KEY_ID}/20130524/us-east-1/s3/aws4_request"


def example(
    method: str, path: str, query: str, headers: dict[str, str], signed: str, signature: str
) -> Request:
    """A published request with its published signature."""
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={signed},Signature={signature}"
    )
    return make_request(
        method,
        path,
        query,
        {"x-amz-date": "20130524T000000Z", "authorization": authorization, **headers},
    )


SINGLE_CHUNK = {
    "GET object": example(
        "GET",
        "/test.txt",
        "",
        {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY_SHA256},
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "PUT object": example(
        "PUT",
        "/test$file.text",
        "",
        {
            "date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": (
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
            ),
        },
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "GET bucket lifecycle": example(
        "GET",
        "/",
        "lifecycle",
        {"x-amz-content-sha256": EMPTY_SHA256},
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": example(
        "GET",
        "/",
        "max-keys=2&prefix=J",
        {"x-amz-content-sha256": EMPTY_SHA256},
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize("name", SINGLE_CHUNK)
def test_single_chunk_examples_of_aws_verify(name: str) -> None:
    """Each published header-signed request is accepted as signed by its key."""
    authenticated = check(SINGLE_CHUNK[name])
    assert authenticated.principal.account == ALICE
    assert authenticated.principal.access_key_id == AWS_KEY_ID
    assert authenticated.payload.kind is PayloadKind.SIGNED
    assert authenticated.payload.expected_sha256 is not None


def test_presigned_example_of_aws_verifies() -> None:
    """The published presigned URL is accepted, its body unsigned."""
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    authenticated = check(make_request("GET", "/test.txt", query))
    assert authenticated.principal.account == ALICE
    assert authenticated.payload.kind is PayloadKind.UNSIGNED
    assert authenticated.query_headers == {}


def chunked_example(kind: str, headers: dict[str, str], signed: str, signature: str) -> Request:
    """The published PUT of 66,560 bytes of `a`; its host is s3.amazonaws.com, path style."""
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={signed},Signature={signature}"
    )
    return make_request(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "",
        {
            "x-amz-date": "20130524T000000Z",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": kind,
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": "66560",
            "content-length": "66824",
            "authorization": authorization,
            **headers,
        },
        host="s3.amazonaws.com",
        content_length=66824,
    )


def chunks(*signatures: str) -> bytes:
    """The published body up to the header of the last chunk."""
    first, second, last = (signature.encode() for signature in signatures)
    return b"".join(
        [
            b"10000;chunk-signature=" + first + b"\r\n" + b"a" * 65536 + b"\r\n",
            b"400;chunk-signature=" + second + b"\r\n" + b"a" * 1024 + b"\r\n",
            b"0;chunk-signature=" + last + b"\r\n",
        ]
    )


def test_chunked_upload_example_of_aws_decodes() -> None:
    """The published chunked upload verifies chunk by chunk and gives 66,560 bytes."""
    request = chunked_example(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        {},
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
        "x-amz-decoded-content-length;x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
    plan = check(request).payload
    assert plan.kind is PayloadKind.STREAMING_SIGNED
    assert plan.decoded_length == 66560
    body = chunks(
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    assert len(body) + 2 == request.content_length
    assert plan.decoder is not None
    assert b"".join(plan.decoder.feed(body + b"\r\n")) == b"a" * 66560
    assert plan.decoder.finish() == {}


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_trailer_upload_example_of_aws_decodes(end: bytes) -> None:
    """The published upload with a trailer verifies, with or without the last empty line."""
    request = chunked_example(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        {"x-amz-trailer": "x-amz-checksum-crc32c"},
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class;x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
    plan = check(request).payload
    assert plan.kind is PayloadKind.STREAMING_SIGNED_TRAILER
    assert plan.trailer_names == ("x-amz-checksum-crc32c",)
    body = chunks(
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    )
    body += b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    body += b"x-amz-trailer-signature:"
    body += b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
    assert plan.decoder is not None
    assert b"".join(plan.decoder.feed(body + end)) == b"a" * 66560
    assert plan.decoder.finish() == {"x-amz-checksum-crc32c": "sOO8/Q=="}
