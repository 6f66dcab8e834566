"""Where settings come from: the file, the environment, the command line.

Each source is read into a `Found`: option name -> value, with the place it was found. A key,
variable or flag that does not exist is a problem, told with the nearest one that does: a setting
that is silently ignored is worse than a refused start.

Not refused: empty variables, which count as unset (container tools cannot leave one out);
RS3GW_TEST_*, which belong to the test suite; and the variables that Kubernetes makes up for a
service named rs3gw (RS3GW_SERVICE_HOST, RS3GW_PORT_9000_TCP and their like).
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from msgspec import Struct

from rs3gwd.config.option import Option, Value

ENV_PREFIX = "RS3GW_"
CONFIG_ENV = "RS3GW_CONFIG"
CONFIG_FLAG = "--config"

FILE_BYTES_MAX = 1 << 20
"""Bound of a configuration file; the example is about 10 KiB."""

_DEPTH_MAX = 4
"""Tables within tables that are looked into; the deepest option is in one."""

_FOREIGN_VARIABLE = re.compile(
    r"RS3GW_(TEST_.*|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_[0-9]+_(TCP|UDP)(_.*)?)"
)

_NOT_TAKEN = {
    "RS3GW_FSYNC": "writes are synced; see RS3GW_DURABILITY_DEFAULT",
    "RS3GW_CHECKSUM_VALIDATION": "every read is verified",
    "RS3GW_DEFAULT_BUCKET": "there is no default bucket",
    "RS3GW_REQUEST_TIMEOUT": "slow clients are bounded by RS3GW_HEADER_TIMEOUT, RS3GW_IDLE_TIMEOUT "
    "and RS3GW_BODY_BYTES_PER_SECOND_MIN, and the work for a request by its own size",
}
"""Variables of rs3gw whose absence needs a word more than the nearest name."""


class Action(Enum):
    """What the command line asks for."""

    SERVE = "serve"
    CHECK = "--check-config"
    PRINT = "--print-config"
    VERSION = "--version"
    HELP = "--help"


class Found(Struct):
    """What one source said: option name -> (value, place), and what was wrong with the rest."""

    values: dict[str, tuple[Value, str]]
    problems: list[str]


class CommandLine(Struct):
    """The command line: what to do, the file to read (None: not named), and the flags."""

    action: Action
    config_path: str | None
    found: Found


def read_command_line(options: Sequence[Option], arguments: Sequence[str]) -> CommandLine:
    """Flags are `--name value` or `--name=value`; a boolean is also `--name` or `--no-name`."""
    parsed = CommandLine(Action.SERVE, None, Found({}, []))
    by_flag = {option.flag: option for option in options if option.flag}
    rest = list(arguments)
    seen: set[str] = set()
    while rest:
        word, has_value, text = rest.pop(0).partition("=")
        if not has_value and rest and _takes_next(word, by_flag, rest[0]):
            text, has_value = rest.pop(0), "="
        name = word.replace("--no-", "--", 1) if word not in by_flag else word
        if name in seen:
            parsed.found.problems.append(f"flag {name} is given twice")
        seen.add(name)
        _read_word(parsed, by_flag, options, word, text if has_value else None)
    return parsed


def read_environment(options: Sequence[Option], environ: Mapping[str, str]) -> Found:
    """The RS3GW_* variables."""
    found = Found({}, [])
    by_variable = {option.spec.env: option for option in options}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_ENV:
            continue
        option = by_variable.get(variable)
        if option is None:
            if not _FOREIGN_VARIABLE.fullmatch(variable):
                found.problems.append(_unknown_variable(variable, by_variable))
        elif environ[variable]:
            _take(found, option, environ[variable], f"environment {variable}")
    return found


def read_file(options: Sequence[Option], path: str) -> Found:
    """The TOML file at `path`; that it cannot be read or parsed is a problem too."""
    found = Found({}, [])
    try:
        with Path(path).open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise ValueError(f"it is longer than {FILE_BYTES_MAX} bytes")
        document = tomllib.loads(raw.decode())
    except OSError as error:
        found.problems.append(f"file {path}: {error.strerror}")
        return found
    except (ValueError, RecursionError) as error:
        # tomllib is recursive and does not bound the nesting of arrays.
        found.problems.append(f"file {path}: {error}")
        return found
    by_key = {option.key: option for option in options}
    for key, value in _flatten(document, by_key):
        option = by_key.get(key)
        if option is None:
            found.problems.append(f"file {path}: unknown key {key!r}{_nearest(key, by_key)}")
        else:
            _take(found, option, value, f"file {path}")
    return found


def _read_word(
    parsed: CommandLine,
    by_flag: Mapping[str, Option],
    options: Sequence[Option],
    word: str,
    text: str | None,
) -> None:
    problems = parsed.found.problems
    actions = {action.value: action for action in Action if action is not Action.SERVE}
    if word in actions and text is None:
        parsed.action = actions[word]
    elif word == CONFIG_FLAG or (word in by_flag and by_flag[word].type is not bool):
        if not text:
            problems.append(f"flag {word} needs a value")
        elif word == CONFIG_FLAG:
            parsed.config_path = text
        else:
            _take(parsed.found, by_flag[word], text, f"flag {word}")
    elif word in by_flag:
        _take(parsed.found, by_flag[word], text or "true", f"flag {word}")
    elif (negated := _negated(word, by_flag)) is not None and text is None:
        _take(parsed.found, negated, "false", f"flag {word}")
    else:
        problems.append(_unknown_flag(word, [*by_flag, *actions, CONFIG_FLAG], options))


def _takes_next(word: str, by_flag: Mapping[str, Option], following: str) -> bool:
    if word == CONFIG_FLAG or word in by_flag:
        return word == CONFIG_FLAG or by_flag[word].type is not bool
    # What follows an unknown flag may be a secret: it is taken as its value and not shown.
    return _is_unknown(word, by_flag) and not following.startswith("-")


def _is_unknown(word: str, by_flag: Mapping[str, Option]) -> bool:
    is_action = word in {action.value for action in Action}
    return word.startswith("-") and not is_action and _negated(word, by_flag) is None


def _negated(word: str, by_flag: Mapping[str, Option]) -> Option | None:
    option = by_flag.get("--" + word.removeprefix("--no-")) if word.startswith("--no-") else None
    return option if option is not None and option.type is bool else None


def _take(found: Found, option: Option, raw: object, place: str) -> None:
    is_text = not place.startswith("file ")
    try:
        value = option.parse_text(str(raw)) if is_text else option.parse_toml(raw)
    except ValueError as error:
        unit = f" {option.spec.unit}" if option.type is int else ""
        found.problems.append(f"{option.name} ({place}): {error}; valid: {option.range_text}{unit}")
    else:
        found.values[option.name] = (value, place)


def _flatten(
    table: Mapping[str, Any], known: Mapping[str, Option], prefix: str = "", depth: int = 0
) -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        dotted = prefix + key
        is_table = isinstance(value, dict) and dotted not in known and depth < _DEPTH_MAX
        is_known_table = any(name.startswith(dotted + ".") for name in known)
        if is_table and (value or is_known_table):
            yield from _flatten(value, known, dotted + ".", depth + 1)
        else:
            yield dotted, value


def _unknown_variable(variable: str, known: Mapping[str, Option]) -> str:
    if variable in _NOT_TAKEN:
        return f"environment: {variable} of rs3gw does not exist here: {_NOT_TAKEN[variable]}"
    return f"environment: unknown variable {variable}{_nearest(variable, [*known, CONFIG_ENV])}"


def _unknown_flag(word: str, known: Sequence[str], options: Sequence[Option]) -> str:
    for option in options:
        if option.spec.secret and word == "--" + option.name.replace("_", "-"):
            return (
                f"{word} does not exist, since command lines are visible to every user of the "
                f"machine: use {option.spec.env} or {option.key} in the file"
            )
    kind = "flag" if word.startswith("-") else "argument"
    return f"unknown {kind} {word!r}{_nearest(word, known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {nearest[0]}?" if nearest else ""
