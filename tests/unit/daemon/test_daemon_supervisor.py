"""Real processes that only pretend to be workers, and what the supervisor makes of them."""

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from rs3gwd.config import Config
from rs3gwd.daemon import supervisor as module
from rs3gwd.daemon.supervisor import Charge, Supervisor, WorkersFailed
from rs3gwd.daemon.worker_process import WorkerProcess
from rs3gwd.observe.metrics import Metrics

STAND_IN = Path(__file__).with_name("stand_in_worker.py")


class RecordingEngine:
    """The engine's side: it keeps the numbers, and reads a channel to its end."""

    def __init__(self) -> None:
        self.served: list[int] = []
        self.gone: list[int] = []

    async def serve(self, worker_number: int, channel: socket.socket) -> None:
        """Waits for the other end to close."""
        self.served.append(worker_number)
        channel.setblocking(False)
        with trio.socket.from_stdlib_socket(channel) as end:
            assert await end.recv(1) == b""

    def worker_gone(self, worker_number: int) -> None:
        """Keeps the number."""
        self.gone.append(worker_number)


def make(order: str, *, count: int = 2) -> Supervisor:
    """A supervisor whose workers follow one order."""
    command = [sys.executable, str(STAND_IN), order]
    supervisor = Supervisor(command, count=count, own=Metrics().families, patience_seconds=60.0)
    supervisor.hire([WorkerProcess(command) for _ in range(count)])
    return supervisor


def make_charge(engine: RecordingEngine, *, count: int = 2) -> Charge:
    """A charge with a listening socket for each place."""
    lock = os.memfd_create("lock")
    return Charge(
        config=Config(shutdown_grace_secs=0),
        engine=engine,
        host_id="h",
        log_lock=lock,
        metrics_token=None,
        secrets=(),
        secure=False,
        shared_page=lock,
        shares=[[socket.create_server(("127.0.0.1", 0))] for _ in range(count)],
        store_lock=lock,
    )


@asynccontextmanager
async def serving(supervisor: Supervisor, engine: RecordingEngine) -> AsyncIterator[None]:
    """The supervisor with all its workers ready, and closed at the end."""
    charge = make_charge(engine)
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.serve, charge)
                yield
                nursery.cancel_scope.cancel()
    finally:
        supervisor.close()
        os.close(charge.log_lock)


async def until_ended(supervisor: Supervisor, reason: str, count: int) -> None:
    """Returns when so many workers have ended for a reason and all places are served."""
    while True:
        if supervisor.ends[reason] >= count and supervisor.is_healthy():
            return
        await trio.sleep(0.01)


async def until_rolled(supervisor: Supervisor) -> None:
    """Returns when no restart is under way."""
    while True:
        if not supervisor.is_rolling:
            return
        await trio.sleep(0.01)


async def test_each_worker_has_a_number_of_its_own_and_is_reported_gone_once() -> None:
    """After a kill, a restart and the end the engine has heard of every worker, once."""
    supervisor, engine = make("obey"), RecordingEngine()
    async with serving(supervisor, engine):
        views = supervisor.views()
        assert [(each.place, each.number, each.state) for each in views] == [
            (0, 1, "ready"),
            (1, 2, "ready"),
        ]
        os.kill(views[0].pid, 9)
        await until_ended(supervisor, "died", 1)
        assert supervisor.restart()
        assert not supervisor.restart()
        await until_ended(supervisor, "restart", 2)
        await until_rolled(supervisor)
        assert supervisor.restart_failure == ""
        assert [each.restarts for each in supervisor.views()] == [2, 1]
        assert await supervisor.drain(5.0) == 2
        assert supervisor.views() == []
    assert sorted(engine.served) == sorted(engine.gone) == [1, 2, 3, 4, 5]


async def test_a_start_at_which_every_worker_dies_is_given_up() -> None:
    """It says how they ended, and leaves no process behind."""
    supervisor, engine = make("die"), RecordingEngine()
    with pytest.raises(ExceptionGroup) as raised:
        async with serving(supervisor, engine):
            pytest.fail("no worker was ever ready")
    assert raised.group_contains(WorkersFailed, match="exit status 7")
    assert supervisor.views() == []


async def test_a_worker_that_breaks_the_protocol_is_replaced() -> None:
    """It is killed, and the next one takes its place."""
    supervisor, engine = make("babble"), RecordingEngine()
    async with serving(supervisor, engine):
        await until_ended(supervisor, "broken", 1)
        assert 1 not in [each.number for each in supervisor.views()]


async def test_a_restart_whose_new_worker_dies_leaves_the_old_one() -> None:
    """The old workers serve on, and it says why."""
    supervisor, engine = make("die_later", count=1), RecordingEngine()
    charge = make_charge(engine, count=1)
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.serve, charge)
                supervisor.restart()
                await until_rolled(supervisor)
                assert supervisor.restart_failure == "the new worker ended with exit status 7"
                (view,) = supervisor.views()
                assert (view.number, view.state, view.restarts) == (1, "ready", 0)
                nursery.cancel_scope.cancel()
    finally:
        supervisor.close()
        os.close(charge.log_lock)


async def test_a_question_for_metrics_is_answered_though_one_before_was_given_up() -> None:
    """The last one that a worker asks gets its page."""
    supervisor, engine = make("ask_twice"), RecordingEngine()
    async with serving(supervisor, engine):
        while True:
            fronts = [supervisor.collector.front_of(number) for number in (1, 2)]
            if [front and front.connections for front in fronts] == [77, 77]:
                break
            await trio.sleep(0.01)


@pytest.mark.parametrize("after_seconds", [0.0, 0.3, 1.0])
async def test_an_end_in_the_middle_of_a_restart_ends_old_and_new(after_seconds: float) -> None:
    """Whatever the restart has come to, no process is left and each is reported gone once."""
    supervisor, engine = make("obey"), RecordingEngine()
    async with serving(supervisor, engine):
        supervisor.restart()
        await trio.sleep(after_seconds)
        await supervisor.drain(5.0)
        assert supervisor.views() == []
        await until_rolled(supervisor)
        assert not supervisor.restart()
    assert sorted(engine.served) == sorted(engine.gone) == sorted(set(engine.gone))


async def test_one_that_does_not_go_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its grace time and a margin; its connections count as cut."""
    monkeypatch.setattr(module, "DRAIN_MARGIN_SECONDS", 0.1)
    supervisor, engine = make("stay"), RecordingEngine()
    async with serving(supervisor, engine):
        assert await supervisor.drain(0.1) == 0
        assert supervisor.ends["hung"] == 2
        assert supervisor.views() == []
    assert sorted(engine.gone) == [1, 2]
