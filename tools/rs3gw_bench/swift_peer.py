"""OpenStack Swift with its S3 front on one machine: `python swift_peer.py PORT FOLDER`.

Swift has four servers (proxy, account, container, object) and a ring of devices for each kind of
data; this lays out one device and one replica below FOLDER, starts the four and memcached, which
the proxy looks up containers in, and ends them when it is ended itself. Programs are searched on
PATH: `pip install swift` in a virtual environment, `apt-get install memcached`.

Settings are those of Swift's "SAIO" guide (one machine, all in one), without the daemons that
repair and replicate.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl s3api "
    "tempauth slo dlo versioned_writes symlink proxy-logging proxy-server"
)
FILTERS = (
    "catch_errors", "gatekeeper", "healthcheck", "proxy_logging", "listing_formats", "bulk",
    "tempurl", "slo", "dlo", "symlink",
)  # fmt: skip
KINDS = ("object", "container", "account")


def main(port: int, folder: Path) -> int:
    """Runs until it is told to end, or until one of the servers has ended."""
    shutil.rmtree(folder / "etc", ignore_errors=True)
    etc = folder / "etc"
    etc.mkdir(parents=True)
    (folder / "srv" / "sda1").mkdir(parents=True, exist_ok=True)
    ports = {kind: port + offset for offset, kind in enumerate(KINDS, 1)}
    (etc / "swift.conf").write_text(swift_configuration())
    for kind in KINDS:
        (etc / f"{kind}.conf").write_text(storage_configuration(kind, ports[kind], folder))
        make_ring(etc, kind, ports[kind])
    memory_port = port + len(KINDS) + 1
    (etc / "proxy.conf").write_text(proxy_configuration(port, folder, memory_port))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with_servers = [subprocess.Popen(command) for command in commands(etc, memory_port)]
    try:
        os.wait()
        return 1
    finally:
        for server in with_servers:
            server.terminate()


def commands(etc: Path, memory_port: int) -> Iterator[list[str]]:
    """What to start."""
    memory = ["memcached", "-l", "127.0.0.1", "-p", str(memory_port), "-U", "0"]
    yield [*memory, *(["-u", "root"] if os.getuid() == 0 else [])]
    for name in ("proxy", *KINDS):
        yield [f"swift-{name}-server", str(etc / f"{name}.conf")]


def make_ring(etc: Path, kind: str, port: int) -> None:
    """One partition table with one device."""
    builder = str(etc / f"{kind}.builder")
    device = f"r1z1-127.0.0.1:{port}/sda1"
    for arguments in (("create", "4", "1", "1"), ("add", device, "1"), ("rebalance",)):
        command = ["swift-ring-builder", builder, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def swift_configuration() -> str:
    """swift.conf: the salt of all hashes, and one policy."""
    return _ini(
        {
            "swift-hash": {"swift_hash_path_prefix": "bench", "swift_hash_path_suffix": "bench"},
            "storage-policy:0": {"name": "one", "default": "yes"},
        }
    )


def storage_configuration(kind: str, port: int, folder: Path) -> str:
    """A storage server; object data is synced by Swift's own defaults."""
    return _ini(
        {
            "DEFAULT": {
                "bind_ip": "127.0.0.1",
                "bind_port": str(port),
                "devices": str(folder / "srv"),
                "mount_check": "false",
                "swift_dir": str(folder / "etc"),
                "user": _user(),
                "workers": "1",
            },
            "pipeline:main": {"pipeline": f"{kind}-server"},
            f"app:{kind}-server": {"use": f"egg:swift#{kind}"},
        }
    )


def proxy_configuration(port: int, folder: Path, memory_port: int) -> str:
    """The proxy with the S3 front and one user."""
    sections = {
        "DEFAULT": {
            "bind_ip": "127.0.0.1",
            "bind_port": str(port),
            "swift_dir": str(folder / "etc"),
            "user": _user(),
            "workers": "1",
        },
        "pipeline:main": {"pipeline": PIPELINE},
        "app:proxy-server": {
            "use": "egg:swift#proxy",
            "allow_account_management": "true",
            "account_autocreate": "true",
        },
        "filter:cache": {
            "use": "egg:swift#memcache",
            "memcache_servers": f"127.0.0.1:{memory_port}",
        },
        "filter:tempauth": {"use": "egg:swift#tempauth", "user_test_tester": "testing .admin"},
        "filter:s3api": {"use": "egg:swift#s3api", "location": "us-east-1"},
        "filter:versioned_writes": {
            "use": "egg:swift#versioned_writes",
            "allow_object_versioning": "true",
        },
    }
    for name in FILTERS:
        sections[f"filter:{name.replace('_logging', '-logging')}"] = {"use": f"egg:swift#{name}"}
    return _ini(sections)


def _ini(sections: dict[str, dict[str, str]]) -> str:
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""]
    return "\n".join(lines)


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
