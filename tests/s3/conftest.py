"""The tests of this folder meet the reference store, and many of them three nodes as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from s3_world import S3World
from three_nodes import ThreeNodes

ON_THREE = {
    "test_access_matrix": True,
    "test_advisories": True,
    "test_condition_keys": True,
    "test_encryption_clients": False,
    "test_error_details": True,
    "test_forged": True,
    "test_iam_clients": False,
    "test_iam_overview": True,
    "test_iam_simulation": True,
    "test_injection": True,
    "test_key_uses": True,
    "test_malformed": True,
    "test_strangers": True,
    "test_sts_clients": True,
    "test_web_identity": True,
}
"""The files that make their worlds in each test; whether on three nodes in the long run alone.

Those of test_iam_forged and test_session_forged have one world for the whole file: they stand on
`file_ground`. test_brake stands on no nodes: what an address may try is each process's own affair,
of which nothing goes between workers or nodes. test_admin_api has a cluster of its own,
test_encryption_paths looks into the reference store, test_malformed_wire is about the front, and
test_no_garbage about what one process holds.
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives the tests of these files the fixture that says what their worlds stand on."""
    is_long = ON_THREE.get(metafunc.module.__name__)
    if is_long is None:
        return
    three = pytest.param("three", marks=pytest.mark.long) if is_long else "three"
    metafunc.parametrize("ground", ["one", three], indirect=True)


@pytest.fixture(autouse=True)
def ground(request: pytest.FixtureRequest) -> Iterator[None]:
    """Worlds made in the test stand on the reference store, or each on three nodes of its own."""
    if getattr(request, "param", "one") == "one":
        yield
        return
    with _three_nodes():
        yield


@pytest.fixture(
    scope="module",
    params=["one", pytest.param("three", marks=pytest.mark.long)],
    name="file_ground",
)
def ground_of_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """As `ground`, for a file whose tests share a world."""
    if request.param == "one":
        yield
        return
    with _three_nodes():
        yield


@contextmanager
def _three_nodes() -> Iterator[None]:
    """Gives each world that is made three nodes, and ends them."""
    made: list[ThreeNodes] = []

    def open_nodes() -> ThreeNodes:
        made.append(ThreeNodes())
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3World, "open_nodes", staticmethod(open_nodes))
        yield
    for nodes in made:
        nodes.close()
