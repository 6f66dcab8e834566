"""One option: what its values may be, and how text or a TOML value becomes one.

An option is declared once, as an annotated field of `rs3gwd.config.settings.Config`: the field
gives name, type and default, its `Spec` all the rest. From that follow the key in the file, the
variable, the flag, the check, the example file and the reference page.

An option's type is one of: str, int, bool, tuple[str, ...], or a StrEnum. Integers are written in
decimal; one whose unit is bytes may also be written as `64 KiB`, `1 MiB` or `2 GiB`. A list is
separated by commas where it is text. Booleans are true/false, on/off, yes/no or 1/0 in text and
nothing but true/false in TOML. An integer that depends on the machine may also be the word `auto`.
"""

import re
import typing
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

Value = str | int | bool | tuple[str, ...]

AUTO = -1
"""The value of an integer that was given as the word `auto`."""

INTEGER_MAX = 2**63 - 1
"""The greatest integer TOML promises to carry."""

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_SIZE = re.compile(r"([0-9]{1,20}) ?(KiB|MiB|GiB|TiB)")
_UNIT_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_BOOLEANS = {
    "true": True,
    "on": True,
    "yes": True,
    "1": True,
    "false": False,
    "off": False,
    "no": False,
    "0": False,
}


class Topic(StrEnum):
    """The headings under which options are documented."""

    LISTEN = "Listening"
    PROCESSES = "Processes"
    LIMITS = "Limits"
    STORAGE = "Storage"
    CLUSTER = "Cluster"
    IDENTITY = "Identity"
    ENCRYPTION = "Encryption"
    OBSERVE = "Observing"


class Spec(Struct, frozen=True):
    """What a field of Config does not say by its name, type and default.

    `env` is the variable. `least` and `most` bound an integer, both inclusive, in `unit`. `pattern`
    is what a string, or each item of a list, must match in full, and `shape` the same in words.
    `zero` says what 0 means where it is not just a number, and `auto` the word `auto`, which only
    options with such a text take, in place of an integer. `secret` options have no flag, since
    command lines are visible to every user of the machine, and are masked wherever shown. `key` is
    the dotted key in the file where it is not the field's name.
    """

    topic: Topic
    env: str
    help: str
    unit: str = ""
    least: int = 0
    most: int = INTEGER_MAX
    pattern: str = ""
    shape: str = ""
    zero: str = ""
    auto: str = ""
    key: str = ""
    secret: bool = False


class Option(Struct, frozen=True):
    """One row of the table of options; `type` is the Python type of its values."""

    name: str
    type: Any
    default: Value
    spec: Spec

    @property
    def key(self) -> str:
        """The key in the TOML file, dotted when it is in a table."""
        return self.spec.key or self.name

    @property
    def flag(self) -> str:
        """The command line flag, empty for a secret."""
        return "" if self.spec.secret else "--" + self.name.replace("_", "-")

    @property
    def range_text(self) -> str:
        """The values it takes, in words."""
        if self.type is bool:
            return "true or false"
        if self.type is int:
            return self._integer_range_text()
        if issubclass(_scalar(self.type), StrEnum):
            return " | ".join(self.type)
        each = "list of " if self.type is not str else ""
        return f"{each}{self.spec.shape or 'any text'}"

    def parse_text(self, text: str) -> Value:
        """The value written as `text` in a variable or flag; raises ValueError with the reason."""
        if self.type is bool:
            value = _BOOLEANS.get(text.strip().lower())
            if value is None:
                raise ValueError(f"'{text}' is neither true nor false")
            return value
        if self.type is int:
            if self.spec.auto and text.strip() == "auto":
                return AUTO
            return self._check_integer(_parse_integer(text, is_size=self.spec.unit == "bytes"))
        if _is_list(self.type):
            return self._check_items([item.strip() for item in text.split(",") if item.strip()])
        return self._check_string(text)

    def parse_toml(self, value: object) -> Value:
        """The value found in a TOML file; raises ValueError with the reason."""
        if self.type is bool:
            if not isinstance(value, bool):
                raise ValueError(f"{_toml_name(value)} where true or false was expected")
            return value
        if self.type is int and isinstance(value, int) and not isinstance(value, bool):
            return self._check_integer(value)
        if _is_list(self.type) and isinstance(value, list):
            return self._check_items(value)
        if isinstance(value, str) and (self.type is not int or self._takes_words):
            return self.parse_text(value)
        expected = "an integer" if self.type is int else "a string"
        raise ValueError(f"{_toml_name(value)} where {expected} was expected")

    def show(self, value: Value) -> str:
        """A value as --print-config prints it; never a secret."""
        if self.spec.secret and value:
            return "(hidden)"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            return ",".join(value)
        return "auto" if self.spec.auto and value == AUTO else str(value)

    @property
    def _takes_words(self) -> bool:
        """Whether an integer may be more than digits."""
        return self.spec.unit == "bytes" or bool(self.spec.auto)

    def _integer_range_text(self) -> str:
        spec = self.spec
        bound = (
            f"{spec.least} or more" if spec.most == INTEGER_MAX else f"{spec.least} to {spec.most}"
        )
        text = f"{bound} (0: {spec.zero})" if spec.zero else bound
        return f"{text}, or auto: {spec.auto}" if spec.auto else text

    def _check_integer(self, value: int) -> int:
        if not self.spec.least <= value <= self.spec.most:
            raise ValueError(f"{value} is out of range")
        return value

    def _check_string(self, text: str) -> str:
        if not text.isprintable():
            raise ValueError("it holds a control character or bytes that are not UTF-8")
        if issubclass(self.type, StrEnum):
            if text not in list(self.type):
                raise ValueError(f"'{text}' is none of its values")
            chosen: str = self.type(text)
            return chosen
        if text and self.spec.pattern and not re.fullmatch(self.spec.pattern, text):
            shown = "the value" if self.spec.secret else f"'{text}'"
            raise ValueError(f"{shown} is not {self.spec.shape}")
        return text

    def _check_items(self, items: list[Any]) -> tuple[str, ...]:
        for item in items:
            if not isinstance(item, str):
                raise ValueError(f"{_toml_name(item)} in a list of strings")
            if self.spec.pattern and not re.fullmatch(self.spec.pattern, item):
                raise ValueError(f"'{item}' is not {self.spec.shape}")
        return tuple(items)


def options_of(config: type[Struct]) -> tuple[Option, ...]:
    """The table of options, in the order of the fields of `config`."""
    rows = []
    for field in msgspec.structs.fields(config):
        annotated, spec = typing.get_args(field.type)
        rows.append(Option(field.name, annotated, field.default, spec))
    return tuple(rows)


def _parse_integer(text: str, *, is_size: bool) -> int:
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    size = _SIZE.fullmatch(text) if is_size else None
    if size is None:
        example = " (as 65536 or 64 KiB)" if is_size else ""
        raise ValueError(f"'{text}' is not an integer{example}")
    return int(size[1]) * _UNIT_BYTES[size[2]]


def _is_list(value_type: Any) -> bool:
    return typing.get_origin(value_type) is tuple


def _scalar(value_type: Any) -> type:
    return str if _is_list(value_type) else value_type


def _toml_name(value: object) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    return names.get(
        type(value), "a table" if isinstance(value, dict) else "a value of another kind"
    )
