"""Two pictures of a run as SVG: how much was answered and how long it took, with the faults behind.

Time goes from left to right. A coloured band is a fault from its begin to its end. What it is not:
a plotting library; it draws these two and nothing else.

Source: Scalable Vector Graphics (SVG) 1.1, chapters 7, 9 and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, MARGIN = 1000, 260, 50
BIN_SECONDS = 0.25


class Answered(NamedTuple):
    """One request that was answered as it should be; moments in seconds of one clock."""

    start: float
    end: float


class Band(NamedTuple):
    """A fault, from when to when."""

    name: str
    start: float
    end: float


def draw(answered: Sequence[Answered], bands: Sequence[Band]) -> str:
    """An SVG document: answers per second, and below the slowest answer of each BIN_SECONDS."""
    if not answered:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'
    first = min(each.start for each in answered)
    last = max(each.end for each in answered)
    bins = int((last - first) / BIN_SECONDS) + 1
    counts, slowest = [0.0] * bins, [0.0] * bins
    for each in answered:
        place = int((each.end - first) / BIN_SECONDS)
        counts[place] += 1 / BIN_SECONDS
        slowest[place] = max(slowest[place], 1000 * (each.end - each.start))
    shifted = [Band(each.name, each.start - first, each.end - first) for each in bands]
    span = bins * BIN_SECONDS
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{2 * HEIGHT}" '
            'font-family="sans-serif" font-size="11">',
            *_panel(0, "answers per second", counts, shifted, span),
            *_panel(HEIGHT, "slowest answer, ms", slowest, shifted, span),
            "</svg>",
        ]
    )


def _panel(
    top: int, title: str, values: Sequence[float], bands: Sequence[Band], span: float
) -> list[str]:
    highest = max(values) or 1.0
    across = (WIDTH - 2 * MARGIN) / span
    bottom = top + HEIGHT - MARGIN
    up = (HEIGHT - 2 * MARGIN) / highest
    lines = []
    for band in bands:
        left = MARGIN + max(band.start, 0.0) * across
        width = max((min(band.end, span) - max(band.start, 0.0)) * across, 1.0)
        lines.append(
            f'<rect x="{left:.1f}" y="{top + MARGIN}" width="{width:.1f}" '
            f'height="{HEIGHT - 2 * MARGIN}" fill="#f6c9b7"><title>{escape(band.name)}</title>'
            f'</rect><text x="{left:.1f}" y="{top + MARGIN - 4}">{escape(band.name)}</text>'
        )
    points = " ".join(
        f"{MARGIN + index * BIN_SECONDS * across:.1f},{bottom - value * up:.1f}"
        for index, value in enumerate(values)
    )
    lines.append(f'<polyline points="{points}" fill="none" stroke="#224488"/>')
    lines.append(f'<text x="{MARGIN}" y="{top + 16}" font-size="14">{escape(title)}</text>')
    lines.append(f'<text x="4" y="{top + MARGIN + 4}">{highest:.0f}</text>')
    lines.append(f'<text x="4" y="{bottom}">0</text>')
    lines += [
        f'<text x="{MARGIN + second * across:.0f}" y="{bottom + 14}">{second:.0f} s</text>'
        for second in _ticks(span)
    ]
    return lines


def _ticks(span: float) -> list[float]:
    step = max(round(span / 10), 1)
    return [float(second) for second in range(0, int(span) + 1, step)]
