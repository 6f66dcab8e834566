"""Rounds, ratios, goals and the report, from figures recorded in a file."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools.rs3gw_bench import goals, svg
from tools.rs3gw_bench.figures import FLOOR, OTHERS, Figures, ratios, rounds_of, spread
from tools.rs3gw_bench.generator import Latency, Load
from tools.rs3gw_bench.report import floor_of, shown, write_report
from tools.rs3gw_bench.rounds import note
from tools.rs3gw_bench.session import Measured

RECORDED = Path(__file__).with_name("bench_recorded.json")


def recorded() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(RECORDED.read_text())
    return data


def test_servers_take_turns_a_b_b_a() -> None:
    """Each comes once a round, and every other round is the mirror of the one before."""
    assert [name for order in rounds_of(["A", "B"], 4) for name in order] == list("ABBAABBA")
    assert rounds_of(["A", "B", "C"], 3) == [["A", "B", "C"], ["C", "B", "A"], ["A", "B", "C"]]
    assert rounds_of(["A"], 0) == []


def test_ratios_pair_the_values_of_one_round() -> None:
    """A machine that gets slower does not change them; the median of the rest would."""
    assert ratios([100, 50, 10], [200, 100, 20]) == [0.5, 0.5, 0.5]
    assert spread(ratios([100, 60, 10], [200, 100, 20])).median == 0.5


def test_a_floor_measured_otherwise_often_serves_all_rounds() -> None:
    """Its median does."""
    assert ratios([10, 20], [5.0]) == [2, 4]
    assert ratios([10, 20, 30], [1, 10, 100, 10]) == [1, 2, 3]


def test_a_floor_of_zero_gives_no_ratio() -> None:
    """Nothing can be a share of nothing."""
    assert ratios([1.0], [0.0]) == []


def test_a_spread_has_median_and_range() -> None:
    """Of an even count the median is the mean of the middle two."""
    assert spread([4, 1, 2, 3]) == spread((1, 2, 3, 4))
    assert (spread([4, 1, 2, 3]).median, spread([7.0]).least, spread([7.0]).count) == (2.5, 7, 1)


def load_of(*, good: int, errors: int) -> Measured:
    latency = Latency(good, 1, 1, 1, 1, 1, 1)
    load = Load(
        good, good + errors, 0, 0, 0, 0, 0, 0, 1.0, 0.1, {"body": errors}, "body", latency, {}
    )
    return Measured(load, 5.0)  # fmt: skip


def test_a_wrong_answer_is_a_fault_and_never_a_figure() -> None:
    """One among a thousand is enough: nothing is noted but the fault."""
    figures = Figures()
    assert not note(figures, "peer", "get", load_of(good=1000, errors=1))
    assert figures.values == {}
    assert figures.faults == ["peer: get: 1 body of 1001 requests; first: body"]


def test_no_answer_is_a_fault() -> None:
    """A run without one right answer has no rate of zero, it has failed."""
    figures = Figures()
    assert not note(figures, "peer", "get", load_of(good=0, errors=0))
    assert len(figures.faults) == 1


def test_answers_that_all_come_late_are_no_fault_and_no_figure() -> None:
    """A server that needs longer than the window is slow, not wrong."""
    figures = Figures()
    late = load_of(good=1, errors=0)
    assert not note(figures, "peer", "put", replace(late, load=replace(late.load, good=0)))
    assert (figures.values, figures.faults) == ({}, [])
    assert figures.skipped == ["peer: put: too slow, no answer within 1 s"]


def test_a_right_run_gives_rate_latencies_and_cost() -> None:
    """Rate, percentiles, the server's CPU for a request, the generator's own share."""
    figures = Figures()
    assert note(figures, "node", "get", load_of(good=10, errors=0))
    ends = ("rps", "p50_us", "p99_us", "p999_us", "max_us", "generator_share", "cpu_us")
    assert set(figures.values["node"]) == {f"get_{end}" for end in ends}


def test_every_goal_is_judged() -> None:
    """Each row is met, MISSED or not measured; of nothing, no row is met."""
    words = [verdict.word for verdict in goals.judge(Figures())]
    assert words == ["not measured"] * len(goals.GOALS)
    verdicts = goals.judge(Figures.from_json(recorded()))
    assert {verdict.word for verdict in verdicts} == {"met", "MISSED", "not measured"}
    assert len(goals.lines(Figures.from_json(recorded()))) == len(goals.GOALS)


@pytest.mark.parametrize("goal", goals.GOALS, ids=lambda goal: goal.name)
def test_each_goal_is_met_at_its_bound_and_missed_beyond(goal: goals.Goal) -> None:
    """A share of its floor, or the figure itself, above or below as the goal says."""
    for factor, word in ((1.0, "met"), (1.01, "MISSED" if goal.at_most else "met"),
                         (0.99, "met" if goal.at_most else "MISSED")):  # fmt: skip
        figures = Figures(notes={"million_keys": {"node": 1_000_000}})
        floor = 64.0 if goal.floor else 1.0
        if goal.floor:
            figures.add(goal.floor_target, goal.floor, floor)
        figures.add(goal.target, goal.figure, goal.bound * factor * floor)
        (verdict,) = [v for v in goals.judge(figures) if v.goal == goal]
        assert verdict.word == word


def test_a_million_means_a_million() -> None:
    """Figures of a smaller bucket meet no goal of the large one."""
    figures = Figures(notes={"million_keys": {"node": 999_999}})
    for goal in goals.GOALS:
        figures.add(goal.target, goal.figure, goal.bound)
    words = {v.goal.figure: v.word for v in goals.judge(figures)}
    assert {words[name] for name in words if name.startswith("million")} == {"not measured"}


def test_a_goal_judges_shares_of_the_same_round() -> None:
    """Where the machine halves between rounds the share stays what it was."""
    figures = Figures()
    for rate, floor in ((6000, 20000), (3000, 10000), (1500, 5000)):
        figures.add("node", "get_4k_c64_rps", rate)
        figures.add(FLOOR, "responder_rps", floor)
    (verdict, *_) = goals.judge(figures)
    assert verdict.reached == pytest.approx(0.3)
    assert verdict.word == "met"


def test_a_report_has_all_of_a_recorded_run(tmp_path: Path) -> None:
    """Machine, faults, what was skipped, goals, floors, every target and figure, comparisons."""
    data = recorded()
    text = write_report(data, tmp_path).read_text()
    for fault in data["faults"]:
        assert " ".join(fault.split()) in text
    for target, values in data["values"].items():
        assert target == FLOOR or f"## {target}" in text
        for name in values:
            assert f"| {name} |" in text
    for goal in goals.GOALS:
        assert f"| {goal.name} |" in text
    assert "## node by s3rver" in text
    assert "acknowledges without a sync" in text
    assert data["machine"]["cpu"] in text
    assert "] of responder_rps |" in text
    assert "] responder_cpu_us |" in text


def test_a_report_links_plots_that_are_there_and_are_xml(tmp_path: Path) -> None:
    """Each plot that the report shows is a well-formed file beside it."""
    text = write_report(recorded(), tmp_path).read_text()
    plots = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert plots == ["latency_p50.svg", "latency_p99.svg", "rates.svg"]
    for plot in plots:
        assert f"]({plot})" in text
        root = ElementTree.fromstring((tmp_path / plot).read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_figures_survive_their_file() -> None:
    """What is written and read again says the same."""
    data = recorded()
    again = Figures.from_json(json.loads(json.dumps(Figures.from_json(data).as_json())))
    assert again.as_json() == {
        name: data[name] for name in ("values", "faults", "skipped", "notes")
    }


@pytest.mark.parametrize(("share", "warns"), [(0.02, False), (0.4, True)])
def test_a_busy_machine_is_named_first(tmp_path: Path, share: float, warns: bool) -> None:
    """Whoever reads rates must know that others used the machine."""
    data = recorded()
    data["values"][FLOOR][OTHERS] = [share] * 3
    text = write_report(data, tmp_path).read_text()
    assert ("Other programs used 40%" in text) == warns


def test_a_report_of_nothing_can_be_made(tmp_path: Path) -> None:
    """A run whose every part failed still says so."""
    data = {**Figures(faults=["node: no"]).as_json(), "machine": {}, "command": ["x"]}
    assert "- node: no" in write_report(data, tmp_path).read_text()


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        ("get_4k_c64_rps", "responder_rps"),
        ("put_64m_crc64nvme_bps", "md5_bps"),
        ("put_64m_one_core_bps", "md5_one_core_bps"),
        ("get_64m_bps", "loopback_bps"),
        ("put_4k_c1_p50_us", "fdatasync_us"),
        ("get_4k_c64_cpu_us", "responder_cpu_us"),
        ("get_4k_c64_p50_us", None),
    ],
)
def test_figures_know_their_floor(name: str, floor: str | None) -> None:
    """Rates have the bare responder, large bodies what bounds them, a lone PUT the sync."""
    assert floor_of(name) == floor


def test_values_are_shown_with_the_unit_of_their_name() -> None:
    """Bytes in MB, shares in per cent, the rest as it is."""
    assert shown("get_64m_bps", 1.5e9) == "1,500 MB/s"
    assert shown("idle_cpu_share", 0.004) == "0.4 %"
    assert shown("start_ms", 480.0) == "480 ms"
    assert shown("list_keys_per_cpu_second", 250000.0) == "250,000 keys/CPU s"


def test_bars_are_as_long_as_their_values() -> None:
    """Half the value is half the bar, and text is escaped."""
    text = svg.bars("a < b", [svg.Bar("x", 10, "10"), svg.Bar("y", 5, "5")], mark=10)
    root = ElementTree.fromstring(text)
    widths = [float(r.attrib["width"]) for r in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert "a &lt; b" in text


def test_lines_pass_through_their_points_in_order() -> None:
    """On logarithmic axes equal factors are equal distances."""
    line = svg.Line("one", [(1, 100), (10, 1000), (100, 10000)])
    root = ElementTree.fromstring(svg.lines("t", [line], x_label="x", y_label="y"))
    (polyline,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    (a, b, c) = (tuple(map(float, p.split(","))) for p in polyline.attrib["points"].split())
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.2)
    assert a[1] - b[1] == pytest.approx(b[1] - c[1], abs=0.2)
