"""Secrets do not get into log lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.observe.redact import (
    DEPTH_MAX,
    KNOWN_SECRETS_MAX,
    MASK,
    Redactor,
    redact_target,
)

SECRET = "wJalrXUtnFEMI/K7MDENG"


@pytest.mark.parametrize(
    "name",
    ["secret", "secret_key", "Authorization", "metrics_token", "password", "X-Amz-Signature"],
)
def test_a_value_under_a_telling_name_is_masked(name: str) -> None:
    """The name of a field is enough, whatever its value and its case."""
    assert Redactor()(None, "info", {"event": "x", name: "plain"})[name] == MASK


def test_a_known_secret_is_masked_wherever_it_stands() -> None:
    """In the phrase, in fields, in containers, in the text of an object, in a traceback."""
    redactor = Redactor()
    redactor.add_secret(SECRET)
    event = {
        "event": f"key {SECRET}!",
        "where": [SECRET, {"deep": (SECRET,)}],
        "error": ValueError(SECRET),
        "exception": f"Traceback\n{SECRET}\n",
        "raw": SECRET.encode(),
    }
    assert SECRET not in repr(redactor(None, "info", event))


@pytest.mark.parametrize(
    "text",
    [
        "GET /b/k?X-Amz-Signature=abcdef01&x=1",
        "https://h/k?Signature=abcdef01",
        "AWS4-HMAC-SHA256 Credential=AKID/20150830, Signature=abcdef01",
        "x-amz-security-token: abcdef01",
    ],
)
def test_signatures_and_session_tokens_are_masked_in_any_text(text: str) -> None:
    """What AWS puts into URLs and headers is known by its look."""
    assert "abcdef01" not in Redactor().redact_text(text)


def test_what_is_not_secret_stays() -> None:
    """Figures, access key ids and ordinary words are left as they are."""
    event = {"event": "sealed", "segment": 7, "access_key": "AKIDEXAMPLE", "ok": True, "none": None}
    assert Redactor()(None, "info", event) == event


def test_the_search_is_bounded() -> None:
    """A secret too short to tell, one too many, and a value too deep are not let through."""
    redactor = Redactor()
    with pytest.raises(ValueError, match="short"):
        redactor.add_secret("1234567")
    for number in range(KNOWN_SECRETS_MAX):
        redactor.add_secret(f"secret-{number:04}")
    with pytest.raises(ValueError, match="known already"):
        redactor.add_secret("one too many")
    deep: object = "bottom"
    for _ in range(DEPTH_MAX + 2):
        deep = [deep]
    assert "bottom" not in repr(redactor(None, "info", {"event": deep}))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/b/k", "/b/k"),
        ("/b/k?", "/b/k?"),
        ("/b/k?list-type=2&prefix=a", "/b/k?list-type=2&prefix=a"),
        ("/b/k?X-Amz-Signature=ab&uploads", f"/b/k?X-Amz-Signature={MASK}&uploads"),
        ("/b/k?x-amz-security-token=ab", f"/b/k?x-amz-security-token={MASK}"),
        ("/b/k?AWSAccessKeyId=A&Signature=a%3D", f"/b/k?AWSAccessKeyId=A&Signature={MASK}"),
        ("/b/k?X-Amz-%53ignature=ab", f"/b/k?X-Amz-%53ignature={MASK}"),
        ("/b/k?Signature=a&Signature=b", f"/b/k?Signature={MASK}&Signature={MASK}"),
    ],
)
def test_the_secrets_of_a_query_are_masked(target: str, expected: str) -> None:
    """A presigned URL in the access log cannot be used again; the rest of it is kept."""
    assert redact_target(target) == expected


@given(st.text(max_size=80))
def test_any_target_is_masked_without_fail(target: str) -> None:
    """Masking takes every text, and doing it twice changes nothing more."""
    once = redact_target(target)
    assert redact_target(once) == once
