"""Three nodes under load: how the clients are spread, and what their figures become."""

import pytest

from tools.rs3gw_bench import workloads
from tools.rs3gw_bench.figures import Figures
from tools.rs3gw_bench.generator import Latency, Load, LoadError
from tools.rs3gw_bench.three_nodes import NAME, WORKLOADS, _note, _shares


def load(*, good: int, p50_us: float, errors: int = 0) -> Load:
    """What one node's clients saw in two seconds."""
    latency = Latency(good, p50_us, p50_us, p50_us, 2 * p50_us, p50_us, p50_us)
    return Load(
        good=good,
        sent=good,
        slow_down=0,
        unsent=0,
        reconnects=0,
        not_kept=0,
        bytes_sent=0,
        bytes_received=0,
        seconds=2.0,
        cpu_share=0.1,
        errors={"status": errors},
        sample="status 404",
        latency=latency,
        kinds={},
    )


@pytest.mark.parametrize(
    ("connections", "shares"), [(64, [22, 21, 21]), (3, [1, 1, 1]), (1, [1, 0, 0])]
)
def test_connections_are_spread_evenly(connections: int, shares: list[int]) -> None:
    """No node has two clients more than another, and together they have all."""
    assert _shares(connections) == shares


def test_rates_are_summed_and_the_slowest_counts() -> None:
    """What clients of all nodes got a second is added up; a latency is that of the worst node."""
    figures = Figures()
    (put,) = workloads.chosen(WORKLOADS[:1])
    _note(figures, NAME, put, [load(good=100, p50_us=5.0), load(good=50, p50_us=9.0)], 700.0)
    assert figures.values[NAME] == {
        "put_4k_c64_rps": [75.0],
        "put_4k_c64_p50_us": [9.0],
        "put_4k_c64_p99_us": [18.0],
        "put_4k_c64_cpu_us": [700.0],
    }


def test_one_wrong_answer_of_one_node_leaves_no_figures() -> None:
    """A cluster of which one node answers wrongly was not measured."""
    figures = Figures()
    (put,) = workloads.chosen(WORKLOADS[:1])
    with pytest.raises(LoadError, match="404"):
        _note(figures, NAME, put, [load(good=9, p50_us=1.0), load(good=9, p50_us=1.0, errors=1)], 1)
    assert figures.values == {}


def test_the_workloads_of_the_part_are_known() -> None:
    """Each of them is one of the benchmark's."""
    assert {workload.name for workload in workloads.chosen(WORKLOADS)} == set(WORKLOADS)
