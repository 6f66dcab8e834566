"""Operations by the million, each judged: `python -m chaos.register_seeds --operations N`.

Every seed is a simulated group of the Raft core under faults with a crowd of clients on registers
(`cluster.testing.register_run`); the history of every key is judged (`chaos.histories`, the judge
that agrees with Porcupine's recorded verdicts). An operation is one key read, listed or written by
one client.

What it is not: the store. The machine behind the group is a dictionary; whole nodes are
`chaos.node_seeds`, real processes `chaos.cluster`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from chaos.histories import Act, Operation, Outcome, Verdict, judge
from cluster.testing.raft_bugs import BUGS, NO_BUG, Bug
from cluster.testing.register_run import Seen, run_registers

_ACTS = tuple(Act)
_OUTCOMES = tuple(Outcome)


class Tally(NamedTuple):
    """What seeds gave together; `failures` are impossible histories and broken invariants."""

    seeds: int = 0
    histories: int = 0
    operations: int = 0
    unknown: int = 0
    """Writes of which nobody knows whether they took effect; they are judged as well."""
    undecided: int = 0
    failures: tuple[str, ...] = ()

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.seeds + other.seeds,
            self.histories + other.histories,
            self.operations + other.operations,
            self.unknown + other.unknown,
            self.undecided + other.undecided,
            self.failures + other.failures,
        )


def judge_seed(seed: int, bug: Bug = NO_BUG) -> Tally:
    """Runs a seed and judges every key's history."""
    verdict = run_registers(seed, bug)
    failures = [f"seed {seed}: {verdict.violation}"] if verdict.violation else []
    undecided = operations = unknown = 0
    for key, seen in verdict.histories.items():
        operations += len(seen)
        history = [_operation(each) for each in seen]
        unknown += sum(each.outcome is Outcome.UNKNOWN for each in history)
        judgement = judge(history)
        if judgement.verdict is Verdict.UNDECIDED:
            undecided += 1
        elif judgement.verdict is Verdict.NOT_LINEARIZABLE:
            failures.append(f"seed {seed}: {key} is not linearizable: {judgement.culprit}")
    return Tally(1, len(verdict.histories), operations, unknown, undecided, tuple(failures))


def _operation(seen: Seen) -> Operation:
    return Operation(
        _ACTS[seen.did],
        seen.value,
        seen.start_us,
        seen.end_us,
        _OUTCOMES[seen.told],
        seen.expected,
    )


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 1 when a history was impossible or undecided."""
    parser = argparse.ArgumentParser(prog="register_seeds", description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000, help="at least so many")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="plant a bug of the core")
    options = parser.parse_args(arguments)
    bug = BUGS[options.bug] if options.bug else NO_BUG
    began = time.process_time()
    total = Tally()
    while total.operations < options.operations and len(total.failures) < 5:
        total = total.plus(judge_seed(options.start + total.seeds, bug))
    for failure in total.failures:
        print(failure)
    print(
        f"{total.seeds} seeds from {options.start}, {total.histories} histories of "
        f"{total.operations} operations, {total.unknown} of them unanswered; "
        f"{len(total.failures)} violations, {total.undecided} undecided, "
        f"in {time.process_time() - began:.0f} s of CPU"
    )
    return 1 if total.failures or total.undecided else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
