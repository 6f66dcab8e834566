"""Opening the engine as the configuration says; the same for the daemon and for `rs3gwctl`."""

import fcntl
import os
import time
from functools import partial
from pathlib import Path

from rs3gwd.base.admin import SOCKET_PATH
from rs3gwd.base.errors import DiskFailed
from rs3gwd.base.ports import Clock, Random, Threads
from rs3gwd.config import Config
from rs3gwd.daemon.settings import buffered_bytes_share
from rs3gwd.engine.engine import LOCK_PATH, Engine, EngineSettings
from rs3gwd.engine.events import Observer
from rs3gwd.engine.system import FileDisk

STORE_LOCK_PATH = "run/store.lock"
"""Held by a daemon and by each of its workers, so that it is free when the last of them is dead:
the engine's own lock is free a moment earlier, when a core is dead and its workers are not yet."""

CLAIM_SECONDS_MAX = 5.0
"""How long the workers of a killed core may take to die; the kernel kills them at once, and only
one that waits for the disk can outlive that for a while."""

CLAIM_INTERVAL_SECONDS = 0.01

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


async def claim_store(config: Config, threads: Threads) -> int:
    """Waits until no process of an earlier daemon is left, and takes its place.

    Returns the descriptor of the lock, which is held until every process that has inherited it has
    closed it or is dead. Raises DiskFailed when the store is in use, and OSError.
    """
    root = str(data_root(config))
    try:
        await threads.run(partial(make_data_root, root))
    except OSError as error:
        raise OSError(error.errno, f"storage_root: {error.strerror}", error.filename) from error
    return await threads.run(partial(lock_store, root, seconds_max=CLAIM_SECONDS_MAX))


def lock_store(root: str, *, seconds_max: float) -> int:
    """As `claim_store`, blocking, for a data directory that is there."""
    path = os.path.join(root, STORE_LOCK_PATH)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            # Where a core lives there is nothing to wait for.
            if time.monotonic() > deadline or _has_core(root):
                os.close(descriptor)
                raise DiskFailed("the data directory is in use by another process") from error
            time.sleep(CLAIM_INTERVAL_SECONDS)
        else:
            return descriptor


def _has_core(root: str) -> bool:
    """Whether the engine's lock is held."""
    disk = FileDisk(root)
    try:
        disk.close(disk.lock(LOCK_PATH))
    except BlockingIOError:
        return True
    return False


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


def engine_settings(config: Config, *, sharers: int = 1) -> EngineSettings:
    """The bounds and intervals of the engine of one process, when `sharers` take bodies."""
    hours = config.multipart_retention_hours
    return EngineSettings(
        segment_bytes=config.segment_bytes,
        allocate_bytes=config.segment_preallocate_bytes,
        stage_memory_bytes_max=buffered_bytes_share(config, sharers=sharers),
        free_bytes_reserve=config.free_bytes_reserve,
        compaction_dead_ratio=config.compaction_dead_percent / 100,
        compaction_interval_s=float(config.compaction_interval_secs),
        upload_retention_ms=hours * _HOUR_MS if hours else None,
    )
