"""The patience bucket: who keeps the rate never runs out, who does not runs out in time."""

from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.gateway.patience import Patience


def test_full_bucket_is_the_deadline():
    """A wait may last as long as the bucket is full."""
    assert Patience(seconds_max=20, bytes_per_second_min=100).deadline_from(5) == 25


def test_waiting_empties_and_bytes_refill():
    """Ten seconds waited for 500 bytes at 100 a second leave fifteen of twenty."""
    patience = Patience(seconds_max=20, bytes_per_second_min=100)
    patience.deadline_from(0)
    patience.moved(10, 500)
    assert patience.deadline_from(100) == 115


def test_bucket_never_holds_more_than_its_size():
    """A gigabyte at once buys no more than the full bucket."""
    patience = Patience(seconds_max=20, bytes_per_second_min=100)
    patience.deadline_from(0)
    patience.moved(1, 1 << 30)
    assert patience.deadline_from(1) == 21


def test_time_between_waits_is_free():
    """Only waits count, not what lies between them."""
    patience = Patience(seconds_max=20, bytes_per_second_min=100)
    patience.deadline_from(0)
    patience.moved(1, 0)
    assert patience.deadline_from(1000) == 1019


@given(st.lists(st.floats(0.01, 19), max_size=200))
def test_steady_client_never_runs_out(waits):
    """A client at the least rate always has at least the time until its next bytes."""
    patience = Patience(seconds_max=20, bytes_per_second_min=1000)
    now = 0.0
    for wait in waits:
        assert patience.deadline_from(now) >= now + wait
        now += wait
        patience.moved(now, int(wait * 1000) + 1)


@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 10)), min_size=100, max_size=150))
def test_dripping_client_runs_out(drips):
    """At most a tenth of the rate empties the bucket in little more than its size."""
    patience = Patience(seconds_max=20, bytes_per_second_min=1000)
    now = 0.0
    for wait, count in drips:
        if patience.deadline_from(now) < now + wait:
            break
        now += wait
        patience.moved(now, count)
    assert now <= 20 + 150 * 10 / 1000
