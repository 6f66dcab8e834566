"""Entity tags as they appear in headers and XML; pure.

RFC 9110 section 8.8.3: an entity tag is opaque text in double quotes, `W/` before it makes it weak.
S3 also takes a bare value without quotes, since many clients send what they read from XML.
Our own tags are always strong: the MD5 of the bytes in hex, or for a multipart object the MD5 of
its parts' MD5s with `-<parts>` behind.
"""

from msgspec import Struct


class EntityTags(Struct, frozen=True):
    """What If-Match or If-None-Match names.

    `any` is True for `*`. `strong` and `weak` hold the opaque texts without quotes.
    """

    any: bool
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    def matches_strongly(self, etag: str) -> bool:
        """RFC 9110 section 8.8.3.2, strong comparison against our strong `etag` (no quotes)."""
        return self.any or etag in self.strong

    def matches_weakly(self, etag: str) -> bool:
        """RFC 9110 section 8.8.3.2, weak comparison."""
        return self.any or etag in self.strong or etag in self.weak


_ANY = EntityTags(any=True)


def quote(etag: str) -> str:
    """The tag as a header or an XML element shows it."""
    return f'"{etag}"'


def unquote(text: str) -> str:
    """A tag as a client names it in XML, without its quotes; a bare one as it is."""
    text = text.strip()
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        return text[1:-1]
    return text


def parse_entity_tags(value: str) -> EntityTags:
    """The tags of an If-Match or If-None-Match value.

    Commas inside quotes belong to the tag. Members that are empty are skipped, as RFC 9110 section
    5.6.1 asks of a recipient of a list.
    """
    if value.strip() == "*":
        return _ANY
    strong: list[str] = []
    weak: list[str] = []
    for member in _split_list(value):
        if member.startswith('W/"'):
            weak.append(unquote(member[2:]))
        else:
            strong.append(unquote(member))
    return EntityTags(any=False, strong=tuple(strong), weak=tuple(weak))


def _split_list(value: str) -> list[str]:
    members: list[str] = []
    start = 0
    quoted = False
    for position, character in enumerate(value):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            members.append(value[start:position].strip())
            start = position + 1
    members.append(value[start:].strip())
    return [member for member in members if member]
