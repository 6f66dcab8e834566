"""The LMDB environment that holds the metadata, and its transactions.

What it is not: it knows neither buckets nor objects, only tables of bytes. It is the one module
that opens LMDB and translates its errors.

LMDB is a copy-on-write B+ tree in one memory-mapped file. One writer at a time builds new pages
beside the old ones; a commit writes them, calls fdatasync, then writes one 120-byte meta page
through O_DSYNC. A reader sees the state of the last commit before it began and blocks nobody, but
the pages of that state cannot be used again while it lives: hold a read transaction for the
length of one synchronous piece of work, never across an await.

What the settings stand on (measured, see FORMAT.md):
- sync and metasync are on, MDB_NOSYNC is never used: stores that run with it come back corrupt
  after a power cut.
- no WRITEMAP: a stray write through the map would reach the file.
- LMDB does not fsync the directory after it makes its files, so `Environment.open` does.
- LMDB reports a write that the full disk cut short as EIO, which cannot be told from a dead disk.
  So the file is kept allocated ahead of the pages in use, and want of room shows as ENOSPC before
  a transaction begins. What is allocated is also the reserve with which deletes go on.
- after a failed fdatasync LMDB goes on as if nothing had happened: a failed commit is raised as
  DiskFailed and whoever commits must take the disk out of use (Rebello et al., ATC 2020).
- LMDB keeps no checksums: values are sealed by `rs3gwd.base.codec.RecordCodec`.

The same environment must not be opened twice in one process (POSIX locks); lmdb refuses it.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

import lmdb
from msgspec import Struct

from rs3gwd.base.errors import (
    DataCorrupt,
    DiskFailed,
    DiskFull,
    FormatError,
    Overloaded,
    Rs3gwError,
)
from rs3gwd.engine.tables import (
    FORMAT_CODEC,
    FORMAT_VERSION,
    META_FORMAT_KEY,
    FormatRecord,
    Table,
)

if TYPE_CHECKING:
    Database = lmdb._Database
    LmdbTransaction = lmdb.Transaction[bytes]
    Cursor = lmdb.Cursor[bytes]
else:
    Cursor = lmdb.Cursor

MAP_BYTES_DEFAULT = 1 << 40
"""Address space for the map: 1 TiB, of which only the pages in use are on disk. It bounds the
metadata, costs nothing and cannot grow while another process reads, so it is far above need."""

READERS_MAX_DEFAULT = 2048
"""Read transactions open or kept for reuse at one moment, over all processes: 64 workers with 32
each; 64 bytes of lock file each."""

ROOM_BYTES_DEFAULT = 32 << 20
"""Bytes of the file allocated ahead of the pages in use: at least half of it is there when a
transaction begins, which must not make more pages than that. 1,000 writes of small objects with
random keys touch a leaf page in two tables each and the branches above: some 10 MiB; a delete
touches about ten pages."""

WRITTEN_AHEAD_BYTES_MAX = 1 << 20
"""Bytes of that room, next to the pages in use, that hold zeros: a sync over blocks that are only
allocated must also note in the file system's journal that they now hold data (9 scattered pages:
510 us, over blocks that were written before 290). Half of it is written at a time, in 0.2 ms."""

DATA_FILE = "data.mdb"
MAKING_DIRECTORY = "making"
MAKING_MAP_BYTES = 1 << 20
"""The map while the empty tables are made; they take about 20 pages."""

SPARE_TRANSACTIONS = 16
"""Ended read transactions kept for reuse (reset and renewed by lmdb): 0.3 us instead of 0.9."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class EnvironmentStatistics(Struct, frozen=True):
    """How full the map is.

    `used_bytes` counts the pages ever used, free ones inside included; `room_bytes` is what the
    file has allocated beyond them.
    """

    map_bytes: int
    used_bytes: int
    room_bytes: int
    transaction_id: int
    readers: int


