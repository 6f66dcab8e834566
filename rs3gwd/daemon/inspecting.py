"""Check and repair of a data directory, for `rs3gwctl`; blocking code in a process of its own."""

import os
from collections.abc import Callable
from pathlib import Path

from rs3gwd.base.errors import FormatError
from rs3gwd.daemon.opening import CLAIM_SECONDS_MAX, lock_store
from rs3gwd.engine.blobs import get_store
from rs3gwd.engine.check import CheckProgress, CheckReport, check
from rs3gwd.engine.engine import ENVIRONMENT_DIRECTORY, LOCK_PATH
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.repair import Action, RepairReport, lock_data, repair
from rs3gwd.engine.system import FileDisk, SystemClock


def check_store(
    data: Path, *, read_data: bool, progress: Callable[[CheckProgress], None]
) -> CheckReport:
    """Checks the store in `data`, whether a daemon runs on it or not. Raises Rs3gwError."""
    environment = Environment.open(str(data / ENVIRONMENT_DIRECTORY), read_only=True)
    try:
        return check(environment, FileDisk(str(data)), read_data=read_data, progress=progress)
    finally:
        environment.close()


def repair_store(
    data: Path, *, on_action: Callable[[Action], None], dry_run: bool, drop_damaged: bool
) -> RepairReport:
    """Mends the store in `data`. Raises DiskFailed while a daemon runs on it, and Rs3gwError."""
    disk = FileDisk(str(data))
    os.close(lock_store(str(data), seconds_max=CLAIM_SECONDS_MAX))
    lock = lock_data(disk, LOCK_PATH)
    try:
        environment = Environment.open(str(data / ENVIRONMENT_DIRECTORY))
        try:
            with environment.read() as txn:
                store = get_store(txn)
            if store is None:
                raise FormatError(f"{data}: no daemon has ever run on this store")
            return repair(
                environment,
                disk,
                SystemClock(),
                store_id=store.store_id,
                on_action=on_action,
                dry_run=dry_run,
                drop_damaged=drop_damaged,
            )
        finally:
            environment.close()
    finally:
        disk.close(lock)
