"""What a process has noted about the uses of keys goes into the store every few minutes."""

import structlog
import trio

from rs3gwd.base.commands import NoteKeyUses
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.ports import ObjectStore
from rs3gwd.iam.key_uses import KeyUses

FIRST_SECONDS = 10.0
EVERY_SECONDS = 300.0
"""Unit: seconds between two commands; each makes every process read keys anew."""


async def store_key_uses(uses: KeyUses, store: ObjectStore) -> None:
    """Runs until cancelled. Notes that the store does not take are dropped, and said so."""
    log = structlog.get_logger()
    await trio.sleep(FIRST_SECONDS)
    while True:
        taken = uses.take()
        if taken:
            try:
                await store.submit(NoteKeyUses(taken))
            except Rs3gwError as error:
                log.warning("uses of access keys are not noted", keys=len(taken), reason=str(error))
        await trio.sleep(EVERY_SECONDS)
