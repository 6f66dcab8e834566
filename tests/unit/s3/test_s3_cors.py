"""CORS: the rules of a bucket, preflights, and the headers on answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_world import S3World

from rs3gwd.base.errors import ApiError
from rs3gwd.s3.cors import CorsRule, cors_xml, find_rule, parse_cors, requested_headers

pytestmark = pytest.mark.proves("GetBucketCors", "PutBucketCors", "DeleteBucketCors")

APP = "https://app.example"


def rule(
    *,
    origins: tuple[str, ...] = (APP,),
    methods: tuple[str, ...] = ("GET",),
    headers: tuple[str, ...] = (),
    more: str = "",
) -> str:
    """A CORSRule element."""
    inside = "".join(f"<AllowedOrigin>{each}</AllowedOrigin>" for each in origins)
    inside += "".join(f"<AllowedMethod>{each}</AllowedMethod>" for each in methods)
    inside += "".join(f"<AllowedHeader>{each}</AllowedHeader>" for each in headers)
    return f"<CORSRule>{inside}{more}</CORSRule>"


def configuration(*rules: str) -> bytes:
    """A CORSConfiguration of these rules."""
    return f"<CORSConfiguration>{''.join(rules)}</CORSConfiguration>".encode()


FULL = rule(
    origins=(APP, "http://*.example.com"),
    methods=("GET", "PUT"),
    headers=("x-amz-*", "Content-Type"),
    more="<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>300</MaxAgeSeconds><ID>one</ID>",
)


@pytest.fixture
async def world() -> S3World:
    """A store with `bucket`, whose rules are FULL."""
    made = S3World()
    assert (await made.call("PUT", "/bucket")).status == 200
    assert (await made.call("PUT", "/bucket?cors", body=configuration(FULL))).status == 200
    return made


async def preflight(world: S3World, target: str = "/bucket/key", **headers: str) -> object:
    """The answer to a preflight without a signature."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.call("OPTIONS", target, headers=named, by=None)


def test_a_configuration_is_written_as_it_was_read() -> None:
    """Reading what was written gives the same rules."""
    parsed = parse_cors(configuration(FULL, rule(origins=("*",))))
    assert parse_cors(cors_xml(parsed)) == parsed
    assert parsed.rules[0] == CorsRule(
        (APP, "http://*.example.com"),
        ("GET", "PUT"),
        ("x-amz-*", "Content-Type"),
        ("ETag",),
        300,
        "one",
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (configuration(), "MalformedXML"),
        (configuration(*[rule()] * 101), "MalformedXML"),
        (configuration(rule(methods=())), "MalformedXML"),
        (configuration(rule(origins=())), "MalformedXML"),
        (configuration(rule(methods=("PATCH",))), "InvalidRequest"),
        (configuration(rule(methods=("get",))), "InvalidRequest"),
        (configuration(rule(origins=("*.*",))), "InvalidRequest"),
        (configuration(rule(headers=("x-*-*",))), "InvalidRequest"),
        (configuration(rule(more="<ExposeHeader>x-*</ExposeHeader>")), "InvalidRequest"),
        (configuration(rule(more="<MaxAgeSeconds>-1</MaxAgeSeconds>")), "MalformedXML"),
        (configuration(rule(more="<Other/>")), "MalformedXML"),
        (configuration(rule(origins=("http://a&#10;Set-Cookie: x",))), "MalformedXML"),
        (b"<CORSConfiguration><Rule/></CORSConfiguration>", "MalformedXML"),
    ],
)
def test_a_wrong_configuration_is_refused(body: bytes, code: str) -> None:
    """Each with the code that S3 gives; a value that could end a header line too."""
    with pytest.raises(ApiError) as refused:
        parse_cors(body)
    assert refused.value.api_code == code


def test_the_first_rule_that_fits_decides() -> None:
    """Origin, method and every header must fit in one and the same rule."""
    rules = parse_cors(
        configuration(
            rule(methods=("PUT",), headers=("x-a",)), rule(origins=("*",), methods=("PUT",))
        )
    ).rules
    assert find_rule(rules, origin=APP, method="PUT", headers=["x-a"]) is rules[0]
    assert find_rule(rules, origin="http://other", method="PUT") is rules[1]
    assert find_rule(rules, origin="http://other", method="PUT", headers=["x-a"]) is None
    assert find_rule(rules, origin=APP, method="GET") is None


