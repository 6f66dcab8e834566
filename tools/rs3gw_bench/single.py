"""What is measured a few times only: start, idling, DeleteObjects, an open loop, TLS."""

import base64
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from tools.rs3gw_bench import processes, workloads
from tools.rs3gw_bench.figures import Figures
from tools.rs3gw_bench.generator import LoadError, Shape
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.rounds import note
from tools.rs3gw_bench.servers import Node
from tools.rs3gw_bench.session import SMALL_POOL_BYTES, Session

DELETE_OBJECTS_KEYS = 1000
STARTS = 3
OPEN_LOOP_SHARES = (0.25, 0.5, 0.75)
"""Of what the closed loop reached: an open loop near the limit only shows the queue growing."""


def measure_start(make: Callable[[], Node], figures: Figures) -> None:
    """Milliseconds from the start of the process to its first answer."""
    for _ in range(STARTS):
        node = make()
        start = time.perf_counter()
        node.start()
        figures.add(node.name, "start_ms", (time.perf_counter() - start) * 1e3)
        node.stop()


def measure_idle(node: Node, figures: Figures, *, seconds: float) -> None:
    """Memory of the largest process, and processor time, of a node that nobody asks anything."""
    assert node.pid is not None
    time.sleep(1.0)  # what a start leaves to be done in the background
    before, start = processes.cpu_seconds(node.pid), time.perf_counter()
    time.sleep(seconds)
    spent = processes.cpu_seconds(node.pid) - before
    figures.add(node.name, "idle_cpu_share", spent / (time.perf_counter() - start))
    largest = max(m.resident_bytes for m in processes.memory_of(node.pid).values())
    figures.add(node.name, "idle_bytes_per_process", largest)


def measure_delete_objects(session: Session, figures: Figures, *, rounds: int) -> None:
    """One DeleteObjects of a thousand keys, which were written before. Raises LoadError."""
    target, bucket = session.server.name, session.server.target.bucket
    for _ in range(rounds):
        signer, pool = session.server.signer(), Pool(SMALL_POOL_BYTES)
        session.run_once(
            workloads.build_upload(
                signer, pool, size="1k", count=DELETE_OBJECTS_KEYS, folder="delete-many"
            )
        )
        paths = (workloads.key_path(bucket, "delete-many", n) for n in range(DELETE_OBJECTS_KEYS))
        keys = (path.removeprefix(f"/{bucket}/") for path in paths)
        listed = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
        document = f"<Delete><Quiet>true</Quiet>{listed}</Delete>".encode()
        md5 = hashlib.md5(document, usedforsecurity=False).digest()
        request = signer.sign(
            "POST",
            f"/{bucket}?delete",
            payload=hashlib.sha256(document).hexdigest(),
            headers={"content-md5": base64.b64encode(md5).decode()},
        )
        requests = RequestFile(pool)
        requests.add(request, body=pool.keep(document))
        measured = session.run_once(requests, connections=1)
        milliseconds = measured.load.latency.max_us / 1e3
        figures.add(target, "delete_objects_1000_ms", milliseconds)


def measure_open_loop(
    session: Session, figures: Figures, workload: workloads.Workload, *, seconds: float
) -> None:
    """Latency at fixed rates, from when each request was due. Raises LoadError."""
    target = session.server.name
    closed = figures.median(target, f"{workload.name}_rps")
    if closed is None:
        figures.skip(f"{target}: open loop of {workload.name}: its closed loop was not measured")
        return
    session.load_size(workload.size)
    for share in OPEN_LOOP_SHARES:
        requests = workloads.build(workload, session.server.signer(), Pool(SMALL_POOL_BYTES))
        shape = Shape(
            connections=workload.connections,
            seconds=seconds,
            warmup_seconds=0.2,
            rate=closed * share,
        )
        measured = session.run(requests, shape)
        name = f"{workload.name}_open_{share:.0%}".replace("%", "")
        if note(figures, target, name, measured):
            figures.add(target, f"{name}_unsent", measured.load.unsent)


def measure_tls(session: Session, figures: Figures, *, seconds: float, rounds: int) -> None:
    """The same small workloads over TLS, and 64 MiB. Raises LoadError."""
    for _ in range(rounds):
        for name in ("get_4k_c64", "put_4k_c64"):
            (workload,) = workloads.chosen([name])
            measured = session.run_workload(workload, seconds=seconds)
            note(figures, session.server.name, f"tls_{name}", measured)
        session.load_size("64m")
        pool = Pool(workloads.SIZES["64m"] + SMALL_POOL_BYTES)
        get = RequestFile(pool)
        path = workloads.key_path(session.server.target.bucket, "64m", 0)
        body = pool.body(0, workloads.SIZES["64m"])
        get.add(session.server.signer().sign("GET", path), expected=body)
        load = session.run(get, Shape(seconds=60, limit=1)).load
        if not load.is_clean:
            raise LoadError(f"64 MiB over TLS: {load.complaint()}")
        speed = body.count / (load.latency.mean_us / 1e6)
        figures.add(session.server.name, "tls_get_64m_bps", speed)


def make_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """Certificate, key and authority for localhost, in PEM files."""
    # Only developers have it; every other workload must run without.
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    paths = (folder / "cert.pem", folder / "key.pem", folder / "authority.pem")
    certificate.cert_chain_pems[0].write_to_path(paths[0])
    certificate.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    os.chmod(paths[1], 0o600)
    return paths
