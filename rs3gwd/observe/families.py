"""Figures as values: what one process knows at one moment, and how those of several become one.

The everyday picture is a shop with several tills: each adds up for itself, and the day's takings
are the sum, those of a till that was closed at noon included.

What it is not: nothing is counted here, and nothing is written for Prometheus
(`rs3gwd.observe.metrics` does both). A family is what Prometheus calls a metric family: a name,
and for every combination of label values the numbers.

Invariants: a sum of counters or histograms never goes down, whichever process ends, since the last
figures of one that ended stay in it; gauges of one that ended do not, for it holds nothing any
more.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct


class MetricKind(StrEnum):
    """What a figure is; a counter never goes down while the daemon lives."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Row(Struct, frozen=True, array_like=True):
    """One combination of label values. `numbers` is one number, or of a histogram how many values
    fell into each bucket (not cumulative, the last one without an upper end) and their sum."""

    labels: tuple[str, ...]
    numbers: list[float]


class Family(Struct, frozen=True):
    """One metric; `bounds` are the upper ends of a histogram's buckets."""

    name: str
    help: str
    kind: MetricKind
    label_names: tuple[str, ...]
    rows: list[Row]
    bounds: tuple[float, ...] = ()


def sum_families(groups: Iterable[Iterable[Family]]) -> list[Family]:
    """All families of all groups, those of one name added row by row, in the order of the first."""
    first: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for group in groups:
        for family in group:
            first.setdefault(family.name, family)
            rows = sums.setdefault(family.name, {})
            for row in family.rows:
                known = rows.get(row.labels)
                rows[row.labels] = (
                    [a + b for a, b in zip(known, row.numbers, strict=True)]
                    if known
                    else row.numbers
                )
    return [
        Family(
            family.name,
            family.help,
            family.kind,
            family.label_names,
            [Row(labels, numbers) for labels, numbers in sums[name].items()],
            family.bounds,
        )
        for name, family in first.items()
    ]


class MergedFigures:
    """The figures of several processes, each known by a number that is never used again."""

    def __init__(self) -> None:
        self._latest: dict[int, Sequence[Family]] = {}
        self._ended: list[Family] = []

    def report(self, member: int, families: Sequence[Family]) -> None:
        """The figures of a process, in place of those that it reported before."""
        self._latest[member] = families

    def end(self, member: int) -> None:
        """A process has ended: what it counted stays; no error where it never reported."""
        last = self._latest.pop(member, ())
        kept = [family for family in last if family.kind is not MetricKind.GAUGE]
        self._ended = sum_families([self._ended, kept])

    def families(self, own: Sequence[Family]) -> list[Family]:
        """`own`, those of the processes that live and the counts of those that ended, as one."""
        return sum_families([own, *self._latest.values(), self._ended])
