"""What a node owes to others, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rs3gwd.engine import hints
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.tables import Table

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))


GOLDEN = [
    ("0000000000000000030003", "0191cd03e8e19acc38"),
    ("00000000000000070101010101010101010101010101010101", "0191cd03e8c113df84"),
    ("0000000000000007020102", "0191cd03e8e8f538d4"),
]


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Environment]:
    """A store's metadata."""
    environment = Environment.open(str(tmp_path / "meta"), map_bytes=16 << 20)
    yield environment
    environment.close()


def test_hints_are_listed_for_their_node_until_they_are_removed(env: Environment) -> None:
    """Blobs in the order of their ids, at most so many; marks apart; nobody else's."""
    with env.write() as txn:
        hints.put_blob_hints(txn, [(7, TWO), (7, ONE), (8, THREE)], now_ms=5)
        hints.put_partition_hints(txn, [(7, 1023), (8, 0)], now_ms=5)
        hints.put_own_partitions(txn, [3, 2], now_ms=5)
    with env.read() as txn:
        assert hints.list_blob_hints(txn, 7, limit=10) == [ONE, TWO]
        assert hints.list_blob_hints(txn, 7, limit=1) == [ONE]
        assert hints.list_partition_hints(txn, 7) == [1023]
        marks = hints.list_own_partitions(txn)
        assert list(marks) == [2, 3]
        owed = hints.count_hints(txn)
        assert {node: (each.blobs, each.partitions) for node, each in owed.items()} == {
            7: (2, {1023}),
            8: (1, {0}),
        }
    with env.write() as txn:
        hints.remove_hints(txn, 7, [ONE, TWO], [1023])
        hints.remove_own_partition(txn, 2, marks[2])
    with env.read() as txn:
        assert hints.list_blob_hints(txn, 7, limit=10) == []
        assert hints.list_partition_hints(txn, 7) == []
        assert list(hints.list_own_partitions(txn)) == [3]
        assert hints.list_blob_hints(txn, 8, limit=10) == [THREE]


def test_a_mark_made_anew_outlives_the_comparison(env: Environment) -> None:
    """The comparison that is being made began before it."""
    with env.write() as txn:
        hints.put_own_partitions(txn, [3], now_ms=5)
        (mark,) = hints.list_own_partitions(txn).values()
        hints.put_own_partitions(txn, [3], now_ms=6)
        hints.remove_own_partition(txn, 3, mark)
        assert list(hints.list_own_partitions(txn)) == [3]


def test_a_hint_that_is_there_is_counted_as_repeated(env: Environment) -> None:
    """Its row is one row."""
    with env.write() as txn:
        assert hints.put_blob_hints(txn, [(7, ONE)], now_ms=5) == {}
        assert hints.put_blob_hints(txn, [(7, ONE), (7, TWO)], now_ms=6) == {7: 1}
        assert txn.count(Table.HINTS) == 2


def test_rows_are_those_of_version_1(env: Environment) -> None:
    """What this release writes every later one reads."""
    with env.write() as txn:
        hints.put_blob_hints(txn, [(7, ONE)], now_ms=1000)
        hints.put_partition_hints(txn, [(7, 258)], now_ms=1000)
        hints.put_own_partitions(txn, [3], now_ms=1000)
        rows = [(key.hex(), value.hex()) for key, value in txn.cursor(Table.HINTS)]
    assert rows == GOLDEN