class Transaction:
    """One transaction; a context manager that ends it.

    Leaving a read transaction aborts it. Leaving a write transaction commits it, or aborts it
    when an exception passes through. Rows are bytes and stay valid after the end.
    A transaction belongs to the thread that began it. `kept` is for whoever decodes rows of a read
    transaction again and again; a write transaction has none.
    """

    __slots__ = ("_databases", "_txn", "_write", "kept")

    def __init__(
        self, txn: LmdbTransaction, databases: tuple[Database, ...], *, write: bool
    ) -> None:
        self._txn = txn
        self._databases = databases
        self._write = write
        self.kept: dict[Any, Any] | None = None if write else {}

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._write and error is None:
            self.commit()
        else:
            self._txn.abort()

    def commit(self) -> None:
        """Makes a write transaction durable and ends it.

        Raises DiskFull (nothing was changed) and DiskFailed (the state on disk is unknown: the
        process must write no more). For those who do not use the context manager.
        """
        try:
            self._txn.commit()
        except lmdb.Error as error:
            raise translate_error(error, committing=True) from error

    def abort(self) -> None:
        """Ends the transaction and drops its changes; no error when it has ended already."""
        self._txn.abort()

    @property
    def transaction_id(self) -> int:
        """The number of the commit that is read, or that is being made."""
        return self._txn.id()

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of a row, or None."""
        return self._txn.get(key, None, self._databases[table])

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Writes a row, in place of an earlier one. Raises DiskFull, DiskFailed."""
        try:
            self._txn.put(key, value, db=self._databases[table])
        except lmdb.Error as error:
            raise translate_error(error) from error

    def append(self, table: Table, key: bytes, value: bytes) -> None:
        """As `put`, for a key greater than all in the table: faster, and the pages stay full."""
        try:
            if not self._txn.put(key, value, append=True, db=self._databases[table]):
                raise AssertionError(f"{key!r} does not come behind all keys of {table.name}")
        except lmdb.Error as error:
            raise translate_error(error) from error

    def delete(self, table: Table, key: bytes) -> bool:
        """Removes a row; says if there was one. Raises DiskFull (a delete also needs pages)."""
        try:
            return self._txn.delete(key, db=self._databases[table])
        except lmdb.Error as error:
            raise translate_error(error) from error

    def delete_prefix(self, table: Table, prefix: bytes) -> int:
        """Removes every row whose key begins with `prefix`; gives their number."""
        count = 0
        try:
            with self._txn.cursor(self._databases[table]) as cursor:
                found = cursor.set_range(prefix)
                while found and cursor.key().startswith(prefix):
                    cursor.delete()
                    count += 1
                    found = bool(cursor.key())
        except lmdb.Error as error:
            raise translate_error(error) from error
        return count

    def cursor(self, table: Table) -> Cursor:
        """A cursor of lmdb's own over a table; it ends with the transaction."""
        return self._txn.cursor(self._databases[table])

    def count(self, table: Table) -> int:
        """The number of rows of a table, without counting them."""
        return self._txn.stat(self._databases[table])["entries"]


