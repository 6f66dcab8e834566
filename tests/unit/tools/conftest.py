"""The load generator built once for the tests that need it; they are skipped without a compiler."""

import pytest

from tools.rs3gw_bench.compiler import Programs, build, find_compiler


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The programs of load/."""
    if find_compiler() is None:
        pytest.skip("there is no C compiler (apt-get install gcc)")
    return build(tmp_path_factory.mktemp("programs"))
