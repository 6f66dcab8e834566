"""Tag sets: the rules that bucket tags and object tags share, and their XML.

A tag is a pair of texts. Keys are 1 to 128 characters and unique in their set, values 0 to 256;
both hold letters, digits and blanks of any script and `+ - = . _ : / @`. Keys that begin with
`aws:` are the system's own. Pure.

Sources: "Categorizing your storage using tags" and "Using cost allocation S3 bucket tags" in the
Amazon S3 User Guide; "Tagging-related error codes" in the API Reference.
"""

import re

from rs3gwd.base.errors import ApiError
from rs3gwd.base.limits import TAG_KEY_CHARACTERS_MAX, TAG_VALUE_CHARACTERS_MAX
from rs3gwd.s3.xml_read import Element, malformed, parse_xml
from rs3gwd.s3.xml_write import escape

Tags = list[tuple[str, str]]

_CONTROL_BLANKS = r"\t\n\r\f\v\x1c-\x1f\x85"
_CHARACTERS = re.compile(rf"(?:[\w+\-=.:/@]|[^\S{_CONTROL_BLANKS}])*")
"""Blanks are those of Unicode's category Z: S3 refuses a tab."""


def check_tags(tags: Tags, *, count_max: int, subject: str) -> None:
    """Raises ApiError InvalidTag, or BadRequest when there are over `count_max`.

    `subject` is what is tagged, as the messages name it: `Bucket` or `Object`.
    """
    if len(tags) > count_max:
        raise ApiError("BadRequest", f"{subject} tags cannot be greater than {count_max}")
    seen: set[str] = set()
    for key, value in tags:
        _check_tag(key, value)
        if key in seen:
            raise ApiError(
                "InvalidTag",
                "Cannot provide multiple Tags with the same key",
                fields={"TagKey": key},
            )
        seen.add(key)


def parse_tagging(body: bytes, *, count_max: int, subject: str) -> Tags:
    """The tags of a `<Tagging>` document. Raises ApiError MalformedXML, and as `check_tags`."""
    root = parse_xml(body, "Tagging")
    root.require_children("TagSet")
    if len(root.children) != 1:
        raise malformed()
    tags = read_tag_elements(root.children[0])
    check_tags(tags, count_max=count_max, subject=subject)
    return tags


def read_tag_elements(tag_set: Element) -> Tags:
    """The `<Tag>` children of an element. Raises ApiError MalformedXML."""
    tag_set.require_children("Tag")
    tags: Tags = []
    for tag in tag_set.children:
        tag.require_children("Key", "Value")
        key, value = tag.text_of("Key"), tag.text_of("Value")
        if key is None or value is None or len(tag.children) != 2:
            raise malformed()
        tags.append((key, value))
    return tags


def tag_set_xml(tags: Tags) -> str:
    """`<TagSet>` with its tags."""
    inside = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags
    )
    return f"<TagSet>{inside}</TagSet>"


def _check_tag(key: str, value: str) -> None:
    if not 1 <= len(key) <= TAG_KEY_CHARACTERS_MAX or not _CHARACTERS.fullmatch(key):
        raise ApiError(
            "InvalidTag", "The TagKey you have provided is invalid", fields={"TagKey": key}
        )
    if key.lower().startswith("aws:"):
        raise ApiError(
            "InvalidTag",
            "System tags cannot be added/updated by requester",
            fields={"TagKey": key},
        )
    if len(value) > TAG_VALUE_CHARACTERS_MAX or not _CHARACTERS.fullmatch(value):
        raise ApiError(
            "InvalidTag",
            "The TagValue you have provided is invalid",
            fields={"TagKey": key, "TagValue": value},
        )
