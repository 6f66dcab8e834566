"""Runs a trio program so that one seed gives one order of events, on a clock that jumps.

This is the one place that touches trio's private switches: with `_ALLOW_DETERMINISTIC_SCHEDULING`
the tasks that can run are sorted by their age and shuffled by `_run._r`, which is seeded here.
Meant by trio's authors for Hypothesis, and for nobody else (trio #890, #2675): trio's version is
pinned, and a test fails when the names move. The clock is a `MockClock` that jumps whenever all
tasks wait, so no run takes longer than its work. The collector of cyclic garbage is off during a
run: when it closes an abandoned generator it schedules tasks.

Not more than one run at a time in a process.
"""

import gc
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio
from trio._core import _run as trio_run  # the switches; see the module's head
from trio.testing import MockClock

T = TypeVar("T")

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"


def run_seeded(seed: int, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What `function(*args)` gives, with tasks scheduled by `seed`."""
    switches = vars(trio_run)
    before = switches[_SWITCH]
    state = trio_run._r.getstate()
    collecting = gc.isenabled()
    switches[_SWITCH] = True
    trio_run._r.seed(seed)
    gc.disable()
    try:
        return trio.run(function, *args, clock=MockClock(autojump_threshold=0))
    finally:
        switches[_SWITCH] = before
        trio_run._r.setstate(state)
        if collecting:
            gc.enable()
