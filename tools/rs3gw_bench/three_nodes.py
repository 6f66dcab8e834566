"""Three nodes as one store on this machine, beside one node alone, in turns.

The clients of a workload are spread over the nodes, and all that the nodes spend is charged to the
requests of all: what a request costs the cluster, by what it costs one node. All three share the
machine with their own clients, so that rates are those of a third of it; the ratio of processor
time is what carries over to machines of their own.

The floor is three nodes that know nothing of each other, under the same clients: three processes
that share two cores are slower for each than one process for which they are idle, whatever the
processes do.
"""

import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import IO, Any

from rs3gwd.testing.local_cluster import make_plan, start_node
from tools.rs3gw_bench import processes, workloads
from tools.rs3gw_bench.figures import Figures
from tools.rs3gw_bench.generator import Load, LoadError, Shape, run_load
from tools.rs3gw_bench.request_file import Pool
from tools.rs3gw_bench.servers import BUCKET, Server, ServerError
from tools.rs3gw_bench.session import SMALL_POOL_BYTES, Bench, Session
from tools.rs3gw_bench.signing import Target
from tools.rs3gw_bench.workloads import Workload

NODES = 3
NAME = "three-nodes"
FLOOR_NAME = "three-alone"
FLOOR_WORKLOADS = ("put_4k_c64", "get_4k_c64")
WORKLOADS = ("put_4k_c64", "get_4k_c64", "put_4k_c1", "get_4k_c1")
START_SECONDS_MAX = 60.0
SETTLING_SECONDS = 5.0
"""Leaders look around every two seconds and share the groups out among the nodes."""


Plan = dict[str, Any]
"""What `make_plan` gives, and what it says of a node: it is JSON."""


class ThreeNodes:
    """A cluster of three with its data in `folder`; every node on all cores."""

    name = NAME

    def __init__(self, folder: Path, region: str) -> None:
        self._folder = folder
        self._region = region
        self._processes: list[Popen[bytes]] = []
        self.servers: list[Server] = []

    def start(self) -> None:
        """Starts the nodes and waits until they are one store. Raises ServerError."""
        plan = make_plan(self._folder, NODES)
        with (self._folder / "nodes.log").open("ab") as output:
            for node in plan["nodes"]:
                self._processes.append(self._start_node(plan, node, output))
                target = Target(
                    f"http://{node['s3']}",
                    plan["access_key"],
                    plan["secret_key"],
                    self._region,
                    BUCKET,
                )
                self.servers.append(Server(f"{self.name}: node {node['number']}", target))
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._is_one_store():
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.name} did not become a store: see {self._folder}/nodes.log"
                )
            time.sleep(0.5)
        time.sleep(SETTLING_SECONDS)

    def load_size(self, bench: Bench, size: str) -> None:
        """Uploads the objects of a size. Raises LoadError."""
        Session(bench, self.servers[0]).load_size(size)

    def _start_node(self, plan: Plan, node: Plan, output: IO[bytes]) -> Popen[bytes]:
        return start_node(plan, node, output)

    def _is_one_store(self) -> bool:
        try:
            for server in self.servers:
                server.make_bucket()
        except (ServerError, OSError):
            return False
        return True

    def stop(self) -> None:
        """Drains and ends the nodes."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(15.0)
            except TimeoutExpired:
                process.kill()
                process.wait()

    def cpu_seconds(self) -> float:
        """Processor time of all nodes so far."""
        return sum(processes.cpu_seconds(process.pid) for process in self._processes)


class ThreeAlone(ThreeNodes):
    """Three nodes that know nothing of each other, each with all objects."""

    name = FLOOR_NAME

    def load_size(self, bench: Bench, size: str) -> None:
        for server in self.servers:
            Session(bench, server).load_size(size)

    def _start_node(self, plan: Plan, node: Plan, output: IO[bytes]) -> Popen[bytes]:
        alone = {"RS3GW_CLUSTER_ENABLED": "false", "RS3GW_WORKERS": "0"}
        return start_node(plan, node, output, alone)


def measure_three_nodes(
    nodes: ThreeNodes,
    floor: ThreeNodes,
    alone: Session,
    figures: Figures,
    *,
    bench: Bench,
    seconds: float,
    pairs: int,
) -> None:
    """Every workload on both in every round, A B and B A, and those of the floor behind them.
    Raises LoadError."""
    for each in (nodes, floor):
        each.load_size(bench, "4k")
    chosen = workloads.chosen(WORKLOADS)
    for number in range(pairs):
        for workload in chosen if number % 2 == 0 else chosen[::-1]:
            if number % 2:
                _measure_together(nodes, workload, figures, bench, seconds)
            measured = alone.run_workload(workload, seconds=seconds)
            _note(figures, alone.server.name, workload, [measured.load], measured.cpu_us)
            if number % 2 == 0:
                _measure_together(nodes, workload, figures, bench, seconds)
            if workload.name in FLOOR_WORKLOADS:
                _measure_together(floor, workload, figures, bench, seconds)


def _measure_together(
    nodes: ThreeNodes, workload: Workload, figures: Figures, bench: Bench, seconds: float
) -> None:
    """One run of the workload, its connections spread over the nodes."""
    # A lone client asks a node that leads a third of the groups.
    shares = _shares(workload.connections)
    # Built before, as for one node: what nodes spend meanwhile on heartbeats is no request's.
    files = [_build(bench, server, workload) for server in nodes.servers]
    before = nodes.cpu_seconds()
    with ThreadPoolExecutor(NODES) as pool:
        runs = [
            pool.submit(_run, bench, server, path, count, seconds)
            for server, path, count in zip(nodes.servers, files, shares, strict=True)
            if count
        ]
        loads = [run.result() for run in runs]
    spent = nodes.cpu_seconds() - before
    sent = sum(load.sent for load in loads)
    _note(figures, nodes.name, workload, loads, spent * 1e6 / sent if sent else None)


def _shares(connections: int) -> list[int]:
    """How many of the connections each node gets."""
    return [(connections + number) // NODES for number in range(NODES)][::-1]


def _build(bench: Bench, server: Server, workload: Workload) -> Path:
    """The requests of a workload, signed for one node, in a file."""
    requests = workloads.build(workload, server.signer(), Pool(SMALL_POOL_BYTES))
    return requests.save(bench.scratch / f"requests-{server.endpoint.address}")


def _run(bench: Bench, server: Server, path: Path, connections: int, seconds: float) -> Load:
    shape = Shape(connections=connections, seconds=seconds, warmup_seconds=min(0.2, seconds / 5))
    return run_load(bench.programs.load, server.endpoint, path, shape, core=bench.load_core)


def _note(
    figures: Figures, target: str, workload: Workload, loads: Sequence[Load], cpu_us: float | None
) -> None:
    """Rates are summed; latencies are those of the node that was slowest. Raises LoadError."""
    for load in loads:
        if not load.is_clean:
            raise LoadError(f"{target}: {workload.name}: {load.complaint()}")
    figures.add(target, f"{workload.name}_rps", sum(load.rate for load in loads))
    figures.add(target, f"{workload.name}_p50_us", max(load.latency.p50_us for load in loads))
    figures.add(target, f"{workload.name}_p99_us", max(load.latency.p99_us for load in loads))
    if cpu_us is not None:
        figures.add(target, f"{workload.name}_cpu_us", cpu_us)
