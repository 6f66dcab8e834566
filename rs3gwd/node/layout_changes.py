"""Changes of the layout through the system group: compare and set.

What it is not: it decides on no change. Whoever wants one gives a function from the history that is
there to the next one; when another change came first, the function is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cluster.layout.codec import decode, encode
from cluster.layout.errors import LayoutError
from cluster.layout.layout import LayoutHistory
from rs3gwd.base.commands import PutLayout
from rs3gwd.base.errors import Overloaded, StaleCommand
from rs3gwd.engine.cluster_layout import LayoutRecord, read_layout
from rs3gwd.engine.face import EngineFace
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.proposing import Proposer

ATTEMPTS_MAX: Final = 20
"""Each node of a cluster says a word or two to a change, some of them at once."""

Step = Callable[[LayoutHistory | None], LayoutHistory | None]
"""The next history, None for none; raises LayoutError."""


class LayoutChanges:
    """The way to change the layout, for everyone on this node."""

    def __init__(self, engine: EngineFace, proposer: Proposer) -> None:
        self._engine = engine
        self._proposer = proposer

    def record(self) -> LayoutRecord | None:
        """The row as this node has it by now."""
        return self._engine.look_up(read_layout)

    async def current(self) -> LayoutHistory | None:
        """The history with all that was agreed before. Raises Overloaded."""
        await self._proposer.wait_current((SYSTEM_GROUP,))
        record = self.record()
        return None if record is None else decode(record.history)

    async def change(self, step: Step) -> bool:
        """Has a change agreed; False when there is nothing to change.

        Raises what `step` raises of a history that was current, Overloaded, OutcomeUnknown.
        """
        is_current = False
        for _ in range(ATTEMPTS_MAX):
            record = self.record()
            before = None if record is None else decode(record.history)
            try:
                after = step(before)
            except LayoutError:
                if is_current:
                    raise
                after = before
            else:
                if after is None or after == before:
                    return False
                if await self._put(record, after):
                    return True
            await self._proposer.wait_current((SYSTEM_GROUP,))
            is_current = True
        raise Overloaded("the layout changes faster than a change of it can be agreed")

    async def _put(self, record: LayoutRecord | None, history: LayoutHistory) -> bool:
        revision = 1 if record is None else record.revision + 1
        command = PutLayout(revision=revision, history=encode(history))
        try:
            await self._proposer.propose(SYSTEM_GROUP, command)
        except StaleCommand:
            return False
        return True
