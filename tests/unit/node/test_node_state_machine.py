"""The engine's groups as the cluster library sees them."""

from __future__ import annotations

from pathlib import Path

import trio

from cluster.base.ports import Applied, GroupEntry, StateMachine
from cluster.raft.commands import Command, decode_answer, encode_command, opened_session
from cluster.raft.sessions import Outcome
from rs3gwd.base.commands import CreateBucket
from rs3gwd.base.records import BucketRecord
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.group_entries import encode_body, unpack_result
from rs3gwd.engine.system import SystemClock, SystemRandom, TrioThreads
from rs3gwd.node.state_machine import open_state_machine
from rs3gwd.testing.faulty_disk import MemoryDisk

MARK = Applied(1, 1, b"members")


async def test_entries_of_the_cluster_library_are_applied(tmp_path: Path) -> None:
    """A session is opened, a command is run in it once, a change of members moves the mark, and a
    snapshot of it all is taken in by another node."""
    async with trio.open_nursery() as nursery:
        first, second = await _open(tmp_path / "a", nursery), await _open(tmp_path / "b", nursery)
        source = await _machine(first, MARK)
        target = await _machine(second, None)
        command = CreateBucket("b", "owner", 1, "r")
        answers = await source.apply(
            [
                GroupEntry(0, 2, 1, encode_command(Command(0, 77, 0))),
                GroupEntry(0, 3, 1, encode_command(Command(2, 1, 0, encode_body(command)))),
                GroupEntry(0, 4, 2, encode_command(Command(2, 1, 0, encode_body(command)))),
                GroupEntry(0, 5, 2, b"", b"others"),
            ]
        )
        assert opened_session(decode_answer(answers[0])) == 2
        once, again = decode_answer(answers[1]), decode_answer(answers[2])
        assert (once.outcome, again.outcome) == (Outcome.APPLIED, Outcome.REPEATED)
        assert once.result == again.result
        assert isinstance(unpack_result(once.result), BucketRecord)
        assert answers[3] == b""
        assert source.applied(0) == Applied(5, 2, b"others")
        assert target.applied(0) is None
        async with source.snapshot(0) as (mark, chunks):
            await target.install(0, mark, chunks)
        assert target.applied(0) == Applied(5, 2, b"others")
        nursery.cancel_scope.cancel()
    await first.close()
    await second.close()


async def _open(path: Path, nursery: trio.Nursery) -> Engine:
    engine = await Engine.open(
        str(path),
        disk=MemoryDisk(),
        clock=SystemClock(),
        random=SystemRandom(),
        threads=TrioThreads(4),
    )
    await nursery.start(engine.run)
    return engine


async def _machine(engine: Engine, mark: Applied | None) -> StateMachine:
    machine, _ = await open_state_machine(
        engine, groups=3, mark=mark, clock=SystemClock(), threads=TrioThreads(2)
    )
    return machine
