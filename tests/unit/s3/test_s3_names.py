"""Names of buckets, continuation tokens and tags."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.s3.continuation import TokenKind, make_token, read_token
from rs3gwd.s3.names import check_bucket_name, check_new_bucket_name
from rs3gwd.s3.tag_set import parse_tagging, tag_set_xml


@pytest.mark.parametrize(
    "name", ["abc", "a-b", "1.2.3", "a.b-c.d", "0" * 63, "my-bucket-2", "a1.1", "1.2.3.4.5"]
)
def test_a_name_within_the_rules_may_be_made(name: str) -> None:
    """General purpose bucket naming rules."""
    check_new_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 64,
        "Abc",
        "a_b",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "192.168.5.4",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-abc",
        "abc-s3alias",
        "abc--ol-s3",
        "abc.mrap",
        "abc--x-s3",
        "abc--table-s3",
        "a b",
        "abc\n",
        "büc",
        "１２３",
    ],
)
def test_a_name_against_the_rules_may_not_be_made(name: str) -> None:
    """Each rule is broken once."""
    with pytest.raises(ApiError) as caught:
        check_new_bucket_name(name)
    assert caught.value.api_code == "InvalidBucketName"


def test_a_name_that_was_once_legal_may_be_asked_for() -> None:
    """The answer to it is NoSuchBucket and comes from the store."""
    for name in ("My_Bucket", "a" * 255, "192.168.5.4"):
        check_bucket_name(name)
    for name in ("a", "a" * 256, "a/b", "a b", "a\n"):
        with pytest.raises(ApiError):
            check_bucket_name(name)


@given(after=st.text(min_size=1, max_size=200).filter(lambda text: len(text.encode()) <= 1024))
def test_a_token_gives_back_the_name_it_was_made_of(after: str) -> None:
    """For names with any character."""
    token = make_token(TokenKind.OBJECTS, after.encode())
    assert read_token(TokenKind.OBJECTS, token) == after.encode()


def _refused(token: str, kind: TokenKind = TokenKind.OBJECTS) -> bool:
    try:
        read_token(kind, token)
    except ApiError as error:
        return error.api_code == "InvalidArgument"
    return False


def test_an_altered_or_foreign_token_is_refused() -> None:
    """Each character changed, cut, lengthened, of another kind, or made up."""
    token = make_token(TokenKind.OBJECTS, b"some/key")
    for index, character in enumerate(token):
        changed = token[:index] + ("A" if character != "A" else "B") + token[index + 1 :]
        assert _refused(changed) or read_token(TokenKind.OBJECTS, changed) == b"some/key"
    assert _refused(token, TokenKind.BUCKETS)
    assert all(_refused(bad) for bad in ("", "x", "AAAA", token[:-4], token + "AAAA", "é", "="))
    assert _refused("A" * 3000)
    assert _refused(make_token(TokenKind.OBJECTS, b"\xff"))
    assert _refused(make_token(TokenKind.OBJECTS, b"a" * 1025))
    assert _refused(base64.urlsafe_b64encode(b"key").decode())


@given(st.text(max_size=64))
def test_no_text_does_anything_but_continue_or_be_refused(token: str) -> None:
    """The only exception is an ApiError."""
    assert _refused(token)


def _tagging(inside: str) -> bytes:
    return f"<Tagging><TagSet>{inside}</TagSet></Tagging>".encode()


def _tag(key: str, value: str) -> str:
    return f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"


def test_a_tag_set_is_read_back_as_it_was_written() -> None:
    """Unicode letters, blanks, the allowed signs and empty values."""
    tags = [("key", "value"), ("Größe 1", ""), ("a+b-c=d._:/@", "x y")]
    body = f"<Tagging>{tag_set_xml(tags)}</Tagging>".encode()
    assert parse_tagging(body, count_max=10, subject="Object") == tags


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (_tagging(_tag("", "v")), "InvalidTag"),
        (_tagging(_tag("k" * 129, "v")), "InvalidTag"),
        (_tagging(_tag("k", "v" * 257)), "InvalidTag"),
        (_tagging(_tag("aws:k", "v")), "InvalidTag"),
        (_tagging(_tag("AWS:k", "v")), "InvalidTag"),
        (_tagging(_tag("k!", "v")), "InvalidTag"),
        (_tagging(_tag("k", "v#")), "InvalidTag"),
        (_tagging(_tag("k", "1") + _tag("k", "2")), "InvalidTag"),
        (_tagging("".join(_tag(f"k{n}", "v") for n in range(11))), "BadRequest"),
        (_tagging("<Tag><Key>k</Key></Tag>"), "MalformedXML"),
        (_tagging("<Tag><Value>k</Value></Tag>"), "MalformedXML"),
        (_tagging("<Tag><Key>k</Key><Key>k</Key><Value/></Tag>"), "MalformedXML"),
        (_tagging("<Other/>"), "MalformedXML"),
        (b"<Tagging/>", "MalformedXML"),
        (b"<Tagging><TagSet/><TagSet/></Tagging>", "MalformedXML"),
        (b"<TagSet/>", "MalformedXML"),
    ],
)
def test_a_tag_set_against_the_rules_is_refused(body: bytes, code: str) -> None:
    """Each rule of a tag and of the document is broken once."""
    with pytest.raises(ApiError) as caught:
        parse_tagging(body, count_max=10, subject="Object")
    assert caught.value.api_code == code
