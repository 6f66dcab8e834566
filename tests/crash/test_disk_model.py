"""The model of power cuts keeps what must be kept, and loses what may be lost.

Source: fsync(2), open(2) (O_DSYNC).
"""

from __future__ import annotations

import random

from chaos.disk_model import CHOICES, Choice, DiskModel
from chaos.trace import Kind, TraceEvent

LOSE = Choice("lose all", keep=0.0, tear=0.0, newest_name=0.0)
KEEP = Choice("keep all", keep=1.0, tear=0.0, newest_name=1.0)
ANY = Choice("any", keep=0.5, tear=0.5, newest_name=0.5)


def event(
    kind: Kind,
    path: str,
    *,
    offset: int = 0,
    data: bytes = b"",
    descriptor: int = 3,
    synced: bool = False,
    directory: bool = False,
) -> TraceEvent:
    """One record of a trace."""
    return TraceEvent(kind, path, descriptor, offset, data, synced, directory)


def model_of(*events: TraceEvent) -> DiskModel:
    """A model that has seen some events."""
    model = DiskModel()
    for each in events:
        model.apply(each)
    return model


def file_synced(path: str = "f", data: bytes = b"base") -> list[TraceEvent]:
    """A file with durable content and a durable name."""
    return [
        event(Kind.CREATE, path),
        event(Kind.WRITE, path, data=data),
        event(Kind.SYNC_BEGIN, path),
        event(Kind.SYNC_END, path),
        event(Kind.OPEN, "", descriptor=9, directory=True),
        event(Kind.SYNC_BEGIN, "", descriptor=9, directory=True),
        event(Kind.SYNC_END, "", descriptor=9, directory=True),
    ]


def outcomes(model: DiskModel, path: str, choice: Choice = ANY) -> set[bytes | None]:
    """What may be left of a file, None when its name is gone; 300 cuts."""
    source = random.Random(1)
    return {model.after_cut(choice, source).get(path) for _ in range(300)}


def test_what_was_synced_is_kept_in_every_cut() -> None:
    """Content and name that were synced are there whatever the choice."""
    model = model_of(*file_synced())
    for choice in CHOICES:
        assert outcomes(model, "f", choice) == {b"base"}


def test_unsynced_writes_are_kept_or_lost_alone() -> None:
    """Two unsynced writes leave any of the four combinations."""
    model = model_of(
        *file_synced(data=b"...."),
        event(Kind.WRITE, "f", offset=0, data=b"A"),
        event(Kind.WRITE, "f", offset=2, data=b"B"),
    )
    assert outcomes(model, "f") == {b"....", b"A...", b"..B.", b"A.B."}


def test_a_sync_covers_only_what_came_before_it_began() -> None:
    """A write between the beginning and the end of a sync may still be lost."""
    model = model_of(
        *file_synced(data=b".."),
        event(Kind.WRITE, "f", offset=0, data=b"A"),
        event(Kind.SYNC_BEGIN, "f"),
        event(Kind.WRITE, "f", offset=1, data=b"B"),
        event(Kind.SYNC_END, "f"),
    )
    assert outcomes(model, "f") == {b"A.", b"AB"}


def test_a_sync_that_never_ended_keeps_nothing() -> None:
    """Only the end of a sync is a promise."""
    model = model_of(
        *file_synced(data=b"."), event(Kind.WRITE, "f", data=b"A"), event(Kind.SYNC_BEGIN, "f")
    )
    assert outcomes(model, "f", LOSE) == {b"."}


def test_a_write_through_o_dsync_is_kept_and_no_other() -> None:
    """O_DSYNC makes its own write durable; one before it may be lost."""
    model = model_of(
        *file_synced(data=b".."),
        event(Kind.WRITE, "f", offset=0, data=b"A"),
        event(Kind.WRITE, "f", offset=1, data=b"B", synced=True),
    )
    assert outcomes(model, "f") == {b".B", b"AB"}


def test_a_write_is_torn_at_sectors() -> None:
    """Sectors of 512 bytes, counted from the start of the file, are kept or lost one by one."""
    model = model_of(
        *file_synced(data=bytes(1024)), event(Kind.WRITE, "f", offset=500, data=b"x" * 24)
    )
    first, second = bytes(500) + b"x" * 12, b"x" * 12 + bytes(500)
    whole = first + second
    assert outcomes(model, "f") == {
        bytes(1024),
        first + bytes(512),
        bytes(512) + second,
        whole,
    }


def test_a_truncation_may_be_lost() -> None:
    """Shortening a file is a change like others."""
    model = model_of(*file_synced(), event(Kind.TRUNCATE, "f", offset=1))
    assert outcomes(model, "f") == {b"base", b"b"}


def test_an_allocation_lengthens_with_zeros_or_not() -> None:
    """Reserved blocks read as zeros."""
    model = model_of(*file_synced(), event(Kind.ALLOCATE, "f", offset=6))
    assert outcomes(model, "f") == {b"base", b"base\0\0"}


def test_a_new_name_is_lost_without_a_sync_of_its_directory() -> None:
    """Syncing a new file does not make its name durable."""
    model = model_of(
        event(Kind.CREATE, "g"),
        event(Kind.WRITE, "g", data=b"data"),
        event(Kind.SYNC_BEGIN, "g"),
        event(Kind.SYNC_END, "g"),
    )
    assert outcomes(model, "g") == {None, b"data"}


def test_a_removed_name_may_come_back_until_its_directory_is_synced() -> None:
    """An unlink is durable with the directory."""
    model = model_of(*file_synced(), event(Kind.UNLINK, "f"))
    assert outcomes(model, "f") == {None, b"base"}
    model.apply(event(Kind.SYNC_BEGIN, "", descriptor=9, directory=True))
    model.apply(event(Kind.SYNC_END, "", descriptor=9, directory=True))
    assert outcomes(model, "f") == {None}


def test_a_directory_without_a_name_takes_its_files() -> None:
    """A file below a directory that is lost is lost, synced or not."""
    model = model_of(
        event(Kind.MAKE_DIRECTORY, "d"),
        event(Kind.CREATE, "d/f"),
        event(Kind.WRITE, "d/f", data=b"x"),
        event(Kind.SYNC_BEGIN, "d/f"),
        event(Kind.SYNC_END, "d/f"),
        event(Kind.OPEN, "d", descriptor=9, directory=True),
        event(Kind.SYNC_BEGIN, "d", descriptor=9, directory=True),
        event(Kind.SYNC_END, "d", descriptor=9, directory=True),
    )
    assert model.after_cut(LOSE, random.Random(1)) == {}
    assert model.after_cut(KEEP, random.Random(1)) == {"d": None, "d/f": b"x"}


def test_a_forgotten_sync_of_the_control_keeps_nothing() -> None:
    """A control takes the syncs of some files for calls that were never made."""
    model = DiskModel(ignore_data_syncs="f")
    for each in file_synced():
        model.apply(each)
    assert outcomes(model, "f", Choice("", 0.0, 0.0, 1.0)) == {b""}
