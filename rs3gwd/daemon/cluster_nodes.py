"""The nodes of the cluster as this one knows them: where they are, who may talk to it, who goes.

At each start a node announces itself: a member notes in the system group (`NodeRecord`) which disk
it is and where it is reached, and adds one that is new to all groups as a learner; leaders make
voters of learners that have caught up (`cluster.drivers.groups_members`). So a node joins a running
cluster by being started. `remove` is the way out: the node is taken out of every group by joint
consensus, and then nobody talks to it any more, whatever certificate it has. Marks come before acts
and acts can be repeated, so that both go on after a crash wherever they were.

Addresses are those of `cluster.seed_nodes`, which the operator can always mend, then those of the
records, then those that a member told when this node had no records yet.

What it is not: it moves no bytes, and gives no certificates (`cluster_joining`).

    method cluster.announce    request   msgpack [1, token, address, index groups]
                               answer    msgpack [1, [[number, address], ...]]
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec
import structlog
import trio
from msgspec import Struct

from cluster.authority.certificates import DISK_TOKEN_BYTES, PeerCertificate
from cluster.authority.denied import Denied
from cluster.base.errors import (
    BadFrame,
    ConfChangeRefused,
    IdentityError,
    NoLeader,
    PeerError,
    RemoteFailure,
)
from cluster.base.ports import Handlers, Peers
from cluster.drivers.groups import GroupHost
from cluster.raft.identity import NodeIdentity
from rs3gwd.base.cluster_admin import NodeHoldsCopies, NoSuchNode
from rs3gwd.base.cluster_nodes import NodeRecord, NodeState
from rs3gwd.base.commands import PutNode
from rs3gwd.base.errors import InvalidRequest, OutcomeUnknown, Overloaded
from rs3gwd.daemon.cluster_ledger import LedgerView
from rs3gwd.daemon.settings import address_of
from rs3gwd.engine.cluster_nodes import list_nodes
from rs3gwd.engine.face import EngineFace
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.proposing import Proposer

METHOD: Final = "cluster.announce"
VERSION: Final = 1

ANNOUNCE_TIMEOUT_SECONDS: Final = 30.0
"""A member changes up to 16 groups meanwhile, each by a commit or two."""

ANNOUNCE_INTERVAL_SECONDS: Final = 1.0
LOOK_INTERVAL_SECONDS: Final = 1.0
"""How often records are looked at for what has changed, which is how soon a removal counts."""

NEAREST_MAX: Final = 3
"""Nodes that are named to who asked for one that there is not."""

HELD_ROLES: Final = ("installing", "hollow")
"""Of a group whose state is not here yet."""

Address = tuple[str, int]


class Announcement(Struct, array_like=True, frozen=True):
    """What a node says of itself; `groups` are the index groups that it is set to."""

    version: int
    token: bytes
    address: str
    groups: int


class Told(Struct, array_like=True, frozen=True):
    """Where the nodes are that a member knows."""

    version: int
    nodes: tuple[tuple[int, str], ...]


Said = TypeVar("Said", Announcement, Told)


class Connections(Protocol):
    """What must hear of nodes that are gone; `cluster.drivers.transport.Transport`."""

    def recheck(self) -> None: ...

    def forget(self, node: int) -> None: ...


class Node(NamedTuple):
    """What of a running node is changed and asked here."""

    host: GroupHost
    proposer: Proposer
    is_alive: Callable[[int], bool]
    holds_copies: Callable[[int], bool]


class ClusterNodes:
    """Made before the transport; `register` before it runs; `run` once the groups run."""

    def __init__(
        self, identity: NodeIdentity, *, seeds: dict[int, Address], engine: EngineFace
    ) -> None:
        self._identity = identity
        self._seeds = seeds
        self._engine = engine
        self.ledger = LedgerView(engine)
        self._told: dict[int, Address] = {}
        self._node: Node | None = None
        self._log = structlog.get_logger()

    # What is known.

    def records(self) -> list[NodeRecord]:
        """Every node that was ever noted, as this node's system group has it."""
        return self._engine.look_up(list_nodes)

    def addresses(self, node: int) -> list[Address]:
        """Where a node is reached, the best first."""
        noted = [_address(r.address) for r in self.records() if r.number == node and r.address]
        places = [self._seeds.get(node), *noted, self._told.get(node)]
        return list(dict.fromkeys(place for place in places if place is not None))

    def address(self, node: int) -> Address | None:
        """The best of them."""
        return next(iter(self.addresses(node)), None)

    def numbers(self) -> tuple[int, ...]:
        """The nodes to look for, this one among them; none that was removed."""
        records = self.records()
        removed = {each.number for each in records if each.state is NodeState.REMOVED}
        known = {*self._seeds, *self._told, *(each.number for each in records)}
        return tuple(sorted((known | {self._identity.node}) - removed))

    def check(self, peer: NodeIdentity, certificate: PeerCertificate | None) -> None:
        """Whoever has a certificate of this cluster is in, from the disk that it joined with, until
        it was removed or its certificate revoked. Raises IdentityError."""
        cluster = self._identity.cluster
        if certificate is None or certificate.cluster != cluster or peer.cluster != cluster:
            raise IdentityError(f"node {peer.node} is not of cluster {cluster}")
        certificate.check_disk(peer.token)
        records = self.records()
        removed = frozenset(each.number for each in records if each.state is NodeState.REMOVED)
        Denied(removed).check(peer.node, certificate)
        self.ledger.check(peer.node, certificate)
        for record in records:
            if record.number == peer.node and record.token not in (b"", peer.token):
                raise IdentityError(f"node {peer.node} has come back on another disk")

    def disk_token(self, node: int) -> bytes:
        """What the certificate of a node is bound to; empty where its disk is not known."""
        tokens = [each.token for each in self.records() if each.number == node]
        return tokens[0][:DISK_TOKEN_BYTES] if tokens else b""

    # Coming.

    def register(self, handlers: Handlers) -> None:
        """Answers nodes that announce themselves; before the transport runs."""
        handlers.on_call(METHOD, self._on_announce)

    async def run(
        self,
        node: Node,
        peers: Peers,
        connections: Connections,
        *,
        changed: Callable[[tuple[int, ...]], None],
    ) -> None:
        """Announces this node, and then tells `connections` and `changed` (all numbers) what is
        new; until cancelled. Raises IdentityError when the cluster refuses this node."""
        self._node = node
        await self._announce(node, peers)
        numbers: tuple[int, ...] = ()
        while True:
            now = self.numbers()
            if now != numbers:
                for gone in set(numbers) - set(now):
                    connections.forget(gone)
                connections.recheck()
                changed(now)
                numbers = now
            await trio.sleep(LOOK_INTERVAL_SECONDS)

    async def _announce(self, node: Node, peers: Peers) -> None:
        """Until a member has taken it."""
        address = text_of(self._seeds[self._identity.node])
        mine = Announcement(VERSION, self._identity.token, address, node.proposer.groups)
        request = msgspec.msgpack.encode(mine)
        while True:
            if self._identity.node in node.host.members(SYSTEM_GROUP):
                if await self._attempt(self._note(mine)):
                    return
            else:
                for member in self.numbers():
                    if member != self._identity.node and await self._attempt(
                        self._ask(peers, member, request)
                    ):
                        return
            await trio.sleep(ANNOUNCE_INTERVAL_SECONDS)

    async def _attempt(self, act: Awaitable[None]) -> bool:
        """Whether it was done; raises IdentityError where it never will be."""
        try:
            await act
        except (PeerError, NoLeader, BadFrame) as error:
            if isinstance(error, RemoteFailure) and error.remote_code == IdentityError.code:
                raise IdentityError(str(error)) from error
            self._log.info("the cluster does not know this node yet", reason=str(error))
            return False
        return True

    async def _note(self, mine: Announcement) -> None:
        """A member says what is new of itself."""
        record = NodeRecord(self._identity.node, mine.token, mine.address)
        if record not in self.records():
            await self._put(record)

    async def _ask(self, peers: Peers, member: int, request: bytes) -> None:
        """Has a member note this node and add it."""
        answer = await peers.call(member, METHOD, request, timeout_s=ANNOUNCE_TIMEOUT_SECONDS)
        nodes = _decode(answer, Told).nodes
        self._told = {number: _address(address) for number, address in nodes if address}
        self._log.info("this node has joined the cluster", by=member)

    async def _on_announce(self, sender: int, payload: bytes) -> bytes:
        """Notes a node and adds it to all groups. Raises IdentityError, NoLeader, BadFrame."""
        said = _decode(payload, Announcement)
        node = self._running()
        if said.groups != node.proposer.groups:
            raise IdentityError(
                f"this cluster has {node.proposer.groups} groups, node {sender} is set to "
                f"{said.groups} (cluster.groups): empty its disk and let it join anew"
            )
        self._check_whole(node)
        await self._put(NodeRecord(sender, said.token, said.address))
        await node.host.add_node(sender)
        known = {number: self.address(number) for number in self.numbers()}
        told = {number: text_of(place) for number, place in known.items() if place is not None}
        return msgspec.msgpack.encode(Told(VERSION, tuple(sorted(told.items()))))

    async def _put(self, record: NodeRecord) -> None:
        try:
            await self._running().proposer.propose(SYSTEM_GROUP, PutNode(node=record))
        except InvalidRequest as error:
            raise IdentityError(str(error)) from error
        except (Overloaded, OutcomeUnknown) as error:
            raise NoLeader(str(error)) from error

    def _running(self) -> Node:
        if self._node is None:
            raise NoLeader(f"node {self._identity.node} is just starting")
        return self._node

    def _check_whole(self, node: Node) -> None:
        """Members are changed in the groups that a node has: one that is still joining leaves it to
        others. Raises NoLeader."""
        whole = [each for each in node.host.status() if each.role not in HELD_ROLES]
        if len(whole) <= node.proposer.groups:
            raise NoLeader(f"node {self._identity.node} is itself still joining")

    # Going.

    async def remove(self, number: int, *, is_lost: bool) -> None:
        """Takes a node out of every group and out of the cluster, for ever; may be said again.

        Raises NodeHoldsCopies (unless `is_lost`), NoSuchNode, ConfChangeRefused (it is this node,
        or the others could not go on without it), IdentityError, NoLeader, HostStopped (nothing, or
        a part, was done: say it again).
        """
        node = self._running()
        self._check_whole(node)
        self._check_removal(node, number)
        if not is_lost and node.holds_copies(number):
            raise NodeHoldsCopies(f"node {number} holds copies: drain it, or say that it is lost")
        await self._put(NodeRecord(number, state=NodeState.LEAVING))
        await node.host.remove_node(number)
        await self._put(NodeRecord(number, state=NodeState.REMOVED))
        self._log.info("node removed from the cluster", node=number)

    def _check_removal(self, node: Node, number: int) -> None:
        if number == self._identity.node:
            raise ConfChangeRefused("a node does not remove itself: say it on another one")
        if number not in {*node.host.members(SYSTEM_GROUP), *(r.number for r in self.records())}:
            nearest = ", ".join(map(str, nearest_to(number, node.host.members(SYSTEM_GROUP))))
            raise NoSuchNode(f"there is no node {number}; the nearest are {nearest}")
        for status in node.host.status():
            left = [each for each in status.members.voters if each != number]
            alive = [each for each in left if node.is_alive(each)]
            if number in status.members.voters and len(alive) < len(left) // 2 + 1:
                raise ConfChangeRefused(
                    f"without node {number} group {status.group} would have {len(alive)} of "
                    f"{len(left)} voters that seem alive, and could not go on"
                )


def nearest_to(number: int, nodes: Iterable[int]) -> list[int]:
    """Up to three nodes whose numbers are the nearest to one that is none, in their order."""
    return sorted(sorted(nodes, key=lambda node: (abs(node - number), node))[:NEAREST_MAX])


def text_of(address: Address) -> str:
    """host:port; empty for an address without a host, at which nobody is reached."""
    host, port = address
    if not host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(text: str) -> Address:
    listen = address_of(text, secure=True)
    return listen.host, listen.port


def _decode(data: bytes, kind: type[Said]) -> Said:
    try:
        said = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame(f"an announcement that cannot be read: {error}") from error
    if said.version != VERSION:
        raise BadFrame(f"an announcement of version {said.version} is not known here")
    return said
