"""The row of the authority: changed only from what it was, and read as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_metadata_scene import Scene

from rs3gwd.base.codec import decode_command, encode_command
from rs3gwd.base.commands import PutAuthority
from rs3gwd.base.errors import InvalidRequest, StaleCommand
from rs3gwd.engine.apply import FUNCTIONS, INDEX_FUNCTIONS, SYSTEM_FUNCTIONS
from rs3gwd.engine.cluster_authority import (
    AUTHORITY_CODEC,
    LEDGER_BYTES_MAX,
    AuthorityRecord,
    put_authority,
    read_authority,
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
    """Of two that were made from one ledger the second is refused, and changes nothing."""
    assert read_authority(scene.txn) is None
    state = scene.applier.state
    with pytest.raises(StaleCommand, match="changed 0 times"):
        put_authority(state, PutAuthority(revision=2, ledger=b"a"))
    put_authority(state, PutAuthority(revision=1, ledger=b"a"))
    with pytest.raises(StaleCommand, match="changed 1 times"):
        put_authority(state, PutAuthority(revision=1, ledger=b"b"))
    assert read_authority(scene.txn) == AuthorityRecord(1, b"a")
    put_authority(state, PutAuthority(revision=2, ledger=b"c"))
    assert read_authority(scene.txn) == AuthorityRecord(2, b"c")


@pytest.mark.parametrize("ledger", [b"", b"x" * (LEDGER_BYTES_MAX + 1)])
def test_a_ledger_has_bounds(scene: Scene, ledger: bytes) -> None:
    """Nothing and too much are refused."""
    with pytest.raises(InvalidRequest, match="no ledger"):
        put_authority(scene.applier.state, PutAuthority(revision=1, ledger=ledger))


def test_the_authority_is_the_system_groups_alone() -> None:
    """A command of that group, whose row goes with its snapshots; over the wire and back."""
    command = PutAuthority(revision=3, ledger=b"\x01")
    assert decode_command(encode_command(command)) == command
    assert PutAuthority in SYSTEM_FUNCTIONS
    assert PutAuthority not in INDEX_FUNCTIONS
    assert PutAuthority not in FUNCTIONS
    assert Table.AUTHORITY in SYSTEM_TABLES


def test_the_row_is_read_as_version_1_wrote_it() -> None:
    """A golden row: every later release reads it."""
    record = AuthorityRecord(3, b"\x01{}")
    golden = bytes.fromhex("019203c403017b7d23d31171")
    assert AUTHORITY_CODEC.seal(b"ledger", record) == golden
    assert AUTHORITY_CODEC.open(b"ledger", golden) == record
