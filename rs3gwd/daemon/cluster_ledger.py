"""The ledger of the cluster's authority as this node has it, and changes of it: compare and set.

What it is not: it decides nothing; `cluster.authority.ledger` is the value, and whoever wants a
change gives a function from the ledger that is there to the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cluster.authority.certificates import PeerCertificate
from cluster.authority.ledger import Ledger
from cluster.base.errors import IdentityError
from rs3gwd.base.commands import PutAuthority
from rs3gwd.base.errors import Overloaded, StaleCommand
from rs3gwd.engine.cluster_authority import AuthorityRecord, read_authority
from rs3gwd.engine.face import EngineFace
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.proposing import Proposer

ATTEMPTS_MAX: Final = 20
"""Each node of a cluster says a word or two to a change, some of them at once."""

Step = Callable[[Ledger | None], Ledger | None]
"""The next ledger, None or the same for none; raises IdentityError."""


class LedgerView:
    """What this node's system group says by now; on its disk, so also before it has a majority."""

    def __init__(self, engine: EngineFace) -> None:
        self._engine = engine
        self._known: tuple[AuthorityRecord, Ledger] | None = None
        self.roots: tuple[bytes, ...] = ()
        """Those that this node trusts (DER), set before it talks to anybody."""

    def record(self) -> AuthorityRecord | None:
        """The row."""
        return self._engine.look_up(read_authority)

    def ledger(self, record: AuthorityRecord | None) -> Ledger | None:
        """What a row says. Raises IdentityError."""
        if record is None:
            return None
        if self._known is None or self._known[0] != record:
            self._known = record, Ledger.decode(record.ledger)
        return self._known[1]

    def now(self) -> Ledger | None:
        """The ledger; None before the cluster has noted one. Raises IdentityError."""
        return self.ledger(self.record())

    def check(self, node: int, certificate: PeerCertificate) -> None:
        """Raises IdentityError for a certificate that is good no more."""
        ledger = self.now()
        if ledger is not None:
            ledger.check(node, certificate, self.roots)


class LedgerChanges:
    """The way to change the ledger, for everyone on this node."""

    def __init__(self, view: LedgerView, proposer: Proposer) -> None:
        self._view = view
        self._proposer = proposer

    async def current(self) -> Ledger | None:
        """The ledger with all that was agreed before. Raises Overloaded, IdentityError."""
        await self._proposer.wait_current((SYSTEM_GROUP,))
        return self._view.now()

    async def change(self, step: Step) -> bool:
        """Has a change agreed; False when there is nothing to change.

        Raises what `step` raises of a ledger that was current, Overloaded, OutcomeUnknown.
        """
        is_current = False
        for _ in range(ATTEMPTS_MAX):
            record = self._view.record()
            before = self._view.ledger(record)
            try:
                after = step(before)
            except IdentityError:
                if is_current:
                    raise
            else:
                if after is None or after == before:
                    return False
                if await self._put(record, after):
                    return True
            await self._proposer.wait_current((SYSTEM_GROUP,))
            is_current = True
        raise Overloaded("the ledger changes faster than a change of it can be agreed")

    async def _put(self, record: AuthorityRecord | None, ledger: Ledger) -> bool:
        revision = 1 if record is None else record.revision + 1
        command = PutAuthority(revision=revision, ledger=ledger.encode())
        try:
            await self._proposer.propose(SYSTEM_GROUP, command)
        except StaleCommand:
            return False
        return True
