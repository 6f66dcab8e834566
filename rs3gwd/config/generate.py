"""Writes what follows from the table of options: the example file and the reference page.

`python -m rs3gwd.config.generate [folder]` writes `config/rs3gwd.example.toml` and
`docs/run/configuration.md` below the project's folder (default: the working directory). A test
compares both with what this module makes.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from rs3gwd.config.option import Option, options_of
from rs3gwd.config.settings import Config

EXAMPLE_PATH = "config/rs3gwd.example.toml"
REFERENCE_PATH = "docs/run/configuration.md"

_COMMENT_WIDTH = 98

_EXAMPLE_HEAD = """\
# rs3gwd: every option with its default. Made by `python -m rs3gwd.config.generate`.
# A flag is stronger than a variable, a variable than this file, this file than a default.
# Sizes in bytes may be written as 65536 or as "64 KiB"."""

_REFERENCE_HEAD = """\
# Configuration

Made by `python -m rs3gwd.config.generate` from the table in `rs3gwd/config/settings.py`.

Settings come from flags, `RS3GW_*` variables, a TOML file and defaults, the first being the
strongest. The file is the one that `--config` or `RS3GW_CONFIG` names, else `rs3gw.toml` in the
working directory where there is one; `config/rs3gwd.example.toml` shows every key. Unknown keys,
variables and flags are refused, with the nearest known name. An empty variable counts as unset.
Sizes in bytes may be written as `65536` or as `64 KiB`. Secrets have no flag, since command lines
are visible to every user of the machine.

`rs3gwd --check-config` says whether a configuration is valid (exit code 0 or 2) and
`rs3gwd --print-config` shows every option with its value, source, unit and range."""


def example_toml() -> str:
    """The example file: every option with its default, commented out."""
    lines = [_EXAMPLE_HEAD]
    table = ""
    # In TOML the keys of the top table must stand before the first table.
    for option in sorted(options_of(Config), key=_table_of):
        if _table_of(option) != table:
            table = _table_of(option)
            lines += ["", f"[{table}]"]
        lines += ["", *_example_lines(option)]
    return "\n".join(lines) + "\n"


def reference_markdown() -> str:
    """The reference page of all options."""
    lines = [_REFERENCE_HEAD]
    topic = ""
    for option in options_of(Config):
        if option.spec.topic != topic:
            topic = option.spec.topic
            lines += ["", f"## {topic}"]
        lines += ["", *_reference_lines(option)]
    return "\n".join(lines) + "\n"


def _example_lines(option: Option) -> Iterator[str]:
    yield from textwrap.wrap(
        option.spec.help, _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# "
    )
    unit = f"; unit: {option.spec.unit}" if option.spec.unit else ""
    yield f"# Valid: {option.range_text}{unit}."
    yield f"# Variable {option.spec.env}" + (f", flag {option.flag}" if option.flag else "")
    yield f"#{option.key.rpartition('.')[2]} = {_toml_value(option)}"


def _reference_lines(option: Option) -> Iterator[str]:
    default = option.show(option.default)
    yield f"### {option.key}"
    yield ""
    yield from textwrap.wrap(option.spec.help, _COMMENT_WIDTH)
    yield ""
    yield f"- Variable: `{option.spec.env}`"
    yield f"- Flag: `{option.flag}`" if option.flag else "- Flag: none, it is a secret"
    yield f"- Default: `{default}`" if default else "- Default: empty"
    yield f"- Unit: {option.spec.unit or 'none'}"
    yield f"- Valid: {option.range_text}"


def _table_of(option: Option) -> str:
    return option.key.rpartition(".")[0]


def _toml_value(option: Option) -> str:
    value = option.default
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 0:
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{option.show(value)}"'


def main(arguments: list[str]) -> int:
    """Writes both files; returns the exit code."""
    root = Path(arguments[0] if arguments else ".")
    for path, text in ((EXAMPLE_PATH, example_toml()), (REFERENCE_PATH, reference_markdown())):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        print(f"wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
