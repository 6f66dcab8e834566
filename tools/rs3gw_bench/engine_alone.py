"""`python -m tools.rs3gw_bench.engine_alone`: durable small PUTs without HTTP.

It opens an engine in this process, on real files, and lets some tasks stage and submit bodies in a
closed loop. What it is not: a figure for users; it shows how much of a request the commit is. The
figures are printed beside an append and fdatasync to a preallocated file of the same run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import trio

from rs3gwd.base.commands import CreateBucket, PutObject
from rs3gwd.base.records import Attributes, Durability
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.system import FileDisk, SystemClock, SystemRandom, TrioThreads
from tools.rs3gw_bench.floors import sync_seconds

OWNER = "a" * 64
BUCKET = "bench"
SWITCH_INTERVAL_SECONDS = 0.0005
LOAD_TASKS = 256
LOAD_STEPS = 10


class Load:
    """Tasks that write bodies of `size_bytes` under random or rising keys."""

    def __init__(self, engine: Engine, *, size_bytes: int, rising: bool) -> None:
        self._engine = engine
        self._body = os.urandom(size_bytes)
        self._rising = rising
        self._random = Random(1)
        self._attributes = Attributes(OWNER, {"content-type": "application/octet-stream"})
        self._number = 0
        self.seconds: list[float] = []

    async def run(self, tasks: int, *, until: float, count: int) -> None:
        """Writes `count` objects, or until the moment `until` of `time.perf_counter`."""
        last = self._number + count
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(self._write, until, last)

    async def _write(self, until: float, last: int) -> None:
        while self._number < last and (start := time.perf_counter()) < until:
            self._number += 1
            await self._put(self._key())
            self.seconds.append(time.perf_counter() - start)

    def _key(self) -> bytes:
        number = self._number if self._rising else self._random.getrandbits(64)
        return b"key/%016x" % number

    async def _put(self, key: bytes) -> None:
        body = self._body
        stage = self._engine.stage(size_hint=len(body), durability=Durability.STRICT)
        async with stage:
            await stage.write(body)
            staged = await stage.finish()
            command = PutObject(
                BUCKET,
                key,
                time.time_ns() // 1_000_000,
                os.urandom(16),
                self._attributes,
                "d" * 32,
                len(body),
                staged.ref,
            )
            await self._engine.submit(command, staged)


async def measure(folder: Path, options: argparse.Namespace) -> None:
    """One run; prints its figures."""
    engine = await Engine.open(
        str(folder),
        disk=FileDisk(str(folder)),
        clock=SystemClock(),
        random=SystemRandom(),
        threads=TrioThreads(),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await engine.submit(CreateBucket(BUCKET, OWNER, 1, "us-east-1"))
        load = Load(engine, size_bytes=options.size, rising=options.rising)
        for step in range(LOAD_STEPS if options.keys else 0):
            count = options.keys // LOAD_STEPS
            await _timed(load, LOAD_TASKS, f"{count * (step + 1):,} keys", count=count)
        await load.run(options.clients, until=time.perf_counter() + 0.3, count=sys.maxsize)
        await _timed(load, options.clients, f"{options.clients} tasks", seconds=options.seconds)
        print(f"fdatasync of an append: {sync_seconds(folder) * 1e6:.0f} us")
        nursery.cancel_scope.cancel()
    await engine.close()


async def _timed(
    load: Load, tasks: int, name: str, *, count: int = sys.maxsize, seconds: float = 1e9
) -> None:
    load.seconds.clear()
    start, cpu_start = time.perf_counter(), time.process_time()
    await load.run(tasks, until=start + seconds, count=count)
    spent, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    ordered = sorted(load.seconds)
    done = len(ordered)
    print(
        f"{name}: {done / spent:,.0f}/s, p50 {ordered[done // 2] * 1e6:,.0f} us, "
        f"p99 {ordered[done * 99 // 100] * 1e6:,.0f} us, processor {cpu / done * 1e6:.0f} us each"
    )


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(prog="engine_alone", description=__doc__)
    parser.add_argument("--clients", type=int, default=1, help="tasks that write (1)")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=4096, help="bytes of a body (4096)")
    parser.add_argument("--keys", type=int, default=0, help="objects to load before, in ten steps")
    parser.add_argument("--rising", action="store_true", help="rising keys instead of random ones")
    parser.add_argument("--folder", type=Path, default=None, help="where the data goes")
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    with tempfile.TemporaryDirectory(prefix="rs3gw-engine-", dir=options.folder) as folder:
        trio.run(measure, Path(folder), options)


if __name__ == "__main__":
    main()
