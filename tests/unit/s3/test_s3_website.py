"""A bucket as a website: configured by its owner, read by nobody in particular."""

from __future__ import annotations

import json

import pytest
from s3_world import Answer, S3World, make_request

pytestmark = pytest.mark.proves("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite")

SITE = "bucket.web.example.org"
DOCUMENT = (
    b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
    b"<ErrorDocument><Key>lost.html</Key></ErrorDocument></WebsiteConfiguration>"
)
OBJECTS = {
    "index.html": b"home",
    "a.txt": b"0123456789",
    "docs/index.html": b"docs",
    "lost.html": b"lost",
    "private/x": b"secret",
    "%20a%26b": b"odd",
}


async def make_world(*, is_public: bool = True, document: bytes = DOCUMENT) -> S3World:
    """alice's bucket with pages; the policy gives all but `private/` to everybody."""
    world = S3World(website_domains=("web.example.org",), domains=("example.org",))
    assert (await world.call("PUT", "/bucket")).status == 200
    for key, body in OBJECTS.items():
        content_type = {"content-type": "text/html"}
        await world.call("PUT", f"/bucket/{key}", body=body, headers=content_type)
    assert (await world.call("DELETE", "/bucket?publicAccessBlock")).status == 204
    if is_public:
        statements = [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "NotResource": "arn:aws:s3:::bucket/private/*",
            },
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::bucket",
            },
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
        assert (await world.call("PUT", "/bucket?policy", body=policy)).status == 204
    if document:
        assert (await world.call("PUT", "/bucket?website", body=document)).status == 200
    return world


async def browse(
    world: S3World, path: str, *, host: str = SITE, method: str = "GET", **headers: str
) -> Answer:
    """What a browser gets."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.send(make_request(method, path, {"host": host, **named}, b""))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"home"),
        ("/index.html", b"home"),
        ("/docs/", b"docs"),
        ("/a.txt", b"0123456789"),
        ("/a.txt?acl", b"0123456789"),
        ("/?list-type=2", b"home"),
        ("/%20a%26b", b"odd"),
    ],
)
async def test_paths_are_documents(path: str, body: bytes) -> None:
    """Folders are their index documents; parameters ask for nothing."""
    answer = await browse(await make_world(), path)
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"] == "text/html"
    assert answer.response.operation == "Website"


@pytest.mark.parametrize("host", ["bucket.web.example.org:8080", "BUCKET.Web.Example.org"])
async def test_the_host_names_the_bucket(host: str) -> None:
    """Without regard to case or port."""
    assert (await browse(await make_world(), "/", host=host)).body == b"home"


async def test_ranges_and_conditions_hold_as_for_any_object() -> None:
    """206, 304 and HEAD."""
    world = await make_world()
    assert (await browse(world, "/a.txt", range="bytes=2-3")).body == b"23"
    etag = (await browse(world, "/a.txt")).headers["etag"]
    assert (await browse(world, "/a.txt", if_none_match=etag)).status == 304
    head = await browse(world, "/a.txt", method="HEAD")
    assert (head.status, head.body) == (200, b"")


async def test_a_folder_without_its_slash_is_sent_on() -> None:
    """To the same path with one; never to another host."""
    world = await make_world()
    answer = await browse(world, "/docs")
    assert (answer.status, answer.headers["location"]) == (302, "/docs/")
    await world.call("PUT", "/bucket/%2Fevil.example/index.html", body=b"x")
    assert "location" not in (await browse(world, "//evil.example")).headers


async def test_what_is_missing_gets_the_error_document() -> None:
    """With the status that says so."""
    answer = await browse(await make_world(), "/none")
    assert (answer.status, answer.body) == (404, b"lost")
    assert answer.response.error_code == "NoSuchKey"


async def test_only_what_everybody_may_read_is_shown() -> None:
    """The policy decides for each document, the error document too; a signature adds nothing."""
    world = await make_world()
    hidden = await browse(world, "/private/x")
    assert (hidden.status, hidden.body) == (403, b"lost")
    closed = await make_world(is_public=False)
    for path in ("/", "/a.txt", "/none", "/docs"):
        answer = await browse(closed, path)
        assert answer.status == 403
        assert b"AccessDenied" in answer.body
        assert b"lost" not in answer.body
    signed = await world.call("GET", "/private/x", host=SITE)
    assert signed.status == 403


async def test_headers_of_s3_mean_nothing_here() -> None:
    """A website is read, and neither copied from nor paid for."""
    world = await make_world()
    answer = await browse(
        world, "/a.txt", x_amz_copy_source="bucket/private/x", authorization="AWS4-HMAC-SHA256 x"
    )
    assert (answer.status, answer.body) == (200, b"0123456789")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS"])
async def test_a_website_is_only_read(method: str) -> None:
    """405 as a page, whatever else is asked."""
    world = await make_world()
    before = world.snapshot()
    answer = await browse(world, "/a.txt", method=method)
    assert answer.status == 405
    assert world.snapshot() == before


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("none.web.example.org", "NoSuchBucket"),
        ("UP_.web.example.org", "NoSuchBucket"),
        (f"{'x' * 600}.web.example.org", "NoSuchBucket"),
    ],
)
async def test_a_host_without_a_bucket_is_a_page(host: str, code: str) -> None:
    """404 in HTML, with nothing of the request in it unescaped."""
    answer = await browse(await make_world(), "/<script>", host=host)
    assert answer.status == 404
    assert code.encode() in answer.body
    assert b"<script>" not in answer.body


async def test_a_bucket_without_a_website_says_so() -> None:
    """And one whose website was removed."""
    world = await make_world(document=b"")
    answer = await browse(world, "/")
    assert (answer.status, answer.response.error_code) == (404, "NoSuchWebsiteConfiguration")
    missing = await world.call("GET", "/bucket?website")
    assert (missing.status, missing.text("Code")) == (404, "NoSuchWebsiteConfiguration")


async def test_the_configuration_is_given_back_and_removed() -> None:
    """As it was put; removing it twice is no error."""
    world = await make_world()
    answer = await world.call("GET", "/bucket?website")
    assert answer.text("IndexDocument/Suffix") == "index.html"
    assert answer.text("ErrorDocument/Key") == "lost.html"
    for _ in range(2):
        assert (await world.call("DELETE", "/bucket?website")).status == 204
    assert (await browse(world, "/")).status == 404


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"<WebsiteConfiguration/>", "MalformedXML"),
        (b"<Other/>", "MalformedXML"),
        (
            b"<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument>"
            b"</WebsiteConfiguration>",
            "InvalidArgument",
        ),
        (
            b"<WebsiteConfiguration><IndexDocument><Suffix/></IndexDocument>"
            b"</WebsiteConfiguration>",
            "InvalidArgument",
        ),
        (
            b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument>"
            b"<ErrorDocument/></WebsiteConfiguration>",
            "MalformedXML",
        ),
        (
            b"<WebsiteConfiguration><RedirectAllRequestsTo><HostName>x</HostName>"
            b"</RedirectAllRequestsTo></WebsiteConfiguration>",
            "NotImplemented",
        ),
    ],
)
async def test_a_configuration_that_cannot_be_obeyed_is_refused(document: bytes, code: str) -> None:
    """Malformed ones, and what is not served yet."""
    answer = await (await make_world()).call("PUT", "/bucket?website", body=document)
    assert answer.text("Code") == code
