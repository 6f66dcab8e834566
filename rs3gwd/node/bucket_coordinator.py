"""Making, changing and deleting buckets: the system group decides, every index group is told.

What it is not: no state of its own. What the commands do in a group, and why they may come late,
twice and in any order, is in `rs3gwd.engine.apply_group_buckets`; here is who sends them when.

    change    system: the command; then AdoptBucket to every index group; then the acknowledgement
    delete    system: BeginDeleteBucket; SealBucket to every index group
              all sealed:  system: FinishDeleteBucket; DropBucket to every index group
              one refused: system: CancelDeleteBucket; AdoptBucket to every index group

A coordinator may die after any of these. The leader of the system group looks now and then for what
was left undone (`repair`) and goes on from there.
"""

from __future__ import annotations

from itertools import islice
from typing import cast

import structlog
import trio

from rs3gwd.base.commands import (
    AdoptBucket,
    AnyCommand,
    BeginDeleteBucket,
    CancelDeleteBucket,
    CommandResult,
    DropBucket,
    FinishDeleteBucket,
)
from rs3gwd.base.errors import (
    BucketNotEmpty,
    NoSuchBucket,
    OperationAborted,
    OutcomeUnknown,
    Overloaded,
    Rs3gwError,
    StaleCommand,
    StoreError,
)
from rs3gwd.base.ports import Clock, Random, Threads
from rs3gwd.engine.bucket_spread import (
    Deletion,
    Untold,
    adoption_of,
    deletion_of,
    unfinished_deletions,
    untold,
)
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.proposing import Proposer

SPREADS_MAX = 5
"""How often a bucket that keeps changing is told of anew before somebody else may finish it."""

REPAIRS_MAX = 1000
"""What one round of repair sends at most."""


