"""Headers of objects: metadata, system headers, tags, overrides, and what is not here."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Attributes, VersionKind, VersionRecord
from rs3gwd.s3.headers import (
    apply_overrides,
    attributes_from,
    encode_metadata,
    object_headers,
    refuse_unimplemented,
)


def version(attributes: Attributes) -> VersionRecord:
    """A version with these attributes."""
    return VersionRecord(VersionKind.OBJECT, "null", 1, 1_700_000_000_000, 5, "e", attributes)


def shown(headers: dict[str, str]) -> dict[str, str]:
    """What GET shows of an object that was written with `headers`."""
    found = object_headers(version(attributes_from(headers, "owner", now_ms=0)), show_version=False)
    return {name.lower(): value for name, value in found}


def test_system_headers_come_back_as_they_were_given() -> None:
    """ "Working with object metadata", user-controlled system metadata."""
    given_headers = {
        "content-type": "text/plain; charset=utf-8",
        "cache-control": "no-cache",
        "content-disposition": 'attachment; filename="a b"',
        "content-language": "de",
        "content-encoding": "gzip",
        "expires": "whenever",
        "x-amz-website-redirect-location": "/elsewhere",
    }
    found = shown({**given_headers, "x-other": "dropped", "content-length": "5"})
    for name, value in given_headers.items():
        assert found[name] == value
    assert "x-other" not in found


def test_an_object_without_a_type_is_an_octet_stream() -> None:
    """PutObject: the default is binary/octet-stream."""
    assert shown({})["content-type"] == "binary/octet-stream"


@pytest.mark.parametrize(
    ("given_encoding", "kept"),
    [
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, AWS-Chunked", "gzip"),
        ("gzip,br", "gzip,br"),
        ("", None),
    ],
)
def test_the_coding_of_the_transfer_is_not_kept(given_encoding: str, kept: str | None) -> None:
    """aws-chunked says how the body travels, not what the object is."""
    assert shown({"content-encoding": given_encoding}).get("content-encoding") == kept


def test_user_metadata_comes_back_under_its_prefix() -> None:
    """Names are lower case already, values as given."""
    found = attributes_from({"x-amz-meta-a": "1", "x-amz-meta-": "2"}, "owner", now_ms=0)
    assert found.metadata == {"a": "1", "": "2"}
    assert shown({"x-amz-meta-a": "b c"})["x-amz-meta-a"] == "b c"


def test_metadata_beyond_ascii_follows_the_example_of_the_user_guide() -> None:
    """ "Working with object metadata": raw bytes are taken for latin-1, the answer is RFC 2047."""
    raw = "ÄMÄZÕÑ S3".encode().decode("latin-1")
    assert shown({"x-amz-meta-nonascii": raw})["x-amz-meta-nonascii"] == (
        "=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?="
    )
    assert shown({"x-amz-meta-ascii": "AMAZONS3"})["x-amz-meta-ascii"] == "AMAZONS3"


def test_encoded_words_are_decoded_before_they_are_kept() -> None:
    """So a client that encodes by itself gets its own words back."""
    word = "=?UTF-8?B?w4RNw4Raw5XDkSBTMw==?="
    assert attributes_from({"x-amz-meta-a": word}, "o", now_ms=0).metadata["a"] == "ÄMÄZÕÑ S3"
    assert shown({"x-amz-meta-a": word})["x-amz-meta-a"] == word
    for broken in ("=?UTF-8?B?!!!", "=?no-such-charset?Q?a?=", "a =? b"):
        assert attributes_from({"x-amz-meta-a": broken}, "o", now_ms=0).metadata["a"] == broken


@pytest.mark.parametrize(
    "word",
    [
        "=?unicode_escape?B?XHVkODAw?=",
        "=?raw_unicode_escape?Q?=5Cud800?=",
        "=?utf-7?Q?+2AA-?=",
        "=?utf-16?B?ANg=?=",
        "=?utf-8?B?7aCA?=",
        "=?idna?Q?xn--a?=",
    ],
)
def test_an_encoded_word_never_becomes_text_that_no_record_can_hold(word: str) -> None:
    """A lone surrogate in one header once ended the whole node: it stays as it was sent."""
    metadata = attributes_from({"x-amz-meta-a": word}, "o", now_ms=0).metadata
    assert metadata["a"] == word
    msgspec.msgpack.encode(metadata)


def test_a_decoded_line_break_cannot_end_a_header() -> None:
    """An encoded word may hold CR LF; on the way out it is encoded again."""
    smuggled = "=?UTF-8?B?YQ0KU2V0LUNvb2tpZTogYg==?="
    value = shown({"x-amz-meta-a": smuggled})["x-amz-meta-a"]
    assert "\r" not in value
    assert "\n" not in value


@given(st.text(max_size=30))
def test_every_metadata_value_is_one_line_of_ascii_on_the_wire(value: str) -> None:
    """Whatever was stored."""
    encoded = encode_metadata(value)
    assert encoded.isascii()
    assert encoded.isprintable()


def test_metadata_is_bounded_by_two_kilobytes() -> None:
    """Names without the prefix and values count, in bytes."""
    attributes_from({"x-amz-meta-ab": "x" * 2046}, "owner", now_ms=0)
    with pytest.raises(ApiError) as caught:
        attributes_from({"x-amz-meta-ab": "x" * 2047}, "owner", now_ms=0)
    assert caught.value.api_code == "MetadataTooLarge"
    assert caught.value.fields == {"Size": "2049", "MaxSizeAllowed": "2048"}
    with pytest.raises(ApiError):
        attributes_from({"x-amz-meta-ab": "é" * 1024}, "owner", now_ms=0)


def test_the_storage_class_is_kept_and_shown_unless_standard() -> None:
    """GetObject: x-amz-storage-class is returned for all but STANDARD."""
    assert shown({"x-amz-storage-class": "GLACIER_IR"})["x-amz-storage-class"] == "GLACIER_IR"
    assert "x-amz-storage-class" not in shown({"x-amz-storage-class": "STANDARD"})
    for wrong in ("OUTPOSTS", "standard", ""):
        with pytest.raises(ApiError) as caught:
            attributes_from({"x-amz-storage-class": wrong}, "owner", now_ms=0)
        assert caught.value.api_code == "InvalidStorageClass"


def test_tags_come_as_a_url_query_and_are_counted() -> None:
    """PutObject: x-amz-tagging; GetObject: x-amz-tagging-count."""
    found = attributes_from({"x-amz-tagging": "a=1&b=x%20y+z&c"}, "owner", now_ms=0)
    assert found.tags == [("a", "1"), ("b", "x y z"), ("c", "")]
    assert shown({"x-amz-tagging": "a=1&b=2"})["x-amz-tagging-count"] == "2"
    assert attributes_from({"x-amz-tagging": ""}, "owner", now_ms=0).tags == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("a=1&a=2", "InvalidArgument"),
        ("aws:a=1", "InvalidTag"),
        ("=1", "InvalidTag"),
        ("a" * 129 + "=1", "InvalidTag"),
        ("a=" + "b" * 257, "InvalidTag"),
        ("a=%01", "InvalidTag"),
        ("a=%FF", "InvalidArgument"),
        ("&".join(f"k{i}=v" for i in range(11)), "BadRequest"),
        ("&".join(f"k{i}=v" for i in range(200)), "InvalidArgument"),
    ],
)
def test_tags_that_break_the_rules_are_refused(value: str, code: str) -> None:
    """ "Categorizing your storage using tags"."""
    with pytest.raises(ApiError) as caught:
        attributes_from({"x-amz-tagging": value}, "owner", now_ms=0)
    assert caught.value.api_code == code


def test_a_redirect_needs_a_place_to_go() -> None:
    """It is a path in the bucket or an absolute http URL."""
    with pytest.raises(ApiError):
        attributes_from({"x-amz-website-redirect-location": "elsewhere"}, "owner", now_ms=0)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-object-annotation-directive": "COPY"}, "NotImplemented"),
        ({"x-amz-write-offset-bytes": "5"}, "NotImplemented"),
    ],
)
def test_what_is_not_here_is_refused_and_not_ignored(headers: dict[str, str], code: str) -> None:
    """P5: an honest surface."""
    with pytest.raises(ApiError) as caught:
        refuse_unimplemented(headers)
    assert caught.value.api_code == code


def test_what_holds_anyway_is_accepted() -> None:
    """The owner owns every object, so these two ACLs say nothing new."""
    refuse_unimplemented({"x-amz-acl": "private", "x-amz-request-payer": "requester"})
    refuse_unimplemented({"x-amz-acl": "bucket-owner-full-control", "x-amz-meta-a": "b"})


def test_a_version_id_is_shown_where_the_bucket_has_versions() -> None:
    """And nowhere else."""
    plain = version(Attributes("owner"))
    assert ("x-amz-version-id", "null") in object_headers(plain, show_version=True)
    assert "x-amz-version-id" not in dict(object_headers(plain, show_version=False))


def test_overrides_take_the_place_of_what_was_stored() -> None:
    """GetObject: response-content-type and its five sisters."""
    headers = [("ETag", '"e"'), ("Content-Type", "a/b")]
    query = {
        "response-content-type": "c/d",
        "response-cache-control": "no-store",
        "response-content-disposition": "attachment",
        "response-content-encoding": "br",
        "response-content-language": "fr",
        "response-expires": "0",
        "versionId": "null",
    }
    found = dict(apply_overrides(headers, query, anonymous=False))
    assert found == {
        "ETag": '"e"',
        "Content-Type": "c/d",
        "Cache-Control": "no-store",
        "Content-Disposition": "attachment",
        "Content-Encoding": "br",
        "Content-Language": "fr",
        "Expires": "0",
    }
    assert apply_overrides(headers, {"versionId": "x"}, anonymous=True) is headers


def test_overrides_are_for_signed_requests_and_for_one_line() -> None:
    """GetObject: anonymous requests get InvalidRequest; a line break would be a second header."""
    with pytest.raises(ApiError) as caught:
        apply_overrides([], {"response-expires": "0"}, anonymous=True)
    assert caught.value.api_code == "InvalidRequest"
    with pytest.raises(ApiError) as caught:
        apply_overrides([], {"response-expires": "0\r\nX: y"}, anonymous=False)
    assert caught.value.api_code == "InvalidArgument"
    found = apply_overrides([], {"response-content-disposition": "é"}, anonymous=False)
    assert found == [("Content-Disposition", "é".encode().decode("latin-1"))]
