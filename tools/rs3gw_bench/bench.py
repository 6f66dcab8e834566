"""The workloads of the benchmark and the figures they give.

Small requests alternate with the bare responder (A B B A ...), and large bodies with the hash
floor, so that what the machine does to one it does to the other. Of each figure the median over
the rounds is kept, with the range. Beside the rate stands the processor time of a request on the
server: on a machine that others use as well it says more than the rate does.
"""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import boto3

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess
from tools.rs3gw_bench import floors, transfer
from tools.rs3gw_bench.heads import run_heads
from tools.rs3gw_bench.process import cpu_seconds
from tools.rs3gw_bench.signing import SignedRequest, Target, sign, sign_all
from tools.rs3gw_bench.wrk import Load, run_wrk

MIB = 1 << 20
SERVER_CORE, LOAD_CORE = 0, 1
BUCKET = "bench"
SMALL_BYTES = 4096
LARGE_BYTES = 64 * MIB
KEYS = 2000
"""Distinct keys of the small workloads: more than any cache line, less than a long set-up."""


@dataclass(frozen=True)
class Workload:
    """A load to put on the process `pid`, again and again."""

    name: str
    pid: int
    run: Callable[[], Load]


class Bench:
    """The figures gathered so far: medians in `results`, least and greatest in `ranges`."""

    def __init__(self, *, seconds: int, pairs: int) -> None:
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

    def measure_small(self, node: NodeProcess, *, bare_url: str, bare_pid: int) -> None:
        """The small workloads, each round of them between two runs of the bare responder."""
        bare = Workload(
            "responder",
            bare_pid,
            self._wrk(bare_url, [SignedRequest("GET", "/", {"Host": "bare"})]),
        )
        workloads = self._small_workloads(node)
        loads: dict[str, list[tuple[Load, float]]] = {}
        for pair in range(self.pairs):
            order = workloads if pair % 2 == 0 else workloads[::-1]
            for workload in (bare, *order, bare):
                spent = cpu_seconds(workload.pid)
                load = workload.run()
                spent = cpu_seconds(workload.pid) - spent
                loads.setdefault(workload.name, []).append((load, spent / load.requests))
        for workload in (bare, *workloads):
            runs = loads[workload.name]
            self.note(f"{workload.name}_rps", [load.requests_per_second for load, _ in runs])
            self.note(f"{workload.name}_p50_us", [load.p50_us for load, _ in runs])
            self.note(f"{workload.name}_p99_us", [load.p99_us for load, _ in runs])
            self.note(f"{workload.name}_cpu_us", [cpu * 1e6 for _, cpu in runs])

    def _small_workloads(self, node: NodeProcess) -> list[Workload]:
        target = make_target(node)
        paths = [f"/{BUCKET}/small/{number:06d}" for number in range(KEYS)]
        body = b"x" * SMALL_BYTES
        puts = sign_all(target, "PUT", paths, body)
        gets = sign_all(target, "GET", paths)
        heads = sign_all(target, "HEAD", paths)
        lists = sign_all(target, "GET", [f"/{BUCKET}?list-type=2&max-keys=1000"])
        transfer.put_all(("127.0.0.1", node.port), puts, body)
        loads: dict[str, Callable[[], Load]] = {
            "put_4k_c64": self._wrk(node.url, puts, body_bytes=SMALL_BYTES),
            "get_4k_c64": self._wrk(node.url, gets),
            "head_4k_c64": partial(
                run_heads,
                ("127.0.0.1", node.port),
                heads,
                connections=64,
                seconds=self.seconds,
                core=LOAD_CORE,
            ),
            "put_4k_c1": self._wrk(node.url, puts, connections=1, body_bytes=SMALL_BYTES),
            "get_4k_c1": self._wrk(node.url, gets, connections=1),
            "list_1000_c4": self._wrk(node.url, lists, connections=4),
        }
        return [Workload(name, node.pid, run) for name, run in loads.items()]

    def _wrk(
        self,
        url: str,
        requests: list[SignedRequest],
        *,
        connections: int = 64,
        body_bytes: int = 0,
    ) -> Callable[[], Load]:
        return partial(
            run_wrk,
            url,
            requests,
            connections=connections,
            seconds=self.seconds,
            body_bytes=body_bytes,
            core=LOAD_CORE,
        )

    def measure_large(self, node: NodeProcess, suffix: str = "") -> None:
        """64 MiB PUT (unsigned payload) and GET, alternating with the hash floor."""
        target, address = make_target(node), ("127.0.0.1", node.port)
        body, received = os.urandom(LARGE_BYTES), memoryview(bytearray(LARGE_BYTES))
        puts, gets, md5 = [], [], []
        for number in range(self.pairs * 2 + 1):
            path = f"/{BUCKET}/large/{number % 3}"
            md5.append(floors.md5_speed())
            puts.append(len(body) / transfer.put(address, sign(target, "PUT", path, None), body))
            gets.append(len(body) / transfer.get(address, sign(target, "GET", path, b""), received))
            if received != body:
                raise transfer.TransferError("what came back is not what was sent")
        self.note(f"md5{suffix}_bps", md5)
        self.note(f"put_64m{suffix}_bps", puts)
        self.note(f"get_64m{suffix}_bps", gets)

    def measure_floors(self, folder: Path) -> None:
        """The machine's own figures, on the disk that held the node's data."""
        for name, value in {
            "sha256_bps": floors.sha256_speed(),
            "memcpy_bps": floors.copy_speed(),
            "loopback_bps": floors.loopback_speed(),
            "fdatasync_seconds": floors.sync_seconds(folder),
            "lmdb_commit_seconds": floors.commit_seconds(folder),
        }.items():
            self.note(name, [value])


def make_target(node: NodeProcess) -> Target:
    """The node as its clients see it."""
    return Target(node.url, ACCESS_KEY, SECRET_KEY, REGION, BUCKET)


def make_bucket(node: NodeProcess) -> None:
    """Makes the bucket of all workloads, strict as every bucket by default."""
    boto3.client(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
    ).create_bucket(Bucket=BUCKET)


def pinned(core: int) -> tuple[str, ...]:
    """What to put before a command so that it runs on one core alone."""
    return ("taskset", "-c", str(core))
