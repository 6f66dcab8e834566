"""Some nodes of a cluster on this machine, to try things out: `python3 tools/dev.py cluster 3`.

Certificates are made on the spot by an authority whose key is kept nowhere, each node is a daemon
of its own with its data in a folder of its own, and all have the same root key and master key. What
it is not: a way to run a cluster for real, where each node has a machine and a token to join with.

Started again over the same folder the nodes go on with what they have.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from cluster.authority.certificates import DISK_TOKEN_BYTES, Authority, NodeKey, to_der
from cluster.drivers.authority import AuthorityFolder, Begins, FirstStart
from rs3gwd.daemon.clustering import AUTHORITY_FOLDER
from rs3gwd.engine.system import SystemClock, SystemRandom

PLAN_FILE = "cluster.json"
NODES_MAX = 9


def main(arguments: Sequence[str]) -> int:
    """Runs the nodes until all have ended or the user stops them; the exit status."""
    parser = argparse.ArgumentParser(prog="dev.py cluster", allow_abbrev=False)
    parser.add_argument("nodes", nargs="?", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--folder", type=Path, default=Path("data/cluster"), help="their data")
    options = parser.parse_args(arguments)
    if not 1 <= options.nodes <= NODES_MAX:
        parser.error(f"1 to {NODES_MAX} nodes")
    plan = make_plan(options.folder.resolve(), options.nodes)
    processes = [start_node(plan, node) for node in plan["nodes"]]
    print(_greeting(plan), flush=True)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        pass  # that is how it ends
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait() for process in processes]
    return max(codes)


def make_plan(folder: Path, count: int) -> dict:  # type: ignore[type-arg]  # it is JSON
    """What all starts of a cluster in `folder` have in common; made, with certificates, at the
    first one."""
    path = folder / PLAN_FILE
    if path.exists():
        plan: dict = json.loads(path.read_text())  # type: ignore[type-arg]
        return plan
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = free_ports(2 * count)
    plan = {
        "access_key": "AKIA" + secrets.token_hex(8).upper(),
        "secret_key": secrets.token_urlsafe(30),
        "master_key": secrets.token_hex(32),
        "nodes": [
            {
                "number": number,
                "folder": str(folder / f"node{number}"),
                "s3": f"127.0.0.1:{ports[number - 1]}",
                "peers": f"127.0.0.1:{ports[count + number - 1]}",
            }
            for number in range(1, count + 1)
        ],
    }
    write_certificates(plan)
    path.touch(mode=0o600)
    path.write_text(json.dumps(plan, indent=2))
    return plan


def write_certificates(plan: dict) -> None:  # type: ignore[type-arg]
    """A certificate for each node, by an authority that is forgotten."""
    clock, random = SystemClock(), SystemRandom()
    authority = Authority.create("local", now_ms=clock.now_ms(), random=random)
    root = to_der(authority.certificate)
    for node in plan["nodes"]:
        key = NodeKey.create()
        disk_token = random.token_bytes(DISK_TOKEN_BYTES)
        certificate = authority.issue(
            key.request(),
            cluster="local",
            node=node["number"],
            now_ms=clock.now_ms(),
            random=random,
            disk=disk_token,
        )
        folder = AuthorityFolder(Path(node["folder"]) / AUTHORITY_FOLDER)
        folder.write_first_start(FirstStart(Begins.SEEDS, disk_token))
        folder.write_node(key, to_der(certificate), (root,))


def start_node(
    plan: dict,  # type: ignore[type-arg]
    node: dict,  # type: ignore[type-arg]
    output: IO[bytes] | None = None,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """The daemon of one node, in a process of its own, with its log here or in `output`; `environ`
    adds to its environment."""
    environment = {
        **os.environ,
        "RS3GW_STORAGE_ROOT": node["folder"],
        "RS3GW_BIND_ADDR": node["s3"],
        "RS3GW_CLUSTER_ENABLED": "true",
        "RS3GW_CLUSTER_SEED_NODES": ",".join(
            f"{each['number']}@{each['peers']}" for each in plan["nodes"]
        ),
        "RS3GW_ACCESS_KEY": plan["access_key"],
        "RS3GW_SECRET_KEY": plan["secret_key"],
        "RS3GW_MASTER_KEY_SOURCE": "environment",
        "RS3GW_MASTER_KEY": plan["master_key"],
        **(environ or {}),
    }
    command = [sys.executable, "-m", "rs3gwd.daemon.main"]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _greeting(plan: dict) -> str:  # type: ignore[type-arg]
    lines = [
        f"  node {node['number']}: http://{node['s3']}  (data in {node['folder']})"
        for node in plan["nodes"]
    ]
    return "\n".join(
        [
            f"{len(lines)} nodes; any of them serves any request. Ctrl-C ends them.",
            *lines,
            "",
            f"  export AWS_ACCESS_KEY_ID={plan['access_key']}",
            f"  export AWS_SECRET_ACCESS_KEY={plan['secret_key']}",
            "  export AWS_DEFAULT_REGION=us-east-1",
        ]
    )


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
