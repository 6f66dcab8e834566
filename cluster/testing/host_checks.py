"""Is what clients saw of a counter linearizable?

Every addition gives the new value, so results say in which order the additions took effect, and
the check is a few comparisons instead of a search:

* no result comes twice, and none is above the count of additions begun;
* an addition that ended before another began has the lower result;
* a read sees at least every addition that ended, and every value that was read, before it began;
* a read of v ended after the addition with result v, and all below it, had begun;
* in the end the counter shows every addition that was answered, and none that never was begun.

An addition without an answer may have taken effect or not. With results unique and dense this is
linearizability (Herlihy and Wing 1990) of the counter, not an approximation of it.
"""

from dataclasses import dataclass, field


class NotLinearizable(AssertionError):
    """What clients saw cannot be."""


@dataclass(slots=True)
class Operation:
    """One addition of 1 or read. `result` and `ended` are None without an answer."""

    kind: str
    began: float
    ended: float | None = None
    result: int | None = None
    where: str = ""


@dataclass(slots=True)
class CounterHistory:
    """What clients did to one counter."""

    operations: list[Operation] = field(default_factory=list)

    def begin(self, kind: str, now: float, where: str) -> Operation:
        """An operation begins; to be given its end and result when it has them."""
        operation = Operation(kind, now, where=where)
        self.operations.append(operation)
        return operation

    def check(self, final: int) -> None:
        """Raises NotLinearizable. `final` is what the counter shows when all is over."""
        adds = [op for op in self.operations if op.kind == "add"]
        answered = sorted(
            (op for op in adds if op.result is not None), key=lambda op: op.result or 0
        )
        results = [op.result for op in answered]
        if len(set(results)) != len(results):
            raise NotLinearizable(f"a result came twice: {results}")
        if not len(answered) <= final <= len(adds):
            raise NotLinearizable(f"{final} in the end, {len(answered)} of {len(adds)} answered")
        if results and (results[-1] or 0) > final:
            raise NotLinearizable(f"{results[-1]} was given, {final} in the end")
        self._check_order()
        self._check_begun(adds)

    def _check_order(self) -> None:
        """What ended before an operation began bounds it from below."""
        done = [op for op in self.operations if op.ended is not None and op.result is not None]
        by_end = sorted(done, key=lambda op: op.ended or 0.0)
        floor = 0
        at = 0
        for op in sorted(done, key=lambda op: op.began):
            while at < len(by_end) and (by_end[at].ended or 0.0) < op.began:
                floor = max(floor, by_end[at].result or 0)
                at += 1
            lowest = floor + 1 if op.kind == "add" else floor
            if (op.result or 0) < lowest:
                raise NotLinearizable(f"{op} although {floor} was seen before it began")

    def _check_begun(self, adds: list[Operation]) -> None:
        """Nobody sees a value before so many additions, and those that gave it, have begun."""
        begun = sorted(op.began for op in adds)
        latest = 0.0
        begins = {op.result: op.began for op in adds if op.result is not None}
        floor_of = [0.0]
        for value in range(1, len(adds) + 1):
            latest = max(latest, begins.get(value, 0.0), begun[value - 1])
            floor_of.append(latest)
        for op in self.operations:
            if op.result is None or op.ended is None:
                continue
            if op.result >= len(floor_of) or floor_of[op.result] > op.ended:
                raise NotLinearizable(f"{op} before anybody had begun to bring that about")
