"""The tests of this folder meet the reference store, and many of them three nodes as well."""

from __future__ import annotations

from collections.abc import Iterator

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
    "test_injection": True,
    "test_malformed": True,
    "test_strangers": True,
    "test_sts_clients": True,
    "test_web_identity": True,
}
"""The files that make their worlds in each test; whether on three nodes in the long run alone."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives the tests of these files the fixture that says what their worlds stand on."""
    is_long = ON_THREE.get(metafunc.module.__name__)
    if is_long is None:
        return
    three = pytest.param("three", marks=pytest.mark.long) if is_long else "three"
    metafunc.parametrize("ground", ["one", three], indirect=True)


@pytest.fixture(autouse=True)
def ground(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Worlds made in the test stand on the reference store, or each on three nodes of its own."""
    made: list[ThreeNodes] = []

    def open_nodes() -> ThreeNodes:
        made.append(ThreeNodes())
        return made[-1]

    if getattr(request, "param", "one") == "three":
        monkeypatch.setattr(S3World, "open_nodes", staticmethod(open_nodes))
    yield
    for nodes in made:
        nodes.close()
