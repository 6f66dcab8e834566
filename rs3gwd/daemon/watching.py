"""What the parts report, turned into log lines, access log and metrics.

Gateway and engine know neither a log nor a metric; each is given one of these.
"""

from collections import Counter

import structlog

from rs3gwd.base.http import Request, Response
from rs3gwd.engine.events import EngineEvent, EventKind
from rs3gwd.observe.access_log import AccessLog
from rs3gwd.observe.metrics import Metrics

_ALARMING = frozenset(
    [
        EventKind.DATA_CORRUPT,
        EventKind.DISK_FAILED,
        EventKind.UNSYNCED_LOST,
        EventKind.SEGMENT_MISSING,
        EventKind.PLACEMENT_MISSING,
        EventKind.WORKER_REFUSED,
    ]
)


class RequestWatcher:
    """The gateway's observer: every request is counted, and logged where `access_log` is given."""

    def __init__(self, metrics: Metrics, access_log: AccessLog | None) -> None:
        self._count = metrics.observe_request
        self._access_log = access_log
        self._log = structlog.get_logger()
        self.refusals: Counter[str] = Counter()

    def on_request_done(
        self, request: Request, response: Response, seconds: float, bytes_in: int, bytes_out: int
    ) -> None:
        """Counts and logs one request."""
        self._count(
            response.operation,
            response.status,
            response.error_code,
            seconds,
            bytes_in,
            bytes_out,
        )
        if self._access_log is None:
            return
        query = f"?{request.raw_query}" if request.raw_query else ""
        self._access_log.write(
            request_id=request.request_id,
            peer=request.peer,
            access_key=response.principal,
            method=request.method,
            target=request.raw_path + query,
            operation=response.operation,
            status=response.status,
            error_code=response.error_code,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            seconds=seconds,
        )

    def on_refusal(self, peer: str, status: int, api_code: str) -> None:
        """Counts and logs what was refused before it was a request."""
        self.refusals[api_code] += 1
        self._log.info("refused", peer=peer, status=status, code=api_code)

    def on_failure(self, request: Request | None, error: Exception) -> None:
        """Logs an error that should not have happened, with its trace."""
        self._log.error(
            "request failed",
            request_id=request.request_id if request else "",
            method=request.method if request else "",
            path=request.raw_path if request else "",
            exc_info=error,
        )


class EngineWatcher:
    """The engine's observer; its events come from any thread, a few in an hour."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self.counts: Counter[str] = Counter()

    def on_event(self, event: EngineEvent) -> None:
        """Counts and logs one event, loudly where data is at stake."""
        self.counts[event.kind] += 1
        write = self._log.error if event.kind in _ALARMING else self._log.info
        write(event.kind.value, detail=event.detail, segment=event.segment_id)
