"""A process under the clock library has a wrong clock of day and time, and right monotonic ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.cluster_nodes import CLOCK_SOURCE
from chaos.trace import NoCompiler, build_shim

OFFSET_S = 500_000
PROGRAM = "import time; print(time.time(), time.monotonic())"


def test_the_clock_of_day_is_wrong_by_what_was_told(tmp_path: Path) -> None:
    """By half a million seconds here, which no machine is slow by."""
    try:
        shim = build_shim(tmp_path, CLOCK_SOURCE)
    except NoCompiler as error:
        pytest.skip(str(error))
    clock = tmp_path / "clock"
    clock.write_bytes((-OFFSET_S * 10**9).to_bytes(8, sys.byteorder, signed=True))
    environ = {**os.environ, "LD_PRELOAD": str(shim), "CHAOS_CLOCK": str(clock)}
    before, before_monotonic = time.time(), time.monotonic()
    said = subprocess.check_output([sys.executable, "-c", PROGRAM], env=environ, text=True)
    day, monotonic = map(float, said.split())
    assert before - OFFSET_S <= day <= time.time() - OFFSET_S
    assert before_monotonic <= monotonic <= time.monotonic()
