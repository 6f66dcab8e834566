"""Commands to the groups of a cluster, and the proof that this node is current.

What it is not: it knows no buckets' spreading (`bucket_coordinator`) and moves no bodies
(`blob_fanout`). It finds a command's group, has the command applied exactly once, and turns the
cluster's errors into those of the store:

    refused for sure, nobody there, too many wait    Overloaded: nothing has changed
    no answer, or this node stops                    OutcomeUnknown: it may have been done, or may
                                                     yet be; a client is never told that it was not
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from cluster.base import errors as cluster_errors
from cluster.drivers.groups import GroupHost
from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import (
    NoSuchBucket,
    OperationAborted,
    OutcomeUnknown,
    Overloaded,
    StaleCommand,
)
from rs3gwd.engine import queries
from rs3gwd.engine.bucket_spread import adoption_of, deletion_of
from rs3gwd.engine.face import EngineFace
from rs3gwd.engine.group_entries import encode_body, unpack_result
from rs3gwd.engine.groups import SYSTEM_GROUP, group_of_key

ROUTES_MAX = 5
"""How often a command is sent to another group, or again, because buckets changed meanwhile."""


class ProposingSettings(Struct, frozen=True):
    """How long a write and a read wait for a group, in seconds: several elections."""

    propose_timeout_s: float = 10.0
    barrier_timeout_s: float = 5.0


class Proposer:
    """The groups of a cluster as this node reaches them; `groups` index groups."""

    def __init__(
        self,
        engine: EngineFace,
        host: GroupHost,
        groups: int,
        settings: ProposingSettings,
    ) -> None:
        self.groups = groups
        self._engine = engine
        self._host = host
        self._settings = settings

    @property
    def index_groups(self) -> range:
        """The numbers of the index groups."""
        return range(1, self.groups + 1)

    @property
    def all_groups(self) -> range:
        """The numbers of all groups."""
        return range(self.groups + 1)

    def group_of(self, bucket_id: int, key: bytes) -> int:
        """The index group of a key."""
        return group_of_key(bucket_id, key, self.groups)

    def leads(self, group: int) -> bool:
        """Whether this node takes itself for the leader of a group."""
        return self._host.leads(group)

    def shows_all(self, groups: Iterable[int]) -> bool:
        """Whether this node is known to show, now, all that was acknowledged in `groups`."""
        return self._host.shows_all(groups)

    async def wait_current(self, groups: Iterable[int]) -> None:
        """Returns once this node shows all that was acknowledged in `groups` before.

        Raises Overloaded.
        """
        try:
            await self._host.read_barrier(groups, self._settings.barrier_timeout_s)
        except (cluster_errors.ReadRefused, cluster_errors.HostStopped) as error:
            raise Overloaded(f"it cannot be proved that a read is current: {error}") from error

    async def propose(
        self, group: int, command: AnyCommand, data: bytes | None = None
    ) -> CommandResult:
        """Has a command applied by a group, with the bytes that ride along; its result.

        Raises what the command raises, Overloaded, OutcomeUnknown.
        """
        body = encode_body(command, data)
        try:
            answer = await self._host.propose(group, body, self._settings.propose_timeout_s)
        except cluster_errors.ProposalRefused as error:
            raise Overloaded(f"group {group} takes no command: {error}") from error
        except (cluster_errors.OutcomeUnknown, cluster_errors.HostStopped) as error:
            raise OutcomeUnknown(f"group {group}: {error}") from error
        return unpack_result(answer)

    async def propose_keyed(self, command: AnyCommand, data: bytes | None = None) -> CommandResult:
        """The same for a command that names a bucket and a key, to the key's group.

        Raises as `propose`; NoSuchBucket, OperationAborted (the bucket is being deleted).
        """
        name: str = getattr(command, "bucket")  # noqa: B009 not every command has one
        key: bytes = getattr(command, "key")  # noqa: B009
        for _ in range(ROUTES_MAX):
            try:
                bucket = self._engine.look_up(queries.get_bucket, name)
            except NoSuchBucket:
                await self.wait_current((SYSTEM_GROUP,))
                bucket = self._engine.look_up(queries.get_bucket, name)
            group = self.group_of(bucket.bucket_id, key)
            try:
                return await self.propose(group, command, data)
            except StaleCommand:
                await self.wait_current((SYSTEM_GROUP,))
            except NoSuchBucket:
                await self._tell(group, name)
        raise Overloaded(f"bucket {name!r} is changed faster than it can be written to")

    async def _tell(self, group: int, name: str) -> None:
        """A group does not know a bucket that this node knows: it is told, or there is no bucket.

        Whoever made the bucket may be telling it at this moment, or have died before.
        """
        await self.wait_current((SYSTEM_GROUP,))
        if self._engine.look_up(deletion_of, name) is not None:
            raise OperationAborted(f"bucket {name!r} is being deleted")
        adoption = self._engine.look_up(adoption_of, name)
        if adoption is None:
            raise NoSuchBucket(f"there is no bucket {name!r}")
        try:
            await self.propose(group, adoption)
        except StaleCommand:
            return  # the bucket changed once more: the next round looks again
