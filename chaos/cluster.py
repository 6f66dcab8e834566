"""A cluster of real daemons under faults, and clients who write down what they saw.

Each node is a process of its own with its own data; clients speak S3 to all of them, one request at
a time each, on few keys, so that they meet: reads, writes, deletes, conditional writes, uploads in
parts and listings. A nemesis draws faults of a scenario (`chaos.nemeses`), one at a time, each of
which leaves a majority that can go on. Afterwards all are whole again, every key is read and listed
through every node, and what the clients saw is judged (`chaos.histories`): each key's history must
be linearizable, which covers lost and resurrected writes, stale reads and listings, and two winners
of one condition; and the rows of all groups must be the same on all nodes, by hash.

A listing counts as a read of every key, those that it does not show included. An answer that says
neither yes nor no (a broken connection, a 5xx) is an unknown outcome: the request may take effect
at any time. One for which no connection could be made is none.

Everything is kept in the evidence folder: the history of each key, the log of each node, the times
of the faults, the verdict, and a picture of throughput and latency around the faults.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from chaos.cluster_nodes import BUCKET, READY_SECONDS_MAX, Node, Nodes, Surroundings, open_nodes
from chaos.histories import ABSENT, Act, Operation, Outcome, Verdict, judge
from chaos.nemeses import DISK_FAULTS, FAULTS, NETWORK_FAULTS, SCENARIOS, toothless
from chaos.network import NoNetwork, why_not
from chaos.plots import Answered, Band, draw
from rs3gwd.engine.engine import ENVIRONMENT_DIRECTORY
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.group_rows import RowDigest, group_rows
from rs3gwd.engine.groups import read_cluster
from rs3gwd.engine.tables import Table
from rs3gwd.testing.http_client import Answer, ConnectionLost, HttpClient, NotConnected

PAUSE_SECONDS = 0.005
"""Between the requests of one client: a few overlap on each key, as `histories` likes it."""

LARGE = "x" * 150_000
"""Behind every eighth value: above what rides in a command, so it goes to its replicas first."""

AFTER_SECONDS = 5.0
"""A fault shows in what began so long behind its begin."""

UNCOMPARED = (Table.SESSIONS, Table.ACCESS_KEYS)
"""See `_compare_rows`."""

_LISTED = re.compile(rb"<Key>([^<]+)</Key>.*?<ETag>(?:&quot;|\")([^&\"]+)", re.DOTALL)
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")


class Settings(Struct, frozen=True):
    """One run. A fault of the scenario (of `SCENARIOS`) begins about every `every_s` seconds.

    `forget` is a control: power cuts take the syncs of files with this ending for calls that no
    node ever made.
    """

    seed: int
    folder: Path
    scenario: str = "processes"
    seconds: float = 20.0
    nodes: int = 3
    clients: int = 9
    keys: int = 24
    every_s: float = 4.0
    forget: str | None = None


class Report(Struct, frozen=True):
    """What came of a run; `problems` is empty when nothing was wrong.

    `write_ms` has the times of acknowledged writes: median, 99 of 100, slowest. `after_fault_ms`
    has, for each kind of fault, the slowest such write through the other nodes in the seconds
    behind its begin, over all its turns: median and slowest. `bites` adds up, for each kind of
    fault that counts, what it did, and how the nodes answered that it befell.
    """

    operations: int
    outcomes: dict[str, int]
    faults: int
    problems: list[str]
    write_ms: list[float]
    after_fault_ms: dict[str, list[float]]
    bites: dict[str, dict[str, int]]


class FaultNote(Struct):
    """When a fault was there; `end` is that of the run where it did not end before.

    `bite` is what it is known to have done, `answers` how its node answered meanwhile, by status
    (0 for a connection that broke), one count of methods that change something (`PUT 507`) and one
    of those that do not (`GET 200`).
    """

    fault: str
    node: int
    start: float
    end: float
    bite: dict[str, int] = {}
    answers: dict[str, int] = {}


class Seen(Struct, frozen=True):
    """One acknowledged write, through which node and when."""

    node: int
    start: float
    end: float


class ClusterRun:
    """What was seen of each key, and the faults so far.

    Raises ValueError (no such scenario, a folder in use), NoNetwork (one that cannot be here).
    """

    def __init__(self, settings: Settings) -> None:
        if settings.scenario not in SCENARIOS:
            raise ValueError(f"{settings.scenario!r} is none of {', '.join(SCENARIOS)}")
        self.settings = settings
        self.faults = SCENARIOS[settings.scenario]
        self.has_network = any(each in NETWORK_FAULTS for each in self.faults)
        if self.has_network and (reason := why_not()):
            raise NoNetwork(reason)
        if (settings.folder / "nodes").exists():
            raise ValueError(f"{settings.folder} holds an earlier run")
        self.random = random.Random(settings.seed)
        self.histories: dict[str, list[Operation]] = {
            f"key-{number}": [] for number in range(settings.keys)
        }
        self.outcomes: Counter[str] = Counter()
        self.notes: list[FaultNote] = []
        self.fallen: list[str] = []
        self.answered: list[Answered] = []
        self.written: list[Seen] = []
        self._count = 0
        self._values: dict[str, str] = {}
        self._etags: dict[str, str] = {}

    # Life.

    async def run(self) -> Report:
        """Starts the nodes, lets clients and nemesis loose, and judges."""
        settings = self.settings
        with open_nodes(
            settings.folder / "nodes",
            settings.nodes,
            seed=settings.seed,
            surroundings=Surroundings(
                has_network=self.has_network,
                has_clocks="wrong-clock" in self.faults,
                has_disks=any(each in DISK_FAULTS for each in self.faults),
                forget=settings.forget,
            ),
        ) as nodes:
            await nodes.heal()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nodes.fold_disks)
                for number in range(settings.clients):
                    nursery.start_soon(self._use, nodes, number)
                nursery.start_soon(self._break, nodes, nursery.cancel_scope)
                await trio.sleep(settings.seconds)
                nursery.cancel_scope.cancel()
            problems = await self._end(nodes)
        problems += self.judge()
        problems += toothless(self._bites())
        return self._report(problems)

    async def _end(self, nodes: Nodes) -> list[str]:
        """All are whole again and shown; what is wrong with that."""
        try:
            await nodes.heal()
            await self._read_all(nodes)
        except (ChildProcessError, trio.TooSlowError) as error:
            return [*self.fallen, f"the cluster is not whole again: {error}"]
        for node in nodes.all:
            await trio.to_thread.run_sync(node.end, signal.SIGTERM)
        return [*self.fallen, *_compare_rows(nodes.all)]

    async def _break(self, nodes: Nodes, scope: trio.CancelScope) -> None:
        """One node, or one link, at a time is a minority, of three nodes and more. A node that does
        not come back ends the run."""
        while self.faults:
            await trio.sleep(self.settings.every_s * self.random.uniform(0.5, 1.0))
            node = self.random.choice(nodes.all)
            fault = self.random.choice(self.faults)
            note = FaultNote(fault, node.number, time.monotonic(), 0.0)
            self.notes.append(note)
            try:
                note.bite = dict(await FAULTS[fault](nodes, node, self.random) or {})
            except (ChildProcessError, trio.TooSlowError) as error:
                self.fallen.append(f"after {fault} of node {node.number}: {error}")
                scope.cancel()
            finally:
                note.end = time.monotonic()

    # Clients.

    async def _use(self, nodes: Nodes, number: int) -> None:
        source = random.Random(f"{self.settings.seed} {number}")
        node = nodes.all[number % len(nodes.all)]
        async with node.client() as client:
            while True:
                await self._act(_Asker(self, client, node.number), source)
                await trio.sleep(PAUSE_SECONDS * source.random())

    async def _act(self, asker: _Asker, source: random.Random) -> None:
        key = source.choice(list(self.histories))
        draw_ = source.random()
        if draw_ < 0.05:
            await asker.list()
        elif draw_ < 0.4:
            await asker.read(key)
        elif draw_ < 0.5:
            await asker.delete(key)
        elif draw_ < 0.55:
            await asker.upload(key, self.new_value(source))
        elif draw_ < 0.75:
            await asker.write(key, Act.WRITE, self.new_value(source))
        elif draw_ < 0.87:
            await asker.write(key, Act.CREATE, self.new_value(source))
        else:
            seen = [each.value for each in self.histories[key][-8:] if each.value in self._etags]
            expected = source.choice(seen) if seen else ABSENT
            await asker.write(key, Act.SWAP, self.new_value(source), expected)

    def new_value(self, source: random.Random) -> str:
        """A value that nobody wrote before; every eighth is the first line of a large body."""
        self._count += 1
        return f"value {self._count}" + ("\n" + LARGE if source.random() < 0.125 else "")

    def know(self, body: str, etag: str) -> str:
        """The name under which histories have a body, whose ETag is or will be this."""
        value = body.partition("\n")[0]
        self._values[etag] = value
        self._etags[value] = etag
        return value

    def etag_of(self, value: str) -> str:
        """The ETag of a value that was named by `know`."""
        return self._etags[value]

    def value_of(self, etag: str) -> str:
        """The value of an ETag; one that was never written is a value of its own."""
        return self._values.get(etag, f"the unknown ETag {etag}")

    def note_answer(self, node: int, kind: str) -> None:
        """Writes down how a node answered (`FaultNote.answers`), if it has a fault."""
        note = self.notes[-1] if self.notes else None
        if note is not None and note.node == node and not note.end:
            note.answers[kind] = note.answers.get(kind, 0) + 1

    def note(self, key: str, operation: Operation) -> None:
        """Writes down one operation."""
        self.outcomes[f"{operation.act.name.lower()} {operation.outcome.name.lower()}"] += 1
        self.histories[key].append(operation)
        if operation.outcome is not Outcome.UNKNOWN:
            self.answered.append(Answered(operation.start, operation.end))
        if operation.outcome is Outcome.DONE and operation.act is not Act.READ:
            self.written.append(Seen(operation.node, operation.start, operation.end))

    # Judgement.

    async def _read_all(self, nodes: Nodes) -> None:
        """Reads every key through every node, and lists: for the histories to be judged with, and
        so that every node has applied all that was acknowledged. Raises TooSlowError."""
        for node in nodes.all:
            async with node.client() as client:
                asker = _Asker(self, client, node.number)
                with trio.fail_after(READY_SECONDS_MAX):
                    for key in self.histories:
                        # The node tells nobody when it can prove what it shows.
                        while await asker.read(key) is not Outcome.DONE:  # noqa: ASYNC110
                            await trio.sleep(0.1)
                    while await asker.list() is not Outcome.DONE:  # noqa: ASYNC110
                        await trio.sleep(0.1)

    def judge(self) -> list[str]:
        """The keys whose histories cannot be, or that cannot be judged."""
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
            faults=len(self.notes),
            problems=problems,
            write_ms=_spread([1000 * (each.end - each.start) for each in self.written]),
            after_fault_ms=self._after_faults(),
            bites=self._bites(),
        )
        verdict = {
            "settings": {**msgspec.to_builtins(self.settings, enc_hook=str)},
            "report": msgspec.to_builtins(report),
            "faults": msgspec.to_builtins(self.notes),
        }
        (folder / "verdict.json").write_text(json.dumps(verdict, indent=2))
        bands = [Band(f"{each.fault} {each.node}", each.start, each.end) for each in self.notes]
        (folder / "run.svg").write_text(draw(self.answered, bands))
        return report

    def _after_faults(self) -> dict[str, list[float]]:
        slowest: dict[str, list[float]] = {}
        for note in self.notes:
            times = [
                1000 * (each.end - each.start)
                for each in self.written
                if each.node != note.node and 0 <= each.start - note.start <= AFTER_SECONDS
            ]
            if times:
                slowest.setdefault(note.fault, []).append(max(times))
        return {fault: [_spread(each)[0], max(each)] for fault, each in sorted(slowest.items())}

    def _bites(self) -> dict[str, dict[str, int]]:
        bites: dict[str, Counter[str]] = {}
        for note in self.notes:
            if note.bite:
                found = bites.setdefault(note.fault, Counter())
                found.update(note.bite)
                found.update(note.answers)
        return {fault: dict(sorted(found.items())) for fault, found in sorted(bites.items())}


class _Asker:
    """One client of one node, who notes what it asks and hears."""

    def __init__(self, run: ClusterRun, client: HttpClient, node: int) -> None:
        self._run = run
        self._client = client
        self._node = node
        self._was_sent = True

    async def read(self, key: str) -> Outcome:
        """GET."""
        start = time.monotonic()
        answer = await self._ask("GET", _path(key))
        value, outcome = ABSENT, Outcome.UNKNOWN
        if answer is not None and answer.status in (200, 404):
            outcome = Outcome.DONE
            if answer.status == 200:
                value = answer.body.decode().partition("\n")[0]
        return self._note(key, Operation(Act.READ, value, start, time.monotonic(), outcome))

    async def list(self) -> Outcome:
        """ListObjectsV2: a read of every key, by ETag."""
        start = time.monotonic()
        answer = await self._ask("GET", BUCKET, [("list-type", "2")])
        end = time.monotonic()
        if answer is None or answer.status != 200:
            return Outcome.UNKNOWN
        listed = {key.decode(): etag.decode() for key, etag in _LISTED.findall(answer.body)}
        for key in self._run.histories:
            value = self._run.value_of(listed[key]) if key in listed else ABSENT
            self._note(key, Operation(Act.READ, value, start, end))
        return Outcome.DONE

    async def delete(self, key: str) -> Outcome:
        """DELETE: a write of ABSENT."""
        return await self._change(key, Act.WRITE, ABSENT, ABSENT, "DELETE", _path(key))

    async def write(self, key: str, act: Act, body: str, expected: str = ABSENT) -> Outcome:
        """PUT, with If-None-Match or If-Match for those that are conditional."""
        value = self._run.know(body, _md5(body.encode()).hex())
        headers = {}
        if act is Act.CREATE:
            headers = {"if-none-match": "*"}
        elif act is Act.SWAP:
            # Where nothing was seen, what this very request writes: it is sure not to be there.
            expected = expected or value
            headers = {"if-match": f'"{self._run.etag_of(expected)}"'}
        return await self._change(
            key, act, value, expected, "PUT", _path(key), headers=headers, body=body.encode()
        )

    async def upload(self, key: str, body: str) -> Outcome:
        """An upload of one part; nothing is there before it is completed."""
        begun = await self._ask("POST", _path(key), [("uploads", "")])
        found = _UPLOAD_ID.search(begun.body) if begun is not None else None
        if found is None:
            return Outcome.REFUSED
        upload_id = ("uploadId", found[1].decode())
        digest = _md5(body.encode())
        query = [("partNumber", "1"), upload_id]
        part = await self._ask("PUT", _path(key), query, body=body.encode())
        if part is None or part.status != 200:
            return Outcome.REFUSED
        value = self._run.know(body, f"{_md5(digest).hex()}-1")
        document = (
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
            f"<ETag>{digest.hex()}</ETag></Part></CompleteMultipartUpload>"
        )
        return await self._change(
            key, Act.WRITE, value, ABSENT, "POST", _path(key), [upload_id], body=document.encode()
        )

    async def _change(
        self,
        key: str,
        act: Act,
        value: str,
        expected: str,
        method: str,
        path: bytes,
        query: Sequence[tuple[str, str]] = (),
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Outcome:
        start = time.monotonic()
        outcome = Outcome.UNKNOWN
        try:
            answer = await self._ask(method, path, query, headers=headers, body=body)
            status = 0 if answer is None else answer.status
            # The answer to a completion begins before its outcome is known.
            if status in (200, 204) and answer is not None and b"<Error>" not in answer.body:
                outcome = Outcome.DONE
            elif act in (Act.CREATE, Act.SWAP) and status in (404, 412):
                outcome = Outcome.REFUSED
        finally:
            # Also when the run ends: the request may have left, and may take effect.
            if self._was_sent:
                operation = Operation(act, value, start, time.monotonic(), outcome, expected)
                self._note(key, operation)
        return outcome

    async def _ask(
        self,
        method: str,
        path: bytes,
        query: Sequence[tuple[str, str]] = (),
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer | None:
        status = 0
        self._was_sent = True
        try:
            answer = await self._client.request(method, path, query, headers=headers, body=body)
            status = answer.status
        except ConnectionLost as error:
            self._was_sent = not isinstance(error, NotConnected)
            await trio.sleep(0.05)
            return None
        finally:
            self._run.note_answer(self._node, f"{'GET' if method == 'GET' else 'PUT'} {status}")
        return answer

    def _note(self, key: str, operation: Operation) -> Outcome:
        self._run.note(key, msgspec.structs.replace(operation, node=self._node))
        return operation.outcome


def run_and_show(settings: Settings) -> bool:
    """Runs, prints what came of it, and says whether nothing was wrong. Raises NoNetwork."""
    report = trio.run(ClusterRun(settings).run)
    print(
        f"{settings.scenario}: {report.operations} operations through {settings.nodes} nodes, "
        f"{report.faults} faults, {len(report.problems)} problems; evidence in {settings.folder}"
    )
    print("  " + ", ".join(f"{count} {name}" for name, count in report.outcomes.items()))
    print("  writes: median {:.0f} ms, p99 {:.0f}, slowest {:.0f}".format(*report.write_ms))
    for fault, (median, slowest) in report.after_fault_ms.items():
        print(
            f"  slowest write elsewhere after {fault}: median {median:.0f} ms, most {slowest:.0f}"
        )
    for fault, bites in report.bites.items():
        print(f"  {fault}: " + ", ".join(f"{count} {what}" for what, count in bites.items()))
    for problem in report.problems:
        print(f"  {problem}")
    if report.problems:
        print(
            f"  again: python3 -m chaos run {settings.scenario} --seed {settings.seed} "
            f"--minutes {settings.seconds / 60:g}"
            + (f" (all syncs of *{settings.forget} forgotten)" if settings.forget else "")
        )
    return not report.problems


def _compare_rows(nodes: Sequence[Node]) -> list[str]:
    """Whether all nodes hold the same rows of every group.

    Left out is what changes without any request while nodes end one after the other: who proposed
    what and when (upkeep of buckets), and keys of access, which say when they were last used.
    """
    digests: list[list[bytes]] = []
    for node in nodes:
        found = []
        path = str(node.folder / ENVIRONMENT_DIRECTORY)
        environment = Environment.open(path, read_only=True)
        try:
            with environment.read() as txn:
                record = read_cluster(txn)
                assert record is not None, "a node of a cluster"
                for group in range(record.groups + 1):
                    digest = RowDigest()
                    for row in group_rows(txn, group, record.groups):
                        if row.table not in UNCOMPARED:
                            digest.update(row)
                    found.append(digest.finish())
        finally:
            environment.close()
        digests.append(found)
    return [
        f"node {nodes[number].number} holds other rows of group {group}"
        for number in range(1, len(nodes))
        for group, digest in enumerate(digests[number])
        if digest != digests[0][group]
    ]


def _spread(values: Sequence[float]) -> list[float]:
    """Median, 99 of 100, greatest."""
    if not values:
        return [0.0, 0.0, 0.0]
    ordered = sorted(values)
    return [ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1]]


def _path(key: str) -> bytes:
    return BUCKET + b"/" + key.encode()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
