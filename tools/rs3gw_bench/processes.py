"""What a server costs, summed over all its processes, from proc(5): processor time and memory.

A server is a process and all that descend from it; one whose parent has gone still counts while it
is in the same session, so that a server that puts itself into the background is not lost. Times
come from the kernel in steps of 10 ms; those of children that ended are in their parent's account.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

O_DSYNC, O_SYNC = 0o10000, 0o4010000


@dataclass(frozen=True)
class Memory:
    """`private_bytes` is what a process has beside the page cache: anonymous and shared memory."""

    resident_bytes: int
    private_bytes: int


@dataclass(frozen=True)
class _Stat:
    parent: int
    session: int
    cpu_ticks: int


def tree(root: int) -> list[int]:
    """The processes of the server that `root` began, `root` first; empty if there are none."""
    stats = {pid: stat for pid in _all_pids() if (stat := _stat(pid))}
    if root not in stats:
        return []
    session = stats[root].session if stats[root].session == root else None
    found = [root]
    for pid in found:  # grows while it is walked: parents come before their children
        found += [child for child, stat in stats.items() if stat.parent == pid]
    known = set(found)
    found += [p for p, stat in stats.items() if stat.session == session and p not in known]
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has asked about yet has."""
    return _read(pid, "stat").rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])


def cpu_seconds(root: int) -> float:
    """Processor time of a server so far, user and system, all threads of all processes."""
    stats = (_stat(pid) for pid in tree(root))
    return sum(stat.cpu_ticks for stat in stats if stat) / os.sysconf("SC_CLK_TCK")


def machine_cpu_seconds() -> float:
    """Processor time that the whole machine has spent so far, its host's part included."""
    user, nice, system, _, _, *interrupts = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def memory_of(root: int) -> dict[int, Memory]:
    """Of each process of a server."""
    return {pid: memory for pid in tree(root) if (memory := _memory(pid))}


def written_bytes(root: int) -> int:
    """What a server's processes have passed to write calls so far, files and sockets alike."""
    return sum(_io(pid) for pid in tree(root))


def sync_opens(root: int) -> int:
    """How many files a server has open for synchronous writing (O_DSYNC or O_SYNC)."""
    flags = (flag for pid in tree(root) for flag in _open_flags(pid))
    return sum(1 for flag in flags if flag & (O_DSYNC | O_SYNC))


def listening_pid(port: int) -> int | None:
    """The process that listens on a TCP port of this machine, if it can be seen."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for pid in _all_pids() if wanted else ():
        try:
            for file in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(file) in wanted:
                    return pid
        except OSError:
            continue  # gone meanwhile, or another user's
    return None


def _listening_inodes(port: int) -> Iterable[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines = Path(table).read_text().splitlines()[1:] if Path(table).exists() else []
        for fields in map(str.split, lines):
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""  # The process has ended; it no longer counts.


def _stat(pid: int) -> _Stat | None:
    # The name in the second field may hold blanks and parentheses; it ends at the last one.
    fields = _read(pid, "stat").rpartition(")")[2].split()
    if not fields:
        return None
    return _Stat(int(fields[1]), int(fields[3]), sum(int(field) for field in fields[11:15]))


def _memory(pid: int) -> Memory | None:
    lines = (line.partition(":") for line in _read(pid, "status").splitlines())
    sizes = {name: int(value.split()[0]) << 10 for name, _, value in lines if name[:3] == "Rss"}
    if not sizes:
        return None
    return Memory(sum(sizes.values()), sizes["RssAnon"] + sizes["RssShmem"])


def _io(pid: int) -> int:
    lines = (line.partition(":") for line in _read(pid, "io").splitlines())
    return sum(int(value) for name, _, value in lines if name == "wchar")


def _open_flags(pid: int) -> list[int]:
    folder = Path(f"/proc/{pid}/fdinfo")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    texts = (_read(pid, f"fdinfo/{name}") for name in names)
    lines = (line for text in texts for line in text.splitlines() if line.startswith("flags:"))
    return [int(line.split()[1], 8) for line in lines]
