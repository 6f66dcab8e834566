"""The tree of long keys against a sorted dict."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.tables import Table, escape_key, unescape_key
from rs3gwd.engine.tree import CHUNK_BYTES, POINTER_KEY_BYTES, Tree, prefix_successor

ROOT = 7

LENGTHS = st.one_of(
    st.integers(1, 6),
    st.integers(CHUNK_BYTES - 2, CHUNK_BYTES + 3),
    st.integers(2 * CHUNK_BYTES - 2, 2 * CHUNK_BYTES + 3),
    st.sampled_from([1024, 1100]),
)


@st.composite
def awful_keys(draw: st.DrawFn) -> bytes:
    """Keys that share long prefixes and differ around the places where a node ends."""
    length = draw(LENGTHS)
    filler = draw(st.sampled_from([b"a", b"\0", b"\xff", b"\x01", b"a/"]))
    tail = draw(st.binary(max_size=3) | st.sampled_from([b"\0", b"\x01", b"\xff", b"/"]))
    body = (filler * length)[: max(0, length - len(tail))]
    return (body + tail)[:length] or b"\0"


KEYS = awful_keys() | st.binary(min_size=1, max_size=4)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    directory: Path = tmp_path_factory.mktemp("tree")
    opened = Environment.open(str(directory / "meta"))
    yield opened
    opened.close()


class Numbers:
    """Gives out node ids, as the apply does."""

    def __init__(self) -> None:
        self.last = ROOT + 1

    def __call__(self) -> int:
        self.last += 1
        return self.last


def walk(tree: Tree, start: bytes = b"") -> list[tuple[bytes, bytes]]:
    """All rows from `start` on, by the cursor."""
    cursor = tree.cursor()
    rows = []
    found = cursor.seek(start)
    while found:
        rows.append((cursor.key, cursor.value))
        found = cursor.next()
    return rows


def walk_at_once(tree: Tree, start: bytes, count: int) -> list[tuple[bytes, bytes]]:
    """As `walk`, so many rows at a time."""
    cursor = tree.cursor()
    rows: list[tuple[bytes, bytes]] = []
    found = cursor.seek(start)
    while found:
        taken, found = cursor.take(count)
        assert 0 < len(taken) <= count
        rows += [(row_key[8:], value) for row_key, value in taken]
    return rows


def filled(txn: Transaction, keys: list[bytes]) -> tuple[Tree, dict[bytes, bytes]]:
    """A tree between two neighbours that must not be seen from it, and its model."""
    numbers = Numbers()
    for neighbour in (ROOT - 1, ROOT + 1):
        for key in (b"neighbour", b"\xff" * 600):
            Tree(txn, Table.LIVE, neighbour).put(key, b"not mine", numbers)
    tree = Tree(txn, Table.LIVE, ROOT)
    model = {}
    for index, key in enumerate(keys):
        value = b"value %d" % index
        tree.put(key, value, numbers)
        model[key] = value
    return tree, model


@settings(max_examples=150, deadline=None)
@given(keys=st.lists(KEYS, max_size=25), probe=KEYS)
def test_it_is_a_sorted_dict(env: Environment, keys: list[bytes], probe: bytes) -> None:
    """Look-ups, order, and a seek to any place agree with a sorted dict."""
    txn = env.write()
    try:
        tree, model = filled(txn, keys)
        expected = sorted(model.items())
        assert walk(tree) == expected
        assert walk(tree, probe) == [row for row in expected if row[0] >= probe]
        for count in (1, 2, 3, 100):
            assert walk_at_once(tree, b"", count) == expected
            assert walk_at_once(tree, probe, count) == walk(tree, probe)
        assert tree.get(probe) == model.get(probe)
        assert all(tree.get(key) == value for key, value in expected)
        assert tree.is_empty() == (not model)
    finally:
        txn.abort()


@settings(max_examples=100, deadline=None)
@given(keys=st.lists(KEYS, min_size=1, max_size=20), data=st.data())
def test_deletes_leave_exactly_the_rest(
    env: Environment, keys: list[bytes], data: st.DataObject
) -> None:
    """A delete takes one key; when all are gone no row of any node is left."""
    txn = env.write()
    try:
        before = txn.count(Table.LIVE)
        tree, model = filled(txn, keys)
        rows_of_neighbours = 6
        order = data.draw(st.permutations(sorted(model)))
        for key in order:
            assert tree.delete(key)
            assert not tree.delete(key)
            del model[key]
            assert walk(tree) == sorted(model.items())
        assert tree.is_empty()
        assert txn.count(Table.LIVE) == before + rows_of_neighbours
    finally:
        txn.abort()


@settings(max_examples=100, deadline=None)
@given(keys=st.lists(KEYS, max_size=25), prefix=KEYS)
def test_a_seek_passes_a_whole_prefix(env: Environment, keys: list[bytes], prefix: bytes) -> None:
    """Seeking to the successor of a prefix passes every key with it and no other."""
    txn = env.write()
    try:
        tree, model = filled(txn, keys)
        behind = prefix_successor(prefix)
        expected = [
            row
            for row in sorted(model.items())
            if row[0] > prefix and not row[0].startswith(prefix)
        ]
        assert ([] if behind is None else walk(tree, behind)) == expected
    finally:
        txn.abort()


@given(first=KEYS, second=KEYS)
def test_escaping_keeps_the_byte_order(first: bytes, second: bytes) -> None:
    """Escaped keys compare as the keys do, whatever follows them, and come back whole."""
    assert unescape_key(escape_key(first)) == first
    if first < second:
        assert escape_key(first) + b"\xff" * 8 < escape_key(second)


def test_the_layout_on_disk_is_the_documented_one(env: Environment) -> None:
    """A key of 500 bytes is one row; its continuation is a pointer right behind and a child."""
    txn = env.write()
    tree = Tree(txn, Table.LIVE, ROOT)
    numbers = Numbers()
    tree.put(b"k" * 500, b"short", numbers)
    tree.put(b"k" * 500 + b"tail", b"long", numbers)
    rows = [key for key, _ in txn.cursor(Table.LIVE)]
    child = numbers.last.to_bytes(8, "big")
    root = ROOT.to_bytes(8, "big")
    txn.abort()
    assert rows == [root + b"k" * 500, root + b"k" * 500 + b"\x01", child + b"tail"]
    assert len(rows[1]) == POINTER_KEY_BYTES


def test_a_damaged_pointer_is_found(env: Environment) -> None:
    """A flipped bit in a pointer row is an error, never another node's rows."""
    txn = env.write()
    tree = Tree(txn, Table.LIVE, ROOT)
    tree.put(b"k" * 600, b"long", Numbers())
    cursor = txn.cursor(Table.LIVE)
    assert cursor.set_range(ROOT.to_bytes(8, "big"))
    pointer, value = cursor.item()
    damaged = bytearray(value)
    damaged[2] ^= 4
    txn.put(Table.LIVE, pointer, bytes(damaged))
    with pytest.raises(DataCorrupt):
        tree.get(b"k" * 600)
    with pytest.raises(DataCorrupt):
        walk(tree)
    txn.abort()
