"""The judge of histories agrees with the verdicts of others, and with a search of all orders."""

from __future__ import annotations

import itertools
import os
import random
import re
from pathlib import Path

import pytest

from chaos import histories
from chaos.histories import ABSENT, Act, Operation, Outcome, Verdict, judge
from rs3gwd.testing.linearizability import RegisterOperation, violations

ROOT = Path(__file__).resolve().parents[3]
JEPSEN = (
    Path(os.environ.get("RS3GW_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
    / "porcupine"
    / "test_data"
    / "jepsen"
)

LINEARIZABLE = frozenset(
    {
        2, 5, 7, 18, 25, 31, 38, 45, 48, 49, 51, 53, 56, 67, 75, 76, 80, 87, 92, 98, 100, 101, 102,
    }
)  # fmt: skip
"""Which of the 102 histories of etcd are, as the tests of Porcupine state it (MIT licence)."""

_LINE = re.compile(r"jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*?)\s*$")


def read_jepsen(path: Path) -> list[Operation]:
    """The operations of one log on its one register; the number of a line is its time."""
    operations: list[Operation] = []
    open_calls: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(path.read_text().splitlines()):
        found = _LINE.search(line)
        if found is None:
            continue
        process, kind, act, value = found.groups()
        if kind == "invoke":
            open_calls[process] = act, value, number
            continue
        called, asked, start = open_calls.pop(process)
        assert called == act
        if act == "read":
            if kind == "ok":
                operations.append(Operation(Act.READ, _name(value), start, number))
        elif kind != "fail" or act == "cas":
            operations.append(_change(act, asked, start, number, kind))
    operations += [
        _change(act, asked, start, 0, "info")
        for act, asked, start in open_calls.values()
        if act != "read"
    ]
    return operations


def _change(act: str, asked: str, start: int, end: int, kind: str) -> Operation:
    outcomes = {"ok": Outcome.DONE, "fail": Outcome.REFUSED, "info": Outcome.UNKNOWN}
    if act == "write":
        return Operation(Act.WRITE, asked, start, end, outcomes[kind])
    expected, value = asked.strip("[]").split()
    return Operation(Act.SWAP, value, start, end, outcomes[kind], expected)


def _name(value: str) -> str:
    return ABSENT if value == "nil" else value


@pytest.mark.skipif(not JEPSEN.is_dir(), reason=f"no histories of others in {JEPSEN}")
def test_it_agrees_with_every_recorded_verdict() -> None:
    """102 of 102 histories of etcd that Jepsen recorded are judged as Porcupine judges them."""
    # The cluster of number 95 did not start, and its log is empty of verdicts.
    logs = sorted(log for log in JEPSEN.glob("etcd_*.log") if log.stem != "etcd_095")
    assert len(logs) == 102
    for log in logs:
        wanted = int(log.stem.removeprefix("etcd_")) in LINEARIZABLE
        verdict = judge(read_jepsen(log)).verdict
        assert verdict is (Verdict.LINEARIZABLE if wanted else Verdict.NOT_LINEARIZABLE), log.name


def test_it_agrees_with_trying_every_order() -> None:
    """On small random histories with every act and outcome it says what a search of all orders
    says."""
    source = random.Random(2)
    seen = set()
    for _ in range(4000):
        history = _random_history(source)
        expected = _some_order_explains(history)
        seen.add(expected)
        verdict = judge(history).verdict
        wanted = Verdict.LINEARIZABLE if expected else Verdict.NOT_LINEARIZABLE
        assert verdict is wanted, history
    assert seen == {True, False}


def test_it_agrees_with_the_zones_of_values() -> None:
    """20,000 random histories of a register get the verdict of another algorithm (Gibbons and
    Korach)."""
    source = random.Random(3)
    verdicts = []
    for _ in range(20_000):
        register = _random_register(source)
        history = [
            Operation(Act.WRITE if each.is_write else Act.READ, each.value, each.start, each.end)
            for each in register
        ]
        verdict = judge(history).verdict
        assert (verdict is Verdict.LINEARIZABLE) is (violations(register) == []), register
        verdicts.append(verdict)
    assert set(verdicts) == {Verdict.LINEARIZABLE, Verdict.NOT_LINEARIZABLE}


def test_it_names_the_operation_that_nothing_explains() -> None:
    """The culprit is the first read that saw what nobody had written by then."""
    stale = Operation(Act.READ, "a", 4, 5)
    history = [
        Operation(Act.WRITE, "a", 0, 1),
        Operation(Act.WRITE, "b", 2, 3),
        stale,
        Operation(Act.READ, "b", 6, 7),
    ]
    assert judge(history).culprit == stale


def test_a_refusal_may_show_a_write_without_an_answer() -> None:
    """A put that got no answer explains why a creation behind it was refused."""
    lost = Operation(Act.WRITE, "a", 0, 0, Outcome.UNKNOWN)
    refused = Operation(Act.CREATE, "b", 2, 3, Outcome.REFUSED)
    assert judge([lost, refused]).verdict is Verdict.LINEARIZABLE
    assert judge([refused]).verdict is Verdict.NOT_LINEARIZABLE


def test_what_has_too_many_explanations_is_called_undecided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A history beyond the bound is not passed as good."""
    monkeypatch.setattr(histories, "CONFIGURATIONS_MAX", 100)
    history = [Operation(Act.WRITE, f"v{n}", n, 50) for n in range(12)]
    history += [Operation(Act.READ, "v3", 60, 61)]
    assert judge(history).verdict is Verdict.UNDECIDED


def _random_register(source: random.Random) -> list[RegisterOperation]:
    moments = source.sample(range(10_000), 20)
    history = []
    writes = source.randint(2, 4)
    for number in range(source.randint(4, 10)):
        start, end = sorted(moments[2 * number : 2 * number + 2])
        if number < writes:
            history.append(RegisterOperation(True, "abcd"[number], start, end))
        else:
            history.append(RegisterOperation(False, source.choice("abcd"[:writes]), start, end))
    return history


def _random_history(source: random.Random) -> list[Operation]:
    history = []
    moments = source.sample(range(1000), 12)
    for number in range(source.randint(2, 5)):
        start, end = sorted(moments[2 * number : 2 * number + 2])
        act = source.choice(list(Act))
        outcome = Outcome.DONE
        if act is Act.READ:
            history.append(Operation(act, source.choice([ABSENT, "a", "b"]), start, end))
            continue
        if act is Act.WRITE:
            value = source.choice([ABSENT, "a", "b"])
            outcome = source.choice([Outcome.DONE, Outcome.UNKNOWN])
        else:
            value = source.choice("ab")
            outcome = source.choice(list(Outcome))
        history.append(Operation(act, value, start, end, outcome, source.choice("ab")))
    return history


def _some_order_explains(history: list[Operation]) -> bool:
    unknown = [each for each in history if each.outcome is Outcome.UNKNOWN]
    certain = [each for each in history if each.outcome is not Outcome.UNKNOWN]
    for count in range(len(unknown) + 1):
        for done in itertools.combinations(unknown, count):
            for order in itertools.permutations([*certain, *done]):
                if _is_in_time(order) and _explains(order):
                    return True
    return False


def _is_in_time(order: tuple[Operation, ...]) -> bool:
    """No operation comes behind one that began after its end."""
    for number, each in enumerate(order):
        for earlier in order[:number]:
            if each.outcome is not Outcome.UNKNOWN and each.end < earlier.start:
                return False
    return True


def _explains(order: tuple[Operation, ...]) -> bool:
    value = ABSENT
    for each in order:
        if each.act is Act.READ:
            if value != each.value:
                return False
        elif each.act is Act.WRITE:
            value = each.value
        else:
            holds = value == (ABSENT if each.act is Act.CREATE else each.expected)
            if each.outcome is not Outcome.UNKNOWN and holds is (each.outcome is Outcome.REFUSED):
                return False
            value = each.value if holds else value
    return True
