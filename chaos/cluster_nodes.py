"""The real daemons of a run: processes, and where a scenario wants it a network of their own.

Each node is `python -m rs3gwd.daemon.main` with its data and its log in the evidence folder. On a
network of its own each lives in a namespace (`chaos.network`): nodes meet over the switch, while
clients reach each node by the loopback of its namespace, which no fault of the network touches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import trio
from msgspec import Struct

from chaos.network import Namespace, Switch
from chaos.node_disks import DiskState, NodeDisk, build_shims
from chaos.trace import build_shim
from rs3gwd.testing.http_client import ConnectionLost, HttpClient
from rs3gwd.testing.local_cluster import make_plan, start_node
from rs3gwd.testing.node_process import REGION

BUCKET = b"/chaos"
CLOCK_SOURCE = Path(__file__).with_name("clock_shim.c")
READY_SECONDS_MAX = 120.0
FOLD_SECONDS = 2.0


class Node:
    """One daemon; `port` is that of its S3 endpoint, `place` its namespace where it has one.

    `clock` is the library that makes its clock of day and time one that can be wrong, `disk` its
    disk where that can be full or fail.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        row: dict[str, Any],
        place: Namespace | None = None,
        clock: Path | None = None,
        disk: NodeDisk | None = None,
    ) -> None:
        self._plan = plan
        self._row = row
        self._clock = clock
        self.disk = disk
        self.place = place
        self.number: int = row["number"]
        self.folder = Path(row["folder"])
        self.port = int(row["s3"].rpartition(":")[2])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said, over all its lives."""
        return self.folder.with_suffix(".log")

    def start(self) -> None:
        """Starts the daemon from its disk."""
        environ: dict[str, str] = {}
        libraries: list[Path] = []
        if self.disk is not None:
            environ |= self.disk.begin_life()
            libraries += self.disk.libraries
        if self._clock is not None:
            if not self._clock_file.exists():
                self.set_clock(0.0)
            environ["CHAOS_CLOCK"] = str(self._clock_file)
            libraries.append(self._clock)
        if libraries:
            environ["LD_PRELOAD"] = ":".join(map(str, libraries))
        with self.log.open("ab") as output, self.place.entered() if self.place else nullcontext():
            self.process = start_node(self._plan, self._row, output, environ)

    def set_clock(self, offset_s: float) -> None:
        """From now on its clock of day and time is wrong by this, also over a restart."""
        # In place: the node has it mapped.
        descriptor = os.open(self._clock_file, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(descriptor, int(offset_s * 1e9).to_bytes(8, sys.byteorder, signed=True), 0)
        os.close(descriptor)

    @property
    def _clock_file(self) -> Path:
        return self.folder.with_suffix(".clock")

    def client(self) -> HttpClient:
        """A client of this node."""
        return HttpClient(
            self.port,
            access_key=self._plan["access_key"],
            secret_key=self._plan["secret_key"],
            open_socket=None if self.place is None else self.place.open_socket,
        )

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to a daemon that runs."""
        assert self.process is not None, "the node runs"
        self.process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Ends the daemon and waits until it is gone. Blocks."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait()


class Nodes:
    """All nodes of a run, and the switch between them where they have one. Made by `open_nodes`."""

    def __init__(self, members: list[Node], switch: Switch | None) -> None:
        self.all = members
        self.switch = switch

    def start(self, node: Node) -> None:
        """Starts a node that has ended."""
        node.start()

    async def wait_serving(self, node: Node) -> None:
        """Returns once a bucket can be made, or was, through the node.

        Raises TooSlowError, ChildProcessError (it has ended by itself).
        """
        with trio.move_on_after(READY_SECONDS_MAX):
            # Its daemon tells nobody when it is ready, so it has to be asked.
            while not await _makes_bucket(node):
                if node.process is None or node.process.poll() is not None:
                    raise ChildProcessError(f"node {node.number} has ended: see {node.log}")
                await trio.sleep(0.1)
            return
        raise trio.TooSlowError(f"node {node.number} does not serve: see {node.log}")

    async def fold_disks(self) -> None:
        """Keeps the records of what nodes did to their disks short, until cancelled."""
        while True:
            await trio.sleep(FOLD_SECONDS)
            for node in self.all:
                if node.disk is not None:
                    await trio.to_thread.run_sync(node.disk.fold)

    async def heal(self) -> None:
        """All nodes run, hear each other, have good disks, and serve. Raises TooSlowError."""
        if self.switch is not None:
            self.switch.heal()
        for node in self.all:
            if node.disk is not None:
                node.disk.set(DiskState.WELL)
            if node.process is not None and node.process.poll() is not None:
                node.end(signal.SIGKILL)
            if node.process is None:
                node.start()
        for node in self.all:
            await self.wait_serving(node)


class Surroundings(Struct, frozen=True):
    """What the nodes of a run have that can be broken, beside their processes.

    `forget` is the control of `NodeDisk`, for all of them.
    """

    has_network: bool = False
    has_clocks: bool = False
    has_disks: bool = False
    forget: str | None = None


@contextmanager
def open_nodes(
    folder: Path, count: int, *, seed: int, surroundings: Surroundings
) -> Iterator[Nodes]:
    """Nodes that were not started yet; at the end they are killed, and their network is gone.

    Raises NoCompiler where clocks are to be wrong or disks to fail, and cannot.
    """
    os.environ["RS3GW_REGION"] = REGION  # that for which the clients sign
    plan = make_plan(folder, count)
    clock = build_shim(folder, CLOCK_SOURCE) if surroundings.has_clocks else None
    shims = build_shims(folder) if surroundings.has_disks else None
    places: dict[int, Namespace] = {}
    switch = None
    members: list[Node] = []
    try:
        if surroundings.has_network:
            for row in plan["nodes"]:
                number = row["number"]
                places[number] = Namespace(f"10.77.0.{number}")
                port = row["peers"].rpartition(":")[2]
                row["peers"] = f"{places[number].address}:{port}"
            switch = Switch(places, seed=seed)
        for row in plan["nodes"]:
            disk = None
            if shims is not None:
                disk = NodeDisk(Path(row["folder"]), shims, forget=surroundings.forget)
            members.append(Node(plan, row, places.get(row["number"]), clock, disk))
        yield Nodes(members, switch)
    finally:
        for node in members:
            node.end(signal.SIGKILL)
        if switch is not None:
            switch.close()
        for place in places.values():
            place.close()


async def _makes_bucket(node: Node) -> bool:
    async with node.client() as client:
        try:
            return (await client.request("PUT", BUCKET)).status == 200
        except ConnectionLost:
            return False
