"""LIVE and HISTORY of one bucket walked together: by key, and for each key newest first.

What it is not: it knows no prefixes, delimiters or pages. The order needs no sorting: the LIVE row
of a key is newer than all its HISTORY rows, and HISTORY rows of a key lie newest first.
"""

from __future__ import annotations

from rs3gwd.base.records import VersionRecord
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import (
    SEQ_MAX,
    VERSION_CODEC,
    Table,
    escape_key,
    history_key,
    unescape_key,
)
from rs3gwd.engine.tree import Tree, TreeCursor


class VersionCursor:
    """Stands at one version once `seek`, `seek_behind` or `next` has given True.

    Then `key` is its key, `is_latest` says whether nothing newer of the key exists, and `read`
    gives its record. It must not be used after a write to the tables.
    """

    __slots__ = (
        "_at_live",
        "_history",
        "_history_found",
        "_history_key",
        "_live",
        "_live_found",
        "is_latest",
        "key",
    )

    def __init__(self, txn: Transaction, bucket_id: int) -> None:
        self._live: TreeCursor = Tree(txn, Table.LIVE, bucket_id).cursor()
        self._history: TreeCursor = Tree(txn, Table.HISTORY, bucket_id).cursor()
        self._live_found = False
        self._history_found = False
        self._history_key = b""
        self._at_live = False
        self.key = b""
        self.is_latest = False

    def seek(self, key: bytes) -> bool:
        """Goes to the newest version of the first key that is `key` or greater."""
        self._live_found = self._live.seek(key)
        self._set_history(self._history.seek(escape_key(key)))
        return self._choose(None)

    def seek_behind(self, key: bytes, seq: int) -> bool:
        """Goes to the first version of `key` that is older than `seq`, or to what comes next."""
        newer_key = None
        self._live_found = self._live.seek(key)
        if self._live_found and self._live.key == key:
            live = VERSION_CODEC.open(self._live.row_key, self._live.value)
            if live.seq >= seq:
                newer_key = key
                self._live_found = self._live.next()
        self._set_history(self._history.seek(escape_key(key)))
        if self._history_found and self._history_key == key:
            newest_seq = SEQ_MAX - int.from_bytes(self._history.key[-8:], "big")
            if newest_seq >= seq:
                newer_key = key
                self._set_history(self._history.seek(history_key(key, seq) + b"\0"))
        return self._choose(newer_key)

    def next(self) -> bool:
        """Goes to the next version."""
        if self._at_live:
            self._live_found = self._live.next()
        else:
            self._set_history(self._history.next())
        return self._choose(self.key)

    def read(self) -> VersionRecord:
        """The record of the version. Raises DataCorrupt, FormatError."""
        cursor = self._live if self._at_live else self._history
        return VERSION_CODEC.open(cursor.row_key, cursor.value)

    def _set_history(self, found: bool) -> None:
        self._history_found = found
        if found:
            self._history_key = unescape_key(self._history.key[:-8])

    def _choose(self, newer_key: bytes | None) -> bool:
        """Takes the lesser of the two keys, LIVE first; `newer_key` is one with a newer version."""
        if self._live_found:
            key = self._live.key
            self._at_live = not self._history_found or key <= self._history_key
        elif self._history_found:
            self._at_live = False
        else:
            return False
        self.key = key if self._at_live else self._history_key
        self.is_latest = self.key != newer_key
        return True
