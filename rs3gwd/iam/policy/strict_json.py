"""JSON read strictly, for documents that decide about permissions.

An object that has a name twice is refused: two readers that keep different ones of the two would
see two policies. Depth is bounded before the parser runs, which would otherwise run out of stack.
Numbers stay as they were written, so that a value compared as text is the text of the author.

Source: RFC 8259 (section 4 on repeated names).
"""

import json
import re
from typing import Any

DEPTH_MAX = 16
"""Objects and arrays inside one another; the deepest policy that means anything has 5."""


_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
"""A text, whose brackets are none, or a bracket. A quote that nothing closes is passed over: what
is behind it is not JSON whichever way it is read."""


class StrictJsonError(ValueError):
    """The text is not JSON, or is JSON of a kind that is not taken."""


class NumberText(str):
    """A number of the document, as it was written there."""

    __slots__ = ()


def read_json(text: str) -> Any:
    """Dicts, lists, texts, NumberText, bools and None. Raises StrictJsonError."""
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=NumberText,
            parse_float=NumberText,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise StrictJsonError(str(error)) from error


def _check_depth(text: str) -> None:
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        mark = found.group()
        if mark in ("[", "{"):
            depth += 1
            if depth > DEPTH_MAX:
                raise StrictJsonError(f"nested deeper than {DEPTH_MAX}")
        elif mark in ("]", "}"):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise StrictJsonError(f"{name} is there twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise StrictJsonError(f"{name} is not JSON")
