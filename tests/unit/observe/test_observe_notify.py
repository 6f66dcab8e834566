"""Notices to systemd, received as systemd receives them."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from rs3gwd.observe.notify import STATUS_CHARACTERS_MAX, Notifier, keep_watchdog


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The value of NOTIFY_SOCKET and the manager's end of it."""
    name = f"@rs3gwd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name[1:] if name.startswith("@") else name)
        end.setblocking(False)
        yield name, end


def test_each_notice_is_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """READY, STATUS, WATCHDOG and STOPPING as sd_notify(3) spells them."""
    name, end = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("two\nlines  " + "x" * 500)
    notifier.watchdog()
    notifier.stopping()
    assert end.recv(1000) == b"READY=1"
    assert end.recv(1000) == b"STATUS=two lines " + b"x" * (STATUS_CHARACTERS_MAX - 10)
    assert end.recv(1000) == b"WATCHDOG=1"
    assert end.recv(1000) == b"STOPPING=1"


def test_without_a_manager_nothing_happens() -> None:
    """A daemon started by hand has nobody to tell, and is not watched."""
    notifier = Notifier({})
    notifier.ready()
    notifier.stopping()
    assert notifier.watchdog_interval_seconds is None


def test_a_manager_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Whoever says READY learns that nobody heard it."""
    with pytest.raises(FileNotFoundError):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_period(
    environ: dict[str, str], expected: float | None
) -> None:
    """Half of WATCHDOG_USEC, and only by the process that it is meant for."""
    notifier = Notifier({"NOTIFY_SOCKET": "/nowhere", **environ})
    assert notifier.watchdog_interval_seconds == expected


async def test_the_watchdog_is_fed_while_the_loop_turns(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """In 61 seconds with a watchdog of 30 there are five notices, the first at once."""
    address = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        end.setblocking(False)
        with trio.move_on_after(61):
            await keep_watchdog(
                Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}), lambda: True
            )
        assert [end.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        with pytest.raises(BlockingIOError):
            end.recv(100)


async def test_a_notice_that_fails_does_not_end_the_watchdog(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A manager that is away for a moment gets the next notice."""
    address = str(tmp_path / "s")
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_watchdog, notifier, lambda: True)
        await trio.sleep(2.5)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.bind(address)
            await trio.sleep(1)
            assert end.recv(100) == b"WATCHDOG=1"
        nursery.cancel_scope.cancel()


async def test_a_daemon_that_is_not_healthy_says_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """No notice while it is not, and one within a second of its being so again."""
    address = str(tmp_path / "s")
    healthy_from = 20.5
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        end.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_watchdog, notifier, lambda: trio.current_time() > healthy_from)
            await trio.sleep(healthy_from)
            with pytest.raises(BlockingIOError):
                end.recv(100)
            await trio.sleep(1.1)
            assert end.recv(100) == b"WATCHDOG=1"
            nursery.cancel_scope.cancel()


async def test_nobody_watches_without_the_variable() -> None:
    """The task ends at once instead of idling."""
    with trio.fail_after(1):
        assert await keep_watchdog(Notifier({}), lambda: True) is None
