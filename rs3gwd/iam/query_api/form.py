"""The parameters of a query API request: a form, with lists as `Name.member.1`.

    Action=TagUser&UserName=bob&Tags.member.1.Key=team&Tags.member.1.Value=x

A parameter that is there twice is refused: two readers could take different ones.

Source: "Making query requests" in the IAM User Guide; AWS query protocol in botocore's models.
"""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.identities.names import invalid

FORM_BYTES_MAX = 128 << 10
"""Bytes of a request's body. The longest document has 10,240 characters, of which each takes up to
12 bytes encoded. Whoever sends a body is not known before it was read, so this is what a stranger
can make a connection hold."""

FIELDS_MAX = 512
PAGE_MAX = 1000
PAGE_DEFAULT = 100


class Form(Struct, frozen=True):
    """Parameters by name, each once."""

    fields: dict[str, str]

    def text(self, name: str) -> str:
        """A parameter that must be there and not be empty. Raises ApiError ValidationError."""
        value = self.fields.get(name, "")
        if not value:
            raise invalid(
                f"1 validation error detected: Value at '{name[:1].lower()}{name[1:]}' failed to "
                "satisfy constraint: Member must not be null"
            )
        return value

    def optional(self, name: str, default: str = "") -> str:
        """A parameter that may be missing."""
        return self.fields.get(name, default)

    def flag(self, name: str) -> bool:
        """A parameter that is true or false, and false where it is missing."""
        value = self.fields.get(name, "false").lower()
        if value not in ("true", "false"):
            raise invalid(f"{name} must be true or false.")
        return value == "true"

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """A number within bounds."""
        value = self.fields.get(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdecimal() or not low <= int(value[:10]) <= high:
            raise invalid(f"{name} must be a number from {low} to {high}.")
        return int(value)

    def choice(self, name: str, among: Sequence[str]) -> str:
        """One of some words; empty where it is missing."""
        value = self.fields.get(name, "")
        if value and value not in among:
            raise invalid(f"{name} must be one of {', '.join(among)}.")
        return value

    def members(self, name: str) -> list[str]:
        """The texts of a list, in order."""
        found: list[str] = []
        while (value := self.fields.get(f"{name}.member.{len(found) + 1}")) is not None:
            found.append(value)
        return found

    def fields_of(self, name: str, field: str) -> list[str]:
        """One field of the members of a list of structures, in order."""
        found: list[str] = []
        while (value := self.fields.get(f"{name}.member.{len(found) + 1}.{field}")) is not None:
            found.append(value)
        return found

    def tags(self) -> list[tuple[str, str]]:
        """The tags of `Tags`, in order."""
        found: list[tuple[str, str]] = []
        while (key := self.fields.get(f"Tags.member.{len(found) + 1}.Key")) is not None:
            value = self.fields.get(f"Tags.member.{len(found) + 1}.Value", "")
            found.append((key, value))
        return found


def read_form(body: bytes) -> Form:
    """The parameters in a body. Raises ApiError ValidationError."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            max_num_fields=FIELDS_MAX,
            encoding="utf-8",
            errors="strict",
        )
    except ValueError as error:
        raise ApiError("ValidationError", "The body is not a form in UTF-8.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise invalid("A parameter is given more than once.")
    return Form(fields)
