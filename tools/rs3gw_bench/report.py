"""The report of a run: Markdown with SVG plots beside it, made from the recorded figures alone.

First what was wrong, then the goals, then every figure with its range and its share of the floor
measured in the same rounds, then how the targets compare, round by round.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.rs3gw_bench import goals, svg
from tools.rs3gw_bench.figures import FLOOR, Figures, Spread, digits, spread

NODE = "node"
PLOT_CONNECTIONS = (1, 16, 64)

FLOORS_OF = (
    ("put_64m", "md5_bps"),
    ("get_64m", "loopback_bps"),
    ("multipart_1g", "md5_bps"),
)
"""By how a figure's name begins; rates of small requests have the bare responder."""

UNITS = (
    ("_keys_per_second", "keys/s", 1.0),
    ("_keys_per_cpu_second", "keys/CPU s", 1.0),
    ("_rps", "/s", 1.0),
    ("_bps", "MB/s", 1e-6),
    ("_bytes", "MB", 1e-6),
    ("_bytes_per_process", "MB", 1e-6),
    ("_us", "us", 1.0),
    ("_ms", "ms", 1.0),
    ("_share", "%", 100.0),
)


def write_report(data: dict[str, Any], folder: Path) -> Path:
    """Writes report.md and its plots into `folder`; returns the path of the report."""
    figures = Figures.from_json(data)
    folder.mkdir(parents=True, exist_ok=True)
    plots = dict(_plots(figures))
    for name, text in plots.items():
        (folder / name).write_text(text)
    path = folder / "report.md"
    path.write_text("\n".join(_lines(data, figures, list(plots))) + "\n")
    return path


def floor_of(name: str) -> str | None:
    """The floor that a figure is a share of, or None."""
    for start, floor in FLOORS_OF:
        if name.startswith(start) and name.endswith("_bps"):
            return floor.replace("_bps", "_one_core_bps") if "_one_core" in name else floor
    if name == "put_4k_c1_p50_us":
        return "fdatasync_us"
    for end in ("_rps", "_cpu_us"):
        if name.endswith(end):
            return f"responder{end}"
    return None


def shown(name: str, value: float) -> str:
    """A value with the unit that its name says."""
    for end, unit, scale in UNITS:
        if name.endswith(end):
            return f"{digits(value * scale)} {unit}"
    return digits(value)


def _lines(data: dict[str, Any], figures: Figures, plots: Sequence[str]) -> Iterator[str]:
    yield from ("# Benchmark", "", f"`{' '.join(data['command'])}`", "")
    yield from _table(("machine", ""), [(k, str(v)) for k, v in data["machine"].items()])
    if warning := figures.warning():
        yield from (f"**{warning}**", "")
    for title, texts in (("Answered wrongly", figures.faults), ("Not measured", figures.skipped)):
        if texts:
            yield from (f"## {title}", "", *(f"- {' '.join(text.split())}" for text in texts), "")
    yield from ("## Goals", "")
    rows = [verdict.cells() for verdict in goals.judge(figures)]
    yield from _table(("what", "goal", "reached", ""), rows)
    yield from _durability(figures)
    if plots:
        yield from ("## Plots", "", *(f"![{name}]({name})\n" for name in plots))
    yield from _floors(figures)
    for target in figures.values:
        if target != FLOOR:
            yield from _figures_of(figures, target)
    yield from _comparisons(figures)
    busy = figures.notes.get("generator_busy", {})
    if busy:
        yield from ("## Where the generator was busy", "")
        yield "It used more than nine tenths of its core in these, and may have been what was"
        yield from ("measured:", "")
        yield from (f"- {name}: {share:.0%}" for name, share in busy.items())


def _durability(figures: Figures) -> Iterator[str]:
    notes = figures.notes.get("durability", {})
    if notes:
        yield from ("## What each target syncs", "", "During 100 PUTs of 4 KiB, one by one:", "")
        rows = [
            (
                target,
                note["verdict"],
                ", ".join(f"{count} {call}" for call, count in (note["calls"] or {}).items()),
                str(note["synchronous_files"]),
            )
            for target, note in notes.items()
        ]
        yield from _table(("target", "verdict", "calls", "files open with O_(D)SYNC"), rows)


