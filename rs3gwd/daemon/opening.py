"""Opening the engine as the configuration says; the same for the daemon and for `rs3gwctl`."""

import os
from pathlib import Path

from rs3gwd.base.admin import SOCKET_PATH
from rs3gwd.base.ports import Clock, Random, Threads
from rs3gwd.config import Config
from rs3gwd.engine.engine import Engine, EngineSettings
from rs3gwd.engine.events import Observer
from rs3gwd.engine.system import FileDisk

_HOUR_MS = 3_600_000


async def open_engine(
    config: Config, *, clock: Clock, random: Random, threads: Threads, observer: Observer
) -> Engine:
    """The engine on `config.storage_root`, made if it is not there; raises as `Engine.open`."""
    root = str(data_root(config))
    make_data_root(root)
    os.makedirs(os.path.dirname(os.path.join(root, SOCKET_PATH)), mode=0o700, exist_ok=True)
    return await Engine.open(
        root,
        disk=FileDisk(root),
        clock=clock,
        random=random,
        threads=threads,
        settings=engine_settings(config),
        observer=observer,
    )


def make_data_root(root: str) -> None:
    """Makes the data directory, and those above it, so that their names outlive a power cut.

    The engine syncs what it makes inside; without the directory's own name all of that is gone. It
    is synced at every start, since an earlier one may have died before it was. Blocks.
    """
    above = os.path.dirname(root)
    unsynced = [above]
    while not os.path.isdir(above):
        above = os.path.dirname(above)
        unsynced.append(above)
    os.makedirs(root, mode=0o700, exist_ok=True)
    for directory in unsynced:
        # One that we may not read was made by somebody else, with our directory in it.
        if os.access(directory, os.R_OK):
            _sync_directory(directory)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def data_root(config: Config) -> Path:
    """The data directory, absolute."""
    return Path(config.storage_root).resolve()


def engine_settings(config: Config) -> EngineSettings:
    """The bounds and intervals of the engine."""
    hours = config.multipart_retention_hours
    return EngineSettings(
        segment_bytes=config.segment_bytes,
        allocate_bytes=config.segment_preallocate_bytes,
        stage_memory_bytes_max=config.buffered_bytes_max,
        free_bytes_reserve=config.free_bytes_reserve,
        compaction_dead_ratio=config.compaction_dead_percent / 100,
        compaction_interval_s=float(config.compaction_interval_secs),
        upload_retention_ms=hours * _HOUR_MS if hours else None,
    )
