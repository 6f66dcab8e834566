"""Power cuts, failing syncs, failing disks and flipped bits: nothing acknowledged is ever lost.

The programs are in `chaos/`; here each runs with fixed seeds, and the controls show that the
checkers see what they are for. RS3GW_TEST_LONG=1 runs ten times as much, with a new seed each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import bitflip, broken_syncs, faults, powercut, recovery_cut
from chaos.disk_model import CHOICES, DiskModel
from chaos.trace import NoCompiler, read_trace
from rs3gwd.engine import multipart
from rs3gwd.testing import memory_multipart

LONG_RUN = os.environ.get("RS3GW_TEST_LONG") == "1"
FACTOR = 10 if LONG_RUN else 1
SEED = random.randrange(1_000_000) if LONG_RUN else 1

TRACE_PLAN = powercut.Plan(seed=SEED, points=2_000 * FACTOR)


@pytest.fixture(autouse=True)
def _part_sizes() -> Iterator[None]:
    """The programs let parts be small in their process; here others follow."""
    modules = (multipart, memory_multipart)
    before = [module.PART_BYTES_MIN for module in modules]
    yield
    for module, value in zip(modules, before, strict=True):
        module.PART_BYTES_MIN = value


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recorded run of the engine, for the cuts and their controls."""
    directory = tmp_path_factory.mktemp("powercut")
    try:
        return powercut.record_run(
            directory, seed=TRACE_PLAN.seed, lanes=TRACE_PLAN.lanes, steps=TRACE_PLAN.steps
        )
    except NoCompiler as error:
        pytest.skip(str(error))


def test_the_recorder_misses_nothing(trace: Path) -> None:
    """All that was recorded, applied in order, is the content of the real files at the end."""
    model = DiskModel()
    for event in read_trace(trace):
        model.apply(event)
    kept = model.after_cut(CHOICES[1], random.Random(1))
    root = trace.parent / "root"
    real = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "lock.mdb"
    }
    recorded = {
        path: content
        for path, content in kept.items()
        if content is not None and not path.endswith("lock.mdb")
    }
    assert recorded.keys() == real.keys()
    assert [path for path in real if real[path] != recorded[path]] == []


@pytest.mark.timeout(900 * FACTOR)
def test_no_power_cut_loses_what_was_acknowledged(trace: Path) -> None:
    """At thousands of places of a run, in every legal way: all strict writes are there, whole."""
    report = powercut.run_and_show(TRACE_PLAN, trace)
    assert report.violations == []
    assert report.points == TRACE_PLAN.points
    assert len(report.by_choice) == len(powercut.CHOICES)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "control",
    [
        powercut.Plan(seed=SEED, points=200, ignore_data_syncs=".seg"),
        powercut.Plan(seed=SEED, points=200, ignore_directory_syncs=True),
    ],
    ids=["segments never synced", "directories never synced"],
)
def test_an_engine_that_forgets_a_sync_is_caught(trace: Path, control: powercut.Plan) -> None:
    """The controls: without the syncs of one kind the same cuts lose data, and it is seen."""
    report = powercut.run(control, trace)
    assert report.violations != []


@pytest.mark.timeout(300 * FACTOR)
def test_a_second_power_cut_during_the_recovery_loses_nothing(trace: Path) -> None:
    """Cut again at every write of some recoveries: what was acknowledged outlives both cuts."""
    plan = powercut.Plan(seed=TRACE_PLAN.seed, points=6 * FACTOR)
    report = recovery_cut.run_and_show(plan, trace)
    assert report.violations == []
    assert report.points > report.recoveries > 0


@pytest.mark.timeout(300 * FACTOR)
def test_failed_writes_and_syncs_lose_nothing_that_was_acknowledged() -> None:
    """Calls fail beneath LMDB and the segments, the disk is latched, then the power goes."""
    try:
        report = broken_syncs.run_and_show(broken_syncs.Plan(seed=SEED, runs=16 * FACTOR))
    except NoCompiler as error:
        pytest.skip(str(error))
    assert report.violations == []
    assert report.met >= report.runs // 4


@pytest.mark.timeout(300 * FACTOR)
def test_an_error_at_any_call_of_the_disk_breaks_no_promise() -> None:
    """EIO and ENOSPC at every call of a script: no loss, the latch holds, reads go on."""
    report = faults.run_and_show(faults.Plan(seed=SEED, places=None if LONG_RUN else 50))
    assert report.violations == []
    assert report.latched > 0
    assert report.refused > 0


@pytest.mark.timeout(300 * FACTOR)
def test_no_flipped_bit_gives_a_wrong_byte() -> None:
    """Single bits of segments and metadata values: right answers or named errors, all found."""
    report = bitflip.run_and_show(bitflip.Plan(seed=SEED, flips=1_000 * FACTOR))
    assert report.violations == []
    assert report.refused > 0
