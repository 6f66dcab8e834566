"""Controls: each wrong that a run looks for makes a history that cannot be."""

from __future__ import annotations

import pytest

from chaos.histories import ABSENT, Act, Operation, Outcome, Verdict, judge


def at(moment: int, act: Act, value: str, *, expected: str = ABSENT) -> Operation:
    """What took half a second from `moment` on, and was done."""
    return Operation(act, value, moment, moment + 0.5, Outcome.DONE, expected)


PUT = at(1, Act.WRITE, "old")

WRONG = {
    "an acknowledged write is lost": [PUT, at(2, Act.READ, ABSENT)],
    "a stale read": [PUT, at(2, Act.WRITE, "new"), at(3, Act.READ, "old")],
    "a read goes back": [
        PUT,
        Operation(Act.WRITE, "new", 2, 9),
        at(3, Act.READ, "new"),
        at(4, Act.READ, "old"),
    ],
    "a deleted object comes back": [PUT, at(2, Act.WRITE, ABSENT), at(3, Act.READ, "old")],
    "a listing misses a key that is surely there": [
        PUT,
        at(2, Act.READ, "old"),
        at(3, Act.READ, ABSENT),
    ],
    "two winners of If-None-Match": [
        Operation(Act.CREATE, "one", 1, 3),
        Operation(Act.CREATE, "two", 2, 4),
    ],
    "two winners of one If-Match": [
        PUT,
        at(2, Act.SWAP, "one", expected="old"),
        at(3, Act.SWAP, "two", expected="old"),
    ],
    "a winner of a condition that never held": [PUT, at(2, Act.SWAP, "new", expected="other")],
    "a refusal of a condition that held": [
        PUT,
        Operation(Act.SWAP, "new", 2, 2.5, Outcome.REFUSED, "old"),
    ],
    "a refused write shows": [
        PUT,
        Operation(Act.CREATE, "new", 2, 2.5, Outcome.REFUSED),
        at(3, Act.READ, "new"),
    ],
    "a write without an answer is seen and then undone": [
        PUT,
        Operation(Act.WRITE, "new", 2, 2.5, Outcome.UNKNOWN),
        at(3, Act.READ, "new"),
        at(4, Act.READ, "old"),
    ],
    "a value that nobody wrote": [PUT, at(2, Act.READ, "half")],
}

ALLOWED = {
    "a write without an answer takes effect late": [
        Operation(Act.WRITE, "new", 1, 1.5, Outcome.UNKNOWN),
        at(2, Act.READ, ABSENT),
        at(3, Act.READ, "new"),
    ],
    "reads beside a write see either": [
        PUT,
        Operation(Act.WRITE, "new", 2, 9),
        at(3, Act.READ, "old"),
        at(4, Act.READ, "new"),
    ],
    "one winner and one loser": [
        Operation(Act.CREATE, "one", 1, 3),
        Operation(Act.CREATE, "two", 2, 4, Outcome.REFUSED),
    ],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_each_wrong_makes_an_impossible_history(wrong: str) -> None:
    """A checker that cannot fail proves nothing."""
    assert judge(WRONG[wrong]).verdict is Verdict.NOT_LINEARIZABLE


@pytest.mark.parametrize("allowed", ALLOWED)
def test_what_a_cluster_may_do_is_no_violation(allowed: str) -> None:
    """The same shapes without the wrong."""
    assert judge(ALLOWED[allowed]).verdict is Verdict.LINEARIZABLE
