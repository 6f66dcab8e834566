"""Wildcards and variables."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.iam.policy.variables import (
    Variable,
    VariableSyntaxError,
    normalize_key,
    parse_template,
)
from rs3gwd.iam.policy.wildcards import compile_arn, compile_text, render, split_wildcards


def text_matches(pattern: str, text: str) -> bool:
    """Whether a pattern without variables matches."""
    return compile_text(split_wildcards(pattern))(text)


@given(pattern=st.text("ab*?[", max_size=8), text=st.text("ab[\n", max_size=10))
def test_patterns_mean_what_the_regular_expression_means(pattern: str, text: str) -> None:
    """`*` is any run, `?` any one, everything else itself; a regular expression agrees."""
    expression = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    expected = re.fullmatch(expression, text, re.DOTALL) is not None
    assert text_matches(pattern, text) is expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*a" * 200 + "b", False), ("*?a" * 150 + "b", False), ("a*" * 500, True), ("*" * 999, True)],
)
def test_hostile_patterns_end(pattern: str, expected: bool) -> None:
    """Patterns that make a backtracking matcher run for years are done at once."""
    assert text_matches(pattern, "a" * 1024) is expected


@pytest.mark.parametrize(
    ("pattern", "arn", "expected"),
    [
        ("*", "arn:aws:s3:::b/k", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b:c", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b", False),
        ("arn:aws:s3:::b*", "arn:aws:s3:::bucket/k", True),
        ("arn:aws:s3:::b/[a]", "arn:aws:s3:::b/a", False),
        ("arn:aws:s3:::b/[a]", "arn:aws:s3:::b/[a]", True),
        ("arn:aws:s3:::B/k", "arn:aws:s3:::b/k", False),
        ("arn:aws:s3:::*/k", "arn:aws:s3:::b/x/k", True),
        ("arn:*:s3:::b/k", "arn:aws:s3:::b/k", True),
        ("arn:*:s3:::b/k", "arn:aws:s3:::evil/:s3:::b/k", False),
        ("arn:aws:iam::*:role/x", "arn:aws:iam::1:role/x", True),
        ("arn:aws:iam::*:role/x", "arn:aws:iam::1:user/a:role/x", False),
        ("arn:aws:s3:*", "arn:aws:s3:::b/k", True),
        ("arn:aws:s3", "arn:aws:s3:::b/k", False),
        ("tenant1", "tenant1234", False),
    ],
)
def test_arns_match_part_by_part(pattern: str, arn: str, expected: bool) -> None:
    """A wildcard stays within its part, and the last part reaches to the end."""
    assert compile_arn(split_wildcards(pattern))(arn) is expected


def test_a_variable_stands_for_its_value_and_no_wildcard() -> None:
    """A user who is called `*` gets only the folder that is called so."""
    template = parse_template("arn:aws:s3:::b/${aws:username}/*", has_variables=True)
    pieces = template.resolve({"aws:username": ("*",)}.get)
    assert pieces is not None
    assert compile_arn(pieces)("arn:aws:s3:::b/*/k")
    assert not compile_arn(pieces)("arn:aws:s3:::b/bob/k")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a${aws:username}c", {"aws:username": ("b",)}, "abc"),
        ("a${AWS:UserName}c", {"aws:username": ("b",)}, "abc"),
        ("${aws:PrincipalTag/team, 'none'}", {}, "none"),
        ("${aws:PrincipalTag/team, 'none'}", {"aws:principaltag/team": ("x",)}, "x"),
        ("${aws:PrincipalTag/team,''}", {}, ""),
        ("${aws:username}", {}, None),
        ("${aws:username}", {"aws:username": ("a", "b")}, None),
        ("${*}${?}${$}{x}", {}, "*?${x}"),
    ],
)
def test_variables_resolve(
    text: str, values: dict[str, tuple[str, ...]], expected: str | None
) -> None:
    """A value, a default, an escape, or nothing where there is none."""
    pieces = parse_template(text, has_variables=True).resolve(values.get)
    assert (None if pieces is None else render(pieces)) == expected


def test_there_are_no_variables_in_documents_of_2008() -> None:
    """`${` is text there, and the characters between are themselves."""
    template = parse_template("${aws:username}", has_variables=False)
    assert template.resolve({"aws:username": ("b",)}.get) == ("${aws:username}",)


@pytest.mark.parametrize(
    "text", ["${", "${}", "a${aws:username", "${a${b}}", "${aws:username 'x'}"]
)
def test_what_is_no_variable_is_refused(text: str) -> None:
    """A `${` that begins nothing is an error, not text that never matches."""
    with pytest.raises(VariableSyntaxError):
        parse_template(text, has_variables=True)


def test_keys_have_one_spelling_but_tags_of_objects_keep_their_case() -> None:
    """S3 may hold the tags `Class` and `class` on one object."""
    assert normalize_key("AWS:SourceIP") == "aws:sourceip"
    assert normalize_key("S3:ExistingObjectTag/Class") == "s3:existingobjecttag/Class"
    template = parse_template("${s3:ExistingObjectTag/Class}", has_variables=True)
    assert template.variables == (Variable("s3:existingobjecttag/Class", None),)