def _floors(figures: Figures) -> Iterator[str]:
    yield from ("## Floors", "")
    rows = []
    for name, values in figures.values.get(FLOOR, {}).items():
        seen = spread(values)
        between = f"{shown(name, seen.least)} .. {shown(name, seen.greatest)}"
        rows.append((name, shown(name, seen.median), between))
    yield from _table(("floor", "median", "range"), rows)


def _figures_of(figures: Figures, target: str) -> Iterator[str]:
    yield from (f"## {target}", "")
    rows = []
    for name, values in figures.values[target].items():
        seen, floor = spread(values), floor_of(name)
        share = figures.share(target, name, floor) if floor else None
        text = f"{_share_text(name, share)} {floor}" if share else ""
        rows.append(
            (
                name,
                shown(name, seen.median),
                f"{shown(name, seen.least)} .. {shown(name, seen.greatest)}",
                str(seen.count),
                text,
            )
        )
    yield from _table(("figure", "median", "range", "values", "share of its floor"), rows)


def _share_text(name: str, share: Spread) -> str:
    """Times are multiples of their floor, rates a part of it."""
    if name.endswith("_us"):
        return f"{share.median:.3g} x [{share.least:.3g} .. {share.greatest:.3g}]"
    return f"{share.median:.1%} [{share.least:.1%} .. {share.greatest:.1%}] of"


def _comparisons(figures: Figures) -> Iterator[str]:
    """The node as a multiple of each other target, for figures both have."""
    ours = figures.values.get(NODE, {})
    for target, theirs in figures.values.items():
        if target in (FLOOR, NODE):
            continue
        rows = []
        for name in ours:
            if name not in theirs or not name.endswith(("_rps", "_us", "_ms", "_bps")):
                continue
            ratio = figures.compare((NODE, name), (target, name))
            if ratio:
                rows.append(
                    (
                        name,
                        f"{ratio.median:.3g} x",
                        f"{ratio.least:.3g} .. {ratio.greatest:.3g}",
                        str(ratio.count),
                    )
                )
        if rows:
            yield from (f"## node by {target}", "", "Rates: more is better. Times: less is.", "")
            yield from _table(("figure", "median of ratios", "range", "pairs"), rows)


def _plots(figures: Figures) -> Iterator[tuple[str, str]]:
    floor = figures.median(FLOOR, "responder_rps")
    rows = []
    for number, (target, names) in enumerate(figures.values.items()):
        for name in names:
            if target == FLOOR or not name.endswith("_rps") or "million" in name:
                continue
            rate = figures.median(target, name) or 0.0
            share = f" ({rate / floor:.0%})" if floor else ""
            label = f"{target} {name.removesuffix('_rps')}"
            rows.append(svg.Bar(label, rate, f"{rate:,.0f}{share}", number))
    if rows:
        yield (
            "rates.svg",
            svg.bars("requests a second; dashed: the bare responder", rows, mark=floor),
        )
    for percentile in ("p50", "p99"):
        series = list(_latency_lines(figures, percentile))
        if series:
            title = f"latency, {percentile}, closed loop"
            yield (
                f"latency_{percentile}.svg",
                svg.lines(title, series, x_label="connections", y_label="microseconds"),
            )


def _latency_lines(figures: Figures, percentile: str) -> Iterator[svg.Line]:
    for target in figures.values:
        for operation in ("get_4k", "put_4k"):
            points = []
            for connections in PLOT_CONNECTIONS:
                name = f"{operation}_c{connections}_{percentile}_us"
                value = figures.median(target, name)
                if value:
                    points.append((float(connections), value))
            if len(points) > 1:
                yield svg.Line(f"{target} {operation}", points)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    yield ""
