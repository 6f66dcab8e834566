"""What `rs3gwd` does with its command line before anything starts.

--help, --version, --check-config and --print-config answer and end; otherwise the caller gets the
Config to serve with. Exit codes: 0 for an answer, 2 for a configuration that is refused.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TextIO

import rs3gwd
from rs3gwd.config.errors import ConfigError
from rs3gwd.config.loading import Resolved, resolve
from rs3gwd.config.option import Option, options_of
from rs3gwd.config.settings import Config
from rs3gwd.config.sources import Action, read_command_line

EXIT_OK = 0
EXIT_REFUSED = 2

_WIDTH = 100


def start(
    argv: Sequence[str], environ: Mapping[str, str], output: TextIO, errors: TextIO
) -> Config | int:
    """The Config to serve with, or the exit code when there is nothing to serve.

    `argv` is without the program's name. What was asked goes to `output`, problems to `errors`.
    """
    command_line = read_command_line(options_of(Config), argv)
    if command_line.action is Action.HELP:
        print(help_text(), file=output)
        return EXIT_OK
    if command_line.action is Action.VERSION:
        print(f"rs3gwd {rs3gwd.__version__}", file=output)
        return EXIT_OK
    try:
        resolved = resolve(command_line, environ)
    except ConfigError as error:
        for problem in error.problems:
            print(f"rs3gwd: configuration: {problem}", file=errors)
        return EXIT_REFUSED
    if command_line.action is Action.CHECK:
        print(f"rs3gwd: configuration is valid ({resolved.file or 'no file'})", file=output)
        return EXIT_OK
    if command_line.action is Action.PRINT:
        print(settings_text(resolved), file=output)
        return EXIT_OK
    return resolved.config


def settings_text(resolved: Resolved) -> str:
    """Every option with value, source, unit and range, in columns; secrets are masked."""
    rows = [("OPTION", "VALUE", "SOURCE", "UNIT", "RANGE")]
    rows += [
        (
            setting.option.key,
            setting.option.show(setting.value) or "(empty)",
            setting.source,
            setting.option.spec.unit or "-",
            setting.option.range_text,
        )
        for setting in resolved.settings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    )


def help_text() -> str:
    """The answer to --help."""
    lines = [
        "usage: rs3gwd [--config FILE] [--OPTION VALUE ...]",
        "",
        "  --config FILE    the TOML file to read (else RS3GW_CONFIG, else ./rs3gw.toml if there)",
        "  --check-config   say whether the configuration is valid; exit code 0 or 2",
        "  --print-config   print every option with its value, source, unit and range",
        "  --version        print the version",
        "  --help           print this",
    ]
    topic = ""
    for option in options_of(Config):
        if option.spec.topic != topic:
            topic = option.spec.topic
            lines += ["", f"{topic}:"]
        lines += _option_help(option)
    return "\n".join(lines)


def _option_help(option: Option) -> list[str]:
    head = f"  {option.flag or option.key + ' (file only)'}, {option.spec.env}"
    default = option.show(option.default) or "empty"
    unit = f" {option.spec.unit}" if option.spec.unit else ""
    text = f"{option.spec.help} Default: {default}{unit}; valid: {option.range_text}."
    return [
        head,
        *textwrap.wrap(text, _WIDTH - 6, initial_indent=" " * 6, subsequent_indent=" " * 6),
    ]
