"""A second power cut, while the store recovers from the first.

Some remainders of `chaos.powercut` are opened by a process that is recorded in turn, and the power
is cut again at every record of it. What was acknowledged before the first cut must outlive both.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.disk_model import CHOICES, DiskModel, write_image
from chaos.powercut import (
    LaneHistory,
    Marks,
    Plan,
    cut,
    foresee,
    record_run,
    scratch_directory,
)
from chaos.powercut_workload import shrink_parts
from chaos.trace import Kind, build_shim, read_trace, record

VIOLATIONS_MAX = 5


class Report(Struct, frozen=True):
    """The result: `points` second cuts in all of the `recoveries`."""

    recoveries: int
    points: int
    violations: list[str]


class _Remainder(Struct, frozen=True):
    """What a first cut left, and how far the lanes were then."""

    point: int
    choice: str
    left: dict[str, bytes | None]
    marks: Marks


def _first_cuts(log: Path, plan: Plan, source: random.Random) -> list[_Remainder]:
    """`plan.points` remainders at places chosen by the seed."""
    events = list(read_trace(log))
    wanted = {source.randrange(1, len(events) + 1) for _ in range(plan.points)}
    model, marks = DiskModel(), Marks(plan.lanes)
    found = []
    for point, event in enumerate(events, 1):
        if event.path != "marks":
            model.apply(event)
        elif event.kind is Kind.WRITE:
            marks.apply(event)
        if point in wanted:
            choice = source.choice(CHOICES)
            left = model.after_cut(choice, source)
            if "data" in left:
                found.append(_Remainder(point, choice.title, left, marks.copy()))
    return found


def _record_recovery(remainder: _Remainder, directory: Path, shim: Path) -> Path:
    root, log = directory / "root", directory / "trace"
    root.mkdir()
    write_image(remainder.left, root)
    record([sys.executable, "-m", "chaos.reopen", str(root)], root=root, log=log, shim=shim)
    return log


async def _second_cuts(
    remainder: _Remainder,
    log: Path,
    histories: Sequence[LaneHistory],
    names: dict[bytes, str],
    source: random.Random,
    scratch: Path,
) -> tuple[int, list[str]]:
    """Cuts at every record of a recovery."""
    model = DiskModel()
    model.load(remainder.left)
    count = 0
    problems: list[str] = []
    for event in read_trace(log):
        model.apply(event)
        if event.kind in (Kind.OPEN, Kind.CLOSE, Kind.SYNC_BEGIN):
            continue
        choice = source.choice(CHOICES)
        found = await cut(model, choice, source, scratch, remainder.marks, histories, names)
        count += 1
        problems += [
            f"first cut after record {remainder.point} ({remainder.choice}), second after the "
            f"{event.kind} of {event.path} ({choice.title}): {problem}"
            for problem in found
        ]
    return count, problems


def run(plan: Plan, log: Path | None = None) -> Report:
    """Carries a plan out, over the trace `log` if there is one. Raises NoCompiler."""
    shrink_parts()
    source = random.Random(plan.seed)
    points = recoveries = 0
    problems: list[str] = []
    with scratch_directory() as name:
        directory = Path(name)
        if log is None:
            log = record_run(directory, seed=plan.seed, lanes=plan.lanes, steps=plan.steps)
        shim_directory = directory / "shim"
        shim_directory.mkdir()
        shim = build_shim(shim_directory)
        histories, names = trio.run(foresee, plan)
        for remainder in _first_cuts(log, plan, source):
            place = Path(tempfile.mkdtemp(dir=directory))
            try:
                recovery = _record_recovery(remainder, place, shim)
            except subprocess.CalledProcessError as error:
                problems.append(f"the recovery fails: {error.stderr.decode()[-1500:]}")
                continue
            scratch = place / "images"
            scratch.mkdir()
            count, found = trio.run(
                partial(_second_cuts, remainder, recovery, histories, names, source, scratch)
            )
            points += count
            recoveries += 1
            problems += found
            if len(problems) >= VIOLATIONS_MAX:
                break
    return Report(recoveries=recoveries, points=points, violations=problems)


def run_and_show(plan: Plan, log: Path | None = None) -> Report:
    """`run`, and the report printed with the command that repeats it."""
    start = time.monotonic()
    report = run(plan, log)
    print(
        f"recovery-cut: {report.points} second cuts in {report.recoveries} recoveries, "
        f"{time.monotonic() - start:.0f} s, {len(report.violations)} violations"
    )
    for violation in report.violations[:VIOLATIONS_MAX]:
        print(f"  {violation[:2000]}")
    if report.violations:
        print(
            f"again: python3 -m chaos recovery-cut --seed {plan.seed} "
            f"--recoveries {plan.points} --lanes {plan.lanes} --steps {plan.steps}"
        )
    return report
