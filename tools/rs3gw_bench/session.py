"""A server under load: runs the generator against it and charges the server for what it used."""

from dataclasses import dataclass
from pathlib import Path

from tools.rs3gw_bench import processes, workloads
from tools.rs3gw_bench.compiler import Programs
from tools.rs3gw_bench.generator import Load, LoadError, Shape, run_load
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.servers import Server
from tools.rs3gw_bench.workloads import KEYS, SIZES, Workload

SMALL_POOL_BYTES = 3 << 20
SETUP_SECONDS_MAX = 600.0


@dataclass(frozen=True)
class Bench:
    """What all sessions share.

    `scratch` is for the files of requests, in memory so that writing them does not keep the disk
    busy; `data` is on the disk that is measured; the generator runs on `load_core`.
    """

    programs: Programs
    scratch: Path
    data: Path
    load_core: int | None


@dataclass(frozen=True)
class Measured:
    """A load, and the server's processor time for each request sent (None: cannot be seen)."""

    load: Load
    cpu_us: float | None


class Session:
    """The loads that one server is put under; remembers which objects are there."""

    def __init__(self, bench: Bench, server: Server) -> None:
        self.bench = bench
        self.server = server
        self._loaded: set[str] = set()
        self._verified: set[str] = set()

    def run(self, requests: RequestFile, shape: Shape) -> Measured:
        """Sends requests. Raises LoadError if the generator cannot run."""
        path = requests.save(self.bench.scratch / "requests")
        pid = self.server.pid
        before = processes.cpu_seconds(pid) if pid else 0.0
        load = run_load(
            self.bench.programs.load,
            self.server.endpoint,
            path,
            shape,
            core=self.bench.load_core,
        )
        spent = processes.cpu_seconds(pid) - before if pid else None
        return Measured(load, spent * 1e6 / load.sent if spent is not None and load.sent else None)

    def run_once(self, requests: RequestFile, *, connections: int = 16) -> Measured:
        """Sends each request once, whatever time it takes; for what must be there. Raises
        LoadError if one was answered wrongly."""
        shape = Shape(connections=connections, seconds=SETUP_SECONDS_MAX, limit=len(requests))
        measured = self.run(requests, shape)
        if not measured.load.is_clean:
            raise LoadError(measured.load.complaint())
        return measured

    def run_workload(self, workload: Workload, *, seconds: float) -> Measured:
        """One run of a workload; what it needs is there before. Raises LoadError."""
        signer, pool = self.server.signer(), Pool(SMALL_POOL_BYTES)
        if workload.reads:
            self.load_size(workload.size)
        if workload.operation == "delete":
            folder = workloads.delete_folder(workload)
            self.run_once(
                workloads.build_upload(
                    signer, pool, size=workload.size, count=workload.deletes, folder=folder
                )
            )
        # A run that ends by its count has no requests to spare for a warm-up.
        warmup = 0.0 if workload.operation == "delete" else min(0.2, seconds / 5)
        measured = self.run(
            workloads.build(workload, signer, pool),
            Shape(
                connections=workload.connections,
                seconds=seconds,
                warmup_seconds=warmup,
                limit=workload.limit,
            ),
        )
        if workload.operation == "put" and measured.load.is_clean:
            self._read_back(workload, measured.load.sent)
        return measured

    def _read_back(self, workload: Workload, sent: int) -> None:
        """What is stored wrongly was not uploaded, however fast. Raises LoadError."""
        if workload.name in self._verified:
            return
        pool, signer = Pool(SMALL_POOL_BYTES), self.server.signer()
        gets = workloads.build_download(
            signer, pool, size=workload.size, count=min(sent, KEYS[workload.size])
        )
        self.run_once(gets)
        self._verified.add(workload.name)

    def load_size(self, size: str) -> None:
        """Uploads the objects of a size, unless they are there. Raises LoadError."""
        if size in self._loaded:
            return
        pool = Pool(max(SMALL_POOL_BYTES, SIZES[size] + SMALL_POOL_BYTES))
        upload = workloads.build_upload(self.server.signer(), pool, size=size, count=KEYS[size])
        self.run_once(upload)
        self._loaded.add(size)
