"""What a process costs, from proc(5): processor time and memory."""

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system, all threads; steps of 10 ms."""
    # The name in the second field may hold blanks and parentheses; it ends at the last one.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
