"""A disk that fails: the same script of operations with an error at every call of the disk in turn.

For each place and each kind of error the engine must keep its word: what was acknowledged is there
(now, and after a new start on a sound disk), what was refused with a full disk never happened, and
once a write or a sync has failed no write is taken any more while reads go on.

In-process: the disk is the fake of `rs3gwd.testing.faulty_disk` over real files. What it is not:
LMDB does not write through that port; `chaos.broken_syncs` lets its calls fail.
"""

from __future__ import annotations

import errno
import random
import shutil
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.lanes import BUCKETS, Lane, names_by_nonce, setup_operations
from chaos.powercut import scratch_directory
from chaos.powercut_workload import OPTIONS, SETTINGS, shrink_parts
from chaos.verify import Expectation, verify_directory, violations
from rs3gwd.base.errors import DiskError
from rs3gwd.engine.system import FileDisk, SystemRandom
from rs3gwd.testing import scenario as s
from rs3gwd.testing.faulty_disk import Call, Fault, FaultyDisk
from rs3gwd.testing.open_local import LocalNode, open_local
from rs3gwd.testing.sealed_store import SealedStore
from rs3gwd.testing.target import StoreTarget
from rs3gwd.testing.threads import InlineThreads

CHANGING = ("create", "pwrite", "allocate", "truncate", "sync_data", "sync_directory", "unlink")
"""The calls that change something, and so may fail here; reads that fail are `chaos.bitflip`."""

FINAL = ("pwrite", "sync_data", "sync_directory")
"""An EIO in one of these is the end of writing."""

VIOLATIONS_MAX = 5
LANES = 2


class Kind(Struct, frozen=True):
    """A kind of fault; `lasting` ones hit every later call as well, as a disk that is gone."""

    title: str
    fault: Fault
    lasting: bool


KINDS = (
    Kind("EIO for good", Fault(errno.EIO), lasting=True),
    Kind("EIO once", Fault(errno.EIO), lasting=False),
    Kind("EIO once, torn", Fault(errno.EIO, torn_bytes=700), lasting=False),
    Kind("ENOSPC once", Fault(errno.ENOSPC), lasting=False),
    Kind("ENOSPC for good", Fault(errno.ENOSPC, torn_bytes=100), lasting=True),
)


class Plan(Struct, frozen=True):
    """What to do. `steps` are operations per lane; `places` bounds the places tried per kind."""

    seed: int
    steps: int = 24
    places: int | None = None


class Report(Struct, frozen=True):
    """The result; `latched` counts the runs in which the disk was taken out of use."""

    calls: int
    runs: int
    latched: int
    refused: int
    violations: list[str]


