"""What every process of the daemon sets for itself before it does anything else."""

import gc
import os
import resource
import sys

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a native call waits for the GIL beside a busy loop; Python's 5 ms turned an LMDB commit
of 0.2 ms into 7 (DESIGN D2)."""

GC_THRESHOLDS = (50_000, 10, 20)
"""Container objects made and not freed between two collections of the young, and how many of those
make one of the older. With 64 PUTs in flight Python's 700 collected after each 23 PUTs, never found
anything, and cost a PUT 13 us. Three nodes of a cluster, which make more for each PUT, spent 4% of
their time on it at 10,000."""

CORE_GONE = 3
"""The exit status of a worker whose core is dead or has given it up."""


def prepare_process() -> None:
    """Sets the interpreter's intervals, the file mode mask and the bound of open files."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)
    os.umask(0o077)
    # All the open files that may be had: the soft limit, mostly 1,024, is for programs that call
    # select(2) (setrlimit(2)).
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def leaves_of(error: Exception) -> list[Exception]:
    """The errors in a group of groups, or the one error."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in leaves_of(part)]
