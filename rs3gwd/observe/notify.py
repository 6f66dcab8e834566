"""Tells systemd how the daemon fares: ready, stopping, alive.

The protocol is a datagram of `NAME=value` lines to the Unix socket that NOTIFY_SOCKET names, a
leading `@` standing for the NUL of Linux's abstract names (sd_notify(3)). Where the variable is
not set nothing is sent. With WatchdogSec= in the unit, systemd kills a service that has not said
WATCHDOG=1 for WATCHDOG_USEC (sd_watchdog_enabled(3)): it is said from a trio task, so that it
proves that the event loop turns, and twice in each period, as the manual asks.
"""

import os
import socket
from collections.abc import Callable, Mapping

import structlog
import trio

STATUS_CHARACTERS_MAX = 200
"""`systemctl status` shows one line."""

HEALTH_SECONDS_MAX = 1.0
"""Between two looks at a daemon that is not healthy."""

_USEC_PER_SECOND = 1_000_000


class Notifier:
    """The way to the service manager; `environ` is the process environment.

    The methods send at once and never wait. They raise OSError when the manager's socket does not
    take the message; without a manager they do nothing.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_usec = _watchdog_usec(environ)

    @property
    def watchdog_interval_seconds(self) -> float | None:
        """Time between two WATCHDOG=1, half of what systemd allows; None when it does not watch."""
        if not self._address or not self._watchdog_usec:
            return None
        return self._watchdog_usec / _USEC_PER_SECOND / 2

    def ready(self) -> None:
        """The daemon listens; said once, after every listener is open."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The daemon has begun to drain."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split())[:STATUS_CHARACTERS_MAX])

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)


async def keep_watchdog(notifier: Notifier, is_healthy: Callable[[], bool]) -> None:
    """Says WATCHDOG=1 until cancelled, while `is_healthy`; returns at once where nobody watches.

    A daemon that becomes healthy again before systemd has lost its patience says so at once.
    """
    interval_seconds = notifier.watchdog_interval_seconds
    if interval_seconds is None:
        return
    log = structlog.get_logger()
    while True:
        if not is_healthy():
            await trio.sleep(min(interval_seconds / 10, HEALTH_SECONDS_MAX))
            continue
        try:
            notifier.watchdog()
        except OSError as error:
            # A missed one is made good by the next; systemd's socket may be full for a moment.
            log.warning("watchdog notice not sent", reason=str(error))
        await trio.sleep(interval_seconds)


def _watchdog_usec(environ: Mapping[str, str]) -> int:
    pid, usec = environ.get("WATCHDOG_PID", ""), environ.get("WATCHDOG_USEC", "")
    if pid and pid != str(os.getpid()):
        # The variables were meant for another process, which we inherited them from.
        return 0
    return int(usec) if usec.isascii() and usec.isdigit() else 0
