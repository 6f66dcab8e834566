"""Reads the data-driven files of etcd-io/raft: comments, a command, its input, `----`, the output.

Not a test. Output ends at a blank line, or, where it holds blank lines itself, between two doubled
`----` lines.
"""

import re
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).resolve().parents[3] / "data" / "etcd-raft"

_ARGUMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:=(\([^)]*\)|\S*))?")


class Directive(NamedTuple):
    """One command with what must come out; `place` is file and line, for messages."""

    place: str
    command: str
    arguments: list[tuple[str, list[str] | None]]
    body: list[str]
    expected: list[str]

    def value(self, name: str, default: str = "") -> str:
        """The only value of `name=value`."""
        for key, values in self.arguments:
            if key == name and values:
                return values[0]
        return default

    def values(self, name: str) -> list[str]:
        """The values of `name=(a,b)`."""
        for key, values in self.arguments:
            if key == name and values is not None:
                return values
        return []

    def flag(self, name: str) -> bool:
        """Whether `name=true`."""
        return self.value(name) == "true"

    @property
    def numbers(self) -> list[int]:
        """The arguments that are plain numbers."""
        return [int(key) for key, values in self.arguments if values is None and key.isdigit()]


def _parse_arguments(text: str) -> list[tuple[str, list[str] | None]]:
    arguments: list[tuple[str, list[str] | None]] = []
    for match in _ARGUMENT.finditer(text):
        value = match.group(2)
        if value is None:
            arguments.append((match.group(1), None))
        elif value.startswith("("):
            inner = value[1:-1].strip()
            arguments.append(
                (match.group(1), [v.strip() for v in inner.split(",")] if inner else [])
            )
        else:
            arguments.append((match.group(1), [value]))
    return arguments


def _output(lines: list[str], at: int) -> tuple[list[str], int]:
    if at < len(lines) and lines[at] == "----":
        end = at + 1
        while not (lines[end] == "----" and lines[end + 1] == "----"):
            end += 1
        return lines[at + 1 : end], end + 2
    end = at
    while end < len(lines) and lines[end].strip():
        end += 1
    return lines[at:end], end


def read_directives(path: Path) -> list[Directive]:
    """Every directive of the file, in order."""
    lines = path.read_text(encoding="utf-8").split("\n")
    directives = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line or line.startswith("#"):
            at += 1
            continue
        place = f"{path.name}:{at + 1}"
        command, _, rest = line.partition(" ")
        at += 1
        body = []
        while lines[at] != "----":
            body.append(lines[at].strip())
            at += 1
        expected, at = _output(lines, at + 1)
        directives.append(Directive(place, command, _parse_arguments(rest), body, expected))
    return directives
