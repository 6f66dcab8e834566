"""The figures of all processes of a node, as if it were one.

A worker tells its figures with every beat, when it is asked, and at its end. A scrape asks all of
them and waits COLLECT_SECONDS_MAX at most; of one that does not answer in time the last ones count.
What a worker that died had counted stays counted (`rs3gwd.observe.families`), so no counter ever
goes down; what it counted after its last beat is lost with it.
"""

from collections.abc import Callable, Sequence

import msgspec
import trio

from rs3gwd.daemon.control import AskFigures, Report
from rs3gwd.gateway.front import Statistics
from rs3gwd.observe.families import Family, MergedFigures
from rs3gwd.observe.metrics import render

COLLECT_SECONDS_MAX = 1.0
"""How long a scrape waits for a slow worker; Prometheus gives a scrape ten seconds."""

_TOTAL = "_total"


class Collector:
    """Belongs to the core's event loop. `ask` sends a message to all workers that answer and gives
    their numbers; `own` gives the core's own families."""

    def __init__(
        self, ask: Callable[[AskFigures], Sequence[int]], own: Callable[[], Sequence[Family]]
    ) -> None:
        self._ask = ask
        self._own = own
        self._merged = MergedFigures()
        self._fronts: dict[int, Statistics] = {}
        self._ended_totals: dict[str, int] = {}
        self._turn = 0
        self._awaited: set[int] = set()
        self._complete = trio.Event()
        self._collecting = trio.Lock()

    def report(self, number: int, report: Report) -> None:
        """A worker told its figures."""
        self._merged.report(number, report.families)
        self._fronts[number] = report.front

    def answer(self, number: int, turn: int, report: Report) -> None:
        """A worker answered; a late answer only brings its figures up to date."""
        self.report(number, report)
        if turn == self._turn:
            self._strike(number)

    def end(self, number: int) -> None:
        """A worker is dead."""
        self._merged.end(number)
        self._strike(number)
        front = self._fronts.pop(number, None)
        if front is None:
            return
        for name, value in msgspec.structs.asdict(front).items():
            if name.endswith(_TOTAL):
                self._ended_totals[name] = self._ended_totals.get(name, 0) + value

    async def collect(self) -> None:
        """Brings the figures of all workers up to date, as far as they answer in time."""
        async with self._collecting:
            self._turn += 1
            self._complete = trio.Event()
            self._awaited = set(self._ask(AskFigures(self._turn)))
            if self._awaited:
                with trio.move_on_after(COLLECT_SECONDS_MAX):
                    await self._complete.wait()

    async def scrape(self) -> bytes:
        """The page of metrics, in Prometheus' text format."""
        await self.collect()
        return render(self._merged.families(self._own()))

    def front(self) -> dict[str, int]:
        """The figures of all fronts together, as of their last report; `draining` when all are."""
        fronts = [msgspec.structs.asdict(front) for front in self._fronts.values()]
        sums = {
            name: self._ended_totals.get(name, 0) + sum(front[name] for front in fronts)
            for name in Statistics.__struct_fields__
        }
        return sums | {"draining": bool(fronts) and all(front["draining"] for front in fronts)}

    def front_of(self, number: int) -> Statistics | None:
        """The counters of one worker's front; None before its first report."""
        return self._fronts.get(number)

    def _strike(self, number: int) -> None:
        if number in self._awaited:
            self._awaited.remove(number)
            if not self._awaited:
                self._complete.set()
