"""One worker as the core sees it: its process, its place, and what is known of its life."""

import trio

from rs3gwd.daemon.control import Control, FromCore, FromWorker
from rs3gwd.daemon.liveness import Silence
from rs3gwd.daemon.worker_process import WorkerProcess


class Member:
    """`number` is never used again; `place` says where among the workers it stands."""

    def __init__(
        self, number: int, place: int, process: WorkerProcess, *, patience_seconds: float
    ) -> None:
        self.number = number
        self.place = place
        self.process = process
        self.silence = Silence(patience_seconds)
        self.born = trio.current_time()
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.reason = "died"
        self.is_leaving = False
        self.connections_cut: int | None = None
        self.control: Control[FromCore, FromWorker] | None = None

    @property
    def state(self) -> str:
        """`starting`, `ready` or `leaving`."""
        if self.is_leaving:
            return "leaving"
        return "ready" if self.ready.is_set() else "starting"

    @property
    def lived_seconds(self) -> float:
        """Time since the process was made."""
        return trio.current_time() - self.born

    def send(self, word: FromCore) -> None:
        """Sends a message; nothing when it has not been begun. Raises Overloaded."""
        if self.control is not None:
            self.control.send(word)

    def kill(self, reason: str) -> None:
        """Ends the process at once; `reason` is for the log and the metrics."""
        self.reason = reason
        self.process.kill()