class _Script:
    """One run of the script over a disk that may fail."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self.path = path
        self.disk = FaultyDisk(FileDisk(str(path)))
        self.lanes = [Lane(plan.seed, number, OPTIONS) for number in range(LANES)]
        self.names: dict[bytes, str] = {}
        self.hit: Call | None = None
        self.latched = False
        self.refused = 0
        self.in_doubt: set[int] = set()
        self.problems: list[str] = []

    def fail(self, place: int, kind: Kind) -> None:
        """Lets the call number `place` fail, counted from now."""
        seen = 0

        def decide(call: Call) -> Fault | None:
            nonlocal seen
            if call.operation not in CHANGING:
                return None
            if call.operation == "unlink" and kind.fault.error_number == errno.ENOSPC:
                return None  # removing a name needs no room
            seen += 1
            if seen - 1 == place or (kind.lasting and seen - 1 > place):
                self.hit = self.hit or call
                return kind.fault
            return None

        self.disk.decide = decide

    async def run(self, kind: Kind | None, place: int) -> int:
        """All steps; gives the number of calls that changed something."""
        self.path.mkdir()
        for lane in self.lanes:
            await lane.prepare()
        async with open_local(
            str(self.path), settings=SETTINGS, disk=self.disk, threads=InlineThreads()
        ) as node:
            target = StoreTarget(SealedStore(node.engine, SystemRandom()))
            for operation in setup_operations():
                assert (await target.perform(operation)).error is None
            start = len(self.disk.calls)
            if kind is not None:
                self.fail(place, kind)
            for step in range(self.plan.steps):
                for lane in self.lanes:
                    if lane.number not in self.in_doubt:
                        await self._step(lane, target)
                if step % 8 == 7 and node.engine.statistics().disk_failed is None:
                    await self._housekeep(node)
            calls = [call for call in self.disk.calls[start:] if call.operation in CHANGING]
            if kind is not None:
                await self._check_state(node, target, kind)
        return len(calls)

    async def _step(self, lane: Lane, target: StoreTarget) -> None:
        operation = lane.begin()
        self.names.update(names_by_nonce([operation]))
        found = await target.perform(operation)
        if found.error == "DiskFull":
            self.refused += 1
            await lane.settle(happened=False)
        elif found.error == "DiskFailed":
            self.refused += 1
            self.in_doubt.add(lane.number)  # it may have reached the disk: the next start decides
        else:
            expected = await lane.acknowledge()
            if found != expected:
                self.problems.append(f"{operation}: {found}, the model says {expected}")

    async def _housekeep(self, node: LocalNode) -> None:
        try:
            await node.engine.tick()
            await node.engine.compact(dead_ratio=0.05)
            await node.engine.tick()
        except DiskError:
            return  # what it means is looked at below

    async def _check_state(self, node: LocalNode, target: StoreTarget, kind: Kind) -> None:
        """Reads go on; the latch is where it must be, and holds."""
        failed = node.engine.statistics().disk_failed
        self.latched = failed is not None
        is_final = kind.fault.error_number == errno.EIO and self.hit is not None
        if is_final and self.hit is not None and self.hit.operation in FINAL and failed is None:
            self.problems.append(f"{self.hit} failed and the disk is still written")
        for lane in self.lanes:
            found = await target.view(BUCKETS, prefix=lane.prefix)
            self.problems += violations(await lane.views(), found, power_cut=False)
        self.disk.heal()
        put = s.Put(
            bucket="plain",
            key=b"later",
            name="later",
            body=s.Body(1, 9),
            time_ms=1,
            nonce=bytes(16),
        )
        outcome = await target.perform(put)
        if failed is not None and outcome.error != "DiskFailed":
            self.problems.append(f"the disk is latched ({failed}), and a write answers {outcome}")
        if failed is None:
            if outcome.error is not None:
                self.problems.append(f"the disk is healthy again, and a write answers {outcome}")
            await target.perform(
                s.Delete(bucket="plain", key=b"later", name="", time_ms=1, nonce=bytes(16))
            )

    async def check_after(self) -> None:
        """Opens the store anew on a sound disk."""
        expectations = [Expectation(lane.prefix, await lane.views()) for lane in self.lanes]
        self.problems += await verify_directory(
            str(self.path),
            expectations,
            names=self.names,
            settings=SETTINGS,
            power_cut=False,
            write_after=True,
        )


async def _run(plan: Plan, directory: Path) -> Report:
    dry = _Script(plan, directory / "dry")
    calls = await dry.run(None, 0)
    source = random.Random(plan.seed)
    counts: Counter[str] = Counter()
    problems: list[str] = list(dry.problems)
    for kind in KINDS:
        places = list(range(calls))
        if plan.places is not None and plan.places < calls:
            places = sorted(source.sample(places, plan.places))
        for place in places:
            if len(problems) >= VIOLATIONS_MAX:
                break
            script = _Script(plan, Path(tempfile.mkdtemp(dir=directory)) / "data")
            await script.run(kind, place)
            await script.check_after()
            counts["runs"] += 1
            counts["latched"] += script.latched
            counts["refused"] += script.refused
            problems += [
                f"{kind.title} at call {place} ({script.hit}): {problem}"
                for problem in script.problems
            ]
            shutil.rmtree(script.path.parent)
    return Report(
        calls=calls,
        runs=counts["runs"],
        latched=counts["latched"],
        refused=counts["refused"],
        violations=problems,
    )


def run(plan: Plan) -> Report:
    """Carries a plan out."""
    shrink_parts()
    with scratch_directory() as name:
        return trio.run(partial(_run, plan, Path(name)))


def run_and_show(plan: Plan) -> Report:
    """`run`, and the report printed with the command that repeats it."""
    start = time.monotonic()
    report = run(plan)
    print(
        f"faults: {report.runs} runs over {report.calls} calls, the disk latched in "
        f"{report.latched}, {report.refused} operations refused, "
        f"{time.monotonic() - start:.0f} s, {len(report.violations)} violations"
    )
    for violation in report.violations[:VIOLATIONS_MAX]:
        print(f"  {violation[:2000]}")
    if report.violations:
        places = "" if plan.places is None else f" --places {plan.places}"
        print(f"again: python3 -m chaos faults --seed {plan.seed} --steps {plan.steps}{places}")
    return report
