"""Presigned version 2 requests: where they are taken, what they cover, when they end."""

import hmac
from base64 import b64encode
from urllib.parse import quote

import pytest
from iam_world import (
    ALICE,
    AWS_KEY_ID,
    AWS_NOW_MS,
    AWS_SECRET,
    INACTIVE_KEY_ID,
    check,
    make_request,
)

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.authenticate import AuthenticationSettings

NOW_S = AWS_NOW_MS // 1000


def presign_v2(
    resource: str = "/bucket/key",
    *,
    method: str = "GET",
    path: str | None = None,
    host: str = "localhost:9000",
    expires: str = str(NOW_S + 60),
    key_id: str = AWS_KEY_ID,
    amz: tuple[str, ...] = (),
    content: tuple[str, str] = ("", ""),
    more: str = "",
    headers: dict[str, str] | None = None,
) -> Request:
    """A request presigned by AWS's recipe for `resource`, sent with `more` in its query."""
    lines = [method, *content, expires, *amz, resource]
    digest = hmac.digest(AWS_SECRET.encode(), "\n".join(lines).encode(), "sha1")
    query = (
        f"AWSAccessKeyId={key_id}&Expires={expires}"
        f"&Signature={quote(b64encode(digest), safe='')}{more}"
    )
    return make_request(method, path or resource.partition("?")[0], query, headers, host=host)


def refusal(request: Request, *, now_ms: int = AWS_NOW_MS) -> ApiError:
    """The error with which a request is refused."""
    with pytest.raises(ApiError) as caught:
        check(request, now_ms=now_ms)
    return caught.value


def test_the_published_example_of_version_2_verifies() -> None:
    """AWS's example of a presigned GET has the signature that AWS prints."""
    request = make_request(
        "GET",
        "/photos/puppy.jpg",
        "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"
        "&Expires=1175139620",
        host="johnsmith.s3.amazonaws.com",
    )
    settings = AuthenticationSettings(
        region="us-west-1", virtual_host_domains=("s3.amazonaws.com",)
    )
    authenticated = check(request, now_ms=1_175_139_620_000, settings=settings)
    assert authenticated.principal.account == ALICE


def test_version_2_is_for_reading_unless_settings_say_more() -> None:
    """PUT is refused by default, taken where allowed; no method at all turns version 2 off."""
    put = presign_v2(method="PUT")
    error = refusal(put)
    assert error.api_code == "InvalidRequest"
    assert "Please use AWS4-HMAC-SHA256." in error.message
    more = AuthenticationSettings(region="r", presigned_v2_methods=frozenset({"PUT"}))
    assert check(put, settings=more).principal.account == ALICE
    with pytest.raises(ApiError):
        check(presign_v2(), settings=more)
    assert check(presign_v2()).principal.account == ALICE


@pytest.mark.parametrize(
    ("expires", "now_ms", "message"),
    [
        (str(NOW_S), AWS_NOW_MS, None),
        (str(NOW_S), AWS_NOW_MS + 1, "Request has expired"),
        ("0", AWS_NOW_MS, "Request has expired"),
        ("-1", AWS_NOW_MS, "Invalid date"),
        ("", AWS_NOW_MS, "Invalid date"),
        ("soon", AWS_NOW_MS, "Invalid date"),
        ("999999999999", AWS_NOW_MS, None),
        ("9999999999999", AWS_NOW_MS, "Invalid date"),
    ],
)
def test_expires_is_a_second_since_1970(expires: str, now_ms: int, message: str | None) -> None:
    """The request is good up to that second; what is no such number is AccessDenied."""
    request = presign_v2(expires=expires)
    if message is None:
        assert check(request, now_ms=now_ms).principal.account == ALICE
        return
    error = refusal(request, now_ms=now_ms)
    assert error.api_code == "AccessDenied"
    assert error.message.startswith(message)


def test_sub_resources_and_overrides_are_signed() -> None:
    """They count decoded and sorted; without them the signature does not match."""
    resource = "/bucket/key?acl&response-content-type=text/plain; a=b&versionId=x"
    more = "&versionId=x&response-content-type=text%2Fplain%3B%20a%3Db&acl"
    assert check(presign_v2(resource, more=more)).principal.account == ALICE
    assert check(presign_v2("/b/k?acl=", path="/b/k", more="&acl=")).principal.account == ALICE
    added = presign_v2(more="&versionId=x")
    assert refusal(added).api_code == "SignatureDoesNotMatch"


def test_parameters_of_listings_are_free_and_others_refused() -> None:
    """Version 2 does not sign them: harmless ones pass, one that may change the action does not."""
    assert check(presign_v2(more="&prefix=a&list-type=2")).principal.account == ALICE
    error = refusal(presign_v2(more="&attributes"))
    assert error.api_code == "AccessDenied"
    assert error.fields == {"ParametersNotSigned": "attributes"}


