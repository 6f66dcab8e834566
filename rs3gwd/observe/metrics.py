"""The figures of the daemon, as Prometheus reads them.

Nothing here is counted with prometheus_client's own counters, which take a lock and a look-up for
each increment: the hot path adds to plain integers, and they become metric families when somebody
asks. Other parts keep figures of their own and register a function that reads them.

`families` gives them as values, which can be sent to another process and added to its own; `render`
writes such values for Prometheus.

Everything runs on the event loop's thread: no locks. A scrape reads each figure once; figures of
one scrape may be apart by what happened meanwhile in threads.

The number of time series is bounded: operations and error codes come from tables, and beyond
OPERATIONS_MAX and ERRORS_MAX (which would be a bug) they are counted as `other`.

Names are those of rs3gw where it has them; `docs/operate/metrics.md` lists them all.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rs3gwd.observe.families import Family, MetricKind, Row
from rs3gwd.observe.process import process_families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OPERATIONS_MAX = 256
"""Operations told apart; botocore's model of S3 has 116."""

ERRORS_MAX = 2048
"""Pairs of error code and operation told apart."""

DURATION_BOUNDS_MS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 60000)
"""rs3gw's bounds, with the steps between that one needs below 100 ms."""

_STATUS_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")


class Histogram:
    """Counts values in buckets; 0.2 us each. `bounds` are inclusive upper ends, ascending."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def numbers(self) -> list[float]:
        """As a row of a family has them."""
        return [*map(float, self.counts), self.sum]


Figure = float | Mapping[str, float] | Histogram


class Source(Struct, frozen=True):
    """A registered figure; `read` gives a number, a number per value of `label`, or a Histogram."""

    name: str
    help: str
    kind: MetricKind
    read: Callable[[], Figure]
    label: str


class _OperationFigures:
    __slots__ = ("by_status_class", "durations_ms")

    def __init__(self) -> None:
        self.by_status_class = [0] * len(_STATUS_CLASSES)
        self.durations_ms = Histogram(DURATION_BOUNDS_MS)


class Metrics:
    """All figures of one process. `is_first` says that it is the daemon's first process, or the
    only one: the bounds of the process are told for that one."""

    def __init__(self, *, is_first: bool = True) -> None:
        self._is_first = is_first
        self._operations: dict[str, _OperationFigures] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._bytes_in = 0
        self._bytes_out = 0
        self._sources: dict[str, Source] = {}

    def observe_request(
        self,
        operation: str,
        status: int,
        error_code: str,
        seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Counts one finished request.

        `operation` is a name of the operation table, `status` the HTTP status (0: none was sent),
        `error_code` an S3 error code or empty, `seconds` its whole duration, the bytes those of
        the bodies.
        """
        figures = self._operations.get(operation) or self._figures_of(operation)
        status_class = status // 100
        figures.by_status_class[status_class if 1 <= status_class <= 5 else 0] += 1
        figures.durations_ms.observe(seconds * 1000)
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out
        if error_code:
            pair = (error_code, operation)
            if pair not in self._errors and len(self._errors) >= ERRORS_MAX:
                pair = ("other", "other")
            self._errors[pair] = self._errors.get(pair, 0) + 1

    def add_source(
        self,
        name: str,
        help: str,
        kind: MetricKind,
        read: Callable[[], Figure],
        *,
        label: str = "",
    ) -> None:
        """Registers a figure that is read at each scrape, on the event loop: `read` must be quick.

        `name` begins with `rs3gw_`; a counter's ends in `_total`, and so do gauges that have their
        name from rs3gw. With `label`, `read` gives a mapping from that label's value to a number.
        Raises ValueError for a name that is taken or breaks these rules.
        """
        if name in self._sources or not name.startswith("rs3gw_"):
            raise ValueError(f"metric {name!r} is taken or does not begin with rs3gw_")
        if kind is MetricKind.COUNTER and not name.endswith("_total"):
            raise ValueError(f"metric {name!r} is a counter and does not end in _total")
        self._sources[name] = Source(name, help, kind, read, label)

    def sources(self) -> tuple[Source, ...]:
        """The figures that others registered, in their order."""
        return tuple(self._sources.values())

    def families(self) -> list[Family]:
        """All figures at this moment."""
        return [
            *self._request_families(),
            *map(_family_of, self._sources.values()),
            *process_families(with_bounds=self._is_first),
        ]

    def render(self) -> bytes:
        """All figures in Prometheus' text format (CONTENT_TYPE)."""
        return render(self.families())

    def _figures_of(self, operation: str) -> _OperationFigures:
        if len(self._operations) >= OPERATIONS_MAX:
            operation = "other"
        return self._operations.setdefault(operation, _OperationFigures())

    def _request_families(self) -> list[Family]:
        requests = Family(
            "rs3gw_requests_total",
            "Requests by operation and status",
            MetricKind.COUNTER,
            ("operation", "status"),
            [
                Row((operation, status), [float(count)])
                for operation, figures in self._operations.items()
                for status, count in zip(_STATUS_CLASSES, figures.by_status_class, strict=True)
                if count
            ],
        )
        durations = Family(
            "rs3gw_request_duration_ms",
            "Milliseconds from the first byte of a request to the last of its answer",
            MetricKind.HISTOGRAM,
            ("operation",),
            [
                Row((operation,), figures.durations_ms.numbers())
                for operation, figures in self._operations.items()
            ],
            DURATION_BOUNDS_MS,
        )
        errors = Family(
            "rs3gw_errors_total",
            "Errors by S3 code and operation",
            MetricKind.COUNTER,
            ("error_type", "operation"),
            [Row(pair, [float(count)]) for pair, count in self._errors.items()],
        )
        transferred = Family(
            "rs3gw_bytes_total",
            "Bytes of request (in) and response (out) bodies",
            MetricKind.COUNTER,
            ("direction",),
            [Row(("in",), [float(self._bytes_in)]), Row(("out",), [float(self._bytes_out)])],
        )
        return [requests, durations, errors, transferred]


def render(families: Sequence[Family]) -> bytes:
    """Families in Prometheus' text format (CONTENT_TYPE)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return map(_metric_of, self._families)


def _family_of(source: Source) -> Family:
    figure = source.read()
    if isinstance(figure, Histogram):
        rows = [Row((), figure.numbers())]
        return Family(source.name, source.help, source.kind, (), rows, figure.bounds)
    if isinstance(figure, Mapping):
        rows = [Row((value,), [float(number)]) for value, number in figure.items()]
        return Family(source.name, source.help, source.kind, (source.label,), rows)
    return Family(source.name, source.help, source.kind, (), [Row((), [float(figure)])])


def _metric_of(family: Family) -> Metric:
    """The family as the Prometheus client wants it, its buckets cumulative."""
    if family.kind is MetricKind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.label_names)
        ends = [*map(str, family.bounds), "+Inf"]
        for row in family.rows:
            *counts, total = row.numbers
            histogram.add_metric(
                row.labels, list(zip(ends, accumulate(counts), strict=True)), total
            )
        return histogram
    metric = (
        CounterMetricFamily(
            family.name.removesuffix("_total"), family.help, labels=family.label_names
        )
        if family.kind is MetricKind.COUNTER
        else GaugeMetricFamily(family.name, family.help, labels=family.label_names)
    )
    for row in family.rows:
        metric.add_metric(row.labels, row.numbers[0])
    return metric
