"""A bucket of a million keys: load, walk, pages by prefix and delimiter, restart, memory.

Keys lie under ten prefixes, `p0/` to `p9/`, in order of their names. The walk follows continuation
tokens from the first page to the last, while writes to another prefix run beside it if wanted.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.rs3gw_bench import processes
from tools.rs3gw_bench.figures import Figures
from tools.rs3gw_bench.generator import LoadError
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.servers import Node
from tools.rs3gw_bench.session import Session
from tools.rs3gw_bench.wire import Answer, Wire, WireError, median_seconds

PREFIXES = 10
OBJECT_BYTES = 100
LOAD_BATCH = 50_000
"""Requests signed at a time: their heads take 400 bytes each."""

LOAD_CONNECTIONS = 64
PAGE_KEYS = 1000
DELIMITER_PAGES = 20
EDGE = 10
"""Pages at either end of the walk that are compared: a page must cost the same everywhere."""


@dataclass(frozen=True)
class Walk:
    """A listing from its first page to its last."""

    keys: int
    pages: list[Answer]
    cpu_seconds: float | None

    @property
    def seconds(self) -> float:
        """What the pages took together, without the reading of them."""
        return sum(page.seconds for page in self.pages)

    @property
    def last_to_first(self) -> float:
        """Median time of the last full pages by that of the first ones."""
        full = self.pages[:-1] or self.pages
        return median_seconds(full[-EDGE:]) / median_seconds(full[:EDGE])


def measure_million(session: Session, figures: Figures, *, keys: int) -> None:
    """Loads and lists. The names of figures say `million` whatever `keys` is; the notes say how
    many there were. Raises LoadError and WireError."""
    target = session.server.name
    figures.notes.setdefault("million_keys", {})[target] = keys
    start = time.perf_counter()
    for batch in _batches(keys):
        session.run_once(_upload(session, batch), connections=LOAD_CONNECTIONS)
    figures.add(target, "million_load_rps", keys / (time.perf_counter() - start))
    walk = walk_all(session, "list-type=2&prefix=p")
    if walk.keys != keys:
        raise LoadError(f"a walk over {keys} keys found {walk.keys}")
    _note_walk(figures, target, "million_list", walk)
    _measure_pages(session, figures)
    busy = _beside_writes(session, lambda: walk_all(session, "list-type=2&prefix=p"))
    if busy.keys != keys:
        raise LoadError(f"a walk beside writes found {busy.keys} of {keys} keys")
    _note_walk(figures, target, "million_list_beside_writes", busy)


def measure_restart(session: Session, figures: Figures) -> None:
    """Stops the node, starts it again, and asks for a key: time and memory of a full store."""
    server = session.server
    if not isinstance(server, Node):
        return
    server.stop()
    start = time.perf_counter()
    server.process.start(wait=False)
    answer = _first_answer(session)
    figures.add(server.name, "million_start_ms", (answer - start) * 1e3)
    server.process.wait_ready()
    server.pid = server.process.pid
    walk_all(session, "list-type=2&prefix=p0%2F")
    memory = processes.memory_of(server.pid).values()
    figures.add(server.name, "million_private_bytes", sum(m.private_bytes for m in memory))
    figures.add(server.name, "million_resident_bytes", sum(m.resident_bytes for m in memory))


def walk_all(session: Session, query: str) -> Walk:
    """Lists what `query` selects, page by page, and checks that keys ascend. Raises WireError."""
    server, pages, keys, last = session.server, [], 0, b""
    before = processes.cpu_seconds(server.pid) if server.pid else 0.0
    with Wire(server.endpoint) as wire:
        token = ""
        while True:
            signer = server.signer()
            suffix = f"&continuation-token={_quoted(token)}" if token else ""
            request = signer.sign("GET", f"/{server.target.bucket}?{query}{suffix}")
            page = wire.ask(request)
            pages.append(page)
            found = page.body.count(b"<Key>")
            keys += found
            first, end = _edges(page.body)
            if found and not last < first <= end:
                raise WireError(f"keys do not ascend: {last!r}, {first!r} .. {end!r}")
            last = end or last
            if b"<IsTruncated>true</IsTruncated>" not in page.body:
                break
            token = page.text_of("NextContinuationToken")
    spent = processes.cpu_seconds(server.pid) - before if server.pid else None
    return Walk(keys, pages, spent)


def _edges(body: bytes) -> tuple[bytes, bytes]:
    first = body.partition(b"<Key>")[2].partition(b"</Key>")[0]
    last = body.rpartition(b"<Key>")[2].partition(b"</Key>")[0]
    return first, last


def _note_walk(figures: Figures, target: str, name: str, walk: Walk) -> None:
    figures.add(target, f"{name}_keys_per_second", walk.keys / walk.seconds)
    if walk.cpu_seconds:
        figures.add(target, f"{name}_keys_per_cpu_second", walk.keys / walk.cpu_seconds)
    figures.add(target, f"{name}_page_ms", median_seconds(walk.pages) * 1e3)
    figures.add(target, f"{name}_last_to_first", walk.last_to_first)


def _measure_pages(session: Session, figures: Figures) -> None:
    queries = {
        "million_delimiter_ms": ("list-type=2&delimiter=%2F", b"<CommonPrefixes>", PREFIXES),
        "million_prefix_ms": ("list-type=2&prefix=p5%2F", b"<Key>", PAGE_KEYS),
    }
    with Wire(session.server.endpoint) as wire:
        for name, (query, element, count) in queries.items():
            path = f"/{session.server.target.bucket}?{query}"
            request = session.server.signer().sign("GET", path)
            answers = [wire.ask(request) for _ in range(DELIMITER_PAGES)]
            if any(answer.body.count(element) < count for answer in answers):
                raise WireError(f"{query}: fewer than {count} {element!r} in a page")
            figures.add(session.server.name, name, median_seconds(answers) * 1e3)


def _beside_writes(session: Session, work: Callable[[], Walk]) -> Walk:
    """Runs `work` while one client writes keys of another prefix, one after another."""
    stop, errors = threading.Event(), list[Exception]()

    def write() -> None:
        server, number = session.server, 0
        body = bytes(OBJECT_BYTES)
        payload = hashlib.sha256(body).hexdigest()
        try:
            with Wire(server.endpoint) as wire:
                while not stop.is_set():
                    path = f"/{server.target.bucket}/written/{number % 1000}"
                    wire.ask(server.signer().sign("PUT", path, payload=payload), body)
                    number += 1
        except (OSError, WireError) as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = work()
    finally:
        stop.set()
        writer.join()
    if errors:
        raise LoadError(f"a write beside a walk failed: {errors[0]}")
    return result


def _first_answer(session: Session) -> float:
    """When the server first answered a GET of a key rightly."""
    deadline = time.perf_counter() + 60
    path = f"/{session.server.target.bucket}/{_key(0, PREFIXES)}"
    while True:
        try:
            with Wire(session.server.endpoint) as wire:
                wire.ask(session.server.signer().sign("GET", path))
                return time.perf_counter()
        except (OSError, WireError):
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.005)


def _batches(keys: int) -> Iterator[list[str]]:
    for start in range(0, keys, LOAD_BATCH):
        yield [_key(number, keys) for number in range(start, min(start + LOAD_BATCH, keys))]


def _key(number: int, keys: int) -> str:
    return f"p{number * PREFIXES // keys}/{number:09d}"


def _upload(session: Session, keys: list[str]) -> RequestFile:
    pool = Pool(1 << 16)
    requests, signer = RequestFile(pool), session.server.signer()
    bucket = session.server.target.bucket
    body = pool.body(0, OBJECT_BYTES)
    payload = hashlib.sha256(pool.bytes_of(body)).hexdigest()
    for key in keys:
        requests.add(signer.sign("PUT", f"/{bucket}/{key}", payload=payload), body=body)
    return requests


def _quoted(token: str) -> str:
    return "".join(c if c.isalnum() or c in "-._~" else f"%{ord(c):02X}" for c in token)