def test_one_value_cannot_pass_for_two_parameters() -> None:
    """Values are signed decoded, so a separator hidden in one is refused."""
    resource = "/bucket/key?response-content-type=a&versionId=x"
    assert check(
        presign_v2(resource, more="&response-content-type=a&versionId=x")
    ).principal.account
    hidden = presign_v2(resource, more="&response-content-type=a%26versionId%3Dx")
    assert refusal(hidden).api_code == "InvalidArgument"
    broken = presign_v2(more="&content-type=a%0Ab")
    assert refusal(broken).api_code == "InvalidArgument"
    harmless = "/bucket/key?response-content-disposition=attachment; filename=a & b.txt"
    request = presign_v2(
        harmless, more="&response-content-disposition=attachment%3B%20filename%3Da%20%26%20b.txt"
    )
    assert check(request).principal.account == ALICE


def test_the_bucket_in_the_host_is_part_of_the_resource() -> None:
    """A virtual-host request signs `/bucket/key` and sends `/key`."""
    request = presign_v2("/bucket/key", path="/key", host="bucket.s3.amazonaws.com:9000")
    assert check(request).principal.account == ALICE
    other = presign_v2("/bucket/key", path="/key", host="other.s3.amazonaws.com")
    assert refusal(other).api_code == "SignatureDoesNotMatch"


def test_amz_headers_are_signed_wherever_they_are() -> None:
    """x-amz-* in headers or query count, the same in both is refused, one more does not match."""
    amz = ("x-amz-meta-a:1",)
    assert check(presign_v2(amz=amz, headers={"x-amz-meta-a": "1"})).principal.account == ALICE
    authenticated = check(presign_v2(amz=amz, more="&x-amz-meta-a=1"))
    assert authenticated.query_headers == {"x-amz-meta-a": "1"}
    both = presign_v2(amz=amz, more="&x-amz-meta-a=1", headers={"x-amz-meta-a": "1"})
    assert refusal(both).api_code == "InvalidArgument"
    assert refusal(presign_v2(headers={"x-amz-acl": "a"})).api_code == "SignatureDoesNotMatch"


def test_content_headers_are_signed() -> None:
    """Content-MD5 and Content-Type are part of what is signed, in header or query."""
    content = ("1B2M2Y8AsgTpgAmY7PhCfg==", "text/plain")
    headers = {"content-md5": content[0], "content-type": content[1]}
    assert check(presign_v2(content=content, headers=headers)).principal.account == ALICE
    more = f"&content-md5={quote(content[0])}&content-type=text%2Fplain"
    authenticated = check(presign_v2(content=content, more=more))
    assert authenticated.principal.account == ALICE
    assert authenticated.query_headers == headers
    clash = presign_v2(content=content, more=more, headers={"content-type": "text/html"})
    assert refusal(clash).api_code == "InvalidArgument"
    assert refusal(presign_v2(headers=headers)).api_code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("key_id", ["NOBODY", INACTIVE_KEY_ID])
def test_an_unknown_or_inactive_key_is_refused(key_id: str) -> None:
    """Both are InvalidAccessKeyId, though rightly signed."""
    assert refusal(presign_v2(key_id=key_id)).api_code == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("AWSAccessKeyId=a&Expires=1", "AccessDenied"),
        ("Signature=a&Expires=1", "AccessDenied"),
        (f"AWSAccessKeyId={AWS_KEY_ID}&Signature=a", "AccessDenied"),
        (f"AWSAccessKeyId={AWS_KEY_ID}&Signature=a&Signature=a&Expires=1", "InvalidArgument"),
        (
            f"AWSAccessKeyId={AWS_KEY_ID}&Signature=%ff&Expires={NOW_S}",
            "SignatureDoesNotMatch",
        ),
        (
            f"AWSAccessKeyId={AWS_KEY_ID}&Signature=a&Expires={NOW_S}&x-amz-security-token=t",
            "InvalidToken",
        ),
    ],
)
def test_an_incomplete_version_2_query_is_refused(query: str, code: str) -> None:
    """Missing, repeated or unusable parameters each get their error."""
    assert refusal(make_request("GET", "/bucket/key", query)).api_code == code


def test_a_wrong_version_2_signature_shows_what_was_signed() -> None:
    """SignatureDoesNotMatch carries the string to sign and not the secret."""
    error = refusal(presign_v2(path="/bucket/other"))
    assert error.fields["StringToSign"] == f"GET\n\n\n{NOW_S + 60}\n/bucket/other"
    assert AWS_SECRET not in str(error.fields)
