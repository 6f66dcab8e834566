"""Dropping uploads that nobody finished, in a cluster: the leader of each group proposes it.

What it is not: it drops nothing itself. On a single node housekeeping does it
(`rs3gwd.engine.housekeeping`); here a node that did so alone would differ from the others.
"""

from __future__ import annotations

import structlog
import trio

from rs3gwd.base.commands import ForgetUploads
from rs3gwd.base.errors import OutcomeUnknown, Overloaded
from rs3gwd.base.ports import Clock
from rs3gwd.node.proposing import Proposer

ROUNDS_MAX = 100
"""Commands of one group in one round; each drops up to 100 uploads."""


class UploadForgetter:
    """`retention_ms` None keeps uploads for ever."""

    def __init__(
        self,
        proposer: Proposer,
        *,
        clock: Clock,
        retention_ms: int | None,
        interval_s: float = 3600.0,
    ) -> None:
        self._proposer = proposer
        self._clock = clock
        self._retention_ms = retention_ms
        self._interval_s = interval_s
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await trio.sleep(self._interval_s)
            try:
                await self.forget()
            except (Overloaded, OutcomeUnknown) as error:
                self._log.info("old uploads are forgotten later", reason=str(error))

    async def forget(self) -> int:
        """One round over the groups that this node leads; how many uploads it dropped.

        Raises Overloaded, OutcomeUnknown.
        """
        if self._retention_ms is None:
            return 0
        command = ForgetUploads(before_ms=self._clock.now_ms() - self._retention_ms)
        total = 0
        for group in self._proposer.index_groups:
            for _ in range(ROUNDS_MAX if self._proposer.leads(group) else 0):
                count = await self._proposer.propose(group, command)
                assert isinstance(count, int)
                total += count
                if not count:
                    break
        return total
