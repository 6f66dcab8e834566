"""What the engine tells whoever watches it: damage and state changes, as values.

What it is not: no metric, no log line. The daemon gives the engine an `Observer` and turns the
events into both; the engine works the same with none. Nothing that is damaged is ever dropped or
passed over without an event.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class EventKind(StrEnum):
    """The kinds of events, stable names fit for metrics."""

    DATA_CORRUPT = "data_corrupt"
    """Stored bytes or a row did not match their checksum; they were given to no one."""
    DISK_FAILED = "disk_failed"
    """A write or sync failed: the engine takes no more writes until it is started anew."""
    DISK_FULL = "disk_full"
    """A write found no room."""
    BALLAST_DROPPED = "ballast_dropped"
    """The ballast file was given up so that deletes can be committed on a full disk."""
    UNSYNCED_LOST = "unsynced_lost"
    """A version of a relaxed or ephemeral bucket did not outlive a power cut and was dropped."""
    SEGMENT_UNKNOWN = "segment_unknown"
    """A segment file that the index does not know; it is left alone."""
    SEGMENT_MISSING = "segment_missing"
    """The index names a segment whose file is not there."""
    SEGMENT_COMPACTED = "segment_compacted"
    """The live bytes of a segment were moved and the segment dropped."""
    PLACEMENT_MISSING = "placement_missing"
    """A blob was freed that has no place on this node."""
    WORKER_REFUSED = "worker_refused"
    """A worker process sent what no worker may send, and was cut off."""


class EngineEvent(Struct, frozen=True):
    """One event; `detail` is one line for a human, `segment_id` where the bytes lie, if known."""

    kind: EventKind
    detail: str
    segment_id: int | None = None


class Observer(Protocol):
    """Takes events. Called from any thread; must not block or raise."""

    def on_event(self, event: EngineEvent) -> None: ...


class SilentObserver:
    """Drops all events; for tools and tests that look at results instead."""

    def on_event(self, event: EngineEvent) -> None:
        """Does nothing."""
