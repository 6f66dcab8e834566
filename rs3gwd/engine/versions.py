"""The versions of one key: where each lies, and the moves between the places.

Picture a shelf with one book on show and the older editions in the drawer below. The book on show
is the LIVE row: the current version, one look-up away for a plain GET. The drawer is HISTORY:
noncurrent versions and every delete marker, newest first. What it is not: it decides nothing (the
apply does) and frees no bytes.

Invariants of a key at the end of every command (`rs3gwd.engine.verify` proves them):

1. The LIVE row is an object, and its seq is greater than that of every HISTORY row.
2. Without a LIVE row, the newest HISTORY row, if there is one, is a delete marker: the current one.
3. At most one version has the id `null`. When it lies in HISTORY, the NULLS row of the key holds
   its seq; otherwise the key has no NULLS row.
4. In a bucket that was never versioned every version is a LIVE row with the id `null`.

Source: Amazon S3 User Guide, "How S3 Versioning works", "Working with delete markers", "Adding
objects to versioning-suspended buckets".
"""

from __future__ import annotations

from collections.abc import Callable

from rs3gwd.base.codec import sequence_of_id
from rs3gwd.base.errors import NoSuchKey
from rs3gwd.base.records import NULL_VERSION_ID, VersionKind, VersionRecord
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import (
    SEQUENCE_CODEC,
    VERSION_CODEC,
    SequenceRecord,
    Table,
    escape_key,
    history_key,
)
from rs3gwd.engine.tree import Tree


class KeyVersions:
    """The rows of one key, within one transaction. Reads raise DataCorrupt and FormatError."""

    __slots__ = ("_bucket_id", "_live", "_txn", "key")

    def __init__(self, txn: Transaction, bucket_id: int, key: bytes) -> None:
        self._txn = txn
        self._bucket_id = bucket_id
        self._live = Tree(txn, Table.LIVE, bucket_id)
        self.key = key

    def live(self) -> VersionRecord | None:
        """The current version; None when there is nothing or a delete marker."""
        value = self._live.get(self.key)
        return None if value is None else VERSION_CODEC.open(self._live.row_key(self.key), value)

    def newest_in_history(self) -> VersionRecord | None:
        """The newest of the rows in HISTORY."""
        history = self._history()
        start = escape_key(self.key)
        cursor = history.cursor()
        if not cursor.seek(start) or not cursor.key.startswith(start):
            return None
        return VERSION_CODEC.open(cursor.row_key, cursor.value)

    def null_in_history(self) -> VersionRecord | None:
        """The null version (an object or a delete marker) when it is not current as an object."""
        nulls = Tree(self._txn, Table.NULLS, self._bucket_id)
        value = nulls.get(self.key)
        if value is None:
            return None
        return self.in_history(SEQUENCE_CODEC.open(nulls.row_key(self.key), value).seq)

    def in_history(self, seq: int) -> VersionRecord | None:
        """The HISTORY row with this seq."""
        history = self._history()
        row = history_key(self.key, seq)
        value = history.get(row)
        return None if value is None else VERSION_CODEC.open(history.row_key(row), value)

    def find(self, version_id: str) -> VersionRecord | None:
        """The version with this id, wherever it lies, a delete marker included."""
        live = self.live()
        if live is not None and live.version_id == version_id:
            return live
        if version_id == NULL_VERSION_ID:
            return self.null_in_history()
        seq = sequence_of_id(version_id)
        found = None if seq is None else self.in_history(seq)
        return found if found is not None and found.version_id == version_id else None

    def missing_key(self) -> NoSuchKey:
        """The error for a key without a current version; it names the marker that hides it."""
        marker = self.newest_in_history()
        if marker is None:
            return NoSuchKey("The specified key does not exist.")
        return NoSuchKey(
            "The specified key does not exist.",
            delete_marker_version_id=marker.version_id,
            last_modified_ms=marker.last_modified_ms,
        )

    def put_live(self, record: VersionRecord, allocate: Callable[[], int]) -> None:
        """Makes an object the current version; the earlier LIVE row is overwritten."""
        sealed = VERSION_CODEC.seal(self._live.row_key(self.key), record)
        self._live.put(self.key, sealed, allocate)

    def delete_live(self) -> None:
        """Removes the LIVE row."""
        self._live.delete(self.key)

    def put_history(self, record: VersionRecord, allocate: Callable[[], int]) -> None:
        """Writes a HISTORY row, and for the null version its NULLS row."""
        history = self._history()
        row = history_key(self.key, record.seq)
        history.put(row, VERSION_CODEC.seal(history.row_key(row), record), allocate)
        if record.version_id == NULL_VERSION_ID:
            nulls = Tree(self._txn, Table.NULLS, self._bucket_id)
            sealed = SEQUENCE_CODEC.seal(nulls.row_key(self.key), SequenceRecord(record.seq))
            nulls.put(self.key, sealed, allocate)

    def delete_history(self, record: VersionRecord) -> None:
        """Removes a HISTORY row, and for the null version its NULLS row."""
        self._history().delete(history_key(self.key, record.seq))
        if record.version_id == NULL_VERSION_ID:
            Tree(self._txn, Table.NULLS, self._bucket_id).delete(self.key)

    def promote(self, allocate: Callable[[], int]) -> None:
        """Where LIVE is empty and the newest in HISTORY is an object, makes that one current."""
        newest = self.newest_in_history()
        if newest is not None and newest.kind is VersionKind.OBJECT:
            self.delete_history(newest)
            self.put_live(newest, allocate)

    def _history(self) -> Tree:
        return Tree(self._txn, Table.HISTORY, self._bucket_id)
