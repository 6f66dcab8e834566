"""The parts of the benchmark, and the servers that each of them is put to.

Servers are started when a part first needs them and stay until the end, so that those which are
compared are up together. A server that does not start, or a part that cannot be measured, is said
in the report and stops nothing else; one that answers wrongly makes the run fail at its end.
"""

import fnmatch
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rs3gwd.testing.node_process import REGION
from tools.rs3gw_bench import durability, floors, large, million, single, workloads
from tools.rs3gw_bench.compiler import Programs
from tools.rs3gw_bench.figures import FLOOR, Figures
from tools.rs3gw_bench.generator import LoadError
from tools.rs3gw_bench.options import Options
from tools.rs3gw_bench.policy import come_in_by_policy
from tools.rs3gw_bench.rounds import Rounds
from tools.rs3gw_bench.servers import Node, Server, ServerError, make_peer
from tools.rs3gw_bench.session import Bench, Session
from tools.rs3gw_bench.signing import Target
from tools.rs3gw_bench.three_nodes import (
    FLOOR_NAME,
    NAME,
    ThreeAlone,
    ThreeNodes,
    measure_three_nodes,
)
from tools.rs3gw_bench.wire import WireError
from tools.rs3gw_bench.workloads import Workload

Measure = Callable[..., None]
"""Takes a session, the figures and settings of its own."""

IDLE_SECONDS = 4.0
LARGE_ROUNDS = 5
MULTIPART_ROUNDS = 2

ENCRYPTING = {"RS3GW_DEFAULT_ENCRYPTION": "AES256"}
"""The settings of a node that encrypts whatever it stores."""


