"""Power cuts over the logs of groups: a store is exactly at its marks, whatever a cut leaves.

A run that applies the steps of `chaos.group_log` is recorded as `chaos.powercut` records the
engine; at many places a legal remainder is opened. Its marks must be those behind a whole step that
was begun, no earlier than what was acknowledged; each group's digest must be that of a node that
never lost power; every object must be read byte for byte, or be missing since its bytes never came;
`check` must find nothing; and the rest of the logs must lead where it leads without the cut.

`python -m chaos.group_powercut ROOT SEED STEPS` is the process that is recorded.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.disk_model import CHOICES, DiskModel, write_image
from chaos.group_log import BUCKET, LogMaker, LogNode, Step, open_log_node, position_of
from chaos.powercut import scratch_directory
from chaos.trace import Kind, TraceEvent, build_shim, read_trace, record
from rs3gwd.base.errors import BlobNotHere, Rs3gwError
from rs3gwd.base.records import VersionRecord
from rs3gwd.engine import listings
from rs3gwd.engine.check import check
from rs3gwd.engine.queries import get_bucket
from rs3gwd.engine.system import FileDisk
from rs3gwd.testing.threads import InlineThreads

STEPS = 40
GO_ON_EVERY = 5
VIOLATIONS_MAX = 5


class Plan(Struct, frozen=True):
    """What to do; `ignore_data_syncs` is the control of `DiskModel`."""

    seed: int
    points: int
    steps: int = STEPS
    ignore_data_syncs: str | None = None


class Report(Struct, frozen=True):
    """The result; `positions` are how many different steps the cuts left the store at."""

    points: int
    positions: int
    violations: list[str]


def run_and_show(plan: Plan) -> Report:
    """`run`, and the report printed, with the command that replays it."""
    report = run(plan)
    print(
        f"group-powercut: {report.points} cuts of {plan.steps} steps, stores left at "
        f"{report.positions} of them, {len(report.violations)} violations"
    )
    for violation in report.violations:
        print(f"  {violation[:2000]}")
    if report.violations:
        print(f"replay: python3 -m chaos group-powercut --seed {plan.seed} --points {plan.points}")
    return report


class _Marks:
    def __init__(self) -> None:
        self.begun = -1
        self.ended = -1

    def apply(self, event: TraceEvent) -> None:
        for line in event.data.decode().splitlines():
            word, _, number = line.partition(" ")
            if word == "begin":
                self.begun = int(number)
            else:
                self.ended = int(number)


def run(plan: Plan) -> Report:
    """Records a run and cuts it. Raises NoCompiler."""
    with scratch_directory() as name:
        directory = Path(name)
        root = directory / "root"
        root.mkdir()
        log = directory / "trace"
        command = [sys.executable, "-m", "chaos.group_powercut"]
        arguments = [str(root), str(plan.seed), str(plan.steps)]
        record([*command, *arguments], root=root, log=log, shim=build_shim(directory))
        return trio.run(partial(_cut_everywhere, log, plan, directory))


async def _cut_everywhere(log: Path, plan: Plan, scratch: Path) -> Report:
    steps = LogMaker(plan.seed).steps(plan.steps)
    digests = await _foresee(steps, Path(tempfile.mkdtemp(dir=scratch)))
    source = random.Random(plan.seed)
    events = list(read_trace(log))
    wanted = [source.randrange(1, len(events) + 1) for _ in range(plan.points)]
    model = DiskModel(ignore_data_syncs=plan.ignore_data_syncs)
    marks = _Marks()
    positions: set[int] = set()
    violations: list[str] = []
    for point, event in enumerate(events, 1):
        if event.path != "marks":
            model.apply(event)
        elif event.kind is Kind.WRITE:
            marks.apply(event)
        for _ in range(wanted.count(point)):
            choice = source.choice(CHOICES)
            left = model.after_cut(choice, source)
            if marks.begun < 0 or "data" not in left:
                continue  # the store is just being made
            root = Path(tempfile.mkdtemp(dir=scratch))
            write_image(left, root)
            cut = _Cut(steps, digests, marks.ended, marks.begun)
            found = await cut.look(root / "data", go_on=source.randrange(GO_ON_EVERY) == 0)
            positions.add(cut.position)
            violations += [f"record {point}, {choice.title}: {problem}" for problem in found]
            shutil.rmtree(root)
        if len(violations) >= VIOLATIONS_MAX:
            break
    return Report(points=plan.points, positions=len(positions), violations=violations)


async def _foresee(steps: Sequence[Step], root: Path) -> list[list[bytes]]:
    """The digests of the groups behind each number of steps."""
    async with open_log_node(str(root)) as node:
        digests = [node.digests()]
        for step in steps:
            await node.apply(step)
            digests.append(node.digests())
    return digests


class _Cut:
    """What a cut left, held against what may be there."""

    def __init__(
        self, steps: Sequence[Step], digests: Sequence[list[bytes]], ended: int, begun: int
    ) -> None:
        self._steps = steps
        self._digests = digests
        self._ended = ended
        self._begun = begun
        self.position = -1

    async def look(self, path: Path, *, go_on: bool) -> list[str]:
        problems: list[str] = []
        try:
            async with open_log_node(str(path), threads=InlineThreads()) as node:
                problems += await self._look(node, path, go_on=go_on)
        except* (Rs3gwError, AssertionError) as group:
            problems.append(f"the store fails: {group.exceptions!r}")
        return problems

    async def _look(self, node: LogNode, path: Path, *, go_on: bool) -> list[str]:
        position = position_of(self._steps, node.marks())
        if position is None:
            return [f"the marks {node.marks()} are between two steps"]
        self.position = position
        problems: list[str] = []
        if not self._ended + 1 <= position <= self._begun + 1:
            problems.append(f"at step {position}, {self._ended + 1} were acknowledged")
        if node.digests() != self._digests[position]:
            problems.append(f"other rows than behind step {position}")
        environment = node.node.engine.environment
        report = check(environment, FileDisk(str(path)), read_data=True)
        problems += [f"check: {finding}" for finding in report.findings]
        if position:
            problems += await self._read_all(node)
        if go_on:
            for step in self._steps[position:]:
                await node.apply(step)
            if node.digests() != self._digests[-1]:
                problems.append(f"the logs lead elsewhere from step {position}")
        return problems

    async def _read_all(self, node: LogNode) -> list[str]:
        brought = {one.blob_id for step in self._steps for one in step.staged}
        problems: list[str] = []
        with node.node.engine.environment.read() as txn:
            assert get_bucket(txn, BUCKET)
            page = listings.list_versions(txn, BUCKET)
        for entry in page.entries:
            if entry.version is None or entry.version.blob is None:
                continue
            try:
                data = await _read(node, entry.version)
            except BlobNotHere:
                if entry.version.blob.blob_id in brought:
                    problems.append(f"staged bytes of {entry.key!r} are not here")
                continue
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != entry.version.etag:
                problems.append(f"other bytes of {entry.key!r}")
        return problems


async def _read(node: LogNode, version: VersionRecord) -> bytes:
    pieces = []
    async with node.node.engine.open_body(version, 0, version.size_bytes) as reader:
        while piece := await reader.read():
            pieces.append(bytes(piece))
    return b"".join(pieces)


async def _apply_all(root: str, seed: int, count: int) -> None:
    """The process that is recorded: marks what it begins and what was acknowledged."""
    marks = os.open(f"{root}/marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.mkdir(f"{root}/data")
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
    async with open_log_node(f"{root}/data") as node:
        for number, step in enumerate(LogMaker(seed).steps(count)):
            os.write(marks, b"begin %d\n" % number)
            await node.apply(step)
            os.write(marks, b"end %d\n" % number)
            if number % 15 == 14:
                await node.node.engine.tick()
                await node.node.engine.compact(dead_ratio=0.05)
    os.close(marks)


if __name__ == "__main__":
    trio.run(_apply_all, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
