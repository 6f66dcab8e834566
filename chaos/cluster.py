"""A cluster of real daemons that fall, stand still and come back, under clients who write down what
they saw.

Each node is a process of its own with its own data; clients speak S3 to all of them, one request at
a time each, on few keys, so that they meet. A nemesis kills nodes (SIGKILL) and stops them
(SIGSTOP), never more than a minority at one moment. Afterwards all are whole again, every key is
read through every node, and what the clients saw is judged (`chaos.histories`): each key's history
must be linearizable, which covers lost and resurrected writes, stale reads and two winners of one
condition; all nodes must agree, and listings must show what is there and nothing else.

An answer that says neither yes nor no (a broken connection, a 5xx) is an unknown outcome: the
request may take effect at any time.

Everything is kept in the evidence folder: the history of each key, the log of each node, the times
of the faults, the verdict.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from chaos.histories import ABSENT, Act, Operation, Outcome, Verdict, judge
from rs3gwd.testing.http_client import Answer, ConnectionLost, HttpClient
from rs3gwd.testing.local_cluster import make_plan, start_node
from rs3gwd.testing.node_process import REGION

BUCKET = b"/chaos"
READY_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.005
"""Between the requests of one client: a few overlap on each key, as `histories` likes it."""


class Settings(Struct, frozen=True):
    """One run. `faults` are of `FAULTS`; a fault begins every `every_s` seconds."""

    seed: int
    folder: Path
    seconds: float = 20.0
    nodes: int = 3
    clients: int = 9
    keys: int = 24
    faults: tuple[str, ...] = ("kill", "stop")
    every_s: float = 4.0


class Report(Struct, frozen=True):
    """What came of a run; `problems` is empty when nothing was wrong."""

    operations: int
    outcomes: dict[str, int]
    faults: int
    problems: list[str]


class _Node:
    """One daemon; `port` is that of its S3 endpoint."""

    def __init__(self, plan: dict, row: dict) -> None:  # type: ignore[type-arg]  # it is JSON
        self._plan = plan
        self._row = row
        self.number: int = row["number"]
        self.port = int(row["s3"].rpartition(":")[2])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the daemon from its disk."""
        self.process = start_node(self._plan, self._row)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to a daemon that runs."""
        assert self.process is not None, "the node runs"
        self.process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Ends the daemon and waits until it is gone."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait()


class ClusterRun:
    """The nodes, what was seen of each key, and the faults so far."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.random = random.Random(settings.seed)
        self.plan = make_plan(settings.folder / "nodes", settings.nodes)
        self.nodes = [_Node(self.plan, row) for row in self.plan["nodes"]]
        self.histories: dict[str, list[Operation]] = {
            f"key-{number}": [] for number in range(settings.keys)
        }
        self.outcomes: Counter[str] = Counter()
        self.faults: list[dict[str, object]] = []
        self._written = 0
        self._values: dict[str, str] = {}

    def client(self, node: _Node) -> HttpClient:
        """A client of one node."""
        keys = self.plan["access_key"], self.plan["secret_key"]
        return HttpClient(node.port, access_key=keys[0], secret_key=keys[1])

    def new_value(self) -> str:
        """A value that nobody wrote before."""
        self._written += 1
        value = f"value {self._written}"
        self._values[_etag(value)] = value
        return value

    # Life.

    async def run(self) -> Report:
        """Starts the nodes, lets clients and nemesis loose, and judges."""
        os.environ["RS3GW_REGION"] = REGION  # that for which the client signs
        try:
            for node in self.nodes:
                node.start()
            await self._wait_ready()
            async with trio.open_nursery() as nursery:
                for number in range(self.settings.clients):
                    nursery.start_soon(self._use, number)
                nursery.start_soon(self._break)
                await trio.sleep(self.settings.seconds)
                nursery.cancel_scope.cancel()
            await self._heal()
            problems = await self._compare()
        finally:
            for node in self.nodes:
                node.end(signal.SIGKILL)
        problems += self._judge()
        return self._report(problems)

    async def _wait_ready(self) -> None:
        """Returns once a bucket can be made, or was, through every node."""
        for node in self.nodes:
            with trio.fail_after(READY_SECONDS_MAX):
                # Its daemon tells nobody when it is ready, so it has to be asked.
                while not await self._makes_bucket(node):  # noqa: ASYNC110
                    await trio.sleep(0.1)

    async def _makes_bucket(self, node: _Node) -> bool:
        async with self.client(node) as client:
            try:
                return (await client.request("PUT", BUCKET)).status == 200
            except ConnectionLost:
                return False

    # Clients.

    async def _use(self, number: int) -> None:
        source = random.Random(f"{self.settings.seed} {number}")
        node = self.nodes[number % len(self.nodes)]
        async with self.client(node) as client:
            while True:
                key = source.choice(list(self.histories))
                await self._ask(client, source, key)
                await trio.sleep(PAUSE_SECONDS * source.random())

    async def _ask(self, client: HttpClient, source: random.Random, key: str) -> None:
        act = source.choice((Act.READ, Act.READ, Act.WRITE, Act.CREATE, Act.SWAP))
        path = BUCKET + b"/" + key.encode()
        value, expected = ABSENT, ABSENT
        method, headers = "PUT", {}
        if act is Act.READ:
            method = "GET"
        elif act is Act.WRITE and source.random() < 0.4:
            method = "DELETE"
        else:
            value = self.new_value()
        if act is Act.CREATE:
            headers = {"if-none-match": "*"}
        elif act is Act.SWAP:
            seen = [each.value for each in self.histories[key][-8:] if each.value != ABSENT]
            expected = source.choice(seen) if seen else value
            headers = {"if-match": f'"{_etag(expected)}"'}
        start = time.monotonic()
        answer: Answer | None = None
        try:
            answer = await client.request(method, path, headers=headers, body=value.encode())
        except ConnectionLost:
            await trio.sleep(0.05)
        finally:
            # Also when the run ends: the request may have left, and may take effect.
            self._note(key, act, value, expected, answer, start, time.monotonic())

    def _note(
        self,
        key: str,
        act: Act,
        value: str,
        expected: str,
        answer: Answer | None,
        start: float,
        end: float,
    ) -> None:
        outcome = Outcome.UNKNOWN
        status = 0 if answer is None else answer.status
        if act is Act.READ and answer is not None and status in (200, 404):
            value = answer.body.decode() if status == 200 else ABSENT
            outcome = Outcome.DONE
        elif act is not Act.READ and status in (200, 204):
            outcome = Outcome.DONE
        elif act in (Act.CREATE, Act.SWAP) and status in (404, 412):
            outcome = Outcome.REFUSED
        self.outcomes[f"{act.name.lower()} {outcome.name.lower()}"] += 1
        self.histories[key].append(Operation(act, value, start, end, outcome, expected))

    # Faults.

    async def _break(self) -> None:
        """One node at a time is a minority, of three nodes and more."""
        while self.settings.faults:
            await trio.sleep(self.settings.every_s * self.random.uniform(0.5, 1.0))
            node = self.random.choice(self.nodes)
            fault = self.random.choice(self.settings.faults)
            self.faults.append({"at": time.monotonic(), "fault": fault, "node": node.number})
            await FAULTS[fault](self, node)

    async def kill(self, node: _Node) -> None:
        """SIGKILL, and a start after a moment."""
        node.end(signal.SIGKILL)
        await trio.sleep(self.random.uniform(0.0, 2.0))
        node.start()

    async def stop(self, node: _Node) -> None:
        """A pause longer than any lease: the node comes back and believes that no time went by."""
        node.send(signal.SIGSTOP)
        try:
            await trio.sleep(self.random.uniform(0.5, 4.0))
        finally:
            node.send(signal.SIGCONT)

    async def kill_all(self, node: _Node) -> None:
        """SIGKILL of every node at one moment; the next fault waits until all serve again."""
        for each in self.nodes:
            each.end(signal.SIGKILL)
        await trio.sleep(self.random.uniform(0.0, 0.5))
        for each in self.nodes:
            each.start()
        await self._wait_ready()

    async def _heal(self) -> None:
        for node in self.nodes:
            if node.process is None:
                node.start()
        await self._wait_ready()

    # Judgement.

    async def _compare(self) -> list[str]:
        """Reads every key through every node, and lists."""
        problems: list[str] = []
        listings = []
        for node in self.nodes:
            present = set()
            async with self.client(node) as client:
                for key in self.histories:
                    if await self._read_at_last(client, key):
                        present.add(key)
                answer = await client.request("GET", BUCKET, [("list-type", "2")])
            listed = {key for key in self.histories if f"<Key>{key}</Key>".encode() in answer.body}
            if listed != present:
                problems.append(f"node {node.number} lists {listed ^ present} wrongly")
            listings.append(present)
        if any(each != listings[0] for each in listings):
            problems.append("the nodes do not show the same keys at the end")
        return problems

    async def _read_at_last(self, client: HttpClient, key: str) -> bool:
        """Whether a key is there, asked until there is an answer."""
        path = BUCKET + b"/" + key.encode()
        with trio.fail_after(READY_SECONDS_MAX):
            while True:
                start = time.monotonic()
                answer = await client.request("GET", path)
                self._note(key, Act.READ, ABSENT, ABSENT, answer, start, time.monotonic())
                if answer.status in (200, 404):
                    return answer.status == 200
                await trio.sleep(0.1)

    def _judge(self) -> list[str]:
        problems = []
        for key, history in self.histories.items():
            judgement = judge(history)
            if judgement.verdict is not Verdict.LINEARIZABLE:
                problems.append(f"{key} is {judgement.verdict.value}: {judgement.culprit}")
        return problems

    def _report(self, problems: list[str]) -> Report:
        folder = self.settings.folder
        for key, history in self.histories.items():
            lines = b"\n".join(msgspec.json.encode(each) for each in history)
            (folder / f"{key}.ndjson").write_bytes(lines)
        report = Report(
            operations=sum(map(len, self.histories.values())),
            outcomes=dict(sorted(self.outcomes.items())),
            faults=len(self.faults),
            problems=problems,
        )
        verdict = {"report": msgspec.to_builtins(report), "faults": self.faults}
        (folder / "verdict.json").write_text(json.dumps(verdict, indent=2))
        return report


FAULTS: dict[str, Callable[[ClusterRun, _Node], Awaitable[None]]] = {
    "kill": ClusterRun.kill,
    "kill_all": ClusterRun.kill_all,
    "stop": ClusterRun.stop,
}
"""The faults by name."""


def run_and_show(settings: Settings) -> bool:
    """Runs, prints what came of it, and says whether nothing was wrong."""
    report = trio.run(ClusterRun(settings).run)
    print(
        f"cluster: {report.operations} operations through {settings.nodes} nodes, "
        f"{report.faults} faults, {len(report.problems)} problems; evidence in {settings.folder}"
    )
    print("  " + ", ".join(f"{count} {name}" for name, count in report.outcomes.items()))
    for problem in report.problems:
        print(f"  {problem}")
    if report.problems:
        print(f"  again: python -m chaos.main cluster --seed {settings.seed}")
    return not report.problems


def _etag(value: str) -> str:
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()
