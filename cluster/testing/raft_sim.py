"""`python -m cluster.testing.raft_sim --seeds N --start S`: run seeds, print what fails.

Exit status 0 when every invariant held in every seed, 1 otherwise. A failing seed is run again with
its trace and printed; `--start S --seeds 1 --trace` prints that of any seed.
"""

import argparse
import sys
from collections.abc import Sequence
from time import perf_counter

from cluster.testing.raft_bugs import BUGS, NO_BUG, Bug
from cluster.testing.raft_run import Verdict, run_seed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raft_sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--bug", default="", help="plant a bug: " + ", ".join(sorted(BUGS)))
    parser.add_argument("--trace", action="store_true", help="print the trace of each seed")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a violation")
    return parser


def _print_failure(verdict: Verdict, bug: Bug) -> None:
    for line in run_seed(verdict.seed, bug, trace=True).trace:
        print(line)
    print(f"seed {verdict.seed}: {verdict.violation}")
    planted = f" --bug {bug.name}" if bug is not NO_BUG else ""
    again = f"python -m cluster.testing.raft_sim --start {verdict.seed} --seeds 1{planted}"
    print(f"again: {again}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = _parser().parse_args(arguments)
    bug = BUGS[options.bug] if options.bug else NO_BUG
    began = perf_counter()
    events = simulated_ms = failed = ran = 0
    for seed in range(options.start, options.start + options.seeds):
        verdict = run_seed(seed, bug, trace=options.trace)
        ran += 1
        events += verdict.events
        simulated_ms += verdict.simulated_ms
        for line in verdict.trace:
            print(line)
        if verdict.violation:
            failed += 1
            _print_failure(verdict, bug)
            if not options.keep_going:
                break
    seconds = perf_counter() - began
    print(
        f"{ran} seeds, {failed} failed, {events} events, {simulated_ms / 1000:.0f} simulated s "
        f"in {seconds:.1f} s: {ran / seconds:.0f} seeds/s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
