"""A small writer of SVG plots: bars beside their floor, and lines over a logarithmic axis.

The files show text in the reader's fonts and stand alone; they need no library, here or there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 80, 90, 44, 48
LETTER = 6.8
"""Width of a letter of 12 pixels, on the wide side."""

BAR, GAP = 16, 8
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#97266d")
INK, PALE = "#222", "#bbb"


@dataclass(frozen=True)
class Bar:
    """A horizontal bar; `note` stands at its end, `colour` is an index."""

    label: str
    value: float
    note: str
    colour: int = 0


@dataclass(frozen=True)
class Line:
    """Points (x, y), both above zero, of one line."""

    label: str
    points: Sequence[tuple[float, float]]


def bars(title: str, rows: Sequence[Bar], *, mark: float | None = None) -> str:
    """Horizontal bars from zero; `mark` draws a line at that value, the floor."""
    height = TOP + len(rows) * (BAR + GAP) + 16
    most = max([row.value for row in rows] + [mark or 0.0]) or 1.0
    left = 16 + LETTER * max((len(row.label) for row in rows), default=0)
    scale = (WIDTH - left - RIGHT) / most
    parts = [_text(left, 24, title, size=15, weight="bold")]
    for number, row in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        width = max(1.0, row.value * scale)
        colour = COLOURS[row.colour % len(COLOURS)]
        parts.append(_text(left - 8, y + 12, row.label, anchor="end"))
        parts.append(
            f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
        )
        parts.append(_text(left + width + 6, y + 12, row.note))
    if mark:
        x = left + mark * scale
        parts.append(_stroke(x, TOP - 8, x, height - 12, INK, dash="4 3"))
    return _document(height, parts)


def lines(title: str, series: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """Lines over two logarithmic axes; a point on each value that was measured."""
    height = 380
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT - 130)
    y_axis = _Axis(10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys))),
                   height - BOTTOM, TOP)  # fmt: skip
    parts = [_text(x_axis.start, 24, title, size=15, weight="bold")]
    parts += _grid(x_axis, y_axis, sorted(set(xs)), x_label, y_label, height)
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x_axis.at(x), y_axis.at(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(WIDTH - RIGHT - 118, TOP + 14 + number * 18, line.label, colour=colour))
    return _document(height, parts)


@dataclass(frozen=True)
class _Axis:
    """From value `least` at `start` to `most` at `end`, logarithmic."""

    least: float
    most: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = math.log(self.most / self.least) or 1.0
        return self.start + (self.end - self.start) * math.log(value / self.least) / span


def _grid(
    x_axis: _Axis, y_axis: _Axis, xs: Sequence[float], x_label: str, y_label: str, height: int
) -> list[str]:
    parts = []
    decade = y_axis.least
    while decade <= y_axis.most * 1.001:
        y = y_axis.at(decade)
        parts.append(_stroke(x_axis.start, y, x_axis.end, y, PALE))
        parts.append(_text(x_axis.start - 6, y + 4, f"{decade:,.0f}", anchor="end"))
        decade *= 10
    for x in xs:
        parts.append(_text(x_axis.at(x), height - BOTTOM + 18, f"{x:g}", anchor="middle"))
    middle = (x_axis.start + x_axis.end) / 2
    parts.append(_text(middle, height - 10, x_label, anchor="middle"))
    parts.append(_text(x_axis.start - 60, TOP - 8, y_label))
    return parts


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
    )


def _stroke(x: float, y: float, to_x: float, to_y: float, colour: str, dash: str = "none") -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" '
        f'stroke="{colour}" stroke-dasharray="{dash}"/>'
    )


def _document(height: int, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )
