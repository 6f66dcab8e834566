"""Figures of a run: how long keys could not be written, and how long reads took."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from chaos.fault_figures import Fault, figures_of, main
from chaos.histories import Act, Operation, Outcome

KILL = Fault("kill", 10.0, 12.0)


def write(start: float, end: float, outcome: Outcome = Outcome.DONE) -> Operation:
    """A PUT."""
    return Operation(Act.WRITE, "value", start, end, outcome)


def read(start: float, end: float, outcome: Outcome = Outcome.DONE) -> Operation:
    """A GET."""
    return Operation(Act.READ, "value", start, end, outcome)


def test_a_gap_goes_from_the_first_try_to_the_first_answer() -> None:
    """Tries without an answer are part of it; what came before the fault, or long after, is not."""
    lost = [write(9.0, 9.9), write(10.5, 11.0, Outcome.UNKNOWN), write(11.5, 12.5)]
    kept = [write(10.0, 10.125), write(11.0, 12.0)]
    untouched = [write(9.9, 10.4), write(18.0, 18.5)]
    gaps = figures_of([([lost, kept, untouched], [KILL])]).write_gaps["kill"]
    assert (gaps.count, gaps.p50_ms, gaps.max_ms) == (2, 2000.0, 2000.0)


def test_a_refused_condition_is_an_answer() -> None:
    """A group decides it as it decides a write."""
    history = [write(10.0, 10.5, Outcome.REFUSED)]
    assert figures_of([([history], [KILL])]).write_gaps["kill"].max_ms == 500.0


def test_a_key_without_any_answer_has_no_gap_that_ends() -> None:
    """It is left out, and so is a kind of fault of which nothing else was seen."""
    history = [write(10.0, 11.0, Outcome.UNKNOWN)]
    assert figures_of([([history], [KILL])]).write_gaps == {}


def test_reads_are_under_a_fault_or_quiet_or_neither() -> None:
    """Those behind a fault that ended a moment ago count as neither, failed ones never."""
    history = [
        read(1.0, 1.25),
        read(11.0, 11.5),
        read(13.0, 14.0),
        read(17.0, 17.5),
        read(11.0, 11.1, Outcome.UNKNOWN),
    ]
    figures = figures_of([([history], [KILL])])
    assert figures.reads["kill"].count == 1
    assert figures.reads["kill"].p99_ms == 500.0
    assert figures.quiet_reads is not None
    assert (figures.quiet_reads.count, figures.quiet_reads.max_ms) == (2, 500.0)


def test_requests_through_the_faulty_node_are_left_out() -> None:
    """Its own clients wait for the fault to be over, whatever the others do."""
    fault = Fault("kill", 10.0, 12.0, node=2)
    through = [msgspec.structs.replace(each, node=2) for each in (read(11, 19), write(10, 19))]
    beside = [msgspec.structs.replace(each, node=1) for each in (read(11, 11.5), write(10, 10.5))]
    figures = figures_of([([[*through, *beside]], [fault])])
    assert (figures.reads["kill"].count, figures.reads["kill"].max_ms) == (1, 500.0)
    assert figures.write_gaps["kill"].max_ms == 500.0
    assert figures_of([([through], [fault])]).write_gaps == {}


def test_folders_are_read_as_runs_leave_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Histories line by line and the faults of the verdict, further fields passed over."""
    history = [write(10.0, 10.5), read(1.0, 1.5)]
    lines = b"\n".join(msgspec.json.encode(each) for each in history)
    (tmp_path / "key-0.ndjson").write_bytes(lines)
    faults = [{"fault": "kill", "node": 1, "start": 10.0, "end": 12.0}]
    (tmp_path / "verdict.json").write_text(json.dumps({"settings": {}, "faults": faults}))
    assert main([str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["write_gaps"]["kill"]["max_ms"] == 500.0
    assert figures["quiet_reads"]["count"] == 1
    assert main([]) == 2
