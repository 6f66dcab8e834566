"""`dev.py bench`: a node on one core, the load on another, the floors in between.

Small requests alternate with the bare responder (A B B A ...), so that what the machine does to
one it does to the other; medians are reported with their range. The node syncs every PUT.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import boto3

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess
from tools.rs3gw_bench import floors, transfer
from tools.rs3gw_bench.goals import CONSTANTS, GOALS
from tools.rs3gw_bench.signing import SignedRequest, Target, sign, sign_all
from tools.rs3gw_bench.wrk import run_wrk

MIB = 1 << 20
SERVER_CORE, LOAD_CORE = 0, 1
KEYS = 2000
"""Distinct keys of the small workloads: more than any cache line, less than a long set-up."""


class Bench:
    """One run: a node, a target on it, and the figures gathered so far."""

    def __init__(self, node: NodeProcess, *, seconds: int, pairs: int) -> None:
        self.node = node
        self.target = Target(node.url, ACCESS_KEY, SECRET_KEY, REGION, "bench")
        self.seconds = seconds
        self.pairs = pairs
        self.results: dict[str, float] = {}
        self.ranges: dict[str, tuple[float, float]] = {}

    def note(self, name: str, values: list[float]) -> None:
        """Keeps the median of `values`, and their range."""
        self.results[name] = statistics.median(values)
        self.ranges[name] = (min(values), max(values))
        print(
            f"  {name:<28} {self.results[name]:>14,.6g}  [{min(values):,.5g} .. {max(values):,.5g}]"
        )

    def measure_small(self, responder_url: str) -> None:
        """The small workloads, each run between runs of the bare responder."""
        paths = [f"/bench/small/{number:06d}" for number in range(KEYS)]
        body = b"x" * 4096
        workloads: dict[str, tuple[list[SignedRequest], int, int]] = {
            "put_4k_c64": (sign_all(self.target, "PUT", paths, body), 64, 4096),
            "get_4k_c64": (sign_all(self.target, "GET", paths), 64, 0),
            "head_4k_c64": (sign_all(self.target, "HEAD", paths), 64, 0),
            "put_4k_c1": (sign_all(self.target, "PUT", paths, body), 1, 4096),
            "get_4k_c1": (sign_all(self.target, "GET", paths), 1, 0),
            "list_1000_c4": (
                sign_all(self.target, "GET", ["/bench?list-type=2&max-keys=1000"]),
                4,
                0,
            ),
        }
        bare = [SignedRequest("GET", "/", {"Host": "bare"})]
        rates: dict[str, list[float]] = {name: [] for name in workloads}
        latencies: dict[str, list[float]] = {name: [] for name in workloads}
        floor: list[float] = []
        for pair in range(self.pairs):
            order = list(workloads.items())
            for name, (requests, connections, size) in (
                order if pair % 2 == 0 else order[:1] + order[:0:-1]
            ):
                load = run_wrk(
                    self.node.url,
                    requests,
                    connections=connections,
                    seconds=self.seconds,
                    body_bytes=size,
                    core=LOAD_CORE,
                )
                rates[name].append(load.requests_per_second)
                latencies[name].append(load.p50_us)
            floor.append(
                run_wrk(
                    responder_url, bare, connections=64, seconds=self.seconds, core=LOAD_CORE
                ).requests_per_second
            )
        self.note("responder_rps", floor)
        for name in workloads:
            self.note(f"{name}_rps", rates[name])
            self.note(f"{name}_p50_us", latencies[name])

    def measure_large(self) -> None:
        """64 MiB PUT (unsigned payload) and GET, alternating with the hash floor."""
        body = os.urandom(64 * MIB)
        address = ("127.0.0.1", self.node.port)
        puts, gets, md5 = [], [], []
        for number in range(self.pairs * 2 + 1):
            md5.append(floors.hash_speeds()["md5"])
            request = sign(self.target, "PUT", f"/bench/large/{number % 3}", None)
            puts.append(len(body) / transfer.put(address, request, body))
            request = sign(self.target, "GET", f"/bench/large/{number % 3}", b"")
            gets.append(len(body) / transfer.get(address, request, lambda got: got == body))
        self.note("md5_bps", md5)
        self.note("put_64m_bps", puts)
        self.note("get_64m_bps", gets)

    def measure_floors(self, folder: Path) -> None:
        """The machine's own figures, on the disk that held the node's data."""
        for name, value in {
            "sha256_bps": floors.hash_speeds()["sha256"],
            "memcpy_bps": floors.copy_speed(),
            "loopback_bps": floors.loopback_speed(),
            "fdatasync_seconds": floors.sync_seconds(folder),
            "lmdb_commit_seconds": floors.commit_seconds(folder),
        }.items():
            self.note(name, [value])


def measure_start(data: Path) -> float:
    """Seconds from the start of the process to the first answer of a node that has data."""
    node = NodeProcess(data)
    start = time.perf_counter()
    node.start()
    elapsed = time.perf_counter() - start
    node.stop()
    return elapsed


def with_responder(work: Callable[[str], None]) -> None:
    """Runs `work` with the URL of a bare responder pinned to the server's core."""
    command = [
        "taskset",
        "-c",
        str(SERVER_CORE),
        sys.executable,
        "-m",
        "tools.rs3gw_bench.responder",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as responder:
        assert responder.stdout is not None
        try:
            work(f"http://127.0.0.1:{int(responder.stdout.readline())}")
        finally:
            responder.kill()


def resident_bytes(pid: int) -> float:
    """Resident memory of a process (proc(5), statm)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def machine() -> dict[str, str | int]:
    """What a reader needs to know of the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def run(folder: Path, *, seconds: int, pairs: int) -> Bench:
    """The whole benchmark on a node with its data in `folder`."""
    start = measure_start(folder / "data")
    small = NodeProcess(
        folder / "data",
        prefix=("taskset", "-c", str(SERVER_CORE)),
        environ={"RS3GW_LOG_LEVEL": "warning"},
    )
    with small:
        bench = Bench(small, seconds=seconds, pairs=pairs)
        bench.note(
            "start_seconds", [start, *(measure_start(folder / f"new-{n}") for n in range(4))]
        )
        bench.note("idle_bytes", [resident_bytes(small.pid)])
        boto3.client(
            "s3",
            endpoint_url=small.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        ).create_bucket(Bucket="bench")
        with_responder(bench.measure_small)
    with NodeProcess(folder / "data", environ={"RS3GW_LOG_LEVEL": "warning"}) as large:
        bench.node, bench.target = large, Target(large.url, ACCESS_KEY, SECRET_KEY, REGION, "bench")
        bench.measure_large()
    bench.measure_floors(folder)
    return bench


def main() -> None:
    """Runs the benchmark, prints the goals and writes the figures as JSON."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="seconds of each small run (3)")
    parser.add_argument("--pairs", type=int, default=3, help="rounds against the floor (3)")
    parser.add_argument("--output", type=Path, default=Path("bench-results/bench.json"))
    parser.add_argument(
        "--folder", type=Path, help="where the node's data goes (a temporary folder)"
    )
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        bench = run(Path(folder), seconds=arguments.seconds, pairs=arguments.pairs)
    results = {**bench.results, **CONSTANTS}
    for goal in GOALS:
        print(goal.line(results))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(
        json.dumps(
            {"machine": machine(), "results": bench.results, "ranges": bench.ranges}, indent=2
        )
    )
    print(f"figures: {arguments.output}")


if __name__ == "__main__":
    main()
