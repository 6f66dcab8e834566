"""Small requests: every workload on every server in every round, between runs of the floors.

In round 0 the servers take turns as A B, in round 1 as B A, and so on (A B B A), so that a drift of
the machine falls on both alike; the workloads turn round as well. Each round begins and ends with
the bare responder, and takes the mean of the two.
"""

import os
import statistics
import time
from collections.abc import Sequence

from tools.rs3gw_bench import floors, processes
from tools.rs3gw_bench.figures import FLOOR, OTHERS, Figures, rounds_of
from tools.rs3gw_bench.generator import Load, LoadError, Shape
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.servers import Server, pinned
from tools.rs3gw_bench.session import Bench, Measured, Session
from tools.rs3gw_bench.signing import SignedRequest, Target
from tools.rs3gw_bench.workloads import Workload

BARE_CONNECTIONS = 64
BUSY_SHARE = 0.9
"""Above this share of its core the generator may itself have been what was measured."""


class Rounds:
    """Measures workloads into `figures`; what is answered wrongly becomes a fault there."""

    def __init__(
        self, bench: Bench, figures: Figures, *, seconds: float, pairs: int, core: int
    ) -> None:
        self._bench = bench
        self._figures = figures
        self._seconds = seconds
        self._pairs = pairs
        self._core = core
        self._wrong: set[tuple[str, str]] = set()

    def measure(self, plan: Sequence[tuple[Workload, Sequence[Session]]]) -> None:
        """Each workload with the sessions that it is for."""
        with floors.responder(pinned([self._core])) as (port, pid):
            bare = _Bare(self._bench, "responder", port, pid)
            with floors.responder(pinned([self._core]), self._bench.programs.responder) as (
                port,
                pid,
            ):
                epoll = _Bare(self._bench, "epoll_responder", port, pid)
                for number, order in enumerate(rounds_of(plan, self._pairs)):
                    others = _Others()
                    first = bare.run(self._seconds)
                    self._note_floor(epoll, [epoll.run(self._seconds)])
                    for workload, sessions in order:
                        for session in sessions if number % 2 == 0 else sessions[::-1]:
                            self._measure_one(workload, session)
                    self._note_floor(bare, [first, bare.run(self._seconds)])
                    self._note_syncs()
                    self._figures.add(FLOOR, OTHERS, others.share())

    def _note_syncs(self) -> None:
        folder = self._bench.data
        self._figures.add(FLOOR, "fdatasync_us", floors.sync_seconds(folder) * 1e6)
        group = floors.sync_seconds(folder, appends=floors.GROUP, rounds=30) * 1e6
        self._figures.add(FLOOR, "fdatasync_of_64_us", group)

    def _measure_one(self, workload: Workload, session: Session) -> None:
        server = session.server.name
        if (server, workload.name) in self._wrong:
            return
        try:
            measured = session.run_workload(workload, seconds=self._seconds)
        except LoadError as error:
            self._wrong.add((server, workload.name))
            self._figures.fault(f"{server}: {workload.name}: {error}")
            return
        if not note(self._figures, server, workload.name, measured):
            self._wrong.add((server, workload.name))

    def _note_floor(self, bare: "_Bare", runs: Sequence[Measured]) -> None:
        rate = statistics.fmean(run.load.rate for run in runs)
        self._figures.add(FLOOR, f"{bare.name}_rps", rate)
        self._figures.add(FLOOR, f"{bare.name}_p50_us", runs[0].load.latency.p50_us)
        self._figures.add(FLOOR, f"{bare.name}_cpu_us", runs[0].cpu_us or 0.0)


def note(figures: Figures, target: str, name: str, measured: Measured) -> bool:
    """Keeps the figures of a run; False, and none of them, if anything was answered wrongly."""
    load = measured.load
    if load.good == 0 and load.latency.count > 0 and not any(load.errors.values()):
        figures.skip(f"{target}: {name}: too slow, no answer within {load.seconds:g} s")
        return False
    if not load.is_clean:
        figures.fault(f"{target}: {name}: {load.complaint()}")
        return False
    _note_load(figures, target, name, load)
    if measured.cpu_us is not None:
        figures.add(target, f"{name}_cpu_us", measured.cpu_us)
    return True


def _note_load(figures: Figures, target: str, name: str, load: Load) -> None:
    figures.add(target, f"{name}_rps", load.rate)
    figures.add(target, f"{name}_p50_us", load.latency.p50_us)
    figures.add(target, f"{name}_p99_us", load.latency.p99_us)
    figures.add(target, f"{name}_p999_us", load.latency.p999_us)
    figures.add(target, f"{name}_max_us", load.latency.max_us)
    figures.add(target, f"{name}_generator_share", load.cpu_share)
    if len(load.kinds) > 1:
        for kind, latency in load.kinds.items():
            figures.add(target, f"{name}_{kind}_p50_us", latency.p50_us)
            figures.add(target, f"{name}_{kind}_p99_us", latency.p99_us)
    for count, what in ((load.slow_down, "slow_down"), (load.not_kept, "not_kept")):
        if count:
            figures.add(target, f"{name}_{what}", count)
    if load.cpu_share > BUSY_SHARE and target != FLOOR:
        figures.notes.setdefault("generator_busy", {})[f"{target}: {name}"] = load.cpu_share


class _Others:
    """What programs other than ours, and than the servers that we started, do meanwhile."""

    def __init__(self) -> None:
        self._start, self._before = time.perf_counter(), self._spent()

    def share(self) -> float:
        """Their part of the machine's processor time since then, 0 to 1."""
        elapsed = (time.perf_counter() - self._start) * len(os.sched_getaffinity(0))
        return max(0.0, (self._spent() - self._before) / elapsed)

    @staticmethod
    def _spent() -> float:
        return processes.machine_cpu_seconds() - processes.cpu_seconds(os.getpid())


class _Bare:
    """A responder as a server under load: no bucket, no credentials, one short request."""

    def __init__(self, bench: Bench, name: str, port: int, pid: int) -> None:
        self.name = name
        server = Server(name, Target(f"http://127.0.0.1:{port}", "", "", "", ""))
        server.pid = pid
        self._session = Session(bench, server)
        self._requests = RequestFile(Pool(0))
        self._requests.add(SignedRequest("GET", "/", {"host": "bare"}), length=2)

    def run(self, seconds: float) -> Measured:
        """One run. Raises LoadError, since without its floor no figure means anything."""
        shape = Shape(
            connections=BARE_CONNECTIONS, seconds=seconds, warmup_seconds=min(0.2, seconds / 5)
        )
        measured = self._session.run(self._requests, shape)
        if not measured.load.is_clean:
            raise LoadError(f"{self.name}: {measured.load.complaint()}")
        return measured
