"""The small world of the iam tests: two accounts, their keys, requests and an independent signer.

The signer is written from the AWS pages a second time, straight on `hmac`, so that a mistake in
`rs3gwd.iam` is not repeated here.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote

from rs3gwd.base.http import Request
from rs3gwd.base.ports import KeyHolder
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus, AccountRecord
from rs3gwd.iam.authenticate import AuthenticationSettings, authenticate
from rs3gwd.iam.payload import Authenticated
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4 import SigningKeyCache

AWS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
INACTIVE_KEY_ID = "AKIAINACTIVE00000000"
ORPHAN_KEY_ID = "AKIAORPHAN0000000000"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
AWS_TIMESTAMP = "20130524T000000Z"
AWS_NOW_MS = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp()) * 1000
SETTINGS = AuthenticationSettings(region="us-east-1", virtual_host_domains=("s3.amazonaws.com",))

ALICE = AccountRecord(
    canonical_id="a" * 64, display_name="alice", email="alice@example.org", created_ms=0
)


class FakeDirectory:
    """Alice with an active and an inactive key, and a key whose account is gone."""

    def __init__(self) -> None:
        self.keys = {
            key_id: AccessKeyRecord(
                access_key_id=key_id,
                secret=AWS_SECRET,
                canonical_id=canonical_id,
                created_ms=0,
                status=status,
            )
            for key_id, canonical_id, status in (
                (AWS_KEY_ID, ALICE.canonical_id, AccessKeyStatus.ACTIVE),
                (INACTIVE_KEY_ID, ALICE.canonical_id, AccessKeyStatus.INACTIVE),
                (ORPHAN_KEY_ID, "f" * 64, AccessKeyStatus.ACTIVE),
            )
        }

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        return self.keys.get(access_key_id)

    def key_holder(self, access_key_id: str) -> KeyHolder | None:
        key = self.keys.get(access_key_id)
        return None if key is None else KeyHolder(key, self.account(key.canonical_id), None)

    def account(self, canonical_id: str) -> AccountRecord | None:
        return ALICE if canonical_id == ALICE.canonical_id else None

    def accounts(self) -> list[AccountRecord]:
        return [ALICE]

    def access_keys(self, canonical_id: str) -> list[AccessKeyRecord]:
        return [key for key in self.keys.values() if key.canonical_id == canonical_id]


class NoBody:
    """A body that authentication must never touch."""

    async def receive(self) -> bytes:
        raise AssertionError("authentication read the body")


def make_request(
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: dict[str, str] | None = None,
    *,
    host: str = "examplebucket.s3.amazonaws.com",
    repeated: tuple[str, ...] = (),
    content_length: int | None = 0,
) -> Request:
    """A Request as the front makes it; `host` also becomes the header."""
    return Request(
        method=method,
        raw_path=path,
        raw_query=query,
        headers={"host": host, **(headers or {})},
        repeated_headers=frozenset(repeated),
        host=host,
        content_length=content_length,
        body=NoBody(),
        peer="127.0.0.1",
        secure=False,
        request_id="0123456789ABCDEF",
    )


def check(
    request: Request,
    *,
    now_ms: int = AWS_NOW_MS,
    settings: AuthenticationSettings = SETTINGS,
    signing_keys: SigningKeyCache | None = None,
) -> Authenticated:
    """Authenticates in the small world."""
    return authenticate(
        request,
        signers=Signers(FakeDirectory()),
        now_ms=now_ms,
        settings=settings,
        signing_keys=signing_keys or SigningKeyCache(entries_max=4),
    )


def signing_key(
    secret: str = AWS_SECRET, date: str = "20130524", region: str = "us-east-1"
) -> bytes:
    """The derived key, by the recipe."""
    key = ("AWS4" + secret).encode()
    for word in (date, region, "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key


def sign_header(
    method: str = "GET",
    path: str = "/test.txt",
    query: list[tuple[str, str]] | None = None,
    headers: dict[str, str] | None = None,
    *,
    host: str = "examplebucket.s3.amazonaws.com",
    payload_hash: str = EMPTY_SHA256,
    timestamp: str = AWS_TIMESTAMP,
    key_id: str = AWS_KEY_ID,
    scope: str | None = None,
    unsigned: tuple[str, ...] = (),
    content_length: int | None = 0,
) -> Request:
    """A header-signed request; `path` and `query` are decoded, `unsigned` headers not covered."""
    every = {
        "host": host,
        "x-amz-date": timestamp,
        "x-amz-content-sha256": payload_hash,
        **(headers or {}),
    }
    scope = scope or f"{timestamp[:8]}/us-east-1/s3/aws4_request"
    names = sorted(name for name in every if name not in unsigned)
    pairs = sorted(
        (quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in query or []
    )
    raw_query = "&".join(f"{name}={value}" for name, value in pairs)
    raw_path = quote(path, safe="/-._~")
    signature = _signature(
        [
            method,
            raw_path,
            raw_query,
            *(f"{name}:{every[name]}" for name in names),
            "",
            ";".join(names),
            payload_hash,
        ],
        timestamp=timestamp,
        scope=scope,
    )
    every["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return make_request(
        method, raw_path, raw_query, every, host=host, content_length=content_length
    )


def presign(
    method: str = "GET",
    path: str = "/test.txt",
    headers: dict[str, str] | None = None,
    *,
    expires: str = "86400",
    timestamp: str = AWS_TIMESTAMP,
    key_id: str = AWS_KEY_ID,
    scope: str | None = None,
    extra: dict[str, str] | None = None,
    host: str = "examplebucket.s3.amazonaws.com",
    payload_hash: str = "UNSIGNED-PAYLOAD",
) -> Request:
    """A presigned request; all `headers` are signed, `extra` are further query parameters."""
    every = {"host": host, **(headers or {})}
    names = sorted(every)
    scope = scope or f"{timestamp[:8]}/us-east-1/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key_id}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": expires,
        "X-Amz-SignedHeaders": ";".join(names),
        **(extra or {}),
    }
    pairs = sorted(
        (quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in parameters.items()
    )
    raw_query = "&".join(f"{name}={value}" for name, value in pairs)
    raw_path = quote(path, safe="/-._~")
    signature = _signature(
        [
            method,
            raw_path,
            raw_query,
            *(f"{name}:{every[name]}" for name in names),
            "",
            ";".join(names),
            payload_hash,
        ],
        timestamp=timestamp,
        scope=scope,
    )
    return make_request(
        method, raw_path, f"{raw_query}&X-Amz-Signature={signature}", every, host=host
    )


def _signature(lines: list[str], *, timestamp: str, scope: str) -> str:
    digest = hashlib.sha256("\n".join(lines).encode("latin-1")).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}"
    date, region = scope.split("/")[:2]
    return hmac.new(
        signing_key(date=date, region=region), text.encode(), hashlib.sha256
    ).hexdigest()
