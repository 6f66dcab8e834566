"""`dev.py bench`: a node on one core, the load on another, the floors in between.

The node runs as in production: every PUT is synced, the access log is on and goes to a file. Large
bodies are measured twice: with the threads of the node free to use both cores, as a machine runs
it, and on one core alone, where MD5, the network and the disk share it.
"""

import json
import sys
import tempfile
from pathlib import Path

from tools.rs3gw_bench import goals, workloads
from tools.rs3gw_bench.compiler import CompilerError, build
from tools.rs3gw_bench.figures import Figures
from tools.rs3gw_bench.machine import machine
from tools.rs3gw_bench.options import Options, parse
from tools.rs3gw_bench.report import write_report
from tools.rs3gw_bench.suite import PARTS, Suite

MEMORY_FOLDER = Path("/dev/shm")


def main() -> None:
    """Runs the benchmark, prints the goals, writes figures and report; exit code 1 for faults."""
    options = parse(sys.argv[1:])
    if options.is_list:
        print_list()
        return
    if options.report_of is not None:
        data = json.loads(options.report_of.read_text())
        print(f"report: {write_report(data, options.output.parent)}")
        return
    try:
        programs = build()
    except CompilerError as error:
        sys.exit(f"dev.py bench: {error}")
    figures = Figures()
    memory = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else options.folder
    with (
        tempfile.TemporaryDirectory(dir=options.folder, prefix="rs3gw-bench-") as folder,
        tempfile.TemporaryDirectory(dir=memory, prefix="rs3gw-bench-") as scratch,
    ):
        facts = machine(Path(folder))
        suite = Suite(
            options, programs, folder=Path(folder), scratch=Path(scratch), figures=figures
        )
        suite.run()
    finish(options, facts, figures)


def finish(options: Options, facts: dict[str, str | int | float], figures: Figures) -> None:
    """Prints goals and writes what was measured; ends with exit code 1 if there were faults."""
    print("\n".join(["", "goals", *goals.lines(figures)]))
    if warning := figures.warning():
        print(warning)
    for fault in figures.faults:
        print(f"WRONG {fault}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "version": 1,
        "machine": facts,
        "command": ["dev.py", "bench", *sys.argv[1:]],
        "seconds": options.seconds,
        "pairs": options.pairs,
        **figures.as_json(),
    }
    options.output.write_text(json.dumps(data, indent=1))
    print(f"figures: {options.output}\nreport: {write_report(data, options.output.parent)}")
    if figures.faults:
        sys.exit(1)


def print_list() -> None:
    """What --only takes."""
    print("parts:")
    for name, part in PARTS.items():
        when = "quick and full" if part.is_quick else "full"
        print(f"  {name:<18}{when:<16}{part.summary}")
    print("workloads of the part small (* in the quick set):")
    for workload in workloads.ALL:
        mark = "*" if workload.name in workloads.QUICK else " "
        print(f"  {mark} {workload.name}")


if __name__ == "__main__":
    main()
