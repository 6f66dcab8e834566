"""Signed requests with hostile contents, and signed requests that were altered afterwards.

A generator and a signer, no tests. What is altered before it is signed reaches the deepest code;
what is altered afterwards tries the front and the checks of signatures.
"""

import base64
import hashlib
import hmac
import time
from random import Random
from urllib.parse import quote_from_bytes

from msgspec import Struct

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY

BUCKET = "fuzz"

_HOSTILE_TEXTS = (
    b"",
    b"\0",
    b"\r\nSet-Cookie: a=b",
    b"\n",
    b"..",
    b"../../other/key",
    b"..%2f..%2fother",
    b"%2e%2e",
    b"%",
    b"%zz",
    b"\\..\\",
    b"//",
    b"/",
    b"a\x01b",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    "\u00e4\u4e00\U0001f600".encode(),
    "\ufffe\uffff".encode(),
    b"<x>&amp;]]>\"'",
    b"&lt;!ENTITY",
    b"null",
    b"0",
    b"-1",
    b"2147483648",
    b"99999999999999999999999999999999999999",
    b"1e9",
    "\u0661\u0662".encode(),
    b"true",
    b"k" * 1024,
    b"k" * 1025,
    b"=?utf-7?Q?+2AA-?=",
    b"=?unicode_escape?B?XHVkODAw?=",
    b"=?utf-8?B?AA0KAA==?=",
    b"=?" * 200,
    b'"',
    b"*",
    b",",
    b";",
    b"bytes=0-",
    b"bytes=-1",
    b"bytes=9-1,0-0",
    b"bytes=18446744073709551615-",
    b"Thu, 01 Jan 1970 00:00:00 GMT",
    b"Mon, 99 Foo 99999 99:99:99 GMT",
    b"9999-12-31T23:59:59.999Z",
    b"/fuzz/a",
    b"fuzz/a?versionId=null",
    b"fuzz/a?versionId=" + b"A" * 300,
    b"fuzz/%ff",
    b"a=b&a=b",
    b"a=%00",
    b"AAAAAA==",
    b"d" * 3000,
)

_QUERY_NAMES = (
    *("list-type", "versions", "uploads", "uploadId", "partNumber", "versionId", "tagging"),
    *("versioning", "location", "delete", "attributes", "acl", "policy", "cors", "lifecycle"),
    *("prefix", "delimiter", "marker", "max-keys", "encoding-type", "start-after", "key-marker"),
    *("continuation-token", "version-id-marker", "upload-id-marker", "max-uploads", "max-parts"),
    *("part-number-marker", "fetch-owner", "response-content-type", "response-expires"),
    *("response-content-disposition", "response-content-encoding", "max-buckets", "bucket-region"),
    *("x-id", "append", "position", "session", "torrent", "select", "select-type", "restore"),
)

_HEADER_NAMES = (
    *("content-type", "content-encoding", "content-language", "content-disposition"),
    *("cache-control", "expires", "range", "if-match", "if-none-match", "if-modified-since"),
    *("if-unmodified-since", "content-md5", "x-amz-meta-a", "x-amz-meta-", "x-amz-tagging"),
    *("x-amz-copy-source", "x-amz-copy-source-range", "x-amz-copy-source-if-match"),
    *("x-amz-copy-source-if-modified-since", "x-amz-metadata-directive", "x-amz-acl"),
    *("x-amz-tagging-directive", "x-amz-storage-class", "x-amz-website-redirect-location"),
    *("x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme"),
    *("x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-sdk-checksum-algorithm"),
    *("x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"),
    *("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner", "x-amz-trailer"),
    *("x-amz-mp-object-size", "x-amz-decoded-content-length", "x-amz-checksum-mode"),
    *("x-amz-if-match-size", "x-amz-if-match-last-modified-time", "x-rs3gw-durability"),
    *("x-amz-bucket-object-lock-enabled", "x-amz-object-ownership", "x-amz-request-payer"),
    *("x-amz-grant-read", "x-amz-server-side-encryption", "x-amz-mfa", "origin"),
    *("access-control-request-method", "x-amz-bypass-governance-retention", "te", "upgrade"),
)

_DOCUMENTS = (
    b"<Delete><Object><Key>a</Key></Object></Delete>",
    b"<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object>"
    b"<Object><Key>b</Key><ETag>x</ETag><Size>1</Size></Object></Delete>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
    b"</CompleteMultipartUpload>",
    b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    b"<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint>"
    b"</CreateBucketConfiguration>",
    b"plain bytes",
    b"",
)

