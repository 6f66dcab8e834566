"""Opens and closes the store that a power cut left: `python -m chaos.reopen ROOT`.

A process of its own, so that what the recovery writes can be recorded (`chaos.recovery_cut`).
"""

from __future__ import annotations

import sys

import trio

from chaos.powercut_workload import SETTINGS
from rs3gwd.testing.open_local import open_local


async def reopen(root: str) -> None:
    """Recovers ROOT/data, does one round of housekeeping, and closes it."""
    async with open_local(f"{root}/data", settings=SETTINGS) as node:
        await node.engine.tick()


if __name__ == "__main__":
    trio.run(reopen, sys.argv[1])
