"""The cluster's authority: the one row of AUTHORITY, read and changed.

What it is not: it does not know what the row says. The ledger is bytes of
`cluster.authority.ledger`, which the engine does not import; whoever changes it makes the next one
from the one that is there, and a change that was made from another is refused, as with the layout.
In the system group alone.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.commands import PutAuthority
from rs3gwd.base.errors import InvalidRequest, StaleCommand
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import Table

LEDGER_BYTES_MAX: Final = 1 << 20
"""A certificate takes some 100 bytes, so that thousands of nodes have room for a few each."""

_KEY: Final = b"ledger"


class AuthorityRecord(Struct, array_like=True, frozen=True):
    """AUTHORITY: roots, certificates and a change of root, and how often that has changed."""

    revision: int
    ledger: bytes


AUTHORITY_CODEC = RecordCodec(AuthorityRecord, name="authority")


def read_authority(txn: Transaction) -> AuthorityRecord | None:
    """The row; None in a cluster that has not noted its authority yet."""
    value = txn.get(Table.AUTHORITY, _KEY)
    return None if value is None else AUTHORITY_CODEC.open(_KEY, value)


def put_authority(state: ApplyState, command: PutAuthority) -> None:
    """Takes a ledger in the place of the one before it; see the command."""
    if not 0 < len(command.ledger) <= LEDGER_BYTES_MAX:
        raise InvalidRequest(f"{len(command.ledger)} bytes are no ledger of the authority")
    known = read_authority(state.txn)
    revision = 0 if known is None else known.revision
    if command.revision != revision + 1:
        raise StaleCommand(f"the ledger of the authority has changed {revision} times")
    record = AuthorityRecord(command.revision, command.ledger)
    state.txn.put(Table.AUTHORITY, _KEY, AUTHORITY_CODEC.seal(_KEY, record))
