"""S3's XML, written and read."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.s3.xml_read import DEPTH_MAX, ELEMENTS_MAX, parse_xml
from rs3gwd.s3.xml_write import (
    NAMESPACE,
    document,
    element,
    escape,
    key_text,
    key_texts,
    optional_element,
    url_encode,
    url_encode_all,
)


def _is_xml_character(character: str) -> bool:
    return character in "\t\n\r" or (character >= " " and character not in "\ufffe\uffff")


def _is_read_or_malformed(body: bytes) -> bool:
    try:
        parse_xml(body)
    except ApiError as error:
        return error.api_code == ("MalformedXML" if body else "MissingRequestBodyError")
    return True


@given(st.text())
def test_text_is_read_back_as_it_was_written(text: str) -> None:
    """For every text that XML 1.0 can hold, carriage returns included."""
    text = "".join(filter(_is_xml_character, text))
    written = document("Root", element("Key", text))
    assert ElementTree.fromstring(written).findtext(f"{{{NAMESPACE}}}Key") == text
    assert parse_xml(written, "Root").text_of("Key") == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a&b<c>d\"e'f", "a&amp;b&lt;c&gt;d&quot;e&apos;f"),
        ("\r\n\t", "&#13;\n\t"),
        ("\x00\x01\x1f", "&#x0;&#x1;&#x1f;"),
        ("\uffff", "&#xffff;"),
        ("plain / text", "plain / text"),
    ],
)
def test_what_xml_cannot_hold_becomes_a_reference(text: str, written: str) -> None:
    """As S3 writes it, even for characters that XML 1.0 forbids."""
    assert escape(text) == written
    assert key_text(text.encode()) == written


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        (b"a/b-c_d.e~f", "a/b-c_d.e~f"),
        (b"a b", "a%20b"),
        (b"a+b&c", "a%2Bb%26c"),
        ("é\n\x00".encode(), "%C3%A9%0A%00"),
        (b"test_file(3).png", "test_file%283%29.png"),
        (b"", ""),
    ],
)
def test_encoding_type_url_escapes_all_but_slashes(key: bytes, encoded: str) -> None:
    """The form that both kinds of decoders undo."""
    assert url_encode(key) == encoded


@given(st.lists(st.text(alphabet="abc/_\n&é\0", max_size=4).map(str.encode), max_size=6))
def test_many_keys_are_written_as_each_alone(keys: list[bytes]) -> None:
    """Whether they are plain or hold what needs an escape, the joint itself included."""
    assert key_texts(keys) == [key_text(key) for key in keys]
    assert url_encode_all(keys) == [url_encode(key) for key in keys]


def test_an_absent_value_writes_no_element() -> None:
    """But a zero is a value."""
    assert optional_element("A", None) == optional_element("A", "") == ""
    assert optional_element("A", 0) == "<A>0</A>"


def test_names_are_read_with_any_namespace_and_with_none() -> None:
    """Clients send the S3 namespace, a prefix of their own, or nothing."""
    for text in (
        f'<R xmlns="{NAMESPACE}"><A>1</A></R>',
        '<x:R xmlns:x="urn:other"><x:A>1</x:A></x:R>',
        '<?xml version="1.0" encoding="utf-8"?>\n<R><A attribute="2">1</A></R>\n',
        "\ufeff<R><A>1</A></R>",
    ):
        assert parse_xml(text.encode(), "R").text_of("A") == "1"


def test_a_tree_keeps_order_and_text() -> None:
    """Blanks in a leaf are its text; CDATA is text."""
    root = parse_xml(b"<R><A> x </A><B><C/></B><A><![CDATA[<y>]]></A></R>")
    assert [child.text for child in root.find_all("A")] == [" x ", "<y>"]
    found = root.find("B")
    assert found is not None
    assert found.find("C") is not None
    assert root.text_of("D") is None


@pytest.mark.parametrize(
    "body",
    [
        b"   ",
        b"not xml",
        b"<R>",
        b"<R></S>",
        b"<R/><R/>",
        b"<R/>x",
        b"<R>&undefined;</R>",
        b"<R>\x00</R>",
        b"<R>&#x1;</R>",
        b"<R>\xff</R>",
        b"<x:R/>",
        b"<R a='1' a='2'/>",
        b"<!DOCTYPE R><R/>",
        b'<!DOCTYPE R [<!ENTITY a "b">]><R>&a;</R>',
        b'<!DOCTYPE R SYSTEM "file:///etc/passwd"><R/>',
        b"<?php 1 ?><R/>",
        b'<?xml version="1.0" encoding="ISO-8859-1"?><R>\xe9</R>',
        "<R/>".encode("utf-16"),
        b"<S/>",
        b"<A>" * (DEPTH_MAX + 1) + b"</A>" * (DEPTH_MAX + 1),
        b"<R>" + b"<A/>" * ELEMENTS_MAX + b"</R>",
    ],
)
def test_a_document_that_is_not_plain_xml_is_malformed(body: bytes) -> None:
    """No declarations, no other encodings, no more depth or elements than the bounds."""
    with pytest.raises(ApiError) as caught:
        parse_xml(body, "R", "A")
    assert caught.value.api_code == "MalformedXML"


def test_depth_up_to_the_bound_is_read() -> None:
    """The bound itself is allowed."""
    root = parse_xml(b"<A>" * DEPTH_MAX + b"</A>" * DEPTH_MAX)
    assert root.name == "A"


def test_an_unknown_child_is_malformed() -> None:
    """Where an operation knows all its elements."""
    root = parse_xml(b"<R><A/><B/></R>")
    root.require_children("A", "B")
    with pytest.raises(ApiError):
        root.require_children("A")


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(body: bytes) -> None:
    """The only exception that leaves the reader is an ApiError."""
    assert _is_read_or_malformed(body)


@given(st.lists(st.sampled_from([b"<A>", b"</A>", b"<B x='1'>", b"</B>", b"&lt;", b"x", b"<!--"])))
def test_no_order_of_tags_does_anything_but_parse_or_be_refused(pieces: list[bytes]) -> None:
    """As above, with bytes that come closer to XML."""
    assert _is_read_or_malformed(b"".join(pieces))
