"""The layout of the cluster: the one row of LAYOUT, read and changed; and bytes that go by it.

What it is not: it does not know what a layout says. The history is bytes of
`cluster.layout.codec`, which the engine does not import; whoever changes it makes the next one from
the one that is there, and a change that was made from another is refused. In the system group
alone.

A body that the layout gives to others is dropped here in one transaction with a look at the row
(`drop_blobs`): a node that is given the body again has another row by then, so that what it said of
the body since is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.commands import PutLayout
from rs3gwd.base.errors import DataCorrupt, FormatError, InvalidRequest, StaleCommand
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.blobs import BlobRecord, find_blob
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_blobs import find_missing, has_blob, release_blob
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.tables import Table

HISTORY_BYTES_MAX: Final = 1 << 20
"""Two versions of 1,024 sets with 9 nodes of 5 digits each take some 130 KB."""

_KEY: Final = b"history"


class LayoutRecord(Struct, array_like=True, frozen=True):
    """LAYOUT: the versions in force and how far each node is, and how often that has changed."""

    revision: int
    history: bytes


LAYOUT_CODEC = RecordCodec(LayoutRecord, name="layout")


def read_layout(txn: Transaction) -> LayoutRecord | None:
    """The row; None before the first layout."""
    value = txn.get(Table.LAYOUT, _KEY)
    return None if value is None else LAYOUT_CODEC.open(_KEY, value)


def put_layout(state: ApplyState, command: PutLayout) -> None:
    """Takes a history in the place of the one before it; see the command."""
    if not 0 < len(command.history) <= HISTORY_BYTES_MAX:
        raise InvalidRequest(f"{len(command.history)} bytes are no history of the layout")
    known = read_layout(state.txn)
    revision = 0 if known is None else known.revision
    if command.revision != revision + 1:
        raise StaleCommand(f"the layout has changed {revision} times")
    record = LayoutRecord(command.revision, command.history)
    state.txn.put(Table.LAYOUT, _KEY, LAYOUT_CODEC.seal(_KEY, record))


def drop_blobs(
    txn: Transaction, ledger: Ledger, blob_ids: Sequence[bytes], revision: int
) -> int | None:
    """Frees bodies that are kept for a command that was applied, and forgets that one is missing;
    how many. None, and nothing is changed, when the layout is not at this revision any more."""
    known = read_layout(txn)
    if known is None or known.revision != revision:
        return None
    found = [each for each in blob_ids if has_blob(txn, each) or find_missing(txn, each)]
    for blob_id in found:
        release_blob(txn, ledger, blob_id)
    return len(found)


def which_kept(txn: Transaction, blob_ids: Sequence[bytes]) -> bytes:
    """For each body a byte: 1 when all its bytes are kept here for a command that was applied."""
    rows = [_find(txn, blob_id) for blob_id in blob_ids]
    return bytes(row is not None and row.kept_bytes == row.size_bytes for row in rows)


def _find(txn: Transaction, blob_id: bytes) -> BlobRecord | None:
    try:
        return find_blob(txn, blob_id)
    except (DataCorrupt, FormatError):
        return None  # a damaged row keeps nothing that could be counted on
