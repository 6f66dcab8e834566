"""`dev.py bench`: a node on one core, the load on another, the floors in between.

The node runs as in production: every PUT is synced, the access log is on and goes to a file. Large
bodies are measured twice: with the threads of the node free to use both cores, as a machine runs
it, and on one core alone, where MD5, the network and the disk share it.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs3gwd.testing.node_process import NodeProcess
from tools.rs3gw_bench.bench import SERVER_CORE, Bench, make_bucket, pinned
from tools.rs3gw_bench.goals import CONSTANTS, GOALS
from tools.rs3gw_bench.process import resident_bytes


def main() -> None:
    """Runs the benchmark, prints the goals and writes the figures as JSON."""
    arguments = _parse()
    environ = {
        # A machine that forbids Python to keep its bytecode would have us measure the compiler.
        "PYTHONDONTWRITEBYTECODE": "",
        **dict(setting.split("=", 1) for setting in arguments.set),
    }
    bench = Bench(seconds=arguments.seconds, pairs=arguments.pairs)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        run(bench, Path(folder), environ)
    results = {**bench.results, **CONSTANTS}
    for goal in GOALS:
        print(goal.line(results))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figures = {"machine": machine(), "results": bench.results, "ranges": bench.ranges}
    arguments.output.write_text(json.dumps(figures, indent=2))
    print(f"figures: {arguments.output}")


def run(bench: Bench, folder: Path, environ: dict[str, str]) -> None:
    """The whole benchmark, with the data of its nodes in `folder`."""
    bench.note("start_seconds", [measure_start(folder / "data", environ) for _ in range(5)])
    with NodeProcess(folder / "data", prefix=pinned(SERVER_CORE), environ=environ) as node:
        bench.note("idle_bytes", [resident_bytes(node.pid)])
        make_bucket(node)
        with bare_responder() as (url, pid):
            bench.measure_small(node, bare_url=url, bare_pid=pid)
        bench.measure_large(node, "_one_core")
        bench.note("busy_bytes", [resident_bytes(node.pid)])
    with NodeProcess(folder / "data", environ=environ) as node:
        bench.measure_large(node)
    bench.measure_floors(folder)


def measure_start(data: Path, environ: dict[str, str]) -> float:
    """Seconds from the start of the process to its first answer."""
    node = NodeProcess(data, environ=environ)
    start = time.perf_counter()
    node.start()
    elapsed = time.perf_counter() - start
    node.stop()
    return elapsed


@contextmanager
def bare_responder() -> Iterator[tuple[str, int]]:
    """The URL and process id of a bare responder on the server's core."""
    command = [*pinned(SERVER_CORE), sys.executable, "-m", "tools.rs3gw_bench.responder"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as responder:
        assert responder.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(responder.stdout.readline())}", responder.pid
        finally:
            responder.kill()


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


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="seconds of each small run (3)")
    parser.add_argument("--pairs", type=int, default=3, help="rounds against the floor (3)")
    parser.add_argument("--output", type=Path, default=Path("bench-results/bench.json"))
    parser.add_argument(
        "--folder", type=Path, help="where the node's data goes (a temporary folder)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="RS3GW_NAME=VALUE",
        help="a setting of the node that is to differ from the defaults; may be repeated",
    )
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is missing: apt-get install wrk")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed, one for the node and one for the load")
    return arguments


if __name__ == "__main__":
    main()
