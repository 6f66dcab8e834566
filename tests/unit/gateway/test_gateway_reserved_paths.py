"""Which requests are not S3: exactly those that the documentation names."""

import pytest

from rs3gwd.gateway.reserved_paths import ReservedPaths

PATHS = ReservedPaths(prefixes=("/api/", "/graphql", "/console"))


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/health/live",
        "/health/ready",
        "/api/",
        "/api/v1/x",
        "/graphql",
        "/graphql/x",
        "/console",
    ],
)
def test_reserved(path):
    """Exact paths and configured prefixes are taken, unless the request is signed for S3."""
    assert PATHS.takes(path, "", "")
    assert PATHS.takes(path, "a=X-Amz-Signature", "Bearer x")
    assert not PATHS.takes(path, "", "AWS4-HMAC-SHA256 Credential=x")
    assert not PATHS.takes(path, "", "AWS x:y")
    assert not PATHS.takes(path, "a=b&X-Amz-Signature=x", "")
    assert not PATHS.takes(path, "X-Amz-Algorithm=AWS4-HMAC-SHA256", "")
    assert not PATHS.takes(path, "AWSAccessKeyId=x&Signature=y", "")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/apis",
        "/metrics/",
        "/Metrics",
        "/health",
        "/health/",
        "/health/live/",
        "/graphqlx",
        "/consoles/x",
        "/bucket/metrics",
        "*",
        "/%6detrics",
    ],
)
def test_not_reserved(path):
    """Near misses are S3."""
    assert not PATHS.takes(path, "", "")


def test_without_prefixes_only_exact_paths_are_reserved():
    """The default reserves three paths and no more."""
    assert ReservedPaths().takes("/metrics", "", "")
    assert not ReservedPaths().takes("/api/x", "", "")
