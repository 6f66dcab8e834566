"""A real cluster: daemons with certificates of their own, and one endpoint in front of them.

Where a test needs some node with an endpoint it may take this for a `NodeProcess`: its `url` leads
each connection to the next node. Root key, region and master key are the same on all nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rs3gwd.testing.local_cluster import make_plan
from rs3gwd.testing.node_process import NodeProcess
from rs3gwd.testing.round_robin import RoundRobin


class ClusterProcess:
    """`count` nodes with their data under `folder`; further arguments are those of NodeProcess."""

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 3,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        plan = make_plan(folder, count)
        self.authority: Path | None = settings.get("authority")
        self._environ = {
            "RS3GW_CLUSTER_ENABLED": "true",
            "RS3GW_CLUSTER_SEED_NODES": ",".join(
                f"{each['number']}@{each['peers']}" for each in plan["nodes"]
            ),
            "RS3GW_MASTER_KEY_SOURCE": "environment",
            "RS3GW_MASTER_KEY": plan["master_key"],
            **(environ or {}),
        }
        self.nodes = {
            each["number"]: NodeProcess(Path(each["folder"]), environ=self._environ, **settings)
            for each in plan["nodes"]
        }
        self._front: RoundRobin | None = None

    @property
    def data(self) -> Path:
        """The data directory of the first node, whose admin socket is the cluster's, too."""
        return self.nodes[1].data

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.nodes[1].scheme

    @property
    def port(self) -> int:
        """Where the endpoint in front of the nodes listens."""
        assert self._front is not None, "the cluster is not running"
        return self._front.port

    @property
    def host(self) -> str:
        """Address and port of that endpoint."""
        name = "127.0.0.1" if self.scheme == "http" else "localhost"
        return f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """That endpoint, without a slash at its end."""
        return f"{self.scheme}://{self.host}"

    def start(self) -> None:
        """Starts all nodes; returns once each is ready."""
        self._front = RoundRobin([node.port for node in self.nodes.values()])
        for node in self.nodes.values():
            node.start(wait=False)
        for node in self.nodes.values():
            node.wait_ready()

    def stop(self) -> None:
        """SIGTERM to all, those that were killed before left out; returns when they are gone."""
        if self._front is not None:
            self._front.close()
            self._front = None
        for node in self.nodes.values():
            node.ask_to_stop()
        for node in self.nodes.values():
            node.end_if_running()

    end_if_running = stop

    def kill(self) -> None:
        """SIGKILL to all, one after the other within milliseconds."""
        if self._front is not None:
            self._front.close()
            self._front = None
        for node in self.nodes.values():
            node.kill()

    def tail(self, lines: int = 40) -> str:
        """The ends of the nodes' logs."""
        return "\n".join(
            f"--- node {number}\n{node.tail(lines)}" for number, node in self.nodes.items()
        )

    def __enter__(self) -> ClusterProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
