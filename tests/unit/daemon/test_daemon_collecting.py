"""The figures of all workers, asked for at once, and whoever does not answer."""

import msgspec
import trio
import trio.testing

from rs3gwd.daemon.collecting import COLLECT_SECONDS_MAX, Collector
from rs3gwd.daemon.control import AskFigures, Report
from rs3gwd.gateway.front import Statistics
from rs3gwd.observe.metrics import Metrics

NOTHING = Statistics(*([0] * 3), False, *([0] * 8))


def report(requests: int, *, connections: int = 0, draining: bool = False) -> Report:
    """What a worker with so many requests tells."""
    metrics = Metrics(is_first=False)
    for _ in range(requests):
        metrics.observe_request("GetObject", 200, "", 0.001, 0, 0)
    front = msgspec.structs.replace(
        NOTHING, requests_total=requests, connections=connections, draining=draining
    )
    return Report(front, metrics.families())


class Crew:
    """Workers that answer at once, but for those in `silent`."""

    def __init__(self, requests: dict[int, int]) -> None:
        self.requests = requests
        self.silent: set[int] = set()
        self.asked = 0
        self.collector = Collector(self.ask, Metrics().families)

    def ask(self, word: AskFigures) -> list[int]:
        """Answers for all who are not silent."""
        self.asked += 1
        for number in self.requests.keys() - self.silent:
            self.collector.answer(number, word.turn, report(self.requests[number]))
        return [*self.silent]

    async def scraped(self) -> int:
        """The number of requests on the page."""
        page = (await self.collector.scrape()).decode()
        line = next(each for each in page.splitlines() if each.startswith("rs3gw_requests_total{"))
        return int(float(line.split()[-1]))


async def test_a_scrape_sums_what_all_answer(autojump_clock: trio.testing.MockClock) -> None:
    """It takes no longer than the answers."""
    crew = Crew({1: 3, 2: 4})
    started = trio.current_time()
    assert await crew.scraped() == 7
    assert trio.current_time() == started


async def test_a_silent_worker_counts_with_its_last_figures(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The scrape waits a bounded time for it; when it dies meanwhile it waits no longer."""
    crew = Crew({1: 3, 2: 4})
    crew.collector.report(2, report(4))
    crew.silent = {2}
    started = trio.current_time()
    assert await crew.scraped() == 7
    assert trio.current_time() - started == COLLECT_SECONDS_MAX
    async with trio.open_nursery() as nursery:
        started = trio.current_time()
        nursery.start_soon(crew.scraped)
        await trio.testing.wait_all_tasks_blocked()
        crew.collector.end(2)
    assert trio.current_time() == started


async def test_a_late_answer_does_not_end_the_next_collection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It only brings the figures up to date."""
    crew = Crew({1: 3})
    crew.silent = {1}
    await crew.collector.collect()
    async with trio.open_nursery() as nursery:
        started = trio.current_time()
        nursery.start_soon(crew.collector.collect)
        await trio.testing.wait_all_tasks_blocked()
        crew.collector.answer(1, 1, report(5))
    assert trio.current_time() - started == COLLECT_SECONDS_MAX
    front = crew.collector.front_of(1)
    assert front is not None
    assert front.requests_total == 5


def test_the_front_of_a_node_is_the_sum_of_its_workers() -> None:
    """Totals of those that ended stay, what they held does not."""
    collector = Collector(lambda _: [], list)
    collector.report(1, report(5, connections=2, draining=True))
    collector.report(2, report(6, connections=1))
    front = collector.front()
    assert (front["requests_total"], front["connections"], front["draining"]) == (11, 3, False)
    collector.end(2)
    front = collector.front()
    assert (front["requests_total"], front["connections"], front["draining"]) == (11, 2, True)
