"""The verifier finds each kind of damage to the metadata, and no damage where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.ownership import owned_blobs
from rs3gwd.engine.tables import META_COUNTERS_KEY, META_FORMAT_KEY, Table
from rs3gwd.engine.verify import verify_metadata

GOLDEN = Path(__file__).parent / "golden" / "metadata-v1.json"
ROWS = [
    (Table[table], bytes.fromhex(key), bytes.fromhex(value))
    for table, key, value in json.loads(GOLDEN.read_text())
    if bytes.fromhex(key) != META_FORMAT_KEY
]
UNPROVABLE = (Table.LIVE, Table.HISTORY, Table.PARTS)
"""A whole row that is gone leaves no trace in these: nothing else says that it was there."""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("verify") / "meta"))
    yield opened
    opened.close()


@pytest.fixture
def txn(env: Environment) -> Iterator[Transaction]:
    """A store with a row of each kind, in a transaction that is never committed."""
    txn = env.write()
    for table, key, value in ROWS:
        txn.put(table, key, value)
    yield txn
    txn.abort()


def test_a_sound_store_has_no_findings(txn: Transaction) -> None:
    """The verifier says nothing when nothing is wrong."""
    assert list(verify_metadata(txn)) == []


def test_a_flipped_bit_in_any_row_is_found(txn: Transaction) -> None:
    """Each row's checksum covers its value, wherever the bit is."""
    for table, key, value in ROWS:
        for place in (0, 1, len(value) // 2, len(value) - 1):
            damaged = bytearray(value)
            damaged[place] ^= 0x10
            txn.put(table, key, bytes(damaged))
            assert list(verify_metadata(txn)) != [], f"{table.name} {key!r} byte {place}"
        txn.put(table, key, value)


def test_a_value_under_another_key_is_found(txn: Transaction) -> None:
    """The checksum covers the key, so two rows of a table cannot change places."""
    for table in Table:
        rows = [row for row in ROWS if row[0] is table and row[1] != META_COUNTERS_KEY]
        for (_, key, value), (_, other_key, other_value) in pairwise(rows):
            txn.put(table, key, other_value)
            txn.put(table, other_key, value)
            assert list(verify_metadata(txn)) != [], f"{table.name} {key!r}"
            txn.put(table, key, value)
            txn.put(table, other_key, other_value)


def test_a_missing_row_is_found_where_another_tells_of_it(txn: Transaction) -> None:
    """Indexes, pointers, manifests, accounts, buckets and counters are told of twice."""
    for table, key, value in ROWS:
        if table in UNPROVABLE and len(key) < 500:
            continue
        txn.delete(table, key)
        assert list(verify_metadata(txn)) != [], f"{table.name} {key!r}"
        txn.put(table, key, value)


def test_rows_of_no_bucket_are_found(txn: Transaction) -> None:
    """A row under a root that no bucket has is unreachable, which the counts show."""
    _, key, value = next(row for row in ROWS if row[0] is Table.LIVE and len(row[1]) < 500)
    txn.put(Table.LIVE, b"\0\0\0\0\0\0\x0f\xff" + key[8:], value)
    assert [finding for finding in verify_metadata(txn) if finding.startswith("LIVE:")] != []


def test_owners_are_told_up_to_the_damage_and_beyond(txn: Transaction) -> None:
    """A damaged row is reported and the walk goes on; without a report it is raised."""
    whole = {blob.blob_id for blob in owned_blobs(txn)}
    assert len(whole) == 6
    table, key, value = next(row for row in ROWS if row[0] is Table.LIVE)
    txn.put(table, key, value[:-1] + bytes([value[-1] ^ 1]))
    damage: list[DataCorrupt | FormatError] = []
    rest = {blob.blob_id for blob in owned_blobs(txn, on_damage=damage.append)}
    assert len(damage) == 1
    assert rest < whole
    assert len(rest) >= len(whole) - 2
    with pytest.raises(DataCorrupt):
        list(owned_blobs(txn))
