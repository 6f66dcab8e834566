"""Power cuts: records every write and sync of a run, and opens what each cut may leave of them.

One run of the real engine (`chaos.powercut_workload`) is recorded; then, at thousands of places in
the record, a legal remainder is made (`chaos.disk_model`), opened, recovered and read whole
(`chaos.verify`). The controls leave out what keeps data safe, syncs of segments or of directories,
as if the engine had forgotten them: then there must be violations, or the checker is blind.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.disk_model import CHOICES, Choice, DiskModel, write_image
from chaos.lanes import Lane, names_by_nonce
from chaos.powercut_workload import OPTIONS, SETTINGS, shrink_parts
from chaos.trace import Kind, TraceEvent, build_shim, read_trace, record
from chaos.verify import Expectation, verify_directory
from rs3gwd.testing import scenario as s

LANES = 4
STEPS = 80
VIOLATIONS_MAX = 5
WRITE_AFTER_EVERY = 10


class Plan(Struct, frozen=True):
    """What to do. `steps` are operations per lane, `points` power cuts.

    `ignore_data_syncs` and `ignore_directory_syncs` are the controls of `DiskModel`.
    """

    seed: int
    points: int
    lanes: int = LANES
    steps: int = STEPS
    ignore_data_syncs: str | None = None
    ignore_directory_syncs: bool = False


class Violation(Struct, frozen=True):
    """What a power cut broke: after how many records of the trace, and in which way it was cut."""

    point: int
    choice: str
    problem: str


class Report(Struct, frozen=True):
    """The result; `lost` counts points after which a control or the engine lost something."""

    points: int
    records: int
    operations: int
    by_choice: dict[str, int]
    violations: list[Violation]


class LaneHistory(Struct, frozen=True):
    """What is there of a lane after each number of steps, from 0."""

    prefix: bytes
    views: list[s.View]


def record_run(directory: Path, *, seed: int, lanes: int, steps: int) -> Path:
    """Records a run below `directory`; gives the trace. Raises NoCompiler, CalledProcessError."""
    root = directory / "root"
    root.mkdir()
    log = directory / "trace"
    shim = build_shim(directory)
    command = [sys.executable, "-m", "chaos.powercut_workload"]
    record([*command, str(root), str(seed), str(lanes), str(steps)], root=root, log=log, shim=shim)
    return log


async def foresee(plan: Plan) -> tuple[list[LaneHistory], dict[bytes, str]]:
    """The views of each lane after each of its steps, and the names by nonce."""
    histories = []
    names: dict[bytes, str] = {}
    for number in range(plan.lanes):
        lane = Lane(plan.seed, number, OPTIONS)
        await lane.prepare()
        views = [await lane.view(lane.model)]
        for _ in range(plan.steps):
            names.update(names_by_nonce([lane.begin()]))
            await lane.acknowledge()
            views.append(await lane.view(lane.model))
        histories.append(LaneHistory(lane.prefix, views))
    return histories, names


class Marks:
    """How far the lanes were, read from the writes to `marks`."""

    def __init__(self, lanes: int) -> None:
        self.is_set_up = False
        self.begun = [0] * lanes
        self.ended = [0] * lanes

    def apply(self, event: TraceEvent) -> None:
        """Takes a write to `marks`."""
        for line in event.data.decode().splitlines():
            word, _, lane = line.partition(" ")
            match word:
                case "setup":
                    self.is_set_up = True
                case "begin":
                    self.begun[int(lane)] += 1
                case "end":
                    self.ended[int(lane)] += 1

    def copy(self) -> Marks:
        """The marks of this moment, which later ones do not change."""
        other = Marks(len(self.begun))
        other.is_set_up = self.is_set_up
        other.begun, other.ended = list(self.begun), list(self.ended)
        return other

    def expectations(self, histories: Sequence[LaneHistory]) -> list[Expectation]:
        """What may be there of each lane; nothing is expected before all buckets are made."""
        if not self.is_set_up:
            return []
        return [
            Expectation(history.prefix, history.views[ended : begun + 1])
            for history, begun, ended in zip(histories, self.begun, self.ended, strict=True)
        ]


async def cut_everywhere(log: Path, plan: Plan, scratch: Path) -> Report:
    """Makes and verifies the power cuts of a plan; `scratch` is an empty directory."""
    events = list(read_trace(log))
    histories, names = await foresee(plan)
    source = random.Random(plan.seed)
    wanted = Counter(source.randrange(1, len(events) + 1) for _ in range(plan.points))
    model = DiskModel(
        ignore_data_syncs=plan.ignore_data_syncs,
        ignore_directory_syncs=plan.ignore_directory_syncs,
    )
    marks = Marks(plan.lanes)
    violations: list[Violation] = []
    by_choice: Counter[str] = Counter()
    for point, event in enumerate(events, 1):
        if event.path == "marks":
            if event.kind is Kind.WRITE:
                marks.apply(event)
        else:
            model.apply(event)
        for _ in range(wanted[point]):
            choice = source.choice(CHOICES)
            by_choice[choice.title] += 1
            problems = await cut(model, choice, source, scratch, marks, histories, names)
            violations += [Violation(point, choice.title, problem) for problem in problems]
            if len(violations) >= VIOLATIONS_MAX:
                break
        if len(violations) >= VIOLATIONS_MAX:
            break
    return Report(
        points=by_choice.total(),
        records=len(events),
        operations=plan.lanes * plan.steps,
        by_choice=dict(by_choice),
        violations=violations,
    )


async def cut(
    model: DiskModel,
    choice: Choice,
    source: random.Random,
    scratch: Path,
    marks: Marks,
    histories: Sequence[LaneHistory],
    names: dict[bytes, str],
) -> list[str]:
    """One power cut: makes the image, verifies it, removes it."""
    root = Path(tempfile.mkdtemp(dir=scratch))
    left = model.after_cut(choice, source)
    if "data" not in left:
        return []  # the directory itself was just being made
    write_image(left, root)
    problems = await verify_directory(
        str(root / "data"),
        marks.expectations(histories),
        names=names,
        settings=SETTINGS,
        power_cut=True,
        write_after=source.randrange(WRITE_AFTER_EVERY) == 0,
    )
    if not problems:
        shutil.rmtree(root)
    return problems


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """A place for images: in memory where there is one, since thousands are written."""
    memory = Path("/dev/shm")  # Linux's own file system in memory
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)


def run(plan: Plan, log: Path | None = None) -> Report:
    """Records a run, or takes the trace `log` of the same seed, lanes and steps, and cuts it."""
    shrink_parts()
    with scratch_directory() as name:
        directory = Path(name)
        if log is None:
            log = record_run(directory, seed=plan.seed, lanes=plan.lanes, steps=plan.steps)
        scratch = directory / "images"
        scratch.mkdir()
        report = trio.run(partial(cut_everywhere, log, plan, scratch))
        if report.violations:
            kept = Path(tempfile.mkdtemp(prefix="rs3gw-powercut-"))
            shutil.copy(log, kept / "trace")
            shutil.copytree(scratch, kept / "images")
            print(f"powercut: the trace and the images are in {kept}")
    return report


def show(report: Report, plan: Plan, seconds: float) -> None:
    """Prints a report and, for violations, the command that replays them."""
    print(
        f"powercut: {report.points} cuts in {report.records} records of {report.operations} "
        f"operations, {seconds:.0f} s, {len(report.violations)} violations"
    )
    for violation in report.violations:
        print(f"  after record {violation.point}, {violation.choice}: {violation.problem[:2000]}")
    if report.violations:
        print(
            f"replay: python3 -m chaos powercut --seed {plan.seed} --points {plan.points} "
            f"--lanes {plan.lanes} --steps {plan.steps} --trace TRACE"
        )


def run_and_show(plan: Plan, log: Path | None = None) -> Report:
    """`run`, and the report printed."""
    start = time.monotonic()
    report = run(plan, log)
    show(report, plan, time.monotonic() - start)
    return report
