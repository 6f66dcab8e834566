"""Several awaitable jobs at once, failing as one of them would alone.

trio gives an ExceptionGroup for whatever leaves a nursery; the error table of the surface wants
the error itself. Cancellation from outside stays what it is.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import trio

Job = Callable[[], Awaitable[object]]


async def run_together(jobs: Sequence[Job]) -> None:
    """Runs all jobs concurrently and waits for all of them.

    The first error cancels the other jobs and is raised bare; when the caller itself was
    cancelled the group is raised as it is. The number of jobs is bounded by the caller.
    """
    try:
        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(job)
    except BaseExceptionGroup as group:
        raise_bare(group)


def raise_bare(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raises what `leading_error` finds in a group that has just left a nursery.

    The error must not keep the group as its context: the group holds the error, the error's trace
    holds the frames and the frames hold the body, so that the body of each failed upload would
    stay in memory until the next full run of the garbage collector.
    """
    error = leading_error(group)
    try:
        raise error
    finally:
        error.__context__ = None
        del error, group


def leading_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error inside nested groups, or the group itself when it holds a cancellation."""
    if group.subgroup(trio.Cancelled) is not None:
        return group
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
