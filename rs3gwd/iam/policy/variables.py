"""Policy variables: `${aws:username}` in a resource or in the value of a condition.

    text, as written  --parse-->  Template  --resolve with the request-->  pieces of a pattern

A template is made once, when a policy is compiled. One without variables resolves to the same
pieces for ever, and its matcher is made once too. What a variable stands for is literal: a user
named `*` gets no wildcard.

`${key, 'text'}` has a default, for requests that lack the key. `${*}`, `${?}` and `${$}` are those
characters themselves. In documents of Version 2008-10-17 there are no variables, and `${` is text.

A variable without a default whose key the request lacks, or has several values of, cannot be
resolved. AWS says that this may make the statement not match. Here it never widens what is
permitted: see `rs3gwd.iam.policy.conditions` and `rs3gwd.iam.policy.statements`.

Source: "IAM policy elements: Variables and tags" in the IAM User Guide.
"""

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from rs3gwd.iam.policy.wildcards import Piece, Wildcard, split_wildcards

Lookup = Callable[[str], tuple[str, ...] | None]
"""The values of a condition key in the request, None where it has none."""

_VARIABLE = re.compile(r"\$\{(?:([*?$])|\s*([^\s,'{}*?$][^,'{}*?$]*?)\s*(?:,\s*'([^']*)'\s*)?)\}")

_CASED_TAGS = ("s3:existingobjecttag/", "s3:requestobjecttag/")
"""Keys that end in an object's tag: S3 may hold two tags that differ in case alone."""


class Variable(Struct, frozen=True):
    """A variable: `key` is normal (see `normalize_key`), `default` None where none was given."""

    key: str
    default: str | None


class VariableSyntaxError(ValueError):
    """A `${` begins nothing that is a variable."""


class Template(Struct, frozen=True):
    """A text that may have wildcards and variables. `text` is what was written."""

    text: str
    pieces: tuple[Piece | Variable, ...]
    variables: tuple[Variable, ...] = ()

    def fixed(self) -> tuple[Piece, ...] | None:
        """The pieces of a pattern without variables; None where there are some."""
        if self.variables:
            return None
        return tuple(piece for piece in self.pieces if not isinstance(piece, Variable))

    def resolve(self, lookup: Lookup) -> tuple[Piece, ...] | None:
        """The pieces with every variable's value in its place; None where one has none."""
        pieces: list[Piece] = []
        for piece in self.pieces:
            if not isinstance(piece, Variable):
                pieces.append(piece)
                continue
            values = lookup(piece.key)
            if not values:
                if piece.default is None:
                    return None
                pieces.append(piece.default)
            elif len(values) == 1:
                pieces.append(values[0])
            else:
                return None
        return tuple(pieces)


def parse_template(text: str, *, has_variables: bool) -> Template:
    """Takes a text apart; `has_variables` is True for Version 2012-10-17.

    Raises VariableSyntaxError.
    """
    if not has_variables or "${" not in text:
        return Template(text, split_wildcards(text))
    pieces = tuple(_pieces(text))
    return Template(text, pieces, tuple(piece for piece in pieces if isinstance(piece, Variable)))


def normalize_key(key: str) -> str:
    """The one spelling of a condition key: keys ignore case, the tags of objects do not."""
    lowered = key.lower()
    for prefix in _CASED_TAGS:
        if lowered.startswith(prefix):
            return prefix + key[len(prefix) :]
    return lowered


def _pieces(text: str) -> Iterator[Piece | Variable]:
    position = 0
    for found in _VARIABLE.finditer(text):
        yield from _plain(text[position : found.start()])
        escaped, key, default = found.groups()
        yield escaped or Variable(normalize_key(key), default)
        position = found.end()
    yield from _plain(text[position:])


def _plain(text: str) -> Iterator[Piece | Wildcard]:
    if "${" in text:
        raise VariableSyntaxError(text)
    yield from split_wildcards(text)