class Suite:
    """One run of the benchmark, its data below `folder` and its requests in `scratch`."""

    def __init__(
        self, options: Options, programs: Programs, *, folder: Path, scratch: Path, figures: Figures
    ) -> None:
        self.options = options
        self.figures = figures
        self._folder = folder
        self._bench = Bench(programs, scratch, folder, options.load_core)
        self._sessions: dict[str, Session | None] = {}
        self._stack = ExitStack()

    def run(self) -> None:
        """Every part that was chosen, one after another."""
        with self._stack:
            for name, part in PARTS.items():
                if self._wants(name, part):
                    print(f"{name}: {part.summary}", flush=True)
                    part.run(self)

    def measure_start(self) -> None:
        """Start to first answer, of an empty store."""
        if self.options.measures_node:
            single.measure_start(lambda: self._make_node("node", "start"), self.figures)
            self.figures.show("node", ["start_ms"])

    def measure_idle(self) -> None:
        """A node that nobody asks anything, without workers and with as many as wanted."""
        for name, workers in self._node_variants():
            session = self._variant(name, workers)
            if session and isinstance(session.server, Node):
                single.measure_idle(session.server, self.figures, seconds=IDLE_SECONDS)
                self.figures.show(name, ["idle_bytes_per_process", "idle_cpu_share"])

    def measure_small(self) -> None:
        """The chosen workloads in rounds, with the floors."""
        main = self._main_sessions()
        scaling = [
            session
            for name, workers in self._node_variants()[1:]
            if (session := self._variant(name, workers))
        ]
        plan = [
            (workload, [*main, *scaling] if workload.name in workloads.SCALING else main)
            for workload in self._workloads()
        ]
        rounds = Rounds(
            self._bench,
            self.figures,
            seconds=self.options.seconds,
            pairs=self.options.pairs,
            core=self.options.server_cores[0],
        )
        rounds.measure(plan)
        for target in (FLOOR, *(s.server.name for s in (*main, *scaling))):
            self.figures.show(target)

    def measure_open_loop(self) -> None:
        """Latency at fixed rates below what the closed loop reached."""
        for session in self._main_sessions():
            for workload in workloads.chosen(workloads.SCALING):
                self._try(
                    f"open loop of {workload.name}",
                    session,
                    partial(single.measure_open_loop, workload=workload),
                    seconds=self.options.seconds,
                )
            every = self.figures.values.get(session.server.name, {})
            self.figures.show(session.server.name, [n for n in every if "_open_" in n])

    def measure_delete_objects(self) -> None:
        """One request that deletes a thousand keys."""
        for session in self._main_sessions():
            self._try(
                "DeleteObjects",
                session,
                single.measure_delete_objects,
                rounds=self.options.pairs,
            )
            self.figures.show(session.server.name, ["delete_objects_1000_ms"])

    def measure_durability(self) -> None:
        """What each target syncs before it answers."""
        notes = self.figures.notes.setdefault("durability", {})
        for session in self._main_sessions():
            self._try("durability", session, durability.measure_syncs)
        for target, note in notes.items():
            print(f"  {target}: {note['verdict']}", flush=True)

    def measure_large(self) -> None:
        """64 MiB up and down: on the server's core alone, then on all cores."""
        rounds = max(LARGE_ROUNDS, self.options.pairs)
        for session in self._main_sessions():
            self._try("64 MiB", session, large.measure_large, rounds=rounds, suffix="_one_core")
        free = self._free_node()
        if free:
            self._try("64 MiB", free, large.measure_large, rounds=rounds)
        kinds = ("md5", "disk", "put_64m", "put_64m_crc64nvme", "loopback", "get_64m")
        names = [f"{kind}{where}_bps" for kind in kinds for where in ("_one_core", "")]
        for target in (FLOOR, *(s.server.name for s in self._main_sessions())):
            self.figures.show(target, names)

    def measure_multipart(self) -> None:
        """1 GiB in sixteen parts: on all cores, and beside other targets on one core as well."""
        free, main = self._free_node(), self._main_sessions()
        if free:
            self._try("multipart", free, large.measure_multipart, rounds=MULTIPART_ROUNDS)
        for session in main if len(main) > 1 or not free else ():
            self._try(
                "multipart",
                session,
                large.measure_multipart,
                rounds=MULTIPART_ROUNDS,
                suffix="_one_core",
            )
        for session in main:
            target = session.server.name
            every = self.figures.values.get(target, {})
            self.figures.show(target, [n for n in every if n.startswith("multipart")])

    def measure_tls(self) -> None:
        """Small workloads and 64 MiB over TLS."""
        if not self._bench.programs.has_tls:
            self.figures.skip("TLS: OpenSSL's headers are missing (apt-get install libssl-dev)")
        elif self.options.measures_node:
            tls = single.make_certificate(self._folder)
            session = self._session(
                "node-tls",
                lambda: Node(
                    "node",
                    self._folder / "tls",
                    cores=self.options.server_cores,
                    environ=self.options.settings,
                    tls=tls,
                ),
            )
            if session:
                self._try(
                    "TLS",
                    session,
                    single.measure_tls,
                    seconds=self.options.seconds,
                    rounds=self.options.pairs,
                )
                names = [n for n in self.figures.values.get("node", {}) if n.startswith("tls_")]
                self.figures.show("node", names)

    def measure_encrypted(self) -> None:
        """A node that encrypts all it stores beside one that does not, on the same core."""
        if not self.options.measures_node:
            return
        plain = self._session("node-plain", lambda: self._make_node("node-plain", "plain"))
        sealed = self._session(
            "node-sse", lambda: self._make_node("node-sse", "sse", environ=ENCRYPTING)
        )
        if plain is None or sealed is None:
            return
        both = [plain, sealed]
        self._compare(both, workloads.ENCRYPTED)
        for number in range(max(LARGE_ROUNDS, self.options.pairs)):
            for session in both if number % 2 == 0 else both[::-1]:
                self._try("64 MiB", session, large.measure_large, rounds=1, suffix="_one_core")
        for session in both:
            self.figures.show(session.server.name)

    def measure_policy(self) -> None:
        """A bucket with a policy of ten statements beside one with none, on the same core."""
        if not self.options.measures_node:
            return
        plain = self._session("node-plain", lambda: self._make_node("node-plain", "plain"))
        ruled = self._session("node-policy", lambda: self._make_node("node-policy", "policy"))
        if plain is None or ruled is None:
            return
        come_in_by_policy(ruled.server)
        self._compare([plain, ruled], workloads.SCALING)
        for session in (plain, ruled):
            self.figures.show(session.server.name)

    def measure_cluster(self) -> None:
        """Three nodes on all cores beside one that has them to itself as well."""
        if not self.options.measures_node:
            return
        alone = self._session(
            "node-alone", lambda: self._make_node("node-alone", "alone", cores=())
        )
        if alone is None:
            return
        nodes = ThreeNodes(self._folder / "three", REGION)
        floor = ThreeAlone(self._folder / "three-alone", REGION)
        try:
            for each in (nodes, floor):
                self._stack.callback(each.stop)
                each.start()
            measure_three_nodes(
                nodes,
                floor,
                alone,
                self.figures,
                bench=replace(self._bench, load_core=None),
                seconds=self.options.seconds,
                pairs=self.options.pairs,
            )
        except (LoadError, WireError) as error:
            self.figures.fault(f"three nodes: {error}")
        except (ServerError, OSError) as error:
            self.figures.skip(f"three nodes: {error}")
        for target in ("node-alone", FLOOR_NAME, NAME):
            self.figures.show(target)

    def _compare(self, sessions: list[Session], names: Sequence[str]) -> None:
        """Workloads in rounds, on servers side by side."""
        rounds = Rounds(
            self._bench,
            self.figures,
            seconds=self.options.seconds,
            pairs=self.options.pairs,
            core=self.options.server_cores[0],
        )
        rounds.measure([(workload, sessions) for workload in workloads.chosen(names)])

    def measure_million(self) -> None:
        """A bucket of a million keys, and a restart with it."""
        sessions = self._main_sessions()[1 if self.options.measures_node else 0 :]
        if self.options.measures_node:
            node = self._session("node-million", lambda: self._make_node("node", "million"))
            sessions = [*([node] if node else []), *sessions]
        for session in sessions:
            self._try("million", session, million.measure_million, keys=self.options.keys)
            self._try("million", session, million.measure_restart)
            names = [n for n in self.figures.values.get(session.server.name, {}) if "million" in n]
            self.figures.show(session.server.name, names)

    def measure_floors(self) -> None:
        """Hashes, memory, disk and loopback."""
        for name, value in {
            **floors.hash_speeds(),
            "memcpy_bps": floors.copy_speed(),
            "loopback_bps": floors.loopback_speed(),
            "fdatasync_us": floors.sync_seconds(self._folder) * 1e6,
            "lmdb_commit_us": floors.commit_seconds(self._folder) * 1e6,
        }.items():
            self.figures.add(FLOOR, name, value)
        self.figures.show(FLOOR)

    def _try(self, what: str, session: Session, measure: Measure, **settings: Any) -> None:
        """Measures one thing on one server; what goes wrong there is said and ends there."""
        name = session.server.name
        try:
            measure(session, self.figures, **settings)
        except (LoadError, WireError) as error:
            self.figures.fault(f"{name}: {what}: {error}")
        except (ServerError, OSError) as error:
            self.figures.skip(f"{name}: {what}: {error}")

    def _wants(self, name: str, part: "Part") -> bool:
        only = self.options.only
        if not only:
            return part.is_quick or self.options.is_full
        named = any(fnmatch.fnmatchcase(name, pattern) for pattern in only)
        return named or (name == "small" and bool(workloads.chosen(only)))

    def _workloads(self) -> Sequence[Workload]:
        named = workloads.chosen(self.options.only)
        if named:
            return named
        return workloads.ALL if self.options.is_full else workloads.chosen(workloads.QUICK)

    def _node_variants(self) -> list[tuple[str, int]]:
        """Names and workers: the node on one core first."""
        if not self.options.measures_node:
            return []
        return [("node", 0), *((f"node-w{count}", count) for count in self.options.workers)]

    def _variant(self, name: str, workers: int) -> Session | None:
        return self._session(name, partial(self._make_node, name, name, workers))

    def _main_sessions(self) -> list[Session]:
        """The node on its core and the other targets, those that could be started."""
        options, found = self.options, []
        if options.measures_node:
            found.append(self._session("node", lambda: self._make_node("node", "node")))
        for name in dict.fromkeys((*options.commands, *options.urls)):
            found.append(self._session(name, partial(self._make_other, name)))
        return [session for session in found if session]

    def _free_node(self) -> Session | None:
        """The node on all cores; its figures are the node's."""
        if not self.options.measures_node:
            return None
        return self._session("node-free", lambda: self._make_node("node", "free", cores=()))

    def _make_node(
        self,
        name: str,
        folder: str,
        workers: int = 0,
        cores: Sequence[int] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Node:
        if cores is None:
            # Workers are there to use every core; alone, the node has its own.
            cores = self.options.server_cores if workers == 0 else ()
        return Node(
            name,
            self._folder / folder,
            cores=cores,
            workers=workers,
            environ={**self.options.settings, **(environ or {})},
        )

    def _make_other(self, name: str) -> Server:
        options = self.options
        credentials = options.credentials.get(name) or _credentials()
        url = options.urls.get(name)
        if name in options.commands:
            return make_peer(
                name,
                options.commands[name],
                url=url,
                credentials=credentials,
                region=options.region,
                folder=self._folder / name,
                cores=options.server_cores,
            )
        assert url is not None
        return Server(name, Target(url.rstrip("/"), *credentials, options.region, "bench"))

    def _session(self, key: str, make: Callable[[], Server]) -> Session | None:
        """The session of that key, started if need be; None if it did not start."""
        if key not in self._sessions:
            self._sessions[key] = self._start(make())
        return self._sessions[key]

    def _start(self, server: Server) -> Session | None:
        try:
            server.start()
            self._stack.callback(server.stop)
            server.make_bucket()
        except (ServerError, OSError) as error:
            self.figures.skip(f"{server.name}: {error}")
            return None
        # A server that may run on every core would share one with a generator that is pinned to it.
        is_free = isinstance(server, Node) and not server.cores
        return Session(replace(self._bench, load_core=None) if is_free else self._bench, server)


@dataclass(frozen=True)
class Part:
    """A part of the benchmark; `is_quick` ones run by default."""

    summary: str
    is_quick: bool
    run: Callable[[Suite], None]


PARTS = {
    "start": Part("start to first answer", True, Suite.measure_start),
    "idle": Part("memory and processor time of an idle node", True, Suite.measure_idle),
    "small": Part("request rates and latencies", True, Suite.measure_small),
    "open_loop": Part("latency at fixed rates", False, Suite.measure_open_loop),
    "delete_objects": Part("DeleteObjects of 1,000 keys", True, Suite.measure_delete_objects),
    "durability": Part("syncs for 100 PUTs", True, Suite.measure_durability),
    "large": Part("64 MiB up and down", True, Suite.measure_large),
    "multipart": Part("1 GiB in parts", True, Suite.measure_multipart),
    "tls": Part("with TLS", False, Suite.measure_tls),
    "encrypted": Part("encrypted beside not", False, Suite.measure_encrypted),
    "policy": Part("a policy of ten statements beside none", False, Suite.measure_policy),
    "cluster": Part("three nodes beside one", False, Suite.measure_cluster),
    "million": Part("a bucket of a million keys", False, Suite.measure_million),
    "floors": Part("what the machine does", True, Suite.measure_floors),
}


def _credentials() -> tuple[str, str]:
    try:
        return os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    except KeyError as error:
        raise ServerError(f"no credentials: {error.args[0]} is not set") from error
