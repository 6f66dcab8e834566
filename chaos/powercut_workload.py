"""The process whose writes are recorded: lanes on the real engine, with marks of what was begun
and acknowledged: `python -m chaos.powercut_workload ROOT SEED LANES STEPS [until-failure]`.

The data lies in ROOT/data, the marks are writes to ROOT/marks, so that they stand in the trace
between the writes of the engine. Between the phases everything is sealed, compacted and reopened.
With `until-failure` a disk error is no surprise: its lane stops, and once the disk has failed the
engine must refuse every write and answer every read.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import msgspec
import trio

from chaos.lanes import Lane, LaneOptions, setup_operations
from chaos.verify import violations
from rs3gwd.base.errors import DiskError, DiskFailed
from rs3gwd.engine import multipart
from rs3gwd.engine.system import SystemRandom
from rs3gwd.testing import memory_multipart
from rs3gwd.testing import scenario as s
from rs3gwd.testing.open_local import TEST_SETTINGS, LocalNode, open_local
from rs3gwd.testing.sealed_store import SealedStore
from rs3gwd.testing.target import StoreTarget

PHASES = 4
DISK_ERRORS = ("DiskFailed", "DiskFull")
PART_BYTES_MIN = 10_000
OPTIONS = LaneOptions(part_bytes_min=PART_BYTES_MIN)
SETTINGS = msgspec.structs.replace(TEST_SETTINGS, descriptors_max=64)


def shrink_parts() -> None:
    """Lets parts be small in this process, in the engine and in the model alike."""
    for module in (multipart, memory_multipart):
        setattr(module, "PART_BYTES_MIN", PART_BYTES_MIN)  # noqa: B010  # not theirs to export


async def run_lanes(
    root: str, *, seed: int, lane_count: int, steps: int, until_failure: bool = False
) -> None:
    """All phases; raises AssertionError when the engine answers other than the model."""
    marks = os.open(f"{root}/marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    mark = partial(_mark, marks)
    os.mkdir(f"{root}/data")
    _sync_directory(root)
    lanes = [Lane(seed, number, OPTIONS) for number in range(lane_count)]
    for lane in lanes:
        await lane.prepare()
    names: dict[str, str] = {}
    for phase in range(PHASES):
        try:
            async with open_local(f"{root}/data", settings=SETTINGS) as node:
                target = StoreTarget(SealedStore(node.engine, SystemRandom()), names=names)
                if phase == 0 and not await set_up(target, mark):
                    failed = True
                    break
                async with trio.open_nursery() as nursery:
                    for lane in lanes:
                        nursery.start_soon(run_steps, lane, target, steps // PHASES, mark)
                failed = not await keep_house(node) or any(lane.pending for lane in lanes)
                if failed:
                    await check_failed(node, lanes, target)
                    break
        except DiskError:
            failed = True  # while opening or closing
            break
    assert until_failure or not failed, "the disk failed"
    os.close(marks)


async def set_up(target: StoreTarget, mark: partial[None]) -> bool:
    """Makes the buckets; False when the disk does not let it."""
    for operation in setup_operations():
        outcome = await target.perform(operation)
        if outcome.error in DISK_ERRORS:
            return False
        assert outcome.error is None, outcome.error
    mark("setup")
    return True


async def run_steps(lane: Lane, target: StoreTarget, count: int, mark: partial[None]) -> None:
    """Some steps of one lane, marked when they begin and when they are answered.

    After a disk error the lane stops with its operation under way.
    """
    for _ in range(count):
        operation = lane.begin()
        mark(f"begin {lane.number}")
        found = await target.perform(operation)
        if found.error in DISK_ERRORS:
            return
        mark(f"end {lane.number}")
        expected = await lane.acknowledge()
        assert found == expected, f"{operation}: {found}, the model says {expected}"


async def keep_house(node: LocalNode) -> bool:
    """Seals, compacts and unlinks; False when the disk does not let it."""
    try:
        await node.engine.tick()
        await node.engine.compact(dead_ratio=0.05)
        await node.engine.tick()
    except DiskError:
        return False
    return node.engine.statistics().disk_failed is None


async def check_failed(node: LocalNode, lanes: list[Lane], target: StoreTarget) -> None:
    """Reads answer what they should; a latched disk takes no write.

    When LMDB could not write its meta page it refuses reads as well: they may then say that the
    disk has failed, and nothing else.
    """
    failed = node.engine.statistics().disk_failed
    for lane in lanes:
        try:
            found = await lane.view(target)
        except DiskFailed as error:
            if failed is None or "MDB_PANIC" not in str(error):
                raise
            continue
        wrong = violations(await lane.views(), found, power_cut=False)
        assert not wrong, wrong
    body = s.Body(1, 9)
    put = s.Put(bucket="plain", key=b"x", name="x", body=body, time_ms=1, nonce=bytes(16))
    if failed is not None:
        outcome = await target.perform(put)
        assert outcome.error == "DiskFailed", f"latched by {failed}, and yet {outcome}"


def _mark(descriptor: int, text: str) -> None:
    os.write(descriptor, f"{text}\n".encode())


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def main() -> None:
    """The program."""
    root, seed, lane_count, steps, *rest = sys.argv[1:]
    shrink_parts()
    trio.run(
        partial(
            run_lanes,
            root,
            seed=int(seed),
            lane_count=int(lane_count),
            steps=int(steps),
            until_failure=rest == ["until-failure"],
        )
    )


if __name__ == "__main__":
    main()