class Environment:
    """The open environment. Made by `open`; `close` it when no transaction is left."""

    def __init__(
        self,
        env: lmdb.Environment,
        databases: tuple[Database, ...],
        *,
        data_path: str,
        room_bytes: int,
    ) -> None:
        self._env = env
        self._databases = databases
        self._data_path = data_path
        self._page_bytes = env.stat()["psize"]
        self._map_bytes = env.info()["map_size"]
        self._room_bytes = min(room_bytes, self._map_bytes // 8)
        self._allocated_bytes = os.stat(data_path).st_size
        self._written_bytes = 0

    @classmethod
    def open(
        cls,
        path: str,
        *,
        map_bytes: int = MAP_BYTES_DEFAULT,
        read_only: bool = False,
        readers_max: int = READERS_MAX_DEFAULT,
        room_bytes: int = ROOM_BYTES_DEFAULT,
    ) -> Environment:
        """Opens the directory `path`, and makes it with empty tables when it is not there.

        It is made whole beside its place and put there by a rename: after a crash there is either
        no file, and the next open makes it anew, or all of it. `map_bytes` is the bound on the
        size of the metadata, `room_bytes` the reserve (see ROOM_BYTES_DEFAULT), at most an eighth
        of the map.

        Raises FormatError (another format version, or not an environment of ours; `read_only`
        and nothing there), DataCorrupt, DiskFull, DiskFailed. Blocks.
        """
        try:
            if not read_only:
                _make_directory(path)
                _make_whole(path)
            env = lmdb.open(
                path,
                map_size=map_bytes,
                readonly=read_only,
                create=False,
                mode=0o600,
                readahead=False,
                max_readers=readers_max,
                max_dbs=len(Table),
                max_spare_txns=SPARE_TRANSACTIONS,
            )
        except (lmdb.Error, OSError) as error:
            raise translate_error(error) from error
        try:
            databases = _open_tables(env, read_only=read_only)
            if not read_only:
                env.reader_check()
                _sync_directory(path)
                _sync_directory(os.path.dirname(os.path.abspath(path)))
        except (lmdb.Error, OSError, Rs3gwError) as error:
            env.close()
            raise translate_error(error) from error
        return cls(env, databases, data_path=os.path.join(path, DATA_FILE), room_bytes=room_bytes)

    def read(self) -> Transaction:
        """A read transaction: the state of the last commit. Raises Overloaded (too many)."""
        try:
            return Transaction(self._env.begin(), self._databases, write=False)
        except lmdb.Error as error:
            raise translate_error(error) from error

    def write(self, *, needs_room: bool = True) -> Transaction:
        """The write transaction; blocks until no other thread or process has one.

        With `needs_room` the reserve is filled up first, and DiskFull is raised when that cannot
        be done. A transaction that only deletes does without and lives on the reserve, so a full
        disk can be emptied.
        """
        try:
            txn = Transaction(self._env.begin(write=True), self._databases, write=True)
        except lmdb.Error as error:
            raise translate_error(error) from error
        if needs_room:
            try:
                self._ensure_room()
            except BaseException:
                txn.abort()
                raise
        return txn

    def statistics(self) -> EnvironmentStatistics:
        """How full the map is, for metrics."""
        info = self._env.info()
        used_bytes = (info["last_pgno"] + 1) * self._page_bytes
        return EnvironmentStatistics(
            map_bytes=self._map_bytes,
            used_bytes=used_bytes,
            room_bytes=max(0, self._allocated_bytes - used_bytes),
            transaction_id=info["last_txnid"],
            readers=info["num_readers"],
        )

    def _ensure_room(self) -> None:
        """Allocates the file ahead of its use; raises DiskFull when less than half can be had.

        To be called within the write transaction: until it commits nobody writes behind the pages
        in use, which is where the zeros go.
        """
        used_bytes = (self._env.info()["last_pgno"] + 1) * self._page_bytes
        enough_bytes = used_bytes + self._room_bytes // 2
        if enough_bytes > self._map_bytes:
            raise DiskFull(f"the metadata fills its map of {self._map_bytes} bytes")
        if enough_bytes > self._allocated_bytes:
            try:
                self._allocate(min(used_bytes + self._room_bytes, self._map_bytes))
            except DiskFull:
                self._allocate(enough_bytes)
        if used_bytes + WRITTEN_AHEAD_BYTES_MAX // 2 > self._written_bytes:
            self._write_zeros(used_bytes)

    def _write_zeros(self, used_bytes: int) -> None:
        start = max(used_bytes, self._written_bytes)
        end = max(start, min(used_bytes + WRITTEN_AHEAD_BYTES_MAX, self._allocated_bytes))
        try:
            descriptor = os.open(self._data_path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, bytes(end - start), start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise translate_error(error) from error
        self._written_bytes = end

    def _allocate(self, end_bytes: int) -> None:
        """Reserves blocks up to `end_bytes`; the file grows by bytes that read as zero."""
        try:
            descriptor = os.open(self._data_path, os.O_RDWR)
            try:
                start = self._allocated_bytes
                os.posix_fallocate(descriptor, start, end_bytes - start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise translate_error(error) from error
        self._allocated_bytes = end_bytes

    def release_dead_readers(self) -> int:
        """Frees the reader slots of processes that died; gives their number."""
        return self._env.reader_check()

    def close(self) -> None:
        """Closes the environment. Every transaction must have ended."""
        self._env.close()


def translate_error(error: Exception, *, committing: bool = False) -> Exception:
    """The error of ours that an error of LMDB or the system means; itself when it is a bug.

    A full map or disk is DiskFull: LMDB then changed nothing. Whatever else fails in a commit is
    DiskFailed, since what reached the disk is unknown.
    """
    match error:
        case lmdb.MapFullError() | lmdb.DiskError() | lmdb.TxnFullError():
            return DiskFull(str(error))
        case lmdb.ReadersFullError():
            return Overloaded(str(error))
        case lmdb.VersionMismatchError() | lmdb.InvalidError() | lmdb.IncompatibleError():
            return FormatError(str(error))
        case lmdb.CorruptedError() | lmdb.PageNotFoundError():
            return DataCorrupt(str(error))
        case lmdb.Error() if _system_code(error) in _FULL:
            return DiskFull(str(error))
        case lmdb.PanicError():
            return DiskFailed(str(error))
        case lmdb.Error() if committing or (type(error) is lmdb.Error and _system_code(error)):
            return DiskFailed(str(error))
        case OSError():
            return DiskFull(str(error)) if error.errno in _FULL else DiskFailed(str(error))
    return error


def _system_code(error: lmdb.Error) -> int:
    """The errno of a call that the system failed; 0 for an error of lmdb's own."""
    return getattr(error, "code", 0)


def _open_tables(env: lmdb.Environment, *, read_only: bool) -> tuple[Database, ...]:
    """Checks the format before any table is made, so that a newer store is left as it is."""
    meta_name = Table.META.stored_name
    with env.begin() as txn:
        names = set(env.dbs(txn))
    if meta_name in names:
        meta = env.open_db(meta_name, create=False)
        with env.begin() as txn:
            _check_format(txn.get(META_FORMAT_KEY, db=meta))
    elif names or read_only:
        raise FormatError("not a metadata store of rs3gwd: it has no table `meta`")
    if read_only:
        if any(table.stored_name not in names for table in Table):
            raise FormatError(
                "the store is of an older release: let this one open it to write once"
            )
        return tuple(env.open_db(table.stored_name, create=False) for table in Table)
    with env.begin(write=True) as txn:
        databases = tuple(env.open_db(table.stored_name, txn=txn) for table in Table)
        if meta_name not in names:
            sealed = FORMAT_CODEC.seal(META_FORMAT_KEY, FormatRecord(FORMAT_VERSION))
            txn.put(META_FORMAT_KEY, sealed, db=databases[Table.META])
        return databases


def _check_format(value: bytes | None) -> None:
    if value is None:
        raise FormatError("not a metadata store of rs3gwd: it has no format row")
    found = FORMAT_CODEC.open(META_FORMAT_KEY, value).format_version
    if found != FORMAT_VERSION:
        raise FormatError(f"metadata format {found}, this release knows {FORMAT_VERSION}")


def _make_whole(path: str) -> None:
    """Makes the data file with its tables, unless it is there.

    LMDB writes the first pages of a new file unsynced, and a file with half of them is none of its
    own for it: a power cut in the first moments of a store would leave one that cannot be opened.
    """
    target = os.path.join(path, DATA_FILE)
    making = os.path.join(path, MAKING_DIRECTORY)
    _remove_directory(making)
    if os.path.exists(target):
        return
    os.mkdir(making, mode=0o700)
    env = lmdb.open(making, map_size=MAKING_MAP_BYTES, mode=0o600, max_dbs=len(Table))
    try:
        _open_tables(env, read_only=False)
    finally:
        env.close()
    os.rename(os.path.join(making, DATA_FILE), target)
    _sync_directory(path)
    _remove_directory(making)


def _remove_directory(path: str) -> None:
    """Removes a directory of files, if it is there."""
    if os.path.isdir(path):
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)


def _make_directory(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
