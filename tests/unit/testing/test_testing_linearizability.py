"""The judge of register histories sees each impossible one, and passes possible ones."""

from __future__ import annotations

import itertools
import random

import pytest

from rs3gwd.testing.linearizability import RegisterOperation, violations


def write(value: str, start: float, end: float) -> RegisterOperation:
    """A write."""
    return RegisterOperation(True, value, start, end)


def read(value: str, start: float, end: float) -> RegisterOperation:
    """A read."""
    return RegisterOperation(False, value, start, end)


@pytest.mark.parametrize(
    "history",
    [
        [write("a", 0, 1), read("a", 2, 3)],
        [write("a", 0, 1), write("b", 2, 9), read("a", 3, 4), read("b", 5, 6)],
        [write("a", 0, 9), write("b", 0, 9), read("b", 1, 2), read("a", 3, 4)],
        [write("a", 0, 5), read("a", 1, 2)],
    ],
    ids=["in order", "before the end of the next", "both at once", "read while written"],
)
def test_possible_histories_pass(history: list[RegisterOperation]) -> None:
    """Histories that some order explains are not called wrong."""
    assert violations(history) == []


@pytest.mark.parametrize(
    "history",
    [
        [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
        [write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("a", 5, 6)],
        [write("a", 5, 6), read("a", 1, 2)],
        [read("z", 1, 2)],
        [write("a", 0, 1), write("b", 2, 3), read("b", 8, 9), read("a", 4, 5)],
    ],
    ids=["stale", "back again", "before the write", "out of thin air", "between"],
)
def test_impossible_histories_are_caught(history: list[RegisterOperation]) -> None:
    """Stale reads, reads that go back, and values from nowhere are violations."""
    assert violations(history) != []


def test_it_agrees_with_trying_every_order() -> None:
    """On small random histories it says the same as a search of all permutations."""
    source = random.Random(1)
    seen = set()
    for _ in range(1500):
        history = _random_history(source)
        possible = any(_explains(order) for order in itertools.permutations(history))
        seen.add(possible)
        assert (violations(history) == []) is possible, history
    assert seen == {True, False}


def _random_history(source: random.Random) -> list[RegisterOperation]:
    history = []
    moments = source.sample(range(1000), 12)
    for number in range(source.randint(2, 5)):
        start, end = sorted(moments[2 * number : 2 * number + 2])
        if number < 2:
            history.append(write("ab"[number], start, end))
        else:
            history.append(read(source.choice("ab"), start, end))
    return history


def _explains(order: tuple[RegisterOperation, ...]) -> bool:
    current = None
    for number, operation in enumerate(order):
        if any(later.end < operation.start for later in order[number + 1 :]):
            return False
        if operation.is_write:
            current = operation.value
        elif operation.value != current:
            return False
    return True
