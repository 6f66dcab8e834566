"""Figures of several processes become those of one daemon, and never go down when one ends."""

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from rs3gwd.observe.families import Family, MergedFigures, MetricKind, Row, sum_families
from rs3gwd.observe.metrics import Histogram, Metrics, render


def figures(requests: int, connections: int, durations: tuple[float, ...] = ()) -> list[Family]:
    """What a process could report."""
    metrics = Metrics(is_first=False)
    for _ in range(requests):
        metrics.observe_request("GetObject", 200, "", 0.001, 0, 10)
    histogram = Histogram((1, 10))
    for value in durations:
        histogram.observe(value)
    metrics.add_source("rs3gw_connections", "Open", MetricKind.GAUGE, lambda: connections)
    metrics.add_source("rs3gw_sizes", "Sizes", MetricKind.HISTOGRAM, lambda: histogram)
    metrics.add_source(
        "rs3gw_kinds_total", "By kind", MetricKind.COUNTER, lambda: {"a": requests}, label="kind"
    )
    return metrics.families()


def samples(families: list[Family]) -> dict[tuple[str, ...], float]:
    """(name, label values...) -> value, as a scraper reads them."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(families).decode())
        for sample in family.samples
    }


def test_counters_gauges_and_histograms_of_processes_are_summed() -> None:
    """Each name comes once, with the sum of all processes for each combination of labels."""
    merged = MergedFigures()
    merged.report(1, figures(3, 2, (0.5, 5)))
    merged.report(2, figures(4, 1, (5, 50)))
    found = samples(merged.families(figures(0, 0)))
    assert found["rs3gw_requests_total", "GetObject", "2xx"] == 7
    assert found["rs3gw_bytes_total", "out"] == 70
    assert found["rs3gw_connections",] == 3
    assert found["rs3gw_kinds_total", "a"] == 7
    assert [found["rs3gw_sizes_bucket", end] for end in ("1", "10", "+Inf")] == [1, 3, 4]
    assert found["rs3gw_sizes_sum",] == 60.5
    assert found["process_open_fds",] > 0


def test_what_an_ended_process_counted_stays_and_what_it_held_goes() -> None:
    """Counters and histograms keep its last report, gauges forget it."""
    merged = MergedFigures()
    merged.report(1, figures(1, 9, (0.5,)))
    merged.report(1, figures(3, 2, (0.5, 5)))
    before = samples(merged.families([]))
    merged.end(1)
    merged.end(7)
    after = samples(merged.families(figures(0, 0)))
    assert before["rs3gw_connections",] == 2
    assert after["rs3gw_connections",] == 0
    for name in (("rs3gw_requests_total", "GetObject", "2xx"), ("rs3gw_sizes_sum",)):
        assert after[name] == before[name] > 0
    merged.report(2, figures(2, 1))
    merged.end(2)
    assert samples(merged.families([]))["rs3gw_requests_total", "GetObject", "2xx"] == 5


def test_families_go_from_process_to_process_unchanged() -> None:
    """What msgpack makes of them is read back equal."""
    sent = figures(2, 1, (0.1,))
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=list[Family])
    assert received == sent


def test_rows_that_only_one_process_has_are_kept() -> None:
    """A sum has every combination of labels that any of them has."""
    one = Family("rs3gw_x_total", "X", MetricKind.COUNTER, ("kind",), [Row(("a",), [1.0])])
    other = Family("rs3gw_x_total", "X", MetricKind.COUNTER, ("kind",), [Row(("b",), [2.0])])
    (family,) = sum_families([[one], [other], []])
    assert family.rows == [Row(("a",), [1.0]), Row(("b",), [2.0])]


def test_only_the_first_process_tells_its_bounds() -> None:
    """A bound of open files or a start time cannot be summed."""
    first, other = Metrics().families(), Metrics(is_first=False).families()
    extra = {family.name for family in first} - {family.name for family in other}
    assert extra == {"process_max_fds", "process_start_time_seconds"}
