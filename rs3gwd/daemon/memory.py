"""Gives memory that is free inside the process back to the machine.

glibc keeps what was freed below something still in use, for ever: after an hour of a thousand
large uploads a node would hold gigabytes that it does not need (malloc_trim(3)). Nothing is freed
here that Python or our own pools still hold, and where there is no such call nothing is done.
"""

import ctypes
from collections.abc import Callable
from functools import partial

import trio

from rs3gwd.base.ports import Threads
from rs3gwd.observe.process import resident_bytes

INTERVAL_SECONDS = 10.0
GROWTH_BYTES_MIN = 64 << 20
"""Growth since the start below which it is not worth the walk through the heap."""


async def give_back_memory(threads: Threads) -> None:
    """Trims the heap now and then while the process is larger than it was at first; until
    cancelled."""
    trim = _find_trim()
    if trim is None:
        return
    resident_bytes_first = resident_bytes()
    while True:
        await trio.sleep(INTERVAL_SECONDS)
        if resident_bytes() - resident_bytes_first > GROWTH_BYTES_MIN:
            await threads.run(partial(trim, 0))


def _find_trim() -> Callable[[int], int] | None:
    """The call of the C library; None where it has none."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
