"""Administration without a daemon: the store is opened under its lock, changed, and closed."""

import os
from functools import partial
from pathlib import Path

import trio

from rs3gwd.base.admin import AdminAnswer, AnyAdminRequest
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.config import load
from rs3gwd.daemon.opening import claim_store, open_engine
from rs3gwd.engine.events import SilentObserver
from rs3gwd.engine.system import SystemClock, SystemRandom, TrioThreads
from rs3gwd.iam.administration import Administration
from rs3gwd.node.local import LocalDirectory, LocalStore


def administer_offline(data: Path, request: AnyAdminRequest) -> AdminAnswer:
    """Carries out one admin request on the store in `data`, which no daemon may be using."""
    return trio.run(partial(_administer, data, request))


async def _administer(data: Path, request: AnyAdminRequest) -> AdminAnswer:
    clock, random, threads = SystemClock(), SystemRandom(), TrioThreads()
    try:
        config = load(["--storage-root", str(data)], {})
        os.close(await claim_store(config, threads))
        engine = await open_engine(
            config, clock=clock, random=random, threads=threads, observer=SilentObserver()
        )
    except Rs3gwError as error:
        return AdminAnswer(error=error.code, message=str(error))
    except OSError as error:
        return AdminAnswer(error="ServiceUnavailable", message=str(error))
    async with engine, trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        administration = Administration(
            store=LocalStore(engine),
            directory=LocalDirectory(engine),
            clock=clock,
            random=random,
            figures=lambda: {"state": "stopped"},
        )
        answer = await administration.handle(request)
        nursery.cancel_scope.cancel()
    return answer
