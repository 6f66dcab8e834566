"""The figures that the parts keep, as metrics and as `rs3gwctl status` shows them."""

from collections.abc import Callable, Mapping

import msgspec

from rs3gwd.daemon.supervisor import Supervisor
from rs3gwd.daemon.watching import EngineWatcher, RequestWatcher
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.worker_engine import WorkerEngine
from rs3gwd.gateway.gateway import Gateway
from rs3gwd.node.blob_parts import BlobParts
from rs3gwd.observe.families import MetricKind
from rs3gwd.observe.log_writer import LogWriter
from rs3gwd.observe.metrics import Metrics

_ENGINE_COUNTERS = {
    "commands": "Metadata commands committed",
    "batches": "Group commits",
    "syncs": "Syncs of segment files by group commits",
    "small_bodies": "Bodies appended by group commits",
    "segments_compacted": "Segments rewritten or dropped by compaction",
}

_ENGINE_GAUGES = {
    "queue_count": "Writes that wait for the next group commit",
    "batch_max": "Entries of the largest group commit since the start",
    "lanes_busy": "Large bodies being received",
    "stage_memory_bytes": "Memory held by bodies being received",
    "unsynced_blobs": "Blobs of relaxed and ephemeral buckets not synced yet",
    "segments_missing": "Segments that the index names and the disk lacks",
    "live_bytes": "Bytes in segments that belong to an object or part",
    "dead_bytes": "Bytes in segments that compaction can take back",
    "free_bytes": "Bytes free on the file system of the data",
    "metadata_bytes": "Bytes of metadata pages in use",
    "versions_lost_at_start": "Relaxed or ephemeral versions that a power cut took",
}

_FRONT_COUNTERS = {
    "connections_total": "Connections accepted",
    "connections_refused_total": "Connections beyond the bound",
    "connections_handed_over_total": "Connections handed to the second HTTP stack",
    "requests_refused_total": "Requests answered SlowDown before they were looked at",
    "heads_refused_total": "Request heads refused as malformed or too large",
    "timeouts_total": "Connections cut because a client was too slow",
    "failures_total": "Requests that failed by a defect or a broken disk",
}

_FRONT_GAUGES = {
    "connections": "Connections open",
    "requests_in_flight": "Requests being worked on",
    "buffered_bytes": "Bytes that the front holds in memory",
}


_BLOB_COUNTERS = {
    "remote_reads": "Ranges of blobs that other nodes were asked for",
    "hedges": "Second nodes asked because the first one took too long",
    "fall_backs": "Reads that went on with another node after a failure",
    "quorum_failures": "Bodies refused because too few nodes could keep them",
    "stragglers": "Nodes that missed a body which was acknowledged",
    "fetched": "Blobs fetched because this node lacked them",
    "dropped": "Blobs dropped because the layout gives them to other nodes, which have them",
    "repaired": "Damaged blobs of this node replaced by another node's bytes",
    "repairs_dropped": "Suspected blobs beyond those remembered; scrubbing finds them again",
    "reclaimed": "Blobs freed that no command named",
    "scrubbed": "Blobs of this node read and checked in the background",
    "hints_queued": "Hints written for nodes that missed a body",
    "hints_delivered": "Hints that their node has taken over",
    "partitions_marked": "Partitions marked for comparison because the hints were at their bound",
}

_BLOB_GAUGES: dict[str, tuple[str, Callable[[BlobParts], int]]] = {
    "hints_waiting": ("Hints that wait for their node", lambda blobs: blobs.hints.waiting),
    "partitions_waiting": (
        "Partitions that other nodes have yet to compare",
        lambda blobs: blobs.hints.marked,
    ),
    "suspects": ("Blobs of this node that may be damaged", lambda blobs: blobs.mender.waiting),
    "missing": (
        "Blobs that this node has yet to fetch",
        lambda blobs: blobs.upkeep.missing,
    ),
}


