"""Judges whether what clients saw of one key can have happened one after the other.

A register whose writes all have different values is linearizable when the zones of its values fit
together (Gibbons and Korach, "Testing Shared Memories", SIAM J. Computing 26, 1997, section 4): the
zone of a value reaches from the first end to the last start of the operations that wrote or read
it. Where the first end comes before the last start, the register held the value all that time (a
forward zone): no two such zones may overlap, and no other value may have its whole zone inside one.

Cost: O(n log n). What it is not: it handles no deletes, no conditional writes and no writes of
which nobody knows whether they took place; the tests of these count winners instead.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct


class RegisterOperation(Struct, frozen=True):
    """A write of `value`, or a read that gave it, between two moments of one clock."""

    is_write: bool
    value: str
    start: float
    end: float


class _Zone(Struct, frozen=True):
    value: str
    first_end: float
    last_start: float

    @property
    def is_forward(self) -> bool:
        return self.first_end < self.last_start

    @property
    def low(self) -> float:
        return min(self.first_end, self.last_start)

    @property
    def high(self) -> float:
        return max(self.first_end, self.last_start)


def violations(history: Iterable[RegisterOperation]) -> list[str]:
    """Why a history is not linearizable, one line each; empty when it is."""
    by_value: dict[str, list[RegisterOperation]] = defaultdict(list)
    for operation in history:
        assert operation.start <= operation.end, f"{operation} ends before it starts"
        by_value[operation.value].append(operation)
    problems: list[str] = []
    zones = []
    for value, operations in by_value.items():
        writes = [operation for operation in operations if operation.is_write]
        assert len(writes) <= 1, f"{value} was written twice"
        if not writes:
            problems.append(f"{value} was read and never written")
            continue
        early = [each for each in operations if each.end < writes[0].start]
        problems += [f"{value} was read before it was written: {each}" for each in early]
        zones.append(
            _Zone(
                value,
                first_end=min(operation.end for operation in operations),
                last_start=max(operation.start for operation in operations),
            )
        )
    return problems + _conflicts(zones)


def _conflicts(zones: list[_Zone]) -> list[str]:
    problems = []
    forward = sorted((zone for zone in zones if zone.is_forward), key=lambda zone: zone.low)
    for earlier, later in itertools.pairwise(forward):
        if later.low < earlier.high:
            problems.append(f"{later.value} was current while {earlier.value} was: {later}")
    place = 0
    for zone in sorted((zone for zone in zones if not zone.is_forward), key=lambda zone: zone.low):
        while place < len(forward) and forward[place].high < zone.low:
            place += 1
        if place < len(forward):
            around = forward[place]
            if around.low < zone.low and zone.high < around.high:
                problems.append(f"{zone.value} came and went while {around.value} was current")
    return problems
