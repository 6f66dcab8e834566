"""Whether what clients saw of one key can have happened one after the other, in some order.

The judge stands at the door of a room with one table. He notes who goes in and who comes out; what
is done inside he cannot see. Whenever somebody comes out, that person's act must have been done,
and perhaps those of others inside before it; so he keeps every state that the room may be in by now
(a configuration: what lies on the table, and which of those inside have acted). A history is
linearizable when there is still such a state after the last one has come out.

This is the just-in-time search of Lowe, "Testing for linearizability", Concurrency and Computation
29(4), 2017, section 4: exact, one pass over the events, and the cost follows the number of clients
that are inside at one moment, not the length of the history. Keys are independent of each other
(Herlihy and Wing 1990, theorem 1), so each has a history of its own.

An operation without an answer may take effect at any time, or never. One whose value nobody ever
saw is left out: whatever order explains the rest explains it with this operation never done.

What it is not: it keeps no clock and reads no log. Whoever records a history takes both moments of
an operation from one clock: the start before the request leaves, the end behind the answer.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, IntEnum
from heapq import heapify, heappop, heappush

from msgspec import Struct

ABSENT = ""
"""The value of a key that is not there."""

CONFIGURATIONS_MAX = 200_000
"""Beyond it a history is called undecided: about 40 MB. No history of the suite comes near."""


class Act(IntEnum):
    """What a client asked for."""

    READ = 0
    """`value` was seen, ABSENT for nothing there."""
    WRITE = 1
    """`value` was put, whatever was there; ABSENT deletes."""
    CREATE = 2
    """`value` was put if nothing was there (If-None-Match: *)."""
    SWAP = 3
    """`value` was put in the place of `expected` (If-Match)."""


class Outcome(IntEnum):
    """What the client was told."""

    DONE = 0
    REFUSED = 1
    """The condition did not hold at some moment, and nothing was changed."""
    UNKNOWN = 2
    """No answer, or one that says neither: it may take effect at any time from its start on."""


class Operation(Struct, frozen=True):
    """One operation of one client on one key, between two moments of one clock.

    Values are any names that differ where bytes differ. `end` means nothing where the outcome is
    UNKNOWN. `node` is the number of the node that was asked, 0 where there is but one.
    """

    act: Act
    value: str
    start: float
    end: float
    outcome: Outcome = Outcome.DONE
    expected: str = ABSENT
    node: int = 0


class Verdict(Enum):
    """What can be said of a history."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNDECIDED = "undecided"


class Judgement(Struct, frozen=True):
    """The verdict; `culprit` is the operation that no order can explain, with those before it."""

    verdict: Verdict
    culprit: Operation | None = None


Configuration = tuple[str, int]
"""The value that lies there, and the bits of those inside who have acted."""


def judge(history: Iterable[Operation], *, initial: str = ABSENT) -> Judgement:
    """Judges the history of one key, which held `initial` before.

    Cost: 5 to 10 us an operation where few overlap.
    """
    operations = _worth_judging(list(history))
    configurations: set[Configuration] = {(initial, 0)}
    inside: dict[int, Operation] = {}
    bits: dict[int, int] = {}
    free: list[int] = []
    for _, is_end, number in _events(operations):
        operation = operations[number]
        if not is_end:
            bits[number] = bit = free.pop() if free else 1 << len(inside)
            inside[bit] = operation
            continue
        bit = bits.pop(number)
        explained = _explain(configurations, inside, bit)
        if explained is None:
            return Judgement(Verdict.UNDECIDED, operation)
        if not explained:
            return Judgement(Verdict.NOT_LINEARIZABLE, operation)
        configurations = explained
        del inside[bit]
        free.append(bit)
    return Judgement(Verdict.LINEARIZABLE)


