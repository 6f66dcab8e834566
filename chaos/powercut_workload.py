"""The process whose writes are recorded: lanes on the real engine, with marks of what was begun
and acknowledged: `python -m chaos.powercut_workload ROOT SEED LANES STEPS`.

The data lies in ROOT/data, the marks are writes to ROOT/marks, so that they stand in the trace
between the writes of the engine. Between the phases everything is sealed, compacted and reopened.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import msgspec
import trio

from chaos.lanes import Lane, LaneOptions, setup_operations
from rs3gwd.engine import multipart
from rs3gwd.testing import memory_multipart
from rs3gwd.testing.open_local import TEST_SETTINGS, open_local
from rs3gwd.testing.target import StoreTarget

PHASES = 4
PART_BYTES_MIN = 10_000
OPTIONS = LaneOptions(part_bytes_min=PART_BYTES_MIN)
SETTINGS = msgspec.structs.replace(TEST_SETTINGS, descriptors_max=64)


def shrink_parts() -> None:
    """Lets parts be small in this process, in the engine and in the model alike."""
    for module in (multipart, memory_multipart):
        setattr(module, "PART_BYTES_MIN", PART_BYTES_MIN)  # noqa: B010  # not theirs to export


async def run_lanes(root: str, *, seed: int, lane_count: int, steps: int) -> None:
    """All phases; raises AssertionError when the engine answers other than the model."""
    marks = os.open(f"{root}/marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    mark = partial(_mark, marks)
    os.mkdir(f"{root}/data")
    _sync_directory(root)
    lanes = [Lane(seed, number, OPTIONS) for number in range(lane_count)]
    for lane in lanes:
        await lane.prepare()
    target: StoreTarget | None = None
    for phase in range(PHASES):
        async with open_local(f"{root}/data", settings=SETTINGS) as node:
            target = StoreTarget(node.store) if target is None else target.beside(node.store)
            if phase == 0:
                for operation in setup_operations():
                    assert (await target.perform(operation)).error is None
                mark("setup")
            async with trio.open_nursery() as nursery:
                for lane in lanes:
                    nursery.start_soon(run_steps, lane, target, steps // PHASES, mark)
            await node.engine.tick()
            await node.engine.compact(dead_ratio=0.05)
            await node.engine.tick()
    os.close(marks)


async def run_steps(lane: Lane, target: StoreTarget, count: int, mark: partial[None]) -> None:
    """Some steps of one lane, marked when they begin and when they are answered."""
    for _ in range(count):
        operation = lane.begin()
        mark(f"begin {lane.number}")
        found = await target.perform(operation)
        mark(f"end {lane.number}")
        expected = await lane.acknowledge()
        assert found == expected, f"{operation}: {found}, the model says {expected}"


def _mark(descriptor: int, text: str) -> None:
    os.write(descriptor, f"{text}\n".encode())


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def main() -> None:
    """The program."""
    root, seed, lane_count, steps = sys.argv[1:]
    shrink_parts()
    trio.run(partial(run_lanes, root, seed=int(seed), lane_count=int(lane_count), steps=int(steps)))


if __name__ == "__main__":
    main()
