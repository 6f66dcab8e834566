"""Figures of a run from its evidence folder: `python3 -m chaos.fault_figures FOLDER...`

Two questions: for how long could a key not be written after a fault began, and how long did reads
take under a fault compared with quiet times. Several folders are taken together.

Of each fault and key the gap goes from the first write that was begun after the fault to the end
of the first such write that was answered. Most keys of a fault have their leader elsewhere, and a
gap as long as any write; the slowest are those that lost theirs. It is an upper bound: clients
choose keys at random, so the time until somebody tries again counts, too.

Requests through the faulty node itself are left out, where the history names the nodes: those of
its clients wait for the fault to be over, whatever the others do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from chaos.histories import Act, Operation, Outcome

REST_SECONDS = 5.0
"""Behind the end of a fault: what is slow then is still its doing, so it counts as neither."""


class Fault(Struct, frozen=True):
    """A fault of the verdict, in seconds of the clock of the histories; `node` 0 fits none."""

    fault: str
    start: float
    end: float
    node: int = 0


class _Verdict(Struct, frozen=True):
    faults: list[Fault]


class Spread(Struct, frozen=True):
    """How many, and the median, 99 of 100, and the greatest of them, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Figures(Struct, frozen=True):
    """By kind of fault; a kind of which nothing was seen is left out. `quiet_reads` has the reads
    that no fault touched, None where there were none."""

    write_gaps: dict[str, Spread]
    reads: dict[str, Spread]
    quiet_reads: Spread | None


def read_evidence(folder: Path) -> tuple[list[list[Operation]], list[Fault]]:
    """The histories of the keys and the faults of one run. Raises OSError (there are none),
    msgspec.ValidationError (not such a folder)."""
    verdict = msgspec.json.decode((folder / "verdict.json").read_bytes(), type=_Verdict)
    decoder = msgspec.json.Decoder(Operation)
    histories = [
        [decoder.decode(line) for line in path.read_bytes().splitlines()]
        for path in sorted(folder.glob("key-*.ndjson"))
    ]
    return histories, verdict.faults


def figures_of(runs: Iterable[tuple[Sequence[Sequence[Operation]], Sequence[Fault]]]) -> Figures:
    """The figures of some runs together."""
    gaps: dict[str, list[float]] = {}
    reads: dict[str, list[float]] = {}
    quiet: list[float] = []
    for histories, faults in runs:
        for fault in faults:
            found = (_gap(history, fault) for history in histories)
            gaps.setdefault(fault.fault, []).extend(gap for gap in found if gap is not None)
        for history in histories:
            for each in history:
                if each.act is not Act.READ or each.outcome is not Outcome.DONE:
                    continue
                under = [
                    one
                    for one in faults
                    if one.start <= each.start < one.end and not _is_through(one, each)
                ]
                for one in under:
                    reads.setdefault(one.fault, []).append(each.end - each.start)
                if not any(_touches(one, each) for one in faults):
                    quiet.append(each.end - each.start)
    return Figures(
        write_gaps={name: spread(values) for name, values in sorted(gaps.items()) if values},
        reads={name: spread(values) for name, values in sorted(reads.items())},
        quiet_reads=spread(quiet) if quiet else None,
    )


def _gap(history: Sequence[Operation], fault: Fault) -> float | None:
    """Seconds; None where the key was not written before the fault was over and had its rest."""
    writes = [
        each
        for each in history
        if each.act is not Act.READ
        and fault.start <= each.start < fault.end + REST_SECONDS
        and not _is_through(fault, each)
    ]
    done = [each.end for each in writes if each.outcome is not Outcome.UNKNOWN]
    return min(done) - min(each.start for each in writes) if done else None


def _is_through(fault: Fault, operation: Operation) -> bool:
    return operation.node != 0 and operation.node == fault.node


def _touches(fault: Fault, operation: Operation) -> bool:
    return operation.start < fault.end + REST_SECONDS and operation.end >= fault.start


def spread(seconds: Sequence[float]) -> Spread:
    """By nearest rank, of at least one."""
    ordered = sorted(1000 * each for each in seconds)
    count = len(ordered)
    return Spread(count, ordered[count // 2], ordered[count * 99 // 100], ordered[-1])


def main(arguments: Sequence[str]) -> int:
    """Prints the figures of some evidence folders as JSON; the exit status."""
    if not arguments:
        print("usage: python3 -m chaos.fault_figures FOLDER...", file=sys.stderr)
        return 2
    figures = figures_of(read_evidence(Path(folder)) for folder in arguments)
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
