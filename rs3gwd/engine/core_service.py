"""The core's side of the workers: commits what they send, lends them lanes, tells what is going.

What it is not: it starts and watches no process; the daemon does.
"""

from __future__ import annotations

import socket

from rs3gwd.engine.engine import Engine


class CoreService:
    """Serves the workers of one core. Belongs to the event loop of `engine`.

    The daemon makes, for each worker process, `socket.socketpair(AF_UNIX, SOCK_STREAM)`, keeps one
    end for `serve` and lets the child inherit the other and `engine.shared.descriptor`. A worker
    number is never used twice in the life of a core, also not by the process that takes another's
    place.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def serve(self, worker_number: int, channel: socket.socket) -> None:
        """Serves one worker until its end of the channel is closed, or until cancelled.

        Owns `channel` (any blocking mode) and closes it at the end. Returns when the worker has
        closed its end or died, and after it broke the protocol, which the observer is told of; a
        worker that lives then sees its end closed and gives up. Never raises for what a worker
        does. What the worker had sent is committed all the same. `engine.run` must be active.
        """
        raise NotImplementedError

    def worker_gone(self, worker_number: int) -> None:
        """The process of a worker is dead and reaped (after waitpid): no write of it can come.

        Takes its lanes back and counts its readers as gone. To be called once for every worker
        that `serve` was called for, whether `serve` has returned yet or not; a number that was
        never served is no error.
        """
        raise NotImplementedError
