"""SIGKILL: a process of a real node under concurrent load is killed and all is read, many times.

Each lane sends one request at a time over HTTP, so at a kill at most one operation of each is in
doubt. Afterwards the lane's keys must show all that was acknowledged and that operation wholly or
not at all (`chaos.lanes`). Some kills hit the core, which takes its workers with it, and the node
is started again; some hit a worker, and the node must put another in its place. Either can come
while the node starts. At the end the data directory is checked offline.

What it is not: a SIGKILL loses nothing of the page cache, so it shows nothing about syncs; the
power cuts do (`chaos.powercut`).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from chaos.lanes import BUCKETS, Lane, LaneOptions, setup_operations
from rs3gwd.base.admin import WorkersList
from rs3gwd.engine.check import check
from rs3gwd.engine.engine import ENVIRONMENT_DIRECTORY
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.system import FileDisk
from rs3gwd.testing import scenario as s
from rs3gwd.testing.http_client import ConnectionLost, HttpClient
from rs3gwd.testing.http_target import HttpTarget, UnexpectedAnswer, visible
from rs3gwd.testing.node_process import NodeProcess
from tools.rs3gwctl.session import administer

MIB = 1024 * 1024
OPTIONS = LaneOptions(
    body_sizes=(0, 1, 700, 5_000, 66_000, 140_000, 300_000, 1_500_000),
    big_part_chance=0.1,
    self_copies=False,
)
ENVIRONMENT = {
    "RS3GW_SEGMENT_BYTES": str(8 * MIB),
    "RS3GW_SEGMENT_PREALLOCATE_BYTES": str(2 * MIB),
    "RS3GW_COMPACTION_INTERVAL": "1",
    "RS3GW_COMPACTION_DEAD_PERCENT": "10",
    "RS3GW_FREE_BYTES_RESERVE": str(16 * MIB),
}
"""Small segments, so that sealing, compaction and unlinking are met by kills as well."""

LOAD_SECONDS = (0.02, 0.6)
START_SECONDS = (0.0, 1.0)
START_KILL_CHANCE = 0.15
UNKNOWN_OUTCOME = "503 "
WORKER_KILL_CHANCE = 0.5
REPLACED_SECONDS_MAX = 60.0
VIOLATIONS_MAX = 5


class Plan(Struct, frozen=True):
    """What to do: so many kills, with so many lanes, of a node with so many workers, which encrypts
    all that it stores or nothing."""

    seed: int
    kills: int
    lanes: int = 6
    workers: int = 2
    is_encrypting: bool = False


class Report(Struct, frozen=True):
    """The result. `in_doubt` are operations that were under way at a kill, `happened` those of
    them that had taken place."""

    kills: int
    kills_at_start: int
    kills_of_workers: int
    acknowledged: int
    by_operation: dict[str, int]
    in_doubt: int
    happened: int
    violations: list[str]


class _Client:
    """A lane with its connection."""

    def __init__(self, lane: Lane, port: int) -> None:
        self.lane = lane
        self.http = HttpClient(port)
        self.target = HttpTarget(self.http)


class _Run:
    """The state of a run: the node, the clients and what was found."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.source = random.Random(plan.seed)
        environ = {
            **ENVIRONMENT,
            "RS3GW_WORKERS": str(plan.workers),
            "RS3GW_DEFAULT_ENCRYPTION": "AES256" if plan.is_encrypting else "none",
        }
        self.node = NodeProcess(directory / "data", environ=environ)
        self.clients = [
            _Client(Lane(plan.seed, number, OPTIONS), self.node.port)
            for number in range(plan.lanes)
        ]
        self.kills = 0
        self.kills_at_start = 0
        self.kills_of_workers = 0
        self.is_working = False
        self.by_operation: Counter[str] = Counter()
        self.in_doubt = 0
        self.happened = 0
        self.violations: list[str] = []

    async def carry_out(self) -> None:
        """All kills, each followed by a restart and a look at everything."""
        await trio.to_thread.run_sync(self.node.start)
        for client in self.clients:
            await client.lane.prepare()
        for operation in setup_operations():
            outcome = await self.clients[0].target.perform(operation)
            assert outcome.error is None, outcome.error
        while self.kills < self.plan.kills and not self.violations:
            worker = await self._load()
            if worker:
                await self._await_end(worker)
            else:
                await self._start_again()
            async with trio.open_nursery() as nursery:
                for client in self.clients:
                    nursery.start_soon(self._verify, client)

    async def _load(self) -> int:
        """Lanes at work until the kill comes; the process id of a worker that was killed, or 0."""
        self.is_working = True
        async with trio.open_nursery() as nursery:
            for client in self.clients:
                nursery.start_soon(self._work, client)
            await trio.sleep(self.source.uniform(*LOAD_SECONDS))
            worker = self._kill_one()
            self.is_working = False
        return worker

    def _kill_one(self) -> int:
        """Kills the core or a worker; as `_load`."""
        self.kills += 1
        workers = self.node.worker_pids
        if workers and self.source.random() < WORKER_KILL_CHANCE:
            worker = self.source.choice(workers)
            os.kill(worker, signal.SIGKILL)
            self.kills_of_workers += 1
            return worker
        self.node.kill()
        return 0

    async def _await_end(self, worker: int) -> None:
        """Returns when nothing that a killed worker had handed to the core can still take place.

        The core has read what the worker sent when it no longer lists it, and commits in order:
        what is written afterwards comes behind all of that.
        """
        deadline = trio.current_time() + REPLACED_SECONDS_MAX
        while True:
            answer = await trio.to_thread.run_sync(administer, self.node.data, WorkersList())
            if worker not in [each.pid for each in answer.workers]:
                break
            assert trio.current_time() < deadline, f"worker {worker} is not replaced"
            await trio.sleep(0.02)
        async with HttpClient(self.node.port) as client:
            wall = await client.request("PUT", b"/" + BUCKETS[0].encode() + b"/wall", body=b"w")
            assert wall.status == 200, wall
            gone = await client.request("DELETE", b"/" + BUCKETS[0].encode() + b"/wall")
            assert gone.status == 204, gone

    async def _work(self, client: _Client) -> None:
        lane = client.lane
        while self.is_working and not self.violations:
            operation = lane.begin()
            try:
                found = await client.target.perform(operation)
            except ConnectionLost:
                await client.http.close()
                return
            except UnexpectedAnswer as error:
                # A worker that outlives its core by a moment says that it does not know.
                if self.is_working or UNKNOWN_OUTCOME not in str(error):
                    self.violations.append(f"{operation}: {error}")
                await client.http.close()
                return
            expected = await lane.acknowledge()
            self.by_operation[type(operation).__name__] += 1
            wanted = expected.error and expected.error.split()[0]
            if wanted != found.error:
                self.violations.append(f"{operation}: {found.error}, the model says {wanted}")
        # Its process may be dead without the client knowing.
        await client.http.close()

    async def _start_again(self) -> None:
        while self.source.random() < START_KILL_CHANCE and self.kills < self.plan.kills:
            self.node.start(wait=False)
            await trio.sleep(self.source.uniform(*START_SECONDS))
            self.kills_at_start += 1
            if self._kill_one():
                await trio.to_thread.run_sync(self.node.wait_ready)
                return
        await trio.to_thread.run_sync(self.node.start)

    async def _verify(self, client: _Client) -> None:
        """Finds out what became of the operation in doubt; everything else must be as it was."""
        lane, target = client.lane, client.target
        try:
            found = await target.view(BUCKETS, prefix=lane.prefix)
        except (ConnectionLost, UnexpectedAnswer) as error:
            self.violations.append(f"after kill {self.kills}: {lane.prefix!r}: {error}")
            return
        views = [visible(view) for view in await lane.views()]
        pending = lane.pending
        unknown = sorted({name for name in _names_in(found) if target.is_unknown(name)})
        name = getattr(pending, "name", None)
        if len(unknown) == 1 and name is not None:
            target.learn(name, unknown[0])
            found = await target.view(BUCKETS, prefix=lane.prefix)
        self.in_doubt += pending is not None
        for happened, view in enumerate(views):
            if not s.differences(view, found):
                self.happened += happened
                await lane.settle(happened=bool(happened))
                return
        wrong = s.differences(views[0], found)
        self.violations.append(f"after kill {self.kills}, {pending} in doubt: {wrong}")

    async def finish(self) -> None:
        """Stops the node and checks its data offline."""
        for client in self.clients:
            await client.http.close()
        status = await trio.to_thread.run_sync(self.node.stop)
        if status != 0:
            self.violations.append(f"the node ended with status {status}: {self.node.tail()}")
        self.violations += await trio.to_thread.run_sync(check_offline, self.node.data)


