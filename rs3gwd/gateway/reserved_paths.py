"""Which requests on the one port are not S3. Pure.

Buckets and the daemon's own pages share one name space of paths, so little is reserved: exactly
`/metrics`, `/health/live` and `/health/ready`, and the prefixes that the daemon's configuration
names (`/api/`, `/graphql`, `/events`, `/console`). Everything else is S3: a bucket may be called
`health` or `metrics` and only loses the two keys `live` and `ready` and the bare listing
`GET /metrics`, and only for anonymous requests, since

    whoever signs a request for S3 (Authorization that begins with AWS, or the query parameters
    of a presigned URL) means S3, whatever the path.

Under a prefix `/api/` the bucket `api` thus works for everyone who signs.
"""

import re

from msgspec import Struct

RESERVED_EXACT = frozenset(["/metrics", "/health/live", "/health/ready"])
"""Paths that the daemon answers itself for any unsigned request."""

_PRESIGNED = re.compile(r"(?:^|&)(?:X-Amz-(?:Algorithm|Signature|Credential)|AWSAccessKeyId)=")


class ReservedPaths(Struct, frozen=True):
    """The reserved paths of one daemon. A prefix that ends in `/` takes what lies below it;
    one that does not is a path of its own and also takes what lies below it."""

    prefixes: tuple[str, ...] = ()

    def takes(self, path: str, query: str, authorization: str) -> bool:
        """True when this request is for the daemon's own pages, False when it is S3."""
        # Nearly all paths are told apart by these two, without a further call.
        if path not in RESERVED_EXACT and not (
            path.startswith(self.prefixes) and self._has_prefix(path)
        ):
            return False
        return not authorization.startswith("AWS") and _PRESIGNED.search(query) is None

    def _has_prefix(self, path: str) -> bool:
        return any(
            path.startswith(prefix if prefix.endswith("/") else f"{prefix}/") or path == prefix
            for prefix in self.prefixes
        )
