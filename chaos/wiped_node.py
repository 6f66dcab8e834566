"""How long a wiped node takes to hold its copies again, and what clients notice of it:
`python3 -m chaos.wiped_node`.

Three real nodes hold some hundred megabytes in three copies each, and clients of two of them read
and write. The third is killed and its disk is emptied. An empty disk never comes back under its old
number, so the machine joins as node 4 and takes the lost one's place, all by `rs3gwctl`. The
figures are the times of these steps, and the requests of the same clients before, while there were
only two copies, and while the copies were made.

What it is not: a proof (`chaos.cluster` is one), though every object is read through the new node
in the end, and must be what was written.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import trio
from msgspec import Struct

from chaos.cluster_nodes import BUCKET
from chaos.fault_figures import Spread, spread
from rs3gwd.testing.http_client import HttpClient
from rs3gwd.testing.local_cluster import free_ports
from rs3gwd.testing.node_process import NodeProcess

BODY_BYTES = 256 * 1024
PAUSE_SECONDS = 0.02
"""Between the requests of a client: the machine is to be busy with them, and not full."""

COMMAND_SECONDS_MAX = 600.0
LOST, FRESH = 3, 4


class Settings(Struct, frozen=True):
    """One run. `clients` are those of each of the two nodes that stay."""

    seed: int
    folder: Path
    megabytes: int = 200
    seconds: float = 15.0
    clients: int = 2


class Report(Struct, frozen=True):
    """What came of it: seconds of each step, and the requests of each phase by method."""

    steps: dict[str, float]
    requests: dict[str, Spread]
    failed: int
    wrong: int


class WipedNodeRun:
    """One run; `run` does it all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        ports = free_ports(FRESH)
        seeds = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(ports, start=1))
        environ = {
            "RS3GW_CLUSTER_ENABLED": "true",
            "RS3GW_CLUSTER_SEED_NODES": seeds,
            "RS3GW_MASTER_KEY_SOURCE": "environment",
            "RS3GW_MASTER_KEY": "5d" * 31 + "01",
        }
        self.nodes = {
            number: NodeProcess(settings.folder / f"machine{number}", environ=environ)
            for number in range(1, FRESH + 1)
        }
        self._phase = ""
        self._times: dict[str, list[float]] = {}
        self._failed = 0
        self._digests: dict[str, bytes] = {}

    async def run(self) -> Report:
        """Raises CalledProcessError (a command was refused), AssertionError."""
        try:
            await trio.to_thread.run_sync(self._start_three)
            await self._fill()
            steps = {}
            async with trio.open_nursery() as nursery:
                for number in (1, 2):
                    for client in range(self.settings.clients):
                        nursery.start_soon(self._use, number, client)
                self._phase = "before"
                await trio.sleep(self.settings.seconds)
                steps = await self._wipe()
                self._phase = ""
                nursery.cancel_scope.cancel()
            wrong = await self._read_all(self.nodes[FRESH])
        finally:
            for node in self.nodes.values():
                node.end_if_running()
        requests = {name: spread(times) for name, times in self._times.items()}
        return Report(steps, requests, self._failed, wrong)

    def _start_three(self) -> None:
        self._ctl(1, "cluster", "init")
        for number in (2, LOST):
            self._let_in(number)
        for number in (1, 2, LOST):
            self.nodes[number].start(wait=False)
        for number in (1, 2, LOST):
            self.nodes[number].wait_ready()
        self._wait_in_layout(LOST)

    async def _wipe(self) -> dict[str, float]:
        """The node is lost, joins anew, and gets its copies; the seconds of each step."""
        self._phase = "two nodes"
        await trio.to_thread.run_sync(self.nodes[LOST].kill)
        shutil.rmtree(self.nodes[LOST].data)
        await trio.sleep(self.settings.seconds)
        self._phase = "rejoining"
        begun = time.monotonic()
        await trio.to_thread.run_sync(self._join)
        joined = time.monotonic()
        self._phase = "copying"
        # Not waited for before: the change that lets it in waits for the lost node, and goes back.
        replace = partial(self._ctl, 1, "cluster", "replace", str(LOST), str(FRESH), "--lost")
        await trio.to_thread.run_sync(replace)
        done = time.monotonic()
        return {"joined": joined - begun, "copies": done - joined, "in all": done - begun}

    def _join(self) -> None:
        self._let_in(FRESH)
        self.nodes[FRESH].start()
        deadline = time.monotonic() + COMMAND_SECONDS_MAX
        while FRESH not in self._known():
            assert time.monotonic() < deadline, "the new node stands in no layout"
            time.sleep(0.2)

    def _known(self) -> set[int]:
        picture = json.loads(self._ctl(1, "cluster", "layout", "show"))
        return {each["node"] for each in picture["nodes"]}

    def _wait_in_layout(self, node: int) -> None:
        deadline = time.monotonic() + COMMAND_SECONDS_MAX
        while True:
            picture = json.loads(self._ctl(1, "cluster", "layout", "show"))
            known = {each["node"] for each in picture["nodes"]}
            if node in known and not picture["is_changing"]:
                return
            assert time.monotonic() < deadline, picture
            time.sleep(0.2)

    # Clients.

    async def _fill(self) -> None:
        async with _client(self.nodes[1]) as client:
            assert (await client.request("PUT", BUCKET)).status == 200, "a cluster that is ready"
            for number in range(self.settings.megabytes * 1_000_000 // BODY_BYTES):
                assert await self._put(client, f"kept-{number}"), "a cluster at rest takes writes"

    async def _use(self, number: int, client_number: int) -> None:
        source = random.Random(f"{self.settings.seed} {number} {client_number}")
        kept = list(self._digests)
        own = [f"own-{number}-{client_number}-{each}" for each in range(20)]
        async with _client(self.nodes[number]) as client:
            while True:
                await trio.sleep(PAUSE_SECONDS)
                phase = self._phase
                begun = time.monotonic()
                if source.random() < 0.8:
                    method = "GET"
                    answer = await client.request("GET", _path(source.choice(kept)))
                    is_done = answer.status == 200 and len(answer.body) == BODY_BYTES
                else:
                    method = "PUT"
                    is_done = await self._put(client, source.choice(own))
                if is_done and phase:
                    name = f"{method} {phase}"
                    self._times.setdefault(name, []).append(time.monotonic() - begun)
                elif not is_done:
                    self._failed += 1

    async def _put(self, client: HttpClient, key: str) -> bool:
        body = random.randbytes(BODY_BYTES)
        answer = await client.request("PUT", _path(key), body=body)
        if answer.status == 200 and key.startswith("kept"):
            self._digests[key] = sha256(body).digest()
        return answer.status == 200

    async def _read_all(self, node: NodeProcess) -> int:
        """How many of the objects are not what was written, through this node."""
        wrong = 0
        async with _client(node) as client:
            for key, digest in self._digests.items():
                answer = await client.request("GET", _path(key))
                wrong += answer.status != 200 or sha256(answer.body).digest() != digest
        return wrong

    # Commands.

    def _ctl(self, number: int, *words: str, text: str = "") -> str:
        done = subprocess.run(
            _words(self.nodes[number], *words),
            input=text,
            stdout=subprocess.PIPE,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=True,
        )
        return done.stdout

    def _let_in(self, number: int) -> None:
        words = _words(self.nodes[1], "cluster", "invite", "--listen", "127.0.0.1:0")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as invitation:
            assert invitation.stdout is not None
            token = json.loads(invitation.stdout.readline())["token"]
            self._ctl(number, "cluster", "join", "--token", "-", text=token)


def _words(node: NodeProcess, *words: str) -> list[str]:
    return [sys.executable, "-m", "tools.rs3gwctl.main", "--data", str(node.data), "--json", *words]


def _client(node: NodeProcess) -> HttpClient:
    return HttpClient(node.port)


def _path(key: str) -> bytes:
    return BUCKET + b"/" + key.encode()


def main(arguments: Sequence[str]) -> int:
    """Prints the figures; the exit status."""
    parser = argparse.ArgumentParser(prog="wiped_node", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase without a step")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="rs3gw-wiped-"))
    run = WipedNodeRun(Settings(options.seed, folder, options.megabytes, options.seconds))
    report = trio.run(run.run)
    for step, seconds in report.steps.items():
        print(f"{step}: {seconds:.1f} s")
    for name, found in report.requests.items():
        before = report.requests[f"{name[:3]} before"]
        print(
            f"{name}: {found.count}, p50 {found.p50_ms:.1f} p99 {found.p99_ms:.1f} ms; "
            f"p99 x {found.p99_ms / before.p99_ms:.2f}"
        )
    print(f"{report.failed} requests failed, {report.wrong} objects are wrong; logs in {folder}")
    return 1 if report.failed or report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
