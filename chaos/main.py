"""`python3 -m chaos`: the programs that break nodes on purpose; `dev.py sim` runs them.

Without a name each runs once, in its quick form. Every program takes one seed; when something was
lost it prints what, and the command that does the same again. Exit status: 0 when nothing was
found, 1 otherwise, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos import (
    bitflip,
    broken_syncs,
    cluster,
    faults,
    group_powercut,
    powercut,
    recovery_cut,
    sigkill,
)
from chaos.nemeses import SCENARIOS
from chaos.network import NoNetwork
from chaos.trace import NoCompiler

SEED_MAX = 1_000_000
FORGOTTEN = {"segment-syncs": ".seg", "metadata-syncs": ".mdb", "wal-syncs": ".wal"}
"""Which files' syncs a control leaves out, by the ending of their names."""


def main(arguments: Sequence[str]) -> int:
    """Runs one program, or all; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.seed is None:
        options.seed = random.randrange(SEED_MAX)
        print(f"seed {options.seed}")
    programs = [options.program] if options.program else list(PROGRAMS)
    failed = [name for name in programs if not _run(name, options)]
    if failed:
        print(f"chaos: violations found by {', '.join(failed)}")
    return 1 if failed else 0


def _run(name: str, options: argparse.Namespace) -> bool:
    try:
        return PROGRAMS[name](options)
    except (NoCompiler, NoNetwork) as error:
        print(f"{name}: not run: {error}")
        return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "program", nargs="?", choices=list(PROGRAMS), help="one of them; all by default"
    )
    parser.add_argument(
        "scenario",
        nargs="?",
        choices=list(SCENARIOS),
        default="processes",
        help="run: what befalls",
    )
    parser.add_argument("--seed", type=int, help="the same seed does the same again")
    parser.add_argument(
        "--points", type=int, default=500, help="powercut, group-powercut: number of power cuts"
    )
    parser.add_argument("--lanes", type=int, default=powercut.LANES, help="powercut: clients")
    parser.add_argument(
        "--steps", type=int, default=powercut.STEPS, help="powercut: operations per client"
    )
    parser.add_argument("--trace", type=Path, help="a trace of powercut kept by an earlier run")
    parser.add_argument(
        "--forget",
        choices=[*FORGOTTEN, "directory-syncs"],
        help="powercut, run: a control: as if these syncs had been left out",
    )
    parser.add_argument(
        "--recoveries", type=int, default=8, help="recovery-cut: recoveries that are cut"
    )
    parser.add_argument("--runs", type=int, default=20, help="broken-syncs: number of processes")
    parser.add_argument("--places", type=int, default=40, help="faults: places tried per kind")
    parser.add_argument("--flips", type=int, default=300, help="bitflip: number of bits")
    parser.add_argument("--kills", type=int, default=20, help="sigkill: number of kills")
    parser.add_argument("--encrypting", action="store_true", help="sigkill: all is encrypted")
    parser.add_argument("--minutes", type=float, default=0.3, help="run: how long")
    parser.add_argument("--nodes", type=int, default=3, help="run: how many")
    parser.add_argument("--out", type=Path, help="run: the folder to keep all evidence in")
    return parser


def _powercut(options: argparse.Namespace) -> bool:
    ending = FORGOTTEN.get(options.forget)
    plan = powercut.Plan(
        seed=options.seed,
        points=options.points,
        lanes=options.lanes,
        steps=options.steps,
        ignore_data_syncs=ending,
        ignore_directory_syncs=options.forget == "directory-syncs",
    )
    return not powercut.run_and_show(plan, options.trace).violations


def _group_powercut(options: argparse.Namespace) -> bool:
    ending = ".seg" if options.forget == "segment-syncs" else None
    plan = group_powercut.Plan(seed=options.seed, points=options.points, ignore_data_syncs=ending)
    return not group_powercut.run_and_show(plan).violations


def _recovery_cut(options: argparse.Namespace) -> bool:
    plan = powercut.Plan(
        seed=options.seed, points=options.recoveries, lanes=options.lanes, steps=options.steps
    )
    return not recovery_cut.run_and_show(plan, options.trace).violations


def _broken_syncs(options: argparse.Namespace) -> bool:
    plan = broken_syncs.Plan(seed=options.seed, runs=options.runs)
    return not broken_syncs.run_and_show(plan).violations


def _faults(options: argparse.Namespace) -> bool:
    plan = faults.Plan(seed=options.seed, places=options.places)
    return not faults.run_and_show(plan).violations


def _bitflip(options: argparse.Namespace) -> bool:
    plan = bitflip.Plan(seed=options.seed, flips=options.flips)
    return not bitflip.run_and_show(plan).violations


def _sigkill(options: argparse.Namespace) -> bool:
    plan = sigkill.Plan(seed=options.seed, kills=options.kills, is_encrypting=options.encrypting)
    return not sigkill.run_and_show(plan).violations


def _run_scenario(options: argparse.Namespace) -> bool:
    if options.forget == "directory-syncs":
        print("run: directory-syncs are a control of powercut alone")
        return False
    folder = options.out or Path(tempfile.mkdtemp(prefix="rs3gw-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "nodes").exists():
        print(f"run: {folder} holds an earlier run")
        return False
    settings = cluster.Settings(
        seed=options.seed,
        folder=folder.resolve(),
        scenario=options.scenario,
        seconds=options.minutes * 60,
        nodes=options.nodes,
        forget=FORGOTTEN.get(options.forget),
    )
    return cluster.run_and_show(settings)


PROGRAMS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "powercut": _powercut,
    "group-powercut": _group_powercut,
    "recovery-cut": _recovery_cut,
    "broken-syncs": _broken_syncs,
    "faults": _faults,
    "bitflip": _bitflip,
    "sigkill": _sigkill,
    "run": _run_scenario,
}
