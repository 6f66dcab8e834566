"""Some daemons of one cluster, made nodes by `rs3gwctl cluster init | invite | join` alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from cluster_commands import ctl, let_in

from rs3gwd.testing.local_cluster import free_ports
from rs3gwd.testing.node_process import NodeProcess

JOINED_SECONDS_MAX = 60.0
MASTER_KEY = "5d" * 31 + "01"


class Site:
    """Some machines, each with a folder and an address where the others reach it."""

    def __init__(self, folder: Path, count: int) -> None:
        self.ports = free_ports(count)
        self.nodes = {
            number: NodeProcess(folder / f"machine{number}", environ=self._settings(count))
            for number in range(1, count + 1)
        }

    def _settings(self, count: int) -> dict[str, str]:
        seeds = [f"{n}@127.0.0.1:{port}" for n, port in enumerate(self.ports, start=1)]
        return {
            "RS3GW_CLUSTER_ENABLED": "true",
            "RS3GW_CLUSTER_SEED_NODES": ",".join(seeds),
            "RS3GW_MASTER_KEY_SOURCE": "environment",
            "RS3GW_MASTER_KEY": MASTER_KEY,
        }

    def groups(self, number: int) -> list[dict[str, Any]]:
        """The groups as a node sees them."""
        found: list[dict[str, Any]] = json.loads(ctl(self.nodes[number].data, "cluster", "groups"))
        return found

    def wait_voters(self, number: int, voters: set[int]) -> None:
        """Returns once these and nobody else belong to every group, and vote."""
        deadline = time.monotonic() + JOINED_SECONDS_MAX
        while True:
            groups = self.groups(number)
            found = [
                {each["node"]: each["is_voter"] for each in group["members"]} for group in groups
            ]
            if all(members == dict.fromkeys(voters, True) for members in found):
                return
            assert time.monotonic() < deadline, groups
            time.sleep(0.2)

    def make_nodes(self) -> None:
        """Gives each machine its certificate."""
        ctl(self.nodes[1].data, "cluster", "init")
        for number, node in self.nodes.items():
            if number > 1:
                assert let_in(self.nodes[1].data, node.data) == number

    def start(self) -> None:
        """Starts all daemons; returns once each is ready."""
        for node in self.nodes.values():
            node.start(wait=False)
        for node in self.nodes.values():
            node.wait_ready()