@given(st.text("ab.*", max_size=6), st.text("ab.", max_size=8))
def test_a_wildcard_stands_for_any_text(pattern: str, origin: str) -> None:
    """As the naive reading has it: split at the star and try each middle."""
    if pattern.count("*") > 1:
        return
    before, star, after = pattern.partition("*")
    cuts = [(i, j) for i in range(len(origin) + 1) for j in range(i, len(origin) + 1)]
    expected = (
        any(origin[:i] == before and origin[j:] == after for i, j in cuts)
        if star
        else origin == pattern
    )
    found = find_rule([CorsRule((pattern,), ("GET",))], origin=origin, method="GET")
    assert (found is not None) == expected


def test_requested_headers_are_names_in_lower_case() -> None:
    """Blanks and empty members do not count."""
    assert requested_headers(" X-Amz-Date , content-type,, ") == ["x-amz-date", "content-type"]
    assert requested_headers(None) == []


async def test_a_preflight_that_a_rule_allows_says_so(world: S3World) -> None:
    """With the origin, the methods, the headers asked for, and what the rule exposes."""
    answer = await preflight(
        world,
        origin=APP,
        access_control_request_method="PUT",
        access_control_request_headers="X-Amz-Date, content-type",
    )
    assert answer.status == 200
    headers = dict(answer.response.headers)
    assert headers["Access-Control-Allow-Origin"] == APP
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "x-amz-date, content-type"
    assert headers["Access-Control-Expose-Headers"] == "ETag"
    assert headers["Access-Control-Max-Age"] == "300"
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Vary"].startswith("Origin")


@pytest.mark.parametrize(
    ("target", "headers", "code"),
    [
        ("/bucket/key", {"access_control_request_method": "GET"}, "BadRequest"),
        ("/bucket/key", {"origin": APP}, "BadRequest"),
        ("/bucket/key", {"origin": APP, "access_control_request_method": "PATCH"}, "BadRequest"),
        (
            "/bucket/key",
            {"origin": APP, "access_control_request_method": "DELETE"},
            "AccessForbidden",
        ),
        (
            "/bucket/key",
            {"origin": "http://evil.example", "access_control_request_method": "GET"},
            "AccessForbidden",
        ),
        (
            "/bucket/key",
            {
                "origin": APP,
                "access_control_request_method": "GET",
                "access_control_request_headers": "x-other",
            },
            "AccessForbidden",
        ),
        ("/", {"origin": APP, "access_control_request_method": "GET"}, "AccessForbidden"),
        ("/missing", {"origin": APP, "access_control_request_method": "GET"}, "NoSuchBucket"),
    ],
)
async def test_a_preflight_that_no_rule_allows_is_refused(
    world: S3World, target: str, headers: dict[str, str], code: str
) -> None:
    """And its answer has none of the headers that would let a browser go on."""
    answer = await preflight(world, target, **headers)
    assert answer.response.error_code == code
    names = {name.lower() for name, _ in answer.response.headers}
    assert "access-control-allow-origin" not in names


async def test_a_bucket_without_rules_forbids_every_preflight(world: S3World) -> None:
    """Before any rules and after they were removed."""
    await world.call("DELETE", "/bucket?cors")
    answer = await preflight(world, origin=APP, access_control_request_method="GET")
    assert answer.response.error_code == "AccessForbidden"
    assert (await world.call("GET", "/bucket?cors")).code == "NoSuchCORSConfiguration"


async def test_answers_carry_the_headers_errors_too(world: S3World) -> None:
    """A page may read a 404 or a 403 of an origin that is allowed; others get nothing."""
    await world.call("PUT", "/bucket/key", body=b"x")
    for target, by_owner in (("/bucket/key", True), ("/bucket/none", True), ("/bucket/key", False)):
        options = {} if by_owner else {"by": None}
        answer = await world.call("GET", target, headers={"origin": APP}, **options)
        assert dict(answer.response.headers)["Access-Control-Allow-Origin"] == APP
    answer = await world.call("GET", "/bucket/key", headers={"origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in dict(answer.response.headers)


async def test_anyone_is_anyone_and_never_with_credentials(world: S3World) -> None:
    """With `*` the browser must not send cookies (Fetch standard)."""
    await world.call("PUT", "/bucket?cors", body=configuration(rule(origins=("*",))))
    answer = await world.call("GET", "/bucket", headers={"origin": "http://any.example"})
    headers = dict(answer.response.headers)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers
