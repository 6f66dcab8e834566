"""Figures of one slow node: reads before it was slow beside those under it."""

from __future__ import annotations

from chaos.slow_node import Read, figures_of


def test_reads_are_compared_within_their_size_and_over_all() -> None:
    """Sizes of which one side saw nothing are left out."""
    reads = [
        Read(False, "small", 0.001),
        Read(True, "small", 0.003),
        Read(False, "large", 0.002),
    ]
    figures = figures_of(reads)
    assert set(figures) == {"small", "all"}
    healthy, slow = figures["all"]
    assert (healthy.count, healthy.max_ms, slow.count, slow.max_ms) == (2, 2.0, 1, 3.0)
    assert [each.max_ms for each in figures["small"]] == [1.0, 3.0]


def test_without_reads_there_are_no_figures() -> None:
    """And no division by nothing."""
    assert figures_of([]) == {}
