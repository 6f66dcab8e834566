"""SIGKILL with workers on: whichever process dies, nothing acknowledged is lost, nothing leaks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from rs3gwd.engine.check import check
from rs3gwd.engine.segment_format import SEGMENT_HEADER_BYTES
from rs3gwd.engine.system import FileDisk
from rs3gwd.testing import worker_jobs as jobs
from rs3gwd.testing.open_local import LocalNode, open_local
from rs3gwd.testing.worker_crew import Crew, Worker, WorkerDied, open_crew

SIZES = (100, 3_000, 20_000, 150_000)
"""In the row, in a batch, and in lanes: one extent and several."""

SECONDS_MAX = 30

CORE = """
import sys, trio
from rs3gwd.testing import worker_jobs as jobs
from rs3gwd.testing.worker_crew import open_crew

async def main(path, notes):
    async with open_crew(path) as crew:
        workers = await crew.start(2)
        await jobs.create_bucket(crew.node)
        print(*(worker.process.pid for worker in workers), flush=True)
        async with trio.open_nursery() as nursery:
            for size in {sizes}:
                for number, worker in enumerate(workers):
                    prefix = b"%d-%d" % (number, size)
                    nursery.start_soon(
                        worker.call, jobs.put_and_note, prefix, size, 10_000, notes
                    )

trio.run(main, *sys.argv[1:])
"""


def noted(notes: Path) -> list[tuple[bytes, int]]:
    """What was acknowledged before the kill: whole lines only."""
    lines = notes.read_bytes().split(b"\n")[:-1] if notes.exists() else []
    pairs = [line.split() for line in lines]
    return [(key, int(size)) for key, size in pairs]


async def assert_whole(node: LocalNode, path: Path, written: list[tuple[bytes, int]]) -> None:
    """All that was acknowledged is there byte for byte, and the store is sound."""
    for key, size in written:
        assert await jobs.get(node, key) == jobs.bytes_of(key, size), key
    report = check(node.engine.environment, FileDisk(str(path)), read_data=True)
    assert report.findings == []
    for segment in node.engine.parts.store.segments.values():
        row = segment.record
        used = SEGMENT_HEADER_BYTES + row.live_bytes + row.dead_bytes
        assert row.committed_end == used, "a byte belongs to nothing"


def is_running(process_id: int) -> bool:
    """Whether a process runs; one that is dead and not reaped does not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def start_core(path: Path, notes: Path) -> subprocess.Popen[str]:
    """A core with two workers that write; its first line says their process ids."""
    return subprocess.Popen(
        [sys.executable, "-c", CORE.format(sizes=SIZES), str(path), str(notes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


async def kill_core(path: Path, notes: Path, *, after: int) -> None:
    """Runs core and workers, kills the core when so many writes were acknowledged, and waits until
    the workers have ended by themselves."""
    with start_core(path, notes) as core:
        assert core.stdout is not None
        workers = [int(word) for word in core.stdout.readline().split()]
        assert len(workers) == 2
        try:
            with trio.fail_after(SECONDS_MAX):
                while len(noted(notes)) < after:  # noqa: ASYNC110  # other processes write it
                    await trio.sleep(0.01)
        finally:
            core.kill()
    with trio.fail_after(SECONDS_MAX):
        while any(map(is_running, workers)):  # noqa: ASYNC110  # they are not our children
            await trio.sleep(0.01)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_killed_core_takes_its_workers_along_and_loses_nothing(
    tmp_path: Path, seed: int
) -> None:
    """The workers end, and the next core finds every acknowledged object and no stray byte."""
    await _kill_core_once(tmp_path, seed)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 130))
async def test_many_killed_cores_lose_nothing(tmp_path: Path, seed: int) -> None:
    """The same at many moments."""
    await _kill_core_once(tmp_path, seed)


async def _kill_core_once(tmp_path: Path, seed: int) -> None:
    data, notes = tmp_path / "data", tmp_path / "notes"
    data.mkdir()
    await kill_core(data, notes, after=random.Random(seed).randrange(1, 400))
    written = noted(notes)
    async with open_local(str(data)) as node:
        await assert_whole(node, data, written)
        await jobs.put(node, b"after", b"all")
        await node.engine.tick()
        await node.engine.compact(dead_ratio=0.0)
        await assert_whole(node, data, written)


class Victims:
    """Workers that write until they are killed, each followed by another."""

    def __init__(self, crew: Crew, notes: Path, seed: int) -> None:
        self._crew = crew
        self._notes = notes
        self._chance = random.Random(seed)

    async def kill(self, count: int) -> None:
        """Kills so many, one after the other, at random moments of their writing."""
        for number in range(count):
            (victim,) = await self._crew.start()
            before = len(noted(self._notes))
            after = before + self._chance.randrange(1, 80)
            async with trio.open_nursery() as nursery:
                for size in SIZES:
                    nursery.start_soon(self._write, victim, b"%d-%d" % (number, size), size)
                while len(noted(self._notes)) < after:  # noqa: ASYNC110  # the victim writes it
                    await trio.sleep(self._chance.random() * 0.005)
                os.kill(victim.process.pid, signal.SIGKILL)

    async def _write(self, victim: Worker, prefix: bytes, size: int) -> None:
        with pytest.raises(WorkerDied):
            await victim.call(jobs.put_and_note, prefix, size, 10_000, str(self._notes))


async def _kill_workers(tmp_path: Path, seed: int, count: int) -> None:
    data, notes = tmp_path / "data", tmp_path / "notes"
    data.mkdir()
    async with open_crew(str(data)) as crew:
        await jobs.create_bucket(crew.node)
        (steady,) = await crew.start()
        keys = [b"steady%d" % number for number in range(8)]
        for key in keys:
            await steady.call(jobs.put, key, jobs.bytes_of(key, 30_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Victims(crew, notes, seed).kill, count)
            for _ in range(count):
                await steady.call(jobs.spin, keys, 5)
                await crew.engine.tick()
                await crew.engine.compact(dead_ratio=0.2)
        with trio.fail_after(SECONDS_MAX):
            while crew.engine.statistics().lanes_busy:  # noqa: ASYNC110  # the last one is reaped
                await trio.sleep(0.01)
        await assert_whole(crew.node, data, noted(notes))
        kinds = {event.kind for event in crew.node.events.events}
        assert kinds <= {"segment_compacted"}
    async with open_local(str(data)) as node:
        await assert_whole(node, data, noted(notes))


async def test_killed_workers_lose_nothing_and_disturb_nobody(tmp_path: Path) -> None:
    """Several in a row, while another worker reads and the core compacts."""
    await _kill_workers(tmp_path, seed=5, count=4)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
async def test_many_killed_workers_lose_nothing(tmp_path: Path, seed: int) -> None:
    """The same many times over."""
    await _kill_workers(tmp_path, seed, count=12)
