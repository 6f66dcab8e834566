"""Writes and syncs that fail beneath LMDB and the segments, then a power cut.

After an fdatasync that failed the kernel takes the dirty pages for clean: the next one succeeds
and the bytes are gone (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
So here a process runs with calls that fail, all of what it never synced is lost, and everything
that it acknowledged must still be there. The process itself shows that the disk is latched: it
refuses writes and answers reads (`chaos.powercut_workload`).
"""

from __future__ import annotations

import errno
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.disk_model import CHOICES, DiskModel
from chaos.powercut import (
    LaneHistory,
    Marks,
    cut,
    foresee,
    scratch_directory,
)
from chaos.powercut import Plan as PowerCutPlan
from chaos.powercut_workload import shrink_parts
from chaos.trace import Failure, Kind, build_shim, read_trace, record

LANES = 3
STEPS = 24
VIOLATIONS_MAX = 5

PLACES = (
    (Kind.SYNC_BEGIN, "data.mdb"),
    (Kind.SYNC_BEGIN, ".seg"),
    (Kind.WRITE, "data.mdb"),
    (Kind.WRITE, ".seg"),
)
"""What may fail: by kind of call and ending of the path."""

PLACE_MAX = 60
"""Beyond so many calls of one kind nothing new happens."""


class Plan(Struct, frozen=True):
    """What to do: so many processes, each with its own failure."""

    seed: int
    runs: int


class Report(Struct, frozen=True):
    """The result; `met` counts the runs in which the chosen call took place."""

    runs: int
    met: int
    cuts: int
    violations: list[str]


def choose_failure(source: random.Random) -> Failure:
    """One failure: of which calls, from which on, for how long, with which error."""
    kind, ending = source.choice(PLACES)
    return Failure(
        kind=kind,
        first=source.randrange(PLACE_MAX),
        count=source.choice([1, 1, 1_000_000]),
        error_number=source.choice([errno.EIO, errno.EIO, errno.ENOSPC]),
        ending=ending,
    )


async def _cut_at_end(
    log: Path,
    histories: list[LaneHistory],
    names: dict[bytes, str],
    source: random.Random,
    scratch: Path,
) -> tuple[bool, list[str]]:
    """Whether the process was stopped by the failure, and what is lost when the power goes now."""
    model = DiskModel()
    marks = Marks(LANES)
    for event in read_trace(log):
        if event.path != "marks":
            model.apply(event)
        elif event.kind is Kind.WRITE:
            marks.apply(event)
    problems = []
    for choice in CHOICES:
        found = await cut(model, choice, source, scratch, marks, histories, names)
        problems += [f"{choice.title}: {problem}" for problem in found]
    return marks.begun != marks.ended, problems


def _run_one(
    directory: Path, failure: Failure, *, seed: int, shim: Path, source: random.Random
) -> tuple[bool, list[str]]:
    root, log = directory / "root", directory / "trace"
    root.mkdir()
    command = [sys.executable, "-m", "chaos.powercut_workload", str(root)]
    command += [str(seed), str(LANES), str(STEPS), "until-failure"]
    try:
        record(command, root=root, log=log, shim=shim, failure=failure)
    except subprocess.CalledProcessError as error:
        return True, [f"the process fails: {error.stderr.decode()[-1500:]}"]
    histories, names = trio.run(
        foresee, PowerCutPlan(seed=seed, points=0, lanes=LANES, steps=STEPS)
    )
    scratch = directory / "images"
    scratch.mkdir()
    return trio.run(partial(_cut_at_end, log, histories, names, source, scratch))


def run(plan: Plan) -> Report:
    """Carries a plan out. Raises NoCompiler."""
    shrink_parts()
    source = random.Random(plan.seed)
    met = 0
    runs = 0
    problems: list[str] = []
    with scratch_directory() as name:
        shim = build_shim(Path(name))
        for number in range(plan.runs):
            failure = choose_failure(source)
            directory = Path(tempfile.mkdtemp(dir=name))
            stopped, found = _run_one(
                directory, failure, seed=plan.seed + number, shim=shim, source=source
            )
            runs += 1
            met += stopped
            problems += [f"run {number}, {failure}: {problem}" for problem in found]
            if len(problems) >= VIOLATIONS_MAX:
                break
    return Report(runs=runs, met=met, cuts=runs * len(CHOICES), violations=problems)


def run_and_show(plan: Plan) -> Report:
    """`run`, and the report printed with the command that repeats it."""
    start = time.monotonic()
    report = run(plan)
    print(
        f"broken-syncs: {report.runs} processes, {report.met} stopped by the failure, "
        f"{report.cuts} power cuts, {time.monotonic() - start:.0f} s, "
        f"{len(report.violations)} violations"
    )
    for violation in report.violations[:VIOLATIONS_MAX]:
        print(f"  {violation[:3000]}")
    if report.violations:
        print(f"again: python3 -m chaos broken-syncs --seed {plan.seed} --runs {plan.runs}")
    return report
