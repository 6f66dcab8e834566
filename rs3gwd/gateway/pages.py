"""The daemon's own pages: metrics and health. Their whole meaning, for every protocol.

What it is not: it knows no protocol. The HTTP/1.1 front asks it for plain requests, so that a probe
costs what a small request does and a node that is only watched never loads hypercorn and quart
(11 MB of memory, 0.3 s); the quart application asks it for what comes over HTTP/2
(`rs3gwd.gateway.asgi_app`).
"""

import hmac
import json
from collections.abc import Awaitable, Callable

from msgspec import Struct

from rs3gwd.base.http import Response

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The Prometheus text format."""

METHODS = ("GET", "HEAD", "OPTIONS")
"""What pages may be asked with; OPTIONS only says so."""

_JSON = ("Content-Type", "application/json")


class Readiness(Struct, frozen=True):
    """Whether this node should get requests; `checks` names each part and what it says."""

    ready: bool
    checks: dict[str, str] = {}


class Pages(Struct, frozen=True):
    """What the pages show; `readiness` must not block.

    `/metrics` asks for `Authorization: Bearer <metrics_token>` (RFC 6750), since it tells what a
    node holds and who is busy; with None there is no such page.
    """

    render_metrics: Callable[[], Awaitable[bytes]]
    metrics_token: str | None
    readiness: Callable[[], Readiness]

    async def answer(self, method: str, path: str, authorization: str) -> Response:
        """The answer to a request for one of `RESERVED_EXACT`; for HEAD with its body, too."""
        if method not in METHODS:
            return _as_json(405, {"error": "method not allowed"})
        if method == "OPTIONS":
            return Response(200, [("Allow", ", ".join(METHODS))])
        if path == "/health/live":
            return _as_json(200, {"status": "live"})
        if path == "/health/ready":
            state = self.readiness()
            status = "ready" if state.ready else "not ready"
            return _as_json(200 if state.ready else 503, {"checks": state.checks, "status": status})
        if self.metrics_token is None:
            return _as_json(404, {"error": "not found"})
        if not _bears(authorization, self.metrics_token):
            return Response(401, [("WWW-Authenticate", 'Bearer realm="metrics"')])
        return Response(200, [("Content-Type", METRICS_TYPE)], await self.render_metrics())


def _as_json(status: int, fields: dict[str, object]) -> Response:
    body = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
    return Response(status, [_JSON], body)


def _bears(authorization: str, token: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    matches = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return scheme.lower() == "bearer" and matches