def _worth_judging(operations: Sequence[Operation]) -> list[Operation]:
    """Those that the verdict can depend on, by the time of their start."""
    seen = {each.value for each in operations if each.act is Act.READ}
    seen |= {each.expected for each in operations if each.act is Act.SWAP}
    # A refusal may be explained by a value of which nobody saw more than that.
    sees_all = any(each.outcome is Outcome.REFUSED for each in operations)
    kept = [
        each
        for each in operations
        if each.outcome is not Outcome.UNKNOWN
        or (each.act is not Act.READ and (sees_all or each.value == ABSENT or each.value in seen))
    ]
    return sorted(kept, key=lambda each: each.start)


def _events(operations: Sequence[Operation]) -> list[tuple[float, bool, int]]:
    """Starts and ends in the order of time; at one moment starts come first, so that operations
    that touch are taken to overlap."""
    events = [(each.start, False, number) for number, each in enumerate(operations)]
    events += [
        (each.end, True, number)
        for number, each in enumerate(operations)
        if each.outcome is not Outcome.UNKNOWN
    ]
    events.sort()
    return events


def _explain(
    configurations: set[Configuration], inside: dict[int, Operation], bit: int
) -> set[Configuration] | None:
    """Every configuration in which the operation `bit` has acted by now, its bit taken off; None
    where they are too many.

    Left out are those from which another differs only in that fewer have acted of those who never
    leave: whatever follows from the one follows from the other. So the thrifty come first.
    """
    configurations = {(value, _settled(value, acted, inside)) for value, acted in configurations}
    if all(acted & bit for _, acted in configurations):
        return {(value, acted ^ bit) for value, acted in configurations}
    staying = sum(other for other, each in inside.items() if each.outcome is Outcome.UNKNOWN)
    explained: set[Configuration] = set()
    waiting = [((acted & staying).bit_count(), value, acted) for value, acted in configurations]
    heapify(waiting)
    spent: dict[Configuration, list[int]] = {}
    met = 0
    while waiting:
        spending_count, value, acted = heappop(waiting)
        spending = acted & staying
        less = spent.setdefault((value, acted & ~staying), [])
        if any(each & spending == each for each in less):
            continue
        less.append(spending)
        if acted & bit:
            explained.add((value, acted ^ bit))
            continue
        met += 1
        if met > CONFIGURATIONS_MAX:
            return None
        for other, after in _next_acts(value, acted, inside):
            count = spending_count + (1 if other & staying else 0)
            heappush(waiting, (count, after, _settled(after, acted | other, inside)))
    return explained


def _settled(value: str, acted: int, inside: dict[int, Operation]) -> int:
    """Who has acted when all have who see this value and leave it: to wait would gain nothing."""
    for other, operation in inside.items():
        if acted & other:
            continue
        if operation.act is Act.READ:
            if operation.value == value:
                acted |= other
        elif operation.outcome is Outcome.REFUSED and _act(operation, value) is not None:
            acted |= other
    return acted


def _next_acts(value: str, acted: int, inside: dict[int, Operation]) -> Iterator[tuple[int, str]]:
    """Who of those inside can act now, and the value after it."""
    alike: set[tuple[Act, str, str]] = set()
    for other, operation in inside.items():
        if acted & other or operation.act is Act.READ:
            continue
        if operation.outcome is Outcome.UNKNOWN:
            # Of those that would do the same and never leave, the one who came first acts.
            kind = (operation.act, operation.value, operation.expected)
            if kind in alike:
                continue
            alike.add(kind)
        after = _act(operation, value)
        if after is not None:
            yield other, after


def _act(operation: Operation, value: str) -> str | None:
    """The value after an operation on `value`; None where it cannot act on that."""
    act, outcome = operation.act, operation.outcome
    if act is Act.READ:
        return value if value == operation.value else None
    if act is Act.WRITE:
        return operation.value
    holds = value == (ABSENT if act is Act.CREATE else operation.expected)
    if outcome is Outcome.DONE:
        return operation.value if holds else None
    if outcome is Outcome.REFUSED:
        return None if holds else value
    return operation.value if holds else value
