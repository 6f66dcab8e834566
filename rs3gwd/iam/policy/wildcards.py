"""Wildcards as policies have them: `*` is any run of characters, `?` is any one. Nothing else is.

Not fnmatch: `[` and `]` are themselves. A pattern is a row of pieces, literal text or a wildcard;
whoever makes the pieces (`rs3gwd.iam.policy.variables`) has taken care of `${*}` and of variables,
so a `*` that came out of a variable's value is literal text here.

Matching takes time in proportion to the text for each run of literal characters, whatever the
pattern: the pattern is cut at its `*`, the first part must stand at the beginning, the last at the
end, and each between them at its leftmost place. Leftmost is enough, since what follows only gains
room by it. There is no backtracking to make exponential.

ARNs are compared part by part, so that a wildcard does not reach over a colon into the next part;
the last part of a pattern runs to the end of the text, over slashes and colons. That makes `*`
alone match every ARN and `arn:aws:s3:::bucket/*` every key, `a:b` included.

Source: "IAM JSON policy elements: Resource" and "... Condition operators", String and ARN, in the
IAM User Guide.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum

Matcher = Callable[[str], bool]

ARN_PARTS = 6
"""arn : partition : service : region : account : resource."""


class Wildcard(Enum):
    """A wildcard among the pieces of a pattern."""

    ONE = "?"
    RUN = "*"


Piece = str | Wildcard
"""Literal text, or a wildcard."""


def split_wildcards(text: str) -> tuple[Piece, ...]:
    """The pieces of a pattern without variables, in which every `*` and `?` is a wildcard."""
    pieces = re.split(r"([*?])", text)
    return tuple(
        Wildcard(piece) if index % 2 else piece for index, piece in enumerate(pieces) if piece
    )


def render(pieces: Sequence[Piece]) -> str:
    """The pieces as text, for the places where `*` and `?` mean themselves."""
    return "".join(piece if isinstance(piece, str) else piece.value for piece in pieces)


def is_literal(pieces: Sequence[Piece]) -> bool:
    """Whether there is no wildcard."""
    return all(isinstance(piece, str) for piece in pieces)


def compile_text(pieces: Sequence[Piece]) -> Matcher:
    """A function that says whether a whole text matches; case counts."""
    if is_literal(pieces):
        return render(pieces).__eq__
    parts = _cut_at_runs(pieces)
    if len(parts) == 2 and not parts[1] and is_literal(parts[0]):
        return _begins_with(render(parts[0]))
    return _Glob([_Part(part) for part in parts]).matches


def compile_arn(pieces: Sequence[Piece]) -> Matcher:
    """A function that says whether a whole ARN matches, part by part; case counts."""
    parts = _cut_at_colons(pieces)
    if all(is_literal(part) for part in parts[:-1]):
        # With a literal head the colons are where they must be, and one comparison does.
        return compile_text(pieces)
    matchers = [compile_text(part) for part in parts]
    colons = len(parts) - 1

    def matches(text: str) -> bool:
        texts = text.split(":", colons)
        return len(texts) == len(matchers) and all(
            matcher(part) for matcher, part in zip(matchers, texts, strict=True)
        )

    return matches


def _begins_with(prefix: str) -> Matcher:
    if not prefix:
        return _always
    return lambda text: text.startswith(prefix)


def _always(text: str) -> bool:
    return True


def _cut_at_runs(pieces: Sequence[Piece]) -> list[list[Piece]]:
    parts: list[list[Piece]] = [[]]
    for piece in pieces:
        if piece is Wildcard.RUN:
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _cut_at_colons(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The parts of an ARN pattern, at most ARN_PARTS; the last keeps its colons."""
    parts: list[list[Piece]] = [[]]
    for piece in pieces:
        if isinstance(piece, Wildcard):
            parts[-1].append(piece)
            continue
        first, *rest = piece.split(":", ARN_PARTS - len(parts))
        parts[-1].append(first)
        parts.extend([text] for text in rest)
    return parts


class _Part:
    """What stands between two `*`: text and `?`, of a fixed length."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.length = sum(len(piece) if isinstance(piece, str) else 1 for piece in pieces)
        self._text = render(pieces) if is_literal(pieces) else None
        source = "".join(re.escape(p) if isinstance(p, str) else "." for p in pieces)
        self._expression = re.compile(source, re.DOTALL)

    def stands_at(self, text: str, start: int) -> bool:
        if self._text is not None:
            return text.startswith(self._text, start)
        return self._expression.match(text, start) is not None

    def find(self, text: str, start: int, end: int) -> int:
        """Where it is first between `start` and `end`, -1 where it is not."""
        if self._text is not None:
            return text.find(self._text, start, end)
        found = self._expression.search(text, start, end)
        return -1 if found is None else found.start()


class _Glob:
    """A pattern with wildcards; `parts` are what its `*` separate, none of them for no `*`."""

    def __init__(self, parts: list[_Part]) -> None:
        self._first, self._last = parts[0], parts[-1]
        self._middle = parts[1:-1]
        self._has_run = len(parts) > 1
        self._length_min = sum(part.length for part in parts)

    def matches(self, text: str) -> bool:
        if len(text) < self._length_min or not self._first.stands_at(text, 0):
            return False
        if not self._has_run:
            return len(text) == self._length_min
        end = len(text) - self._last.length
        if not self._last.stands_at(text, end):
            return False
        position = self._first.length
        for part in self._middle:
            found = part.find(text, position, end)
            if found < 0:
                return False
            position = found + part.length
        return position <= end
