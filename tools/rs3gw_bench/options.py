"""What a run of the benchmark is told on its command line."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.rs3gw_bench.peers import PEERS

QUICK_SECONDS, QUICK_PAIRS = 1.0, 3
FULL_SECONDS, FULL_PAIRS = 3.0, 7
MILLION = 1_000_000


@dataclass(frozen=True)
class Options:
    """`only` holds shell patterns, empty for the whole set; the dictionaries are by target."""

    is_full: bool
    is_list: bool
    report_of: Path | None
    only: tuple[str, ...]
    seconds: float
    pairs: int
    keys: int
    output: Path
    folder: Path | None
    settings: dict[str, str]
    workers: tuple[int, ...]
    measures_node: bool
    urls: dict[str, str]
    commands: dict[str, str]
    credentials: dict[str, tuple[str, str]]
    region: str
    server_cores: tuple[int, ...]
    load_core: int


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line; ends the program with a message if it cannot be."""
    parser = _parser()
    given = parser.parse_args(arguments)
    commands = dict(_pair(parser, text) for text in given.peer_command)
    credentials = {
        name: _key_pair(parser, text)
        for name, text in (_pair(parser, text) for text in given.credentials)
    }
    for name in given.peer:
        commands.setdefault(name, PEERS[name].command)
        credentials.setdefault(name, (PEERS[name].access_key, PEERS[name].secret_key))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 and not given.list and not given.report_of:
        parser.error("two cores are needed, one for the server and one for the load")
    return Options(
        is_full=given.full,
        is_list=given.list,
        report_of=given.report_of,
        only=tuple(given.only),
        seconds=given.seconds or (FULL_SECONDS if given.full else QUICK_SECONDS),
        pairs=given.pairs or (FULL_PAIRS if given.full else QUICK_PAIRS),
        keys=given.keys,
        output=given.output,
        folder=given.folder,
        settings=dict(_pair(parser, text) for text in given.set),
        workers=tuple(given.workers),
        measures_node=not given.no_node,
        urls=dict(_pair(parser, text) for text in given.target),
        commands=commands,
        credentials=credentials,
        region=given.region,
        server_cores=tuple(given.server_cores or cores[:1]),
        load_core=cores[-1] if given.load_core is None else given.load_core,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    add = parser.add_argument
    sets = parser.add_mutually_exclusive_group()
    sets.add_argument("--quick", action="store_true", help="about two minutes (the default)")
    sets.add_argument("--full", action="store_true", help="everything; takes hours")
    add("--only", action="append", default=[], metavar="NAME", help="a part or a workload, * and ?")
    add("--list", action="store_true", help="show the names for --only, and end")
    add("--report-of", type=Path, metavar="JSON", help="make the report anew from earlier figures")
    add("--seconds", type=float, help="seconds of each small run (1, full: 3)")
    add("--pairs", type=int, help="rounds, A B and B A in turn (3, full: 7)")
    add("--keys", type=int, default=MILLION, help="keys of the part million (1,000,000)")
    add(
        "--output",
        type=Path,
        default=Path("bench-results/bench.json"),
        help="figures; the report goes beside them",
    )
    add("--folder", type=Path, help="where data goes (a temporary folder)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="RS3GW_NAME=VALUE",
        help="a setting of the node",
    )
    add(
        "--workers",
        type=_numbers,
        default=[1, 2],
        metavar="N,N",
        help="also nodes with so many workers (1,2)",
    )
    add("--no-node", action="store_true", help="measure the other targets only")
    add(
        "--target",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="an S3 endpoint to measure as well",
    )
    add(
        "--peer-command",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="how to start a target; {port} and {folder} are filled in",
    )
    add(
        "--peer",
        action="append",
        default=[],
        choices=sorted(PEERS),
        help="a peer whose command is known",
    )
    add(
        "--credentials",
        action="append",
        default=[],
        metavar="NAME=ACCESS:SECRET",
        help="else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
    add(
        "--region",
        default=os.environ.get("AWS_REGION", "us-east-1"),
        help="region of the other targets",
    )
    add("--server-cores", type=_numbers, metavar="N,N", help="cores of every server (the first)")
    add("--load-core", type=int, metavar="N", help="core of the load generator (the last)")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _pair(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        parser.error(f"{text!r}: NAME=VALUE is wanted")
    return name, value


def _key_pair(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    access, colon, secret = text.partition(":")
    if not colon or not access or not secret:
        parser.error("--credentials wants NAME=ACCESS:SECRET")
    return access, secret
