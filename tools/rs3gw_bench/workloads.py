"""The workloads of small and middling requests, as tables and as files of signed requests.

Names say what they are: operation, size, connections. Every key has a body of its own and every GET
is compared with it. `mixed` is what `warp mixed` does by default: 45 % GET, 30 % HEAD (its STAT),
15 % PUT and 10 % DELETE; reads go to keys that stay, writes and deletes to others that come and go.
"""

import fnmatch
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools.rs3gw_bench import payloads
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.signing import Signer

KIB, MIB = 1 << 10, 1 << 20
SIZES = {"1k": KIB, "4k": 4 * KIB, "64k": 64 * KIB, "1m": MIB, "64m": 64 * MIB}
KEYS = {"1k": 2000, "4k": 2000, "64k": 500, "1m": 64, "64m": 3}
"""Distinct keys of each size: more than any cache line, less than a long set-up."""

CONNECTIONS = (1, 16, 64)
RUN_BYTES_MAX = 512 * MIB
"""What one run may upload: a hundred runs must fit the disk before compaction comes."""

MIXED_KINDS = ("get", "head", "put", "delete")
MIXED_SHARES = (45, 30, 15, 10)
MIXED_REQUESTS = 4000
MIXED_SEED = 7
CHURN_KEYS = 300
"""Keys that the mixed load writes and deletes: half of them lie between a PUT and its DELETE."""


