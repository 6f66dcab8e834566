"""How rs3gwctl shows what it found: tables for people, plain values for --json."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under a head, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def as_plain(value: Any) -> Any:
    """Structs as dicts, for json.dumps."""
    return msgspec.to_builtins(value)
