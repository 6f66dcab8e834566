"""What a reader needs to know of the machine and the versions to judge a figure."""

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

LIBRARIES = ("trio", "httptools", "lmdb", "msgspec", "awscrt", "cryptography")


def machine(folder: Path) -> dict[str, str | int | float]:
    """Facts of this machine, and of the file system that holds `folder`."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "file_system": _file_system(folder),
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "load_average": round(os.getloadavg()[0], 2),
        "commit": _commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Of the mount that is longest in the folder's path."""
    path, found = str(folder.resolve()), ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(found[0]):
            found = (mount, kind)
    return found[1]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _commit() -> str:
    root = Path(__file__).resolve().parent
    git = ["git", "-C", str(root)]
    done = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode:
        return "unknown"
    changes = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, check=False
    )
    return done.stdout.strip()[:12] + ("+changes" if changes.stdout else "")
