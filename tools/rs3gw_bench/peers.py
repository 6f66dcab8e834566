"""Other stores, and how to start each on one machine: examples for --peer, and for --peer-command.

Each was tried as it stands here; docs/extend/benchmarks.md says what to install first. They are
started with the settings a newcomer gets, and the report says beside each whether what it
acknowledges is synced: a store that keeps objects in memory is fast for that reason.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.rs3gw_bench import ceph_peer

_HERE = Path(__file__).parent
SWIFT = shlex.join([sys.executable, str(_HERE / "swift_peer.py")])
CEPH = shlex.join([sys.executable, str(_HERE / "ceph_peer.py")])


@dataclass(frozen=True)
class KnownPeer:
    """A command with `{port}` and `{folder}` in it, and the credentials that it then takes."""

    command: str
    access_key: str
    secret_key: str
    remark: str


PEERS = {
    "moto": KnownPeer(
        "moto_server -H 127.0.0.1 -p {port}", "test", "test", "keeps objects in memory"
    ),
    "s3rver": KnownPeer(
        "s3rver --directory {folder} --address 127.0.0.1 --port {port}",
        "S3RVER",
        "S3RVER",
        "Node.js, files in a folder",
    ),
    "ceph": KnownPeer(
        f"{CEPH} {{port}} {{folder}}",
        ceph_peer.ACCESS_KEY,
        ceph_peer.SECRET_KEY,
        "Ceph, one monitor, one OSD, one copy, with radosgw",
    ),
    "swift": KnownPeer(
        f"{SWIFT} {{port}} {{folder}}",
        "test:tester",
        "testing",
        "OpenStack Swift, one replica, with its s3api front",
    ),
}
