"""The row of the layout: changed only from what it was, and read as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_metadata_scene import Scene

from rs3gwd.base.codec import decode_command, encode_command
from rs3gwd.base.commands import PutLayout
from rs3gwd.base.errors import InvalidRequest, StaleCommand
from rs3gwd.engine.apply import FUNCTIONS, INDEX_FUNCTIONS, SYSTEM_FUNCTIONS
from rs3gwd.engine.cluster_layout import (
    HISTORY_BYTES_MAX,
    LAYOUT_CODEC,
    LayoutRecord,
    put_layout,
    read_layout,
)
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.group_rows import SYSTEM_TABLES
from rs3gwd.engine.tables import Table


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Environment.open(str(tmp_path / "meta"))
    txn = opened.write()
    yield Scene(txn)
    txn.abort()
    opened.close()


def test_a_change_is_taken_only_from_the_one_before(scene: Scene) -> None:
    """Of two that were made from one history the second is refused, and changes nothing."""
    assert read_layout(scene.txn) is None
    state = scene.applier.state
    with pytest.raises(StaleCommand, match="changed 0 times"):
        put_layout(state, PutLayout(revision=2, history=b"a"))
    put_layout(state, PutLayout(revision=1, history=b"a"))
    with pytest.raises(StaleCommand, match="changed 1 times"):
        put_layout(state, PutLayout(revision=1, history=b"b"))
    assert read_layout(scene.txn) == LayoutRecord(1, b"a")
    put_layout(state, PutLayout(revision=2, history=b"c"))
    assert read_layout(scene.txn) == LayoutRecord(2, b"c")


@pytest.mark.parametrize("history", [b"", b"x" * (HISTORY_BYTES_MAX + 1)])
def test_a_history_has_bounds(scene: Scene, history: bytes) -> None:
    """Nothing and too much are refused."""
    with pytest.raises(InvalidRequest, match="no history"):
        put_layout(scene.applier.state, PutLayout(revision=1, history=history))


def test_the_layout_is_the_system_groups_alone() -> None:
    """A command of that group, whose row goes with its snapshots; over the wire and back."""
    command = PutLayout(revision=3, history=b"\x01{}")
    assert decode_command(encode_command(command)) == command
    assert PutLayout in SYSTEM_FUNCTIONS
    assert PutLayout not in INDEX_FUNCTIONS
    assert PutLayout not in FUNCTIONS
    assert Table.LAYOUT in SYSTEM_TABLES


def test_the_row_is_read_as_version_1_wrote_it() -> None:
    """A golden row: every later release reads it."""
    record = LayoutRecord(3, b"\x01{}")
    golden = bytes.fromhex("019203c403017b7d28074398")
    assert LAYOUT_CODEC.seal(b"history", record) == golden
    assert LAYOUT_CODEC.open(b"history", golden) == record