def check_offline(data: Path) -> list[str]:
    """What `check` finds in the data directory of a stopped node."""
    environment = Environment.open(str(data / ENVIRONMENT_DIRECTORY), read_only=True)
    try:
        report = check(environment, FileDisk(str(data)), read_data=True)
    finally:
        environment.close()
    return [f"check: {each.kind} {each.where}: {each.detail}" for each in report.findings]


def _names_in(view: s.View) -> list[str]:
    names = [v.name for keys in view.versions.values() for rows in keys.values() for v in rows]
    names += [u.name for keys in view.uploads.values() for rows in keys.values() for u in rows]
    return names


async def _run(plan: Plan, directory: Path) -> Report:
    run = _Run(plan, directory)
    try:
        await run.carry_out()
        if not run.violations:
            await run.finish()
    finally:
        run.node.end_if_running()
    return Report(
        kills=run.kills,
        kills_at_start=run.kills_at_start,
        kills_of_workers=run.kills_of_workers,
        acknowledged=run.by_operation.total(),
        by_operation=dict(run.by_operation),
        in_doubt=run.in_doubt,
        happened=run.happened,
        violations=run.violations,
    )


def run(plan: Plan) -> Report:
    """Carries a plan out in a directory of its own, which is kept when something was wrong."""
    directory = Path(tempfile.mkdtemp(prefix="rs3gw-sigkill-"))
    report = trio.run(partial(_run, plan, directory))
    if report.violations:
        print(f"sigkill: the data and the log are in {directory}")
    else:
        shutil.rmtree(directory)
    return report


def run_and_show(plan: Plan) -> Report:
    """`run`, and the report printed with the command that repeats it."""
    start = time.monotonic()
    report = run(plan)
    seconds = time.monotonic() - start
    print(
        f"sigkill: {report.kills} kills ({report.kills_at_start} of a starting node, "
        f"{report.kills_of_workers} of a worker), "
        f"{report.acknowledged} operations acknowledged, {report.in_doubt} in doubt "
        f"({report.happened} had happened), {seconds:.0f} s, "
        f"{len(report.violations)} violations"
    )
    for violation in report.violations[:VIOLATIONS_MAX]:
        print(f"  {violation[:4000]}")
    if report.violations:
        kind = " --encrypting" if plan.is_encrypting else ""
        print(f"again: python3 -m chaos sigkill --seed {plan.seed} --kills {plan.kills}{kind}")
    return report
