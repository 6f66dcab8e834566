"""Entity tags: RFC 9110 section 8.8.3."""

import pytest

from rs3gwd.s3.etags import EntityTags, parse_entity_tags, quote, unquote


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("*", EntityTags(any=True)),
        ('"a"', EntityTags(any=False, strong=("a",))),
        ("a", EntityTags(any=False, strong=("a",))),
        ('"a", W/"b" ,"c"', EntityTags(any=False, strong=("a", "c"), weak=("b",))),
        ('"a,b"', EntityTags(any=False, strong=("a,b",))),
        (', ,"a",', EntityTags(any=False, strong=("a",))),
        ('""', EntityTags(any=False, strong=("",))),
        ("", EntityTags(any=False)),
    ],
)
def test_lists_of_tags_are_taken_apart(value: str, expected: EntityTags) -> None:
    """Commas inside quotes belong to the tag, empty members are skipped."""
    assert parse_entity_tags(value) == expected


def test_strong_and_weak_comparison_differ_on_weak_tags() -> None:
    """The table of RFC 9110 section 8.8.3.2 for our strong tag `1`."""
    weak = parse_entity_tags('W/"1"')
    strong = parse_entity_tags('"1"')
    assert not weak.matches_strongly("1")
    assert weak.matches_weakly("1")
    assert strong.matches_strongly("1")
    assert strong.matches_weakly("1")
    assert not parse_entity_tags('W/"2"').matches_weakly("1")


def test_quotes_are_put_on_and_taken_off() -> None:
    """XML from clients has them or not."""
    assert quote("a") == '"a"'
    assert unquote('"a"') == unquote(" a ") == "a"
    assert unquote('"') == '"'