def register_engine(metrics: Metrics, engine: Engine, watcher: EngineWatcher) -> None:
    """The figures of a store's engine and its events; each is read at the scrape."""

    def engine_figure(field: str) -> float:
        value: float = getattr(engine.statistics(), field)
        return value

    for field, text in _ENGINE_COUNTERS.items():
        _add(metrics, f"rs3gw_engine_{field}_total", text, MetricKind.COUNTER, engine_figure, field)
    for field, text in _ENGINE_GAUGES.items():
        _add(metrics, f"rs3gw_engine_{field}", text, MetricKind.GAUGE, engine_figure, field)
    metrics.add_source(
        "rs3gw_engine_events_total",
        "Events of the engine: damage found, disk full, segments compacted",
        MetricKind.COUNTER,
        lambda: dict(watcher.counts),
        label="kind",
    )
    metrics.add_source(
        "rs3gw_disk_failed",
        "1 when the disk is out of use for writes until the daemon is started anew",
        MetricKind.GAUGE,
        lambda: float(engine.statistics().disk_failed is not None),
    )


def register_worker_engine(metrics: Metrics, engine: WorkerEngine) -> None:
    """What a worker's engine holds; whatever it counts, the core counts too."""
    metrics.add_source(
        "rs3gw_engine_stage_memory_bytes",
        _ENGINE_GAUGES["stage_memory_bytes"],
        MetricKind.GAUGE,
        lambda: float(engine.statistics().stage_memory_bytes),
    )


def register_front(metrics: Metrics, gateway: Gateway, watcher: RequestWatcher) -> None:
    """The figures of a front and of what it refused."""

    def front_figure(field: str) -> float:
        value: float = getattr(gateway.statistics(), field)
        return value

    for field, text in _FRONT_COUNTERS.items():
        _add(metrics, f"rs3gw_{field}", text, MetricKind.COUNTER, front_figure, field)
    for field, text in _FRONT_GAUGES.items():
        _add(metrics, f"rs3gw_{field}", text, MetricKind.GAUGE, front_figure, field)
    metrics.add_source(
        "rs3gw_refusals_total",
        "What the front refused before it was a request, by S3 error code",
        MetricKind.COUNTER,
        lambda: dict(watcher.refusals),
        label="code",
    )


def register_blobs(metrics: Metrics, blobs: BlobParts) -> None:
    """What became of the bytes of a cluster on this node."""

    def blob_figure(field: str) -> float:
        value: int = getattr(blobs.counts, field)
        return float(value)

    for field, text in _BLOB_COUNTERS.items():
        _add(metrics, f"rs3gw_blob_{field}_total", text, MetricKind.COUNTER, blob_figure, field)

    def blob_gauge(field: str) -> float:
        return float(_BLOB_GAUGES[field][1](blobs))

    for field, (text, _) in _BLOB_GAUGES.items():
        _add(metrics, f"rs3gw_blob_{field}", text, MetricKind.GAUGE, blob_gauge, field)


def register_log(metrics: Metrics, writer: LogWriter) -> None:
    """What the log lost."""
    metrics.add_source(
        "rs3gw_log_lines_dropped_total",
        "Log lines lost because nobody took them fast enough",
        MetricKind.COUNTER,
        lambda: float(writer.dropped_count),
    )


def register_workers(metrics: Metrics, supervisor: Supervisor) -> None:
    """How many workers there are and why others ended."""
    metrics.add_source(
        "rs3gw_workers",
        "Frontend processes that serve",
        MetricKind.GAUGE,
        lambda: float(supervisor.ready_count),
    )
    metrics.add_source(
        "rs3gw_worker_ends_total",
        "Frontend processes that ended: died, hung, restart, broken (the protocol), stopped",
        MetricKind.COUNTER,
        lambda: dict(supervisor.ends),
        label="reason",
    )


def node_figures(engine: Engine, front: Mapping[str, int]) -> dict[str, int | float | str]:
    """What `rs3gwctl status` shows of a running node; `front` are the counters of its front."""
    figures: dict[str, int | float | str] = {"state": "running", **front}
    for name, value in msgspec.structs.asdict(engine.statistics()).items():
        figures[name] = "" if value is None else value
    return figures


def _add(
    metrics: Metrics,
    name: str,
    text: str,
    kind: MetricKind,
    read: Callable[[str], float],
    field: str,
) -> None:
    metrics.add_source(name, text, kind, lambda: read(field))
