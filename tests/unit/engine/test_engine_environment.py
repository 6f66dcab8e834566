"""The LMDB environment: what it makes, what it refuses, and what its errors become."""

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from rs3gwd.base.errors import (
    DataCorrupt,
    DiskFailed,
    DiskFull,
    FormatError,
    Overloaded,
)
from rs3gwd.engine.environment import Environment, translate_error
from rs3gwd.engine.tables import (
    FORMAT_CODEC,
    FORMAT_VERSION,
    META_FORMAT_KEY,
    FormatRecord,
    Table,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "meta")


@pytest.fixture
def file_bytes_max() -> Iterator[Callable[[int], None]]:
    """Bounds the size of the files that this process writes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def bound(size_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))

    yield bound
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(
    env: Environment, count: int, *, needs_room: bool = True, last_key: bytes = b"last"
) -> None:
    """Writes rows of about 1 KB in one transaction; an empty last key is refused by lmdb."""
    with env.write(needs_room=needs_room) as txn:
        for number in range(count - 1):
            txn.put(Table.BUCKETS, b"%d" % number, bytes(1000))
        txn.put(Table.BUCKETS, last_key, bytes(1000))


def test_a_fresh_environment_has_every_table_and_the_format_row(path: str) -> None:
    """Opening a directory that is not there makes it, with all tables empty but for the format."""
    env = Environment.open(path)
    with env.read() as txn:
        sealed = txn.get(Table.META, META_FORMAT_KEY)
        counts = {table: txn.count(table) for table in Table}
    env.close()
    assert sealed is not None
    assert FORMAT_CODEC.open(META_FORMAT_KEY, sealed) == FormatRecord(FORMAT_VERSION)
    assert counts == {table: int(table is Table.META) for table in Table}


def test_the_files_are_for_their_owner_only(path: str) -> None:
    """The secrets of access keys are in the store, so nobody else may read it."""
    Environment.open(path).close()
    modes = [stat.S_IMODE(os.stat(name).st_mode) for name in (path, f"{path}/data.mdb")]
    assert modes == [0o700, 0o600]


def test_rows_survive_a_reopening(path: str) -> None:
    """What was committed is there after the environment is closed and opened again."""
    env = Environment.open(path)
    with env.write() as txn:
        txn.put(Table.BUCKETS, b"row", b"value")
    env.close()
    env = Environment.open(path)
    with env.read() as txn:
        assert txn.get(Table.BUCKETS, b"row") == b"value"
    env.close()


def test_an_exception_aborts_the_transaction(path: str) -> None:
    """A write transaction that an exception leaves changes nothing."""
    env = Environment.open(path)
    with pytest.raises(lmdb.BadValsizeError):
        fill(env, 10, last_key=b"")
    with env.read() as txn:
        assert txn.count(Table.BUCKETS) == 0
    env.close()


def test_a_reader_sees_the_commit_before_it_began(path: str) -> None:
    """A read transaction is a snapshot, and a later one sees the later commit."""
    env = Environment.open(path)
    with env.read() as early:
        with env.write() as txn:
            txn.put(Table.BUCKETS, b"row", b"value")
        assert early.get(Table.BUCKETS, b"row") is None
    with env.read() as late:
        assert late.get(Table.BUCKETS, b"row") == b"value"
    env.close()


def test_delete_prefix_takes_exactly_the_rows_with_the_prefix(path: str) -> None:
    """Rows before and behind the prefix stay, also when the prefix reaches the end of the table."""
    env = Environment.open(path)
    rows = [b"a", b"b", b"b1", b"b2", b"b\xff", b"c"]
    with env.write() as txn:
        for row in rows:
            txn.put(Table.PARTS, row, b"value")
        assert txn.delete_prefix(Table.PARTS, b"b") == 4
        assert [key for key, _ in txn.cursor(Table.PARTS)] == [b"a", b"c"]
        assert txn.delete_prefix(Table.PARTS, b"c") == 1
        assert txn.delete_prefix(Table.PARTS, b"c") == 0
        assert [key for key, _ in txn.cursor(Table.PARTS)] == [b"a"]
    env.close()


def test_a_newer_format_is_refused_and_left_alone(path: str) -> None:
    """An environment of a format this release does not know is not touched."""
    env = Environment.open(path)
    newer = FORMAT_CODEC.seal(META_FORMAT_KEY, FormatRecord(FORMAT_VERSION + 1))
    with env.write() as txn:
        txn.put(Table.META, META_FORMAT_KEY, newer)
    env.close()
    before = Path(path, "data.mdb").read_bytes()
    with pytest.raises(FormatError, match="format 2"):
        Environment.open(path)
    assert Path(path, "data.mdb").read_bytes() == before


def test_a_flipped_bit_in_the_format_row_is_found(path: str) -> None:
    """The format row is sealed like every other."""
    env = Environment.open(path)
    with env.write() as txn:
        sealed = bytearray(FORMAT_CODEC.seal(META_FORMAT_KEY, FormatRecord(FORMAT_VERSION)))
        sealed[2] ^= 1
        txn.put(Table.META, META_FORMAT_KEY, bytes(sealed))
    env.close()
    with pytest.raises(DataCorrupt):
        Environment.open(path)


def test_a_foreign_environment_is_refused(path: str) -> None:
    """An LMDB file of some other program is not filled with our tables."""
    os.mkdir(path)
    with lmdb.open(path, max_dbs=1) as foreign:
        foreign.open_db(b"theirs")
    with pytest.raises(FormatError, match="not a metadata store"):
        Environment.open(path)
    with lmdb.open(path, max_dbs=1) as foreign:
        assert foreign.dbs() == [b"theirs"]


def test_one_process_opens_an_environment_once(path: str) -> None:
    """A second open would break the locks of the first, so lmdb refuses it: a bug of ours."""
    env = Environment.open(path)
    with pytest.raises(lmdb.Error, match="already open"):
        Environment.open(path)
    env.close()


def test_reading_only_makes_nothing(path: str) -> None:
    """A read-only open of a missing environment fails and leaves no directory."""
    with pytest.raises((DiskFailed, FormatError)):
        Environment.open(path, read_only=True)
    assert not os.path.exists(path)


def test_a_read_only_environment_reads(path: str) -> None:
    """A read-only open of an existing environment gives its rows and refuses writes."""
    Environment.open(path).close()
    env = Environment.open(path, read_only=True)
    with env.read() as txn:
        assert txn.get(Table.META, META_FORMAT_KEY) is not None
    with pytest.raises(lmdb.ReadonlyError):
        env.write()
    env.close()


def test_a_full_map_is_disk_full_and_changes_nothing(path: str) -> None:
    """When the map ends, the whole transaction is refused and the store goes on."""
    env = Environment.open(path, map_bytes=1 << 20)
    with pytest.raises(DiskFull):
        fill(env, 10_000)
    with env.write() as txn:
        assert txn.count(Table.BUCKETS) == 0
        txn.put(Table.BUCKETS, b"row", b"value")
    env.close()


def test_a_map_nearly_full_takes_deletes_only(path: str) -> None:
    """With less than the reserve left, growth is refused before it begins and deletes go on."""
    env = Environment.open(path, map_bytes=1 << 20)
    with env.write() as txn:
        txn.put(Table.BUCKETS, b"large", bytes(970_000))
    with pytest.raises(DiskFull):
        env.write()
    with env.write(needs_room=False) as txn:
        assert txn.delete(Table.BUCKETS, b"large")
    env.close()


def test_a_file_that_cannot_grow_is_disk_full_before_anything_is_written(
    path: str, file_bytes_max: Callable[[int], None]
) -> None:
    """Want of room shows when the reserve is allocated; what is allocated still serves deletes."""
    env = Environment.open(path, room_bytes=1 << 20)
    fill(env, 500)
    file_bytes_max(1 << 20)
    with pytest.raises(DiskFull):
        env.write()
    with env.write(needs_room=False) as txn:
        assert txn.delete(Table.BUCKETS, b"7")
    with env.read() as txn:
        assert txn.count(Table.BUCKETS) == 499
    env.close()


def test_half_the_reserve_is_enough(path: str, file_bytes_max: Callable[[int], None]) -> None:
    """Where the whole reserve cannot be had, half of it lets writes go on."""
    env = Environment.open(path, room_bytes=1 << 20)
    file_bytes_max(900_000)
    with env.write() as txn:
        room_bytes = env.statistics().room_bytes
        txn.put(Table.BUCKETS, b"row", b"value")
    env.close()
    assert 1 << 19 <= room_bytes < 1 << 20


def test_a_failed_commit_is_disk_failed(path: str, file_bytes_max: Callable[[int], None]) -> None:
    """A commit that fails in the middle is a failed disk, and the state before it is left."""
    env = Environment.open(path, room_bytes=1 << 20)
    file_bytes_max(1 << 19)
    with pytest.raises(DiskFailed):
        fill(env, 1000, needs_room=False)
    with env.read() as txn:
        assert txn.count(Table.BUCKETS) == 0
    env.close()


def test_too_many_readers_are_overload(path: str) -> None:
    """A reader beyond the bound is told to come back later."""
    env = Environment.open(path, readers_max=2)
    first, second = env.read(), env.read()
    with pytest.raises(Overloaded):
        env.read()
    first.abort()
    second.abort()
    env.close()


def test_statistics_count_the_pages_in_use(path: str) -> None:
    """The used bytes grow with the data and the map stays as it was asked for."""
    env = Environment.open(path, map_bytes=1 << 24)
    before = env.statistics()
    with env.write() as txn:
        txn.put(Table.BUCKETS, b"row", bytes(100_000))
    after = env.statistics()
    env.close()
    assert before.map_bytes == after.map_bytes == 1 << 24
    assert after.used_bytes >= before.used_bytes + 100_000
    assert after.transaction_id == before.transaction_id + 1


def system_error(code: int) -> lmdb.Error:
    """An error as lmdb raises it when the system has failed a call."""
    error = lmdb.Error("mdb_txn_commit", code)
    error.code = code  # type: ignore[misc]
    return error


def test_zeros_behind_the_pages_in_use_touch_no_row(path: str) -> None:
    """Room is written ahead again and again while the store grows and is opened anew: all rows
    stay, and whoever reads an older state meanwhile still reads it."""
    rows = {b"%06d" % number: bytes([number % 251]) * 9000 for number in range(400)}
    written: dict[bytes, bytes] = {}
    for first in range(0, 400, 100):
        env = Environment.open(path)
        for number in range(first, first + 100, 5):
            before = env.read()
            with env.write() as txn:
                for key in list(rows)[number : number + 5]:
                    txn.put(Table.BLOBS, key, rows[key])
            assert dict(before.cursor(Table.BLOBS)) == written
            before.abort()
            written |= {key: rows[key] for key in list(rows)[number : number + 5]}
        env.close()
    env = Environment.open(path)
    with env.read() as txn:
        assert dict(txn.cursor(Table.BLOBS)) == rows
    env.close()


@pytest.mark.parametrize(
    ("error", "committing", "expected"),
    [
        (lmdb.MapFullError("put"), False, DiskFull),
        (lmdb.DiskError("commit"), True, DiskFull),
        (system_error(errno.EDQUOT), True, DiskFull),
        (system_error(errno.EIO), True, DiskFailed),
        (system_error(errno.EIO), False, DiskFailed),
        (lmdb.PanicError("commit"), True, DiskFailed),
        (lmdb.BadTxnError("commit"), True, DiskFailed),
        (lmdb.CorruptedError("get"), False, DataCorrupt),
        (lmdb.InvalidError("open"), False, FormatError),
        (lmdb.BadValsizeError("put"), False, lmdb.BadValsizeError),
        (OSError(errno.ENOSPC, "full"), False, DiskFull),
        (OSError(errno.EACCES, "no"), False, DiskFailed),
    ],
)
def test_errors_of_lmdb_become_ours(
    error: Exception, committing: bool, expected: type[Exception]
) -> None:
    """Each error says whose fault it is; one that is a bug of ours stays as it is."""
    assert type(translate_error(error, committing=committing)) is expected
