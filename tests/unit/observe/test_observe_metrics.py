"""Figures are counted as plain integers and read as Prometheus wants them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rs3gwd.observe.families import MetricKind
from rs3gwd.observe.metrics import ERRORS_MAX, OPERATIONS_MAX, Histogram, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(name, label values by label name...) -> value, as a scraper reads them."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_a_request_is_counted_by_operation_and_status_class() -> None:
    """Requests, durations, errors and bytes come out under rs3gw's names."""
    metrics = Metrics()
    metrics.observe_request("GetObject", 200, "", 0.002, 0, 4096)
    metrics.observe_request("GetObject", 206, "", 0.2, 0, 10)
    metrics.observe_request("GetObject", 404, "NoSuchKey", 0.0001, 0, 300)
    metrics.observe_request("PutObject", 0, "RequestTimeout", 61.0, 77, 0)
    found = samples(metrics)
    assert found["rs3gw_requests_total", "GetObject", "2xx"] == 2
    assert found["rs3gw_requests_total", "GetObject", "4xx"] == 1
    assert found["rs3gw_requests_total", "PutObject", "other"] == 1
    assert found["rs3gw_errors_total", "NoSuchKey", "GetObject"] == 1
    assert found["rs3gw_errors_total", "RequestTimeout", "PutObject"] == 1
    assert (found["rs3gw_bytes_total", "in"], found["rs3gw_bytes_total", "out"]) == (77, 4406)
    assert found["rs3gw_request_duration_ms_count", "GetObject"] == 3
    assert found["rs3gw_request_duration_ms_sum", "GetObject"] == pytest.approx(202.1)


def test_buckets_are_cumulative_and_their_bounds_inclusive() -> None:
    """A value on a bound counts below it, and the last bucket holds all."""
    histogram = Histogram((1, 10))
    for value in (0.5, 1, 1.5, 10, 11):
        histogram.observe(value)
    metrics = Metrics()
    metrics.add_source("rs3gw_sizes", "Sizes", MetricKind.HISTOGRAM, lambda: histogram)
    found = samples(metrics)
    assert [found["rs3gw_sizes_bucket", end] for end in ("1", "10", "+Inf")] == [2, 4, 5]
    assert (found["rs3gw_sizes_sum",], found["rs3gw_sizes_count",]) == (24, 5)


def test_sources_are_read_at_each_scrape() -> None:
    """A number, a number per label value and a histogram, each read anew."""
    metrics = Metrics()
    state = {"syncs": 1}
    sizes = Histogram((1, 64))
    metrics.add_source("rs3gw_sync_total", "Syncs", MetricKind.COUNTER, lambda: state["syncs"])
    metrics.add_source(
        "rs3gw_segments_total",
        "Segments",
        MetricKind.GAUGE,
        lambda: {"open": 1, "sealed": 7},
        label="state",
    )
    metrics.add_source("rs3gw_commit_batch_size", "Batch", MetricKind.HISTOGRAM, lambda: sizes)
    assert samples(metrics)["rs3gw_sync_total",] == 1
    state["syncs"] = 5
    sizes.observe(2)
    found = samples(metrics)
    assert found["rs3gw_sync_total",] == 5
    assert found["rs3gw_segments_total", "sealed"] == 7
    assert found["rs3gw_commit_batch_size_bucket", "64"] == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rs3gw_taken_total", MetricKind.COUNTER),
        ("other_total", MetricKind.COUNTER),
        ("rs3gw_syncs", MetricKind.COUNTER),
    ],
)
def test_a_name_that_breaks_the_rules_is_refused(name: str, kind: MetricKind) -> None:
    """A name is used once, begins with rs3gw_, and a counter's ends in _total."""
    metrics = Metrics()
    metrics.add_source("rs3gw_taken_total", "Taken", MetricKind.COUNTER, lambda: 0)
    with pytest.raises(ValueError, match=name):
        metrics.add_source(name, "Help", kind, lambda: 0)


def test_the_number_of_series_is_bounded() -> None:
    """Operations and errors beyond the bound are counted as `other`, and none is lost."""
    metrics = Metrics()
    for number in range(OPERATIONS_MAX + 10):
        metrics.observe_request(f"Op{number}", 200, "", 0.001, 0, 0)
    for number in range(ERRORS_MAX + 10):
        metrics.observe_request("Op0", 400, f"E{number}", 0.001, 0, 0)
    found = samples(metrics)
    assert found["rs3gw_requests_total", "other", "2xx"] == 10
    assert found["rs3gw_errors_total", "other", "other"] == 10
    requests = [value for key, value in found.items() if key[0] == "rs3gw_requests_total"]
    assert sum(requests) == OPERATIONS_MAX + ERRORS_MAX + 20


def test_two_sets_of_metrics_share_nothing() -> None:
    """There is no global registry: two daemons in one process do not see each other."""
    first, second = Metrics(), Metrics()
    first.observe_request("GetObject", 200, "", 0.001, 0, 0)
    assert ("rs3gw_requests_total", "GetObject", "2xx") not in samples(second)


def test_the_process_itself_is_measured() -> None:
    """Memory and open files of the process come with every scrape."""
    found = samples(Metrics())
    assert found["process_resident_memory_bytes",] > 0
    assert found["process_open_fds",] > 0
