"""The data directory itself outlives a power cut right after the first start."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from chaos.disk_model import CHOICES, DiskModel
from chaos.trace import NoCompiler, build_shim, read_trace, record

SCRIPT = "import sys; from rs3gwd.daemon.opening import make_data_root; make_data_root(sys.argv[1])"


def test_the_names_above_the_data_are_synced(tmp_path: Path) -> None:
    """Every directory made on the way to the data is durable in the one above it."""
    root, log = tmp_path / "root", tmp_path / "trace"
    root.mkdir()
    try:
        shim = build_shim(tmp_path)
    except NoCompiler as error:
        pytest.skip(str(error))
    data = root / "srv" / "store" / "data"
    record([sys.executable, "-c", SCRIPT, str(data)], root=root, log=log, shim=shim)
    model = DiskModel()
    for event in read_trace(log):
        model.apply(event)
    left = model.after_cut(CHOICES[0], random.Random(1))
    assert left == {"srv": None, "srv/store": None, "srv/store/data": None}
