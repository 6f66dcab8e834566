#!/usr/bin/env python3
"""The one command for whoever works on rs3gwd: run, test, check, bench, sim.

It is for a fresh clone on a machine that has Python 3.11 or later and nothing else, so it imports
only the standard library. It makes `.venv` beside `pyproject.toml`, installs the project with its
`dev` extra into it, and does so again when `pyproject.toml` has changed; pip is run with the
environment and the configuration files it finds, without options of our own.

Invariants: a `.venv` whose installation was interrupted is completed by the next call, since the
stamp is written last; two calls at once do not install at once (a lock on the project's folder).
"""

import argparse
import difflib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "rs3gwd-installed"

PYTHON_VERSION_MIN = (3, 11)

PYTEST_WORKERS = 2
"""Processes of pytest-xdist; more than two gain little, since the suites share servers."""

EXIT_USAGE = 2


class DevError(Exception):
    """The command cannot go on; the message is for the person who typed it."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; 2 for a command that does not exist."""
    if sys.version_info < PYTHON_VERSION_MIN:
        wanted = ".".join(map(str, PYTHON_VERSION_MIN))
        print(f"dev.py: Python {wanted} or later is needed, this is {sys.version.split()[0]}")
        return EXIT_USAGE
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else EXIT_USAGE
    command = COMMANDS.get(arguments[0])
    if command is None:
        print(unknown_command(arguments[0]), file=sys.stderr)
        return EXIT_USAGE
    try:
        return command(arguments[1:])
    except DevError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1


def usage() -> str:
    """What `dev.py` without arguments prints."""
    lines = ["usage: python3 tools/dev.py <command> [options]", ""]
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        lines.append(f"  {name:<9}{summary}")
    return "\n".join(lines)


def unknown_command(name: str) -> str:
    """The message for a command that does not exist, with the nearest one that does."""
    nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"known are {', '.join(COMMANDS)}"
    return f"dev.py: there is no command '{name}'; {hint}"


def run_node(arguments: Sequence[str]) -> int:
    """Start a node on 127.0.0.1:9000 with its data in ./data; options go to rs3gwd."""
    install()
    os.chdir(ROOT)
    # The daemon takes our place, so that signals reach it and its exit code is ours.
    os.execv(PYTHON, [str(PYTHON), "-m", "rs3gwd.daemon.main", *arguments])


def run_cluster(arguments: Sequence[str]) -> int:
    """Start some nodes of a cluster on this machine (default 3), with certificates of their own."""
    install()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "rs3gwd.testing.local_cluster", *arguments])


def run_tests(arguments: Sequence[str]) -> int:
    """Run the static checks and the whole suite (--all-clients, --long, options of pytest)."""
    parser = argparse.ArgumentParser(prog="dev.py test", allow_abbrev=False)
    parser.add_argument(
        "--all-clients",
        action="store_true",
        help="also the S3 clients that need apt, npm and go, and none of them may be missing",
    )
    parser.add_argument("--long", action="store_true", help="also the tests that take minutes")
    options, to_pytest = parser.parse_known_args(arguments)
    install()
    environment = dict(os.environ)
    if options.all_clients:
        environment["RS3GW_TEST_ALL_CLIENTS"] = "1"
    _install_clients(["--all"] if options.all_clients else [])
    if options.long:
        environment["RS3GW_TEST_LONG"] = "1"
    failed = run_steps(STATIC_STEPS)
    marks = ["-m", ""] if options.long else []
    # pytest comes last, so that its closing line closes the output.
    code = _call([*_pytest_command(), *marks, *to_pytest], environment=environment, title="pytest")
    return code or (1 if failed else 0)


def run_checks(arguments: Sequence[str]) -> int:
    """Format, lint, types, import contracts, sizes and unit tests: about a minute."""
    install()
    failed = run_steps(STATIC_STEPS)
    code = _call(
        [*_pytest_command(), "tests/unit", "tests/house", *arguments], title="unit and house tests"
    )
    return code or (1 if failed else 0)


def run_benchmark(arguments: Sequence[str]) -> int:
    """Measure this machine's floors and the daemon against them; options go to the benchmark."""
    install()
    return _call([str(PYTHON), "-m", "tools.rs3gw_bench.main", *arguments])


def run_simulation(arguments: Sequence[str]) -> int:
    """Run the power-cut and crash models in chaos/; options go to them."""
    install()
    return _call([str(PYTHON), "-m", "chaos", *arguments])


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run_node,
    "cluster": run_cluster,
    "test": run_tests,
    "check": run_checks,
    "bench": run_benchmark,
    "sim": run_simulation,
}

STATIC_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("lint", ("ruff", "check", "--quiet", ".")),
    ("types", ("mypy",)),
    ("import contracts", ("lint-imports", "--no-logo")),
    ("sizes and names", ("python", "-m", "tools.check_sizes")),
)
"""Each step's title and its command, the program being one of the virtual environment."""


def install() -> None:
    """Makes the virtual environment hold what `pyproject.toml` says; raises DevError."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if _is_installed(wanted):
        return
    with _installation_lock():
        if _is_installed(wanted):
            return
        print(f"dev.py: installing into {VENV}", flush=True)
        if not _python_works():
            _require([sys.executable, "-m", "venv", "--clear", str(VENV)], "make .venv")
        _require(
            [str(PYTHON), "-m", "pip", "install", "--quiet", "--editable", ".[dev]"],
            "install the project and its dev extra",
        )
        STAMP.write_text(wanted)


def run_steps(steps: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Runs every step, whatever the others say; returns the titles of those that failed."""
    failed = [
        title
        for title, (program, *arguments) in steps
        if _call([str(PYTHON.with_name(program)), *arguments], title=title)
    ]
    if failed:
        print(f"dev.py: failed: {', '.join(failed)}", file=sys.stderr, flush=True)
    return failed


def _pytest_command() -> list[str]:
    workers = ["-n", str(PYTEST_WORKERS), "--dist", "worksteal"]
    return [str(PYTHON), "-m", "pytest", *workers]


def _install_clients(arguments: Sequence[str]) -> None:
    installer = ROOT / "tests" / "clients" / "install.py"
    if _call([str(PYTHON), str(installer), *arguments], title="S3 clients"):
        raise DevError("not every client could be installed (see above)")


def _is_installed(wanted: str) -> bool:
    return STAMP.exists() and STAMP.read_text() == wanted and _python_works()


def _python_works() -> bool:
    if not PYTHON.exists():
        return False
    probe = subprocess.run([str(PYTHON), "-c", "import pip"], capture_output=True, check=False)
    return probe.returncode == 0


@contextmanager
def _installation_lock() -> Iterator[None]:
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _require(command: Sequence[str], purpose: str) -> None:
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        raise DevError(f"could not {purpose}: '{' '.join(command)}' ended with {code}")


def _call(
    command: Sequence[str], *, environment: dict[str, str] | None = None, title: str = ""
) -> int:
    if title:
        print(f"==> {title}", flush=True)
    start = time.monotonic()
    try:
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130
    if title and code:
        seconds = time.monotonic() - start
        print(f"==> {title}: failed after {seconds:.1f} s", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
