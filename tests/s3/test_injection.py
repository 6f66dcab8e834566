"""What a client names comes back as text: it is never markup, and never a header line."""

from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from s3_world import Answer, S3World

from rs3gwd.gateway.response_head import ResponseHeads

MARKUP = (
    "</Key><Key>x",
    "<!DOCTYPE a>",
    "]]>",
    "<![CDATA[x]]>",
    "&amp;&lt;&#0;",
    "\"'><a b='c'/>",
    "<?xml?>",
    "a\tb",
    "a\nb\r\nc",
    "\u2028\x85",
    "\U0001f600",
)
"""Texts that XML can hold and that a careless writer would take for more than text."""

NOT_XML = ("a\0b", "\x01\x02", "\ufffe", "\x1b[31m")
"""Texts that no XML document can hold."""

BREAKS = ("a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\0b")


def tags(answer: Answer) -> list[str]:
    """The names of all elements in their order."""
    return [element.tag for element in answer.xml.iter()]


async def make_world(key: str) -> S3World:
    """A versioned bucket with one object, one delete marker and one upload of this key."""
    world = S3World()
    await world.call("PUT", "/bucket")
    status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await world.call("PUT", "/bucket?versioning", body=status)
    path = f"/bucket/{quote(key, safe='')}".replace("%2F", "/")
    for method, target in (("PUT", path), ("DELETE", path), ("PUT", path), ("POST", path)):
        query = "?uploads" if method == "POST" else ""
        assert (await world.call(method, target + query)).status in (200, 204)
    return world


@pytest.mark.parametrize("text", MARKUP, ids=ascii)
async def test_a_name_in_a_listing_is_text(text: str) -> None:
    """Keys, prefixes, markers and delimiters: the elements are those of a harmless name."""
    worlds = [await make_world("plain"), await make_world(text)]
    for query in (
        "prefix={}",
        "prefix={}&delimiter={}",
        "delimiter={}",
        "marker={}",
        "list-type=2&start-after={}&fetch-owner=true",
        "versions=",
        "versions=&prefix={}&key-marker={}",
        "uploads=",
        "uploads=&prefix={}&key-marker={}&delimiter={}",
    ):
        shapes = []
        for world, name in zip(worlds, ("plain", text), strict=True):
            filled = query.format(*[quote(name, safe="")] * query.count("{}"))
            answer = await world.call("GET", f"/bucket?{filled}")
            assert answer.status == 200, answer.body
            shapes.append(tags(answer))
            for tag in ("Prefix", "Marker", "StartAfter", "KeyMarker", "Delimiter"):
                assert all(each in (name, "") for each in answer.texts(tag)), tag
            for found in answer.xml.iter("Key"):
                assert found.text == name
        assert shapes[0] == shapes[1], query


@pytest.mark.parametrize("text", NOT_XML, ids=ascii)
async def test_a_key_that_xml_cannot_hold_is_listed_encoded(text: str) -> None:
    """encoding-type=url shows every key; without it nothing but a reference stands for it."""
    world = await make_world(text)
    for query in ("", "list-type=2&", "versions=&", "uploads=&"):
        encoded = await world.call("GET", f"/bucket?{query}encoding-type=url")
        assert {each.text for each in encoded.xml.iter("Key")} == {quote(text, safe="/")}
        raw = await world.call("GET", f"/bucket?{query.rstrip('&')}")
        assert text.encode() not in raw.body


@pytest.mark.parametrize("text", [*MARKUP, *NOT_XML], ids=ascii)
async def test_an_error_document_is_well_formed_whatever_it_repeats(text: str) -> None:
    """Keys, arguments, buckets and headers that errors echo."""
    world = await make_world("plain")
    name = quote(text, safe="")
    in_header = "".join(each for each in text if " " <= each <= "~")
    for method, target, headers in (
        ("GET", f"/bucket/{name}", {}),
        ("GET", f"/bucket/plain?versionId={name}", {}),
        ("GET", f"/bucket?list-type={name}", {}),
        ("GET", f"/bucket?max-keys={name}", {}),
        ("GET", f"/bucket?list-type=2&continuation-token={name}", {}),
        ("GET", f"/bucket?encoding-type={name}", {}),
        ("GET", f"/{name}", {}),
        ("PUT", f"/bucket/plain?partNumber={name}&uploadId={name}", {}),
        ("PUT", "/bucket/plain", {"x-amz-storage-class": in_header or "x"}),
        ("PUT", "/bucket/plain", {"x-amz-acl": in_header or "x"}),
        ("PUT", "/bucket/plain", {"content-md5": in_header or "x"}),
        ("PUT", "/bucket/copy", {"x-amz-copy-source": in_header or "x"}),
        ("PUT", "/new-bucket", {"x-rs3gw-durability": in_header or "x"}),
    ):
        answer = await world.call(method, target, headers=headers)
        assert answer.status >= 400, (method, target)
        root = ElementTree.fromstring(answer.body)
        assert root.tag == "Error"
        assert [each.tag for each in root].count("Code") == 1
        assert all(not len(each) for each in root), answer.body


@pytest.mark.parametrize("text", BREAKS, ids=ascii)
async def test_nothing_a_client_says_ends_a_header_line(text: str) -> None:
    """Overrides, encoded words, Location, redirects and errors: one line a field on the wire."""
    world = await make_world("plain")
    heads = ResponseHeads(host_id="host")
    name = quote(text, safe="")
    word = f"=?utf-8?Q?{name.replace('%', '=')}?="
    targets: list[tuple[str, str, dict[str, str]]] = [
        ("GET", f"/bucket/plain?response-{field}={name}", {})
        for field in (
            *("content-type", "cache-control", "content-disposition"),
            *("content-encoding", "content-language", "expires"),
        )
    ]
    targets += [
        ("PUT", f"/{name}", {}),
        ("PUT", f"/bucket/{name}", {"x-amz-meta-a": word, "content-type": word}),
        ("GET", f"/bucket/{name}", {}),
        ("HEAD", f"/bucket/{name}", {}),
        ("GET", f"/bucket/{name}?tagging", {}),
        ("POST", f"/bucket/{name}?uploads", {"x-amz-meta-a": word}),
        ("DELETE", f"/bucket/{name}", {}),
        ("GET", f"/bucket/{name}", {}),
        ("GET", f"/bucket/plain?versionId={name}", {}),
        ("OPTIONS", "/bucket", {"origin": word, "access-control-request-method": "GET"}),
    ]
    for method, target, headers in targets:
        answer = await world.call(method, target, headers=headers)
        encoded = heads.encode(
            answer.status,
            answer.response.headers,
            content_length=0,
            request_id="ID",
            now_ms=0,
        )
        lines = encoded.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert len(lines) == 6 + len(answer.response.headers), target
        assert not any(byte in line for line in lines for byte in b"\r\n\0"), target
        assert not any(line.lower().startswith(b"set-cookie") for line in lines)
