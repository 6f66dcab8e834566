"""What the kernel says of this process, under the names that every Prometheus client uses.

Summed over the processes of a daemon they say what it costs the machine, with one reservation:
pages of memory that processes share are counted once for each. Start time and the bound of open
files belong to the first process alone. Source: proc(5) (stat, statm, fd), getrlimit(2).
"""

import os
import resource

from rs3gwd.observe.families import Family, MetricKind, Row


def process_families(*, with_bounds: bool) -> list[Family]:
    """The figures of this process; `with_bounds` adds those that cannot be summed."""
    with open("/proc/self/stat", "rb") as file:
        # The name in parentheses may hold spaces; field 3 is the first behind it.
        fields = file.read().rpartition(b")")[2].split()
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    found = [
        _family(
            "process_cpu_seconds_total",
            "Processor time used, in user and system mode",
            (int(fields[11]) + int(fields[12])) / ticks_per_second,
            MetricKind.COUNTER,
        ),
        _family("process_virtual_memory_bytes", "Address space", int(fields[20])),
        _family("process_resident_memory_bytes", "Memory in use", resident_bytes()),
        _family("process_open_fds", "Open files and sockets", len(os.listdir("/proc/self/fd"))),
    ]
    if with_bounds:
        found += [
            _family(
                "process_max_fds",
                "Files and sockets that a process may open",
                resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            ),
            _family(
                "process_start_time_seconds",
                "When the process began, in seconds since 1970",
                _boot_seconds() + int(fields[19]) / ticks_per_second,
            ),
        ]
    return found


def resident_bytes() -> int:
    """The memory of this process that is in use."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _boot_seconds() -> float:
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return 0.0


def _family(name: str, text: str, value: float, kind: MetricKind = MetricKind.GAUGE) -> Family:
    return Family(name, text, kind, (), [Row((), [float(value)])])
