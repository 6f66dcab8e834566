"""The policy of a form: what it must allow and what it must be."""

import base64
import json

import pytest

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.post_policy import check_post_policy, read_post_policy

NOW_MS = 1_700_000_000_000
LATER = "2030-01-01T00:00:00.000Z"


def encoded(*conditions: object, expiration: object = LATER, **more: object) -> str:
    """A policy in base64."""
    policy = {"expiration": expiration, "conditions": list(conditions), **more}
    return base64.b64encode(json.dumps(policy).encode()).decode()


def refused(text: str, fields: dict[str, str], *, now_ms: int = NOW_MS) -> str:
    """The words with which a form is refused, empty where it is taken."""
    try:
        check_post_policy(read_post_policy(text), fields, now_ms=now_ms)
    except ApiError as error:
        return f"{error.api_code}: {error.message}"
    return ""


def test_a_form_that_says_what_its_policy_allows_is_taken() -> None:
    """Equal texts in either spelling, prefixes, any text, and fields that nobody checks."""
    text = encoded(
        {"bucket": "b"},
        ["eq", "$Content-Type", "text/plain"],
        ["starts-with", "$key", "user/"],
        ["starts-with", "$x-amz-meta-note", ""],
        {"acl": "private", "success_action_status": "201"},
    )
    fields = {
        "bucket": "b",
        "content-type": "text/plain",
        "key": "user/x",
        "x-amz-meta-note": "anything",
        "acl": "private",
        "success_action_status": "201",
        "policy": text,
        "x-amz-signature": "s",
        "x-ignore-me": "1",
    }
    assert refused(text, fields) == ""


@pytest.mark.parametrize(
    ("condition", "fields", "words"),
    [
        ({"acl": "private"}, {"acl": "public-read"}, "Policy Condition failed"),
        ({"acl": "private"}, {}, "Policy Condition failed"),
        (["starts-with", "$key", "user/"], {"key": "other"}, "Policy Condition failed"),
        (["starts-with", "$Content-Type", "image/"], {"content-type": "image/a,text/b"}, "failed"),
        ({"bucket": "b"}, {"bucket": "c"}, "Policy Condition failed"),
        ({"key": "k"}, {"key": "k", "tagging": "x"}, "Extra input fields: tagging"),
        ({"key": "k"}, {"key": "k", "x-amz-meta-a": "1"}, "Extra input fields: x-amz-meta-a"),
    ],
)
def test_a_form_that_says_something_else_is_denied(
    condition: object, fields: dict[str, str], words: str
) -> None:
    """AccessDenied, with what does not hold."""
    answer = refused(encoded(condition), fields)
    assert answer.startswith("AccessDenied: Invalid according to Policy")
    assert words in answer


def test_a_list_of_content_types_may_all_begin_alike() -> None:
    """As AWS documents it for starts-with."""
    text = encoded(["starts-with", "$Content-Type", "image/"])
    assert refused(text, {"content-type": "image/jpg, image/png"}) == ""


def test_a_policy_ends_at_its_expiration() -> None:
    """The moment itself is too late."""
    text = encoded(expiration="2023-11-14T22:13:20Z")
    assert refused(text, {}, now_ms=NOW_MS - 1) == ""
    assert "Policy expired" in refused(text, {}, now_ms=NOW_MS)


def test_the_bounds_of_the_file_are_read() -> None:
    """As numbers or as texts."""
    for low, high in ((1, 1024), ("1", "1024")):
        policy = read_post_policy(encoded(["content-length-range", low, high]))
        assert (policy.minimum, policy.maximum) == (1, 1024)


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        base64.b64encode(b"not json").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b'{"expiration": "x", "expiration": "y", "conditions": []}').decode(),
        base64.b64encode(b"[" * 5000).decode(),
        encoded(expiration="soon"),
        encoded(expiration=None),
        base64.b64encode(b'{"expiration": "2030-01-01T00:00:00Z"}').decode(),
        encoded(more="x"),
        encoded("text"),
        encoded({}),
        encoded(["eq", "$key"]),
        encoded(["ne", "$key", "x"]),
        encoded(["eq", "key", "x"]),
        encoded(["eq", "$key", ["x"]]),
        encoded({"key": None}),
        encoded(["content-length-range", -1, 2]),
        encoded(["content-length-range", "x", 2]),
        encoded(*[{"key": "k"}] * 201),
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    """InvalidPolicyDocument, and never anything else."""
    with pytest.raises(ApiError) as refusal:
        read_post_policy(text)
    assert refusal.value.api_code == "InvalidPolicyDocument"