_KEYS = (b"", b"a", b"b", b"dir/c", b"multi")


class HostileRequest(Struct, frozen=True):
    """A request before it is signed; path and query parts are raw bytes, not yet encoded."""

    method: str
    path: bytes
    query: list[tuple[bytes, bytes]]
    headers: dict[str, bytes]
    body: bytes

    @property
    def target(self) -> str:
        """The request target, percent-encoded."""
        query = _encode_query(self.query)
        return quote_from_bytes(self.path, safe="/~") + (f"?{query}" if query else "")


def make_request(random: Random) -> HostileRequest:
    """A request as a client might send it, with some parts made hostile."""
    method = random.choice(["GET", "GET", "PUT", "PUT", "PUT", "POST", "DELETE", "HEAD"])
    key = random.choice(_KEYS)
    if random.random() < 0.2:
        key = random.choice(_HOSTILE_TEXTS)
    bucket = BUCKET.encode() if random.random() < 0.9 else random.choice(_HOSTILE_TEXTS)
    path = b"/" + bucket + (b"/" + key if key else b"")
    query = [
        (random.choice(_QUERY_NAMES).encode(), _value(random))
        for _ in range(random.choice([0, 0, 1, 1, 2, 3]))
    ]
    headers = {
        random.choice(_HEADER_NAMES): _header_value(random)
        for _ in range(random.choice([0, 1, 2, 4]))
    }
    body = b""
    if method in ("PUT", "POST"):
        body = random.choice(_DOCUMENTS)
        if random.random() < 0.3:
            body = _alter(random, body)
        if random.random() < 0.5:
            headers["content-md5"] = _md5(body)
    return HostileRequest(method, path, query, headers, body)


def signed(request: HostileRequest, host: str, *, secret: str = SECRET_KEY) -> bytes:
    """The request on the wire, signed by the root account's key, with `Connection: close`."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    payload = hashlib.sha256(request.body).hexdigest()
    headers = {
        **request.headers,
        "host": host.encode(),
        "x-amz-date": moment.encode(),
        "x-amz-content-sha256": payload.encode(),
    }
    names = ";".join(sorted(headers))
    lines = b"".join(
        name.encode() + b":" + b" ".join(headers[name].split()) + b"\n" for name in sorted(headers)
    )
    path, _, query = request.target.partition("?")
    canonical = (
        f"{request.method}\n{path}\n{query}\n".encode() + lines + f"\n{names}\n{payload}".encode()
    )
    scope = f"{moment[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    signing_key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, "
        f"Signature={signing_key.hex()}"
    ).encode()
    headers["content-length"] = str(len(request.body)).encode()
    headers["connection"] = b"close"
    head = f"{request.method} {request.target} HTTP/1.1\r\n".encode() + b"".join(
        name.encode() + b": " + value + b"\r\n" for name, value in headers.items()
    )
    return head + b"\r\n" + request.body


def altered(random: Random, wire: bytes) -> bytes:
    """The bytes of a request with one to four places changed, left out or doubled."""
    data = bytearray(wire)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(data))
        match random.randrange(5):
            case 0:
                data[place] = random.randrange(256)
            case 1:
                data[place:place] = random.choice(_HOSTILE_TEXTS)
            case 2:
                del data[place : place + random.randrange(1, 30)]
            case 3:
                data[place:place] = data[place : place + random.randrange(1, 60)]
            case _:
                del data[place:]
        if not data:
            return b"\r\n"
    return bytes(data)


def _value(random: Random) -> bytes:
    if random.random() < 0.4:
        return random.choice([b"", b"1", b"2", b"null", b"a", b"url", b"/"])
    return random.choice(_HOSTILE_TEXTS)


def _header_value(random: Random) -> bytes:
    """A value that HTTP allows: no control characters, no blanks at its ends."""
    value = random.choice(_HOSTILE_TEXTS)
    return bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F).strip()


def _alter(random: Random, body: bytes) -> bytes:
    place = random.randrange(len(body) + 1)
    return body[:place] + random.choice(_HOSTILE_TEXTS) + body[place + random.randrange(3) :]


def _md5(body: bytes) -> bytes:
    return base64.b64encode(hashlib.md5(body).digest())


def _encode_query(query: list[tuple[bytes, bytes]]) -> str:
    """Canonical order, each name once: repeated ones are refused before anything is looked at."""
    pairs = dict(query)
    encoded = [
        (quote_from_bytes(name, safe="~"), quote_from_bytes(value, safe="~"))
        for name, value in pairs.items()
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))
