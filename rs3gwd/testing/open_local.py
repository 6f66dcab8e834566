"""A real engine in this process, opened for a test: small files, no waiting, all ports given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from rs3gwd.base.ports import Clock, Disk, Random, Threads
from rs3gwd.engine.engine import Engine, EngineSettings
from rs3gwd.engine.events import EngineEvent
from rs3gwd.engine.system import FileDisk, SystemClock, SystemRandom, TrioThreads
from rs3gwd.node.local import LocalDirectory, LocalStore

TEST_SETTINGS = EngineSettings(
    segment_bytes=256 << 10,
    allocate_bytes=64 << 10,
    small_bytes_max=16 << 10,
    lanes_max=8,
    stage_memory_bytes_max=32 << 20,
    descriptors_max=4,
    free_bytes_reserve=0,
    ballast_bytes=4096,
    map_bytes=16 << 20,
    compaction_interval_s=3600.0,
    compaction_bytes_per_s=1 << 40,
    upload_retention_ms=None,
)
"""Segments so small that a test fills, seals and compacts several of them."""


class EventList:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []

    def on_event(self, event: EngineEvent) -> None:
        """Keeps the event."""
        self.events.append(event)


@dataclass
class LocalNode:
    """An open engine behind its ports."""

    engine: Engine
    store: LocalStore
    directory: LocalDirectory
    events: EventList


@asynccontextmanager
async def open_local(
    path: str,
    *,
    settings: EngineSettings = TEST_SETTINGS,
    disk: Disk | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    threads: Threads | None = None,
) -> AsyncIterator[LocalNode]:
    """Opens the data directory `path`, runs the engine, and closes it at the end.

    Ports that are not given are those of the machine.
    """
    events = EventList()
    engine = await Engine.open(
        path,
        disk=disk or FileDisk(path),
        clock=clock or SystemClock(),
        random=random or SystemRandom(),
        threads=threads or TrioThreads(),
        settings=settings,
        observer=events,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield LocalNode(engine, LocalStore(engine), LocalDirectory(engine), events)
            nursery.cancel_scope.cancel()
    finally:
        await engine.close()