class BucketCoordinator:
    """Buckets of a cluster. Belongs to the event loop."""

    def __init__(
        self,
        engine: Engine,
        proposer: Proposer,
        *,
        clock: Clock,
        random: Random,
        threads: Threads,
        interval_s: float = 5.0,
        patience_s: float = 30.0,
    ) -> None:
        self._engine = engine
        self._proposer = proposer
        self._clock = clock
        self._random = random
        self._threads = threads
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._deletions_seen: dict[bytes, float] = {}
        self._log = structlog.get_logger()

    async def change(self, command: AnyCommand, name: str) -> CommandResult:
        """A command that makes or changes a bucket; every group knows of it on return.

        Raises what the command raises, Overloaded, OutcomeUnknown.
        """
        result = await self._proposer.propose(SYSTEM_GROUP, command)
        try:
            await self._spread(name)
        except Overloaded as error:
            raise OutcomeUnknown(f"not every group knows of {name!r} yet: {error}") from error
        return result

    async def delete(self, name: str) -> None:
        """Removes an empty bucket. Raises NoSuchBucket, BucketNotEmpty, OperationAborted,
        Overloaded, OutcomeUnknown."""
        token = self._random.token_bytes(16)
        await self._proposer.propose(SYSTEM_GROUP, BeginDeleteBucket(name, token))
        try:
            await self._proposer.wait_current((SYSTEM_GROUP,))
            deletion = self._engine.look_up(deletion_of, name)
            if deletion is None or deletion.token != token:
                raise OperationAborted(f"the deletion of {name!r} was taken over")
            await self._conclude(deletion)
        except Overloaded as error:
            raise OutcomeUnknown(f"the deletion of {name!r} is unfinished: {error}") from error

    async def _spread(self, name: str) -> None:
        """Every index group learns of a bucket as it is now. Raises Overloaded, OutcomeUnknown."""
        for _ in range(SPREADS_MAX):
            await self._proposer.wait_current((SYSTEM_GROUP,))
            adoption = self._engine.look_up(adoption_of, name)
            if adoption is None:
                return  # deleted meanwhile, or about to be
            refusals = await self._tell_all(adoption)
            if not refusals:
                return
            if not all(isinstance(refusal, StaleCommand) for refusal in refusals):
                raise _worst(refusals)
        raise Overloaded(f"bucket {name!r} changes faster than it can be told of")

    async def _conclude(self, deletion: Deletion) -> None:
        """From BeginDeleteBucket to the end, whichever it is. Raises as `delete`."""
        name, token = deletion.name, deletion.token
        refusals = await self._tell_all(deletion.seal)
        if refusals:
            await self._proposer.propose(SYSTEM_GROUP, CancelDeleteBucket(name, token))
            await self._spread(name)
            worst = _worst(refusals)
            if isinstance(worst, StaleCommand):
                raise OperationAborted(f"bucket {name!r} changed while it was being deleted")
            raise worst
        try:
            finish = FinishDeleteBucket(name, token)
            revision = cast(int, await self._proposer.propose(SYSTEM_GROUP, finish))
        except NoSuchBucket:
            return  # somebody has finished this deletion
        drop = DropBucket(name, deletion.seal.bucket.bucket_id, revision)
        for refusal in await self._tell_all(drop):
            if not isinstance(refusal, Overloaded | OutcomeUnknown):
                raise refusal
            self._log.info("a group drops a bucket later", bucket=name, reason=str(refusal))

    async def _tell_all(self, command: AnyCommand) -> list[Rs3gwError]:
        """Sends a command to every index group at once; what was raised."""
        refusals: list[Rs3gwError] = []

        async def tell(group: int) -> None:
            try:
                await self._proposer.propose(group, command)
            except Rs3gwError as error:
                refusals.append(error)

        async with trio.open_nursery() as nursery:
            for group in self._proposer.index_groups:
                nursery.start_soon(tell, group)
        return refusals

    async def run(self) -> None:
        """Repairs until cancelled, while this node leads the system group."""
        while True:
            await trio.sleep(self._interval_s)
            if not self._proposer.leads(SYSTEM_GROUP):
                self._deletions_seen.clear()
                continue
            try:
                await self.repair()
            except (Overloaded, OutcomeUnknown) as error:
                self._log.info("repair of buckets goes on later", reason=str(error))

    async def repair(self) -> None:
        """One round: what coordinators have left undone. Raises Overloaded, OutcomeUnknown."""
        await self._proposer.wait_current(self._proposer.all_groups)
        lacking, deletions = await self._threads.run(self._look)
        for each in lacking:
            try:
                await self._proposer.propose(each.group, each.command)
            except StoreError as error:
                self._log.info(
                    "a bucket changed while a group was told of it",
                    group=each.group,
                    bucket=_name_of(each.command),
                    reason=str(error),
                )
        for deletion in self._abandoned(deletions):
            try:
                await self._conclude(deletion)
            except StoreError as error:
                self._log.info("a deletion ended", bucket=deletion.name, reason=str(error))

    def _look(self) -> tuple[list[Untold], list[Deletion]]:
        with self._engine.environment.read() as txn:
            lacking = list(islice(untold(txn, self._proposer.groups), REPAIRS_MAX))
            return lacking, list(islice(unfinished_deletions(txn), REPAIRS_MAX))

    def _abandoned(self, deletions: list[Deletion]) -> list[Deletion]:
        """Those that have gone on for longer than a coordinator takes."""
        now = self._clock.monotonic()
        tokens = {deletion.token for deletion in deletions}
        seen = {token: at for token, at in self._deletions_seen.items() if token in tokens}
        for token in tokens:
            seen.setdefault(token, now)
        self._deletions_seen = seen
        return [each for each in deletions if now - seen[each.token] >= self._patience_s]


def _name_of(command: AdoptBucket | DropBucket) -> str:
    return command.bucket.name if isinstance(command, AdoptBucket) else command.name


def _worst(refusals: list[Rs3gwError]) -> Rs3gwError:
    """What the caller is to hear: that the bucket is not empty, before what may pass."""
    order: tuple[type[Rs3gwError], ...] = (BucketNotEmpty, StaleCommand)
    return min(
        refusals,
        key=lambda error: next(
            (place for place, kind in enumerate(order) if isinstance(error, kind)), len(order)
        ),
    )
