"""Whom to read from, and when to ask another: examples."""

from __future__ import annotations

import pytest

from cluster.quorum.hedging import HedgeBudget
from cluster.quorum.latencies import FRESH_S, SAMPLES_MIN, Latencies
from cluster.quorum.reading import (
    HEDGE_DEFAULT_S,
    HEDGE_FACTOR,
    Close,
    Fault,
    Open,
    Outcome,
    ReadPlan,
    hedge_delay,
    order_nodes,
)


def test_the_living_come_before_the_silent_and_the_usual_before_the_slow() -> None:
    """Among equals the layout's order stands."""
    latencies = fed({1: 0.060, 2: 0.002, 3: 0.003})
    order = order_nodes(
        (1, 2, 3, 4), is_alive=lambda node: node != 2, latencies=latencies, now_s=1.0
    )
    assert order == (3, 4, 1, 2)


def test_small_differences_change_no_order() -> None:
    """A few milliseconds more do not make a near node slow."""
    latencies = fed({1: 0.004, 2: 0.0005})
    assert order_nodes((1, 2), is_alive=lambda _: True, latencies=latencies, now_s=1.0) == (1, 2)


def test_a_slow_node_is_tried_again_after_a_while() -> None:
    """What was measured long ago says nothing."""
    latencies = fed({1: 0.060, 2: 0.002})
    later = 2.0 + FRESH_S
    assert order_nodes((1, 2), is_alive=lambda _: True, latencies=latencies, now_s=1.0) == (2, 1)
    assert order_nodes((1, 2), is_alive=lambda _: True, latencies=latencies, now_s=later) == (1, 2)


def test_a_node_that_loses_its_hedges_is_slow() -> None:
    """Its answers were never waited for, so that there is no time of it; an answer clears it."""
    latencies = fed({1: 0.002, 2: 0.002})
    for number in (1, 2):
        assert order_of(latencies, 1.0) == (1, 2)
        plan = ReadPlan(
            (1, 2), start=0, end=9, latencies=latencies, budget=HedgeBudget(1), now_s=1.0
        )
        plan.on_wanted(1.0)
        plan.on_time(1.1)
        plan.on_bytes(1, number, 1.2)
    assert order_of(latencies, 1.3) == (2, 1)
    assert order_of(latencies, 1.3 + FRESH_S) == (1, 2)
    latencies.note(1, 0.002, 2.0)
    assert order_of(latencies, 2.0) == (1, 2)


def test_a_node_that_was_not_there_comes_last_for_a_while() -> None:
    """Without anybody saying who is alive a dead node costs one read now and then."""
    latencies = Latencies()
    plan = ReadPlan((1, 2), start=0, end=9, latencies=latencies, budget=HedgeBudget(0), now_s=1.0)
    plan.on_wanted(1.0)
    assert plan.on_failed(0, Fault.BROKEN, 1.1) == [Open(1, 2, 0)]
    assert order_of(latencies, 1.2) == (2, 1)
    assert order_of(latencies, 1.2 + FRESH_S) == (1, 2)


def order_of(latencies: Latencies, now_s: float) -> tuple[int, ...]:
    """The order of two nodes that the layout prefers by number."""
    return order_nodes((1, 2), is_alive=lambda _: True, latencies=latencies, now_s=now_s)


def test_the_patience_comes_from_what_was_observed() -> None:
    """From the node's own 95th percentile, or the other's where that is less; else the default."""
    latencies = fed({1: 0.060, 2: 0.010})
    assert hedge_delay(1, [], latencies, 1.0) == 0.060 * HEDGE_FACTOR
    assert hedge_delay(1, [2], latencies, 1.0) == 0.010 * HEDGE_FACTOR
    assert hedge_delay(3, [4], latencies, 1.0) == HEDGE_DEFAULT_S


def test_a_second_source_is_asked_when_the_first_takes_too_long() -> None:
    """Who is first is read on, the other one is closed, and the next piece is not hedged."""
    latencies = fed({1: 0.010, 2: 0.010})
    plan = plan_of(latencies, share=1.0)
    assert plan.on_wanted(1.0) == [Open(0, 1, 100)]
    assert plan.wake_at_s == pytest.approx(1.015)
    assert plan.on_time(1.014) == []
    assert plan.on_time(1.016) == [Open(1, 2, 100)]
    assert plan.on_bytes(1, 50, 1.018) == [Close(0)]
    assert (plan.position, plan.hedges, plan.outcome) == (150, 1, Outcome.READING)
    assert plan.on_bytes(1, 50, 1.013) == []
    assert plan.outcome is Outcome.DONE


def test_without_budget_nobody_is_asked_twice() -> None:
    """The first source is waited for."""
    plan = plan_of(fed({1: 0.010, 2: 0.010}), share=0.0)
    plan.on_wanted(1.0)
    assert plan.on_time(5.0) == []
    assert plan.hedges == 0


def test_the_next_node_goes_on_from_the_byte_reached() -> None:
    """Damage costs the reader nothing but another source."""
    plan = plan_of(Latencies(), share=0.0)
    plan.on_wanted(1.0)
    plan.on_bytes(0, 30, 1.1)
    assert plan.on_failed(0, Fault.DAMAGED, 1.2) == [Open(1, 2, 130)]
    plan.on_bytes(1, 10, 1.3)
    # Past the place the first one is good for another try; the third comes before it.
    assert plan.on_failed(1, Fault.BROKEN, 1.4) == [Open(2, 3, 140)]
    assert plan.on_failed(2, Fault.UNKNOWN, 1.5) == [Open(3, 1, 140)]
    assert plan.on_failed(3, Fault.DAMAGED, 1.6) == []
    assert plan.outcome is Outcome.NOBODY
    assert not plan.is_unknown
    assert plan.faults == [
        (1, Fault.DAMAGED),
        (2, Fault.BROKEN),
        (3, Fault.UNKNOWN),
        (1, Fault.DAMAGED),
    ]


def test_what_nobody_has_is_gone() -> None:
    """Only when every node said so."""
    plan = plan_of(Latencies(), share=0.0)
    plan.on_wanted(1.0)
    for source in range(3):
        assert plan.outcome is Outcome.READING
        plan.on_failed(source, Fault.UNKNOWN, 1.1)
    assert plan.outcome is Outcome.NOBODY
    assert plan.is_unknown


def test_an_empty_range_asks_nobody() -> None:
    """There is nothing to read."""
    plan = ReadPlan((1,), start=5, end=5, latencies=Latencies(), budget=HedgeBudget(0), now_s=0)
    assert plan.outcome is Outcome.DONE
    assert plan.on_wanted(0.0) == []


def fed(times: dict[int, float]) -> Latencies:
    """Every node has answered so often in that time."""
    latencies = Latencies()
    for node, took_s in times.items():
        for _ in range(SAMPLES_MIN):
            latencies.note(node, took_s, 1.0)
    return latencies


def plan_of(latencies: Latencies, *, share: float) -> ReadPlan:
    """A range of 100 bytes on three nodes."""
    budget = HedgeBudget(share)
    return ReadPlan((1, 2, 3), start=100, end=200, latencies=latencies, budget=budget, now_s=0.0)