@dataclass(frozen=True)
class Workload:
    """One load. `deletes` keys are written before each run of a DELETE, and each goes once."""

    name: str
    operation: str
    size: str
    connections: int
    payload: str = "signed"

    @property
    def size_bytes(self) -> int:
        """Bytes of one body."""
        return SIZES[self.size]

    @property
    def deletes(self) -> int:
        """How many keys there are to delete."""
        most = 1000 if self.connections == 1 else 4000
        return max(64, min(most, 128 * MIB // self.size_bytes))

    @property
    def limit(self) -> int | None:
        """After how many requests a run ends before its time."""
        if self.operation == "delete":
            return self.deletes
        return max(4, RUN_BYTES_MAX // self.size_bytes) if self.operation == "put" else None

    @property
    def reads(self) -> bool:
        """Whether the keys of its size must be there."""
        return self.operation in ("get", "head", "range", "list", "mixed")


def every_basic() -> Iterator[Workload]:
    """PUT, GET, HEAD and DELETE at each size and number of connections."""
    for operation in ("put", "get", "head", "delete"):
        for size in ("1k", "4k", "64k", "1m"):
            for connections in CONNECTIONS:
                yield Workload(f"{operation}_{size}_c{connections}", operation, size, connections)


BASIC = tuple(every_basic())
FURTHER = (
    Workload("mixed_4k_c64", "mixed", "4k", 64),
    Workload("mixed_1m_c16", "mixed", "1m", 16),
    Workload("range_4k_of_1m_c16", "range", "1m", 16),
    Workload("list_1000_c4", "list", "4k", 4),
    *(
        Workload(f"put_64k_{kind}_c16", "put", "64k", 16, kind)
        for kind in payloads.KINDS
        if kind != "signed"
    ),
)
ALL = BASIC + FURTHER

QUICK = (
    "put_4k_c64", "get_4k_c64", "head_4k_c64", "delete_4k_c64", "mixed_4k_c64", "list_1000_c4",
    "get_1k_c1", "put_4k_c1", "get_4k_c16", "put_4k_c16", "get_4k_c1", "get_1m_c16",
)  # fmt: skip
ENCRYPTED = ("put_1m_c16", "get_1m_c16")
"""Measured on a node that encrypts beside one that does not."""

SCALING = ("get_4k_c64", "put_4k_c64")
"""Measured on nodes with workers as well, by default."""


def chosen(patterns: Sequence[str]) -> list[Workload]:
    """Those whose names match one of the shell patterns, in the order of the table."""
    return [w for w in ALL if any(fnmatch.fnmatchcase(w.name, p) for p in patterns)]


def key_path(bucket: str, size: str, number: int) -> str:
    """Where object `number` of a size is."""
    return f"/{bucket}/{size}/{number:06d}"


def build(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    """The requests of one run, signed now."""
    return BUILDERS[workload.operation](workload, signer, pool)


def build_upload(
    signer: Signer, pool: Pool, *, size: str, count: int, folder: str = ""
) -> RequestFile:
    """PUTs of the first `count` keys of a size, each once."""
    requests = RequestFile(pool)
    for number in range(count):
        path = key_path(signer.target.bucket, folder or size, number)
        _add_put(requests, signer, path, number=number, size_bytes=SIZES[size])
    return requests


def build_download(signer: Signer, pool: Pool, *, size: str, count: int) -> RequestFile:
    """GETs of the first `count` keys of a size, each once, compared with what was uploaded."""
    requests = RequestFile(pool)
    for number in range(count):
        request = signer.sign("GET", key_path(signer.target.bucket, size, number))
        requests.add(request, expected=pool.body(number, SIZES[size]))
    return requests


def _put(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    if workload.payload == "signed":
        return build_upload(signer, pool, size=workload.size, count=KEYS[workload.size])
    requests, make = RequestFile(pool), payloads.KINDS[workload.payload]
    for number in range(KEYS[workload.size]):
        path = key_path(signer.target.bucket, workload.size, number)
        body = pool.bytes_of(pool.body(number, workload.size_bytes))
        request, sent = make(signer, path, body)
        requests.add(request, body=pool.keep(sent))
    return requests


def _get(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    return build_download(signer, pool, size=workload.size, count=KEYS[workload.size])


def _head(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    requests = RequestFile(pool)
    for number in range(KEYS[workload.size]):
        path = key_path(signer.target.bucket, workload.size, number)
        requests.add(signer.sign("HEAD", path), length=workload.size_bytes)
    return requests


def _delete(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    requests = RequestFile(pool)
    for number in range(workload.deletes):
        path = key_path(signer.target.bucket, delete_folder(workload), number)
        requests.add(signer.sign("DELETE", path), status=204)
    return requests


def delete_folder(workload: Workload) -> str:
    """The prefix under which the keys lie that this workload deletes."""
    return f"delete-{workload.size}"


def _range(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    """4 KiB from somewhere within each object."""
    requests, chance = RequestFile(pool), random.Random(MIXED_SEED)
    for number in range(KEYS[workload.size]):
        for _ in range(8):
            start = chance.randrange(workload.size_bytes - 4 * KIB)
            path = key_path(signer.target.bucket, workload.size, number)
            header = {"range": f"bytes={start}-{start + 4 * KIB - 1}"}
            whole = pool.body(number, workload.size_bytes)
            wanted = type(whole)(whole.offset + start, 4 * KIB)
            requests.add(signer.sign("GET", path, headers=header), status=206, expected=wanted)
    return requests


def _list(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    """The first thousand keys of a prefix that has twice as many."""
    requests = RequestFile(pool)
    query = f"list-type=2&max-keys=1000&prefix={workload.size}%2F"
    requests.add(signer.sign("GET", f"/{signer.target.bucket}?{query}"))
    return requests


def _mixed(workload: Workload, signer: Signer, pool: Pool) -> RequestFile:
    requests = RequestFile(pool, MIXED_KINDS)
    kinds = [kind for kind, share in enumerate(MIXED_SHARES) for _ in range(share)]
    order = kinds * (MIXED_REQUESTS // len(kinds))
    chance = random.Random(MIXED_SEED)
    chance.shuffle(order)
    bucket, keys, size = signer.target.bucket, KEYS[workload.size], workload.size_bytes
    put = deleted = 0
    for kind in order:
        number = chance.randrange(keys)
        path = key_path(bucket, workload.size, number)
        if kind == 0:
            body = pool.body(number, size)
            requests.add(signer.sign("GET", path), kind=kind, expected=body)
        elif kind == 1:
            requests.add(signer.sign("HEAD", path), kind=kind, length=size)
        elif kind == 2:
            churned = key_path(bucket, f"churn-{workload.size}", put % CHURN_KEYS)
            _add_put(requests, signer, churned, number=put, size_bytes=size, kind=kind)
            put += 1
        else:
            number = (deleted + CHURN_KEYS // 2) % CHURN_KEYS
            churned = key_path(bucket, f"churn-{workload.size}", number)
            requests.add(signer.sign("DELETE", churned), status=204, kind=kind)
            deleted += 1
    return requests


BUILDERS: dict[str, Callable[[Workload, Signer, Pool], RequestFile]] = {
    "put": _put,
    "get": _get,
    "head": _head,
    "delete": _delete,
    "range": _range,
    "list": _list,
    "mixed": _mixed,
}


def _add_put(
    requests: RequestFile,
    signer: Signer,
    path: str,
    *,
    number: int,
    size_bytes: int,
    kind: int = 0,
) -> None:
    pool = requests.pool
    span = pool.body(number, size_bytes)
    with memoryview(pool.data) as view:
        digest = hashlib.sha256(view[span.offset : span.offset + span.count]).hexdigest()
    requests.add(signer.sign("PUT", path, payload=digest), kind=kind, body=span)
