"""Does a server sync what it acknowledges? Counted while it takes a hundred PUTs, one by one.

strace says how often its processes ask for a sync, and which files they open for synchronous
writing; without strace, and for calls that strace does not see (io_uring), the disk's own count of
flushes says whether anything reached it. Zero of both means: a power cut loses what was confirmed.
"""

import os
import re
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.rs3gw_bench import processes, workloads
from tools.rs3gw_bench.figures import Figures
from tools.rs3gw_bench.request_file import Pool
from tools.rs3gw_bench.session import SMALL_POOL_BYTES, Session

PUTS = 100
SYNC_CALLS = ("fsync", "fdatasync", "sync_file_range", "msync", "sync", "syncfs")
TRACED = (*SYNC_CALLS, "openat", "pwritev2")
SYNC_FLAGS = re.compile(r"\bO_D?SYNC\b")
ATTACH_SECONDS_MAX = 10.0
SETTLE_SECONDS = 0.5
"""What a server does after it has answered counts as well, if it comes within this time."""


@dataclass(frozen=True)
class Syncs:
    """For PUTS sequential PUTs of 4 KiB. `calls` is None without strace, `flushes` where the disk
    has no count; `synchronous_files` are open with O_DSYNC or O_SYNC all the time."""

    calls: dict[str, int] | None
    synchronous_opens: int
    synchronous_files: int
    flushes: int | None

    @property
    def verdict(self) -> str:
        """In words, for the report."""
        asked = sum((self.calls or {}).values()) + self.synchronous_opens
        if asked + self.synchronous_files == 0 and not self.flushes:
            return "acknowledges without a sync"
        if self.calls is not None and asked + self.synchronous_files == 0:
            return "no sync of its own; the disk was flushed by others"
        return f"{asked} syncs and {self.flushes} flushes of the disk for {PUTS} PUTs"


def measure_syncs(session: Session, figures: Figures) -> None:
    """Notes what a server syncs under `durability`. Raises LoadError if a PUT fails."""
    notes = figures.notes.setdefault("durability", {})
    notes[session.server.name] = _count_syncs(session, session.bench.data)


def _count_syncs(session: Session, folder: Path) -> dict[str, Any]:
    pid = session.server.pid
    signer = session.server.signer()
    upload = workloads.build_upload(signer, Pool(SMALL_POOL_BYTES), size="4k", count=PUTS)
    trace = session.bench.scratch / "strace"
    tracer = _attach(pid, trace) if pid and shutil.which("strace") else None
    flushes = _flushes(folder)
    try:
        session.run_once(upload, connections=1)
        time.sleep(SETTLE_SECONDS)
    finally:
        if tracer:
            tracer.terminate()
            tracer.wait()
    after = _flushes(folder)
    calls = count_calls(trace.read_text(errors="replace")) if tracer else None
    syncs = Syncs(
        calls={name: calls[name] for name in SYNC_CALLS if calls[name]} if calls else None,
        synchronous_opens=calls["open"] if calls else 0,
        synchronous_files=processes.sync_opens(pid) if pid else 0,
        flushes=after - flushes if after is not None and flushes is not None else None,
    )
    return {**asdict(syncs), "verdict": syncs.verdict}


def count_calls(trace: str) -> dict[str, int]:
    """How often each call stands in strace's output; `open` counts synchronous opens and writes.

    A call that was interrupted by another thread's stands there twice, but only once with its
    parenthesis.
    """
    counts = dict.fromkeys((*SYNC_CALLS, "open"), 0)
    for line in trace.splitlines():
        found = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if not found:
            continue
        name = found.group(1)
        if name in SYNC_CALLS:
            counts[name] += 1
        elif SYNC_FLAGS.search(line) or "RWF_DSYNC" in line or "RWF_SYNC" in line:
            counts["open"] += 1
    return counts


def _attach(pid: int, output: Path) -> subprocess.Popen[bytes]:
    command = ["strace", "-f", "-e", f"trace={','.join(TRACED)}", "-o", str(output)]
    everybody = processes.tree(pid)
    for process in everybody:
        command += ["-p", str(process)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + ATTACH_SECONDS_MAX
    while not all(map(_is_traced, everybody)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return tracer


def _is_traced(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "TracerPid:\t0\n" not in status.read_text()


def _flushes(folder: Path) -> int | None:
    """Flush requests that the disk below a folder has completed (Documentation/block/stat)."""
    device = os.stat(folder).st_dev
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    fields = path.read_text().split() if path.exists() else []
    return int(fields[15]) if len(fields) > 15 else None
