"""The figures of a run: several values of each, of which the median counts, with the range.

Two figures that were measured in the same rounds are compared round by round, so that what the
machine did to one it did to the other; the median of the ratios counts, again with the range.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Item = TypeVar("Item")

FLOOR = "floor"
"""The target under which the machine's own figures are kept."""

OTHERS = "others_cpu_share"
"""Kept at the floors: how busy other programs kept the machine during each round."""

OTHERS_SHARE_QUIET = 0.05
"""Up to this a machine counts as quiet: rates may be compared with those of other runs."""

ONLY_IN_REPORT = ("_p999_us", "_max_us", "_generator_share")


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of `count` values."""

    median: float
    least: float
    greatest: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratios(values: Sequence[float], floors: Sequence[float]) -> list[float]:
    """Each value by the floor of its round; a floor measured once serves every round."""
    if len(floors) == len(values):
        pairs = zip(values, floors, strict=True)
    else:
        middle = statistics.median(floors)
        pairs = zip(values, [middle] * len(values), strict=True)
    return [value / floor for value, floor in pairs if floor]


def rounds_of(items: Sequence[Item], count: int) -> list[list[Item]]:
    """A B, B A, A B ...: each item once a round, every other round backwards."""
    return [list(items if number % 2 == 0 else items[::-1]) for number in range(count)]


def digits(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass
class Figures:
    """`values[target][name]` in the order of the rounds; `faults` and `skipped` in words."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, target: str, name: str, value: float) -> None:
        """Adds the value of one more round."""
        self.values.setdefault(target, {}).setdefault(name, []).append(value)

    def values_of(self, target: str, name: str) -> list[float]:
        """The values of all rounds, empty if it was not measured."""
        return self.values.get(target, {}).get(name, [])

    def median(self, target: str, name: str) -> float | None:
        """None if it was not measured."""
        values = self.values_of(target, name)
        return statistics.median(values) if values else None

    def share(self, target: str, name: str, floor: str) -> Spread | None:
        """Of a floor, round by round; None if one of them was not measured."""
        return self.compare((target, name), (FLOOR, floor))

    def compare(self, one: tuple[str, str], other: tuple[str, str]) -> Spread | None:
        """One figure (target, name) as a multiple of another; None if one was not measured."""
        values, floors = self.values_of(*one), self.values_of(*other)
        found = ratios(values, floors) if values and floors else []
        return spread(found) if found else None

    def fault(self, text: str) -> None:
        """Something answered wrongly: there is no figure, and the run has failed."""
        self.faults.append(text)
        print(f"  WRONG {text}", flush=True)

    def skip(self, text: str) -> None:
        """Something could not be measured here, and why."""
        self.skipped.append(text)
        print(f"  skipped: {text}", flush=True)

    def show(self, target: str, names: Sequence[str] | None = None) -> None:
        """Prints medians and ranges."""
        every = [n for n in self.values.get(target, {}) if not n.endswith(ONLY_IN_REPORT)]
        for name in every if names is None else names:
            values = self.values_of(target, name)
            if values:
                seen = spread(values)
                label = name if target in ("node", FLOOR) else f"{target}:{name}"
                print(
                    f"  {label:<34} {seen.median:>14,.6g}  "
                    f"[{seen.least:,.5g} .. {seen.greatest:,.5g}]",
                    flush=True,
                )

    def warning(self) -> str | None:
        """What to say first if the machine was not ours alone."""
        share = self.median(FLOOR, OTHERS)
        if share is None or share <= OTHERS_SHARE_QUIET:
            return None
        return (
            f"Other programs used {share:.0%} of the machine meanwhile: rates and latencies are "
            "not those of a quiet machine; shares and CPU times suffer less."
        )

    def as_json(self) -> dict[str, Any]:
        """What the report is made from."""
        return {
            "values": self.values,
            "faults": self.faults,
            "skipped": self.skipped,
            "notes": self.notes,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Figures":
        """The reverse of as_json."""
        return Figures(data["values"], data["faults"], data["skipped"], data["notes"])
