"""Exactly once: the sessions of a group and the results they hold, as rows.

The rules are those of `cluster.raft.sessions` (Ongaro, thesis, 6.3), kept in the same transaction
as the rows that the commands change, so that a crash can never separate a command from the note
that it was run. Results have rows of their own: a session may hold a thousand. What it is not: it
runs nothing.

    SESSIONS                                       record
    group | 00 | session (u64)                     SessionRecord
    group | 01 | session (u64) | number (u64)      ResultRecord
    group | 02 | last use, an index (u64)          UsedRecord: the session, least recent first

A session is named by the index of the entry that opened it, and used by an entry at most once, so
no two sessions have the same last use. Within a transaction the heads of sessions are kept in
memory and written once (`finish`), which is all that a command of a busy session costs beyond its
result.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.errors import DataCorrupt
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_entries import Envelope, Outcome
from rs3gwd.engine.tables import Table, u64

SESSIONS_MAX = 65536
RESULTS_MAX = 1024
"""As `cluster.raft.sessions`: every replica must forget alike, so neither is ever configured."""

_HEAD, _RESULT, _USED = b"\x00", b"\x01", b"\x02"


class SessionRecord(Struct, array_like=True, frozen=True):
    """A session: the results up to `acknowledged_to` are wanted no more."""

    acknowledged_to: int
    used: int
    result_count: int


class ResultRecord(Struct, array_like=True, frozen=True):
    """The result of a command that was run, as it was answered."""

    result: bytes


class UsedRecord(Struct, array_like=True, frozen=True):
    """Which session was last used by the entry that the key names."""

    session: int


SESSION_CODEC = RecordCodec(SessionRecord, name="session")
RESULT_CODEC = RecordCodec(ResultRecord, name="result of a session")
USED_CODEC = RecordCodec(UsedRecord, name="last use of a session")


class _Head:
    """A session within a transaction; `stored_used` is what its row of last use says."""

    __slots__ = ("acknowledged_to", "result_count", "stored_used", "used")

    def __init__(self, record: SessionRecord, *, stored_used: int | None) -> None:
        self.acknowledged_to = record.acknowledged_to
        self.result_count = record.result_count
        self.used = record.used
        self.stored_used = stored_used


class GroupSessions:
    """The sessions of one group within one write transaction; `count` is kept by the caller."""

    def __init__(
        self,
        txn: Transaction,
        group: int,
        count: int,
        *,
        sessions_max: int = SESSIONS_MAX,
        results_max: int = RESULTS_MAX,
    ) -> None:
        self.count = count
        self._txn = txn
        self._group = bytes([group])
        self._sessions_max = sessions_max
        self._results_max = results_max
        self._heads: dict[int, _Head] = {}

    def open(self, index: int) -> None:
        """Opens the session that is named by this entry; the least recently used one may go."""
        self._heads[index] = _Head(SessionRecord(0, index, 0), stored_used=None)
        self.count += 1
        if self.count > self._sessions_max:
            self.finish()
            self._drop_oldest()

    def execute(
        self, envelope: Envelope, index: int, run: Callable[[], bytes]
    ) -> tuple[Outcome, bytes]:
        """Runs the command at `index`, unless it was run before, and keeps its result."""
        head = self._find(envelope.session)
        if head is None:
            return Outcome.NO_SESSION, b""
        head.used = index
        if envelope.acknowledged_to > head.acknowledged_to:
            self._acknowledge(envelope.session, head, envelope.acknowledged_to)
        if envelope.number <= head.acknowledged_to:
            return Outcome.FORGOTTEN, b""
        row = self._result_key(envelope.session, envelope.number)
        known = self._txn.get(Table.SESSIONS, row)
        if known is not None:
            return Outcome.REPEATED, RESULT_CODEC.open(row, known).result
        if head.result_count >= self._results_max:
            return Outcome.TOO_MANY, b""
        result = run()
        self._txn.put(Table.SESSIONS, row, RESULT_CODEC.seal(row, ResultRecord(result)))
        head.result_count += 1
        return Outcome.APPLIED, result

    def finish(self) -> None:
        """Writes the heads of the sessions that were used."""
        for session, head in self._heads.items():
            if head.stored_used == head.used:
                continue
            if head.stored_used is not None:
                self._txn.delete(Table.SESSIONS, self._used_key(head.stored_used))
            row = self._used_key(head.used)
            self._txn.put(Table.SESSIONS, row, USED_CODEC.seal(row, UsedRecord(session)))
            row = self._head_key(session)
            record = SessionRecord(head.acknowledged_to, head.used, head.result_count)
            self._txn.put(Table.SESSIONS, row, SESSION_CODEC.seal(row, record))
            head.stored_used = head.used

    def _find(self, session: int) -> _Head | None:
        head = self._heads.get(session)
        if head is None:
            row = self._head_key(session)
            value = self._txn.get(Table.SESSIONS, row)
            if value is None:
                return None
            record = SESSION_CODEC.open(row, value)
            head = self._heads[session] = _Head(record, stored_used=record.used)
        return head

    def _acknowledge(self, session: int, head: _Head, to: int) -> None:
        """Drops the results up to `to`, which are at most RESULTS_MAX."""
        prefix = self._group + _RESULT + u64(session)
        rows: list[bytes] = []
        with self._txn.cursor(Table.SESSIONS) as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key() <= prefix + u64(to) and cursor.key().startswith(prefix):
                rows.append(cursor.key())
                found = cursor.next()
        for row in rows:
            self._txn.delete(Table.SESSIONS, row)
        head.result_count -= len(rows)
        head.acknowledged_to = to

    def _drop_oldest(self) -> None:
        """Drops the least recently used session; the heads in memory have been written."""
        prefix = self._group + _USED
        with self._txn.cursor(Table.SESSIONS) as cursor:
            if not cursor.set_range(prefix) or not cursor.key().startswith(prefix):
                raise DataCorrupt(f"group {self._group[0]} counts sessions that have no rows")
            row = cursor.key()
            session = USED_CODEC.open(row, cursor.value()).session
        self._txn.delete(Table.SESSIONS, row)
        self._txn.delete(Table.SESSIONS, self._head_key(session))
        self._txn.delete_prefix(Table.SESSIONS, self._group + _RESULT + u64(session))
        self._heads.pop(session, None)
        self.count -= 1

    def _head_key(self, session: int) -> bytes:
        return self._group + _HEAD + u64(session)

    def _result_key(self, session: int, number: int) -> bytes:
        return self._group + _RESULT + u64(session) + u64(number)

    def _used_key(self, index: int) -> bytes:
        return self._group + _USED + u64(index)
