"""A node of a cluster: its certificate, its log, its connections and its groups, over the engine.

What it is not: nothing of it runs on a single node. Under the data directory lie `cluster/` with
the node's certificate and key and the roots that it trusts (`cluster.drivers.authority`), and
`wal/` with the log of all groups. Which node this is says its certificate; where the others are
say the configuration and the cluster itself (`cluster_nodes`).

Order of the start: the log is read, the groups begin, the transport listens, the node announces
itself and is added where it is new, a majority is found.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from cluster.base.errors import IdentityError
from cluster.drivers.authority import AuthorityFolder, Begins
from cluster.drivers.gossip import Gossip
from cluster.drivers.groups_settings import Leaders
from cluster.drivers.transport import Transport
from cluster.drivers.transport_network import Address, TlsNetwork
from cluster.wal.wal import Wal
from rs3gwd.base.errors import Overloaded
from rs3gwd.config import Config
from rs3gwd.daemon.cluster_admin import NodeAdmin
from rs3gwd.daemon.cluster_authority_admin import AuthorityAdmin
from rs3gwd.daemon.cluster_certificates import Certificates
from rs3gwd.daemon.cluster_identity import Established, establish
from rs3gwd.daemon.cluster_ledger import LedgerChanges
from rs3gwd.daemon.cluster_nodes import ClusterNodes, Node
from rs3gwd.daemon.frontend import Ports
from rs3gwd.daemon.gossiping import open_gossip
from rs3gwd.daemon.opening import data_root
from rs3gwd.daemon.settings import address_of
from rs3gwd.daemon.stores import Stores, local_stores
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.engine.system import FileDisk
from rs3gwd.node.blob_hints import HintSettings
from rs3gwd.node.blob_mending import MendingSettings
from rs3gwd.node.blob_parts import BlobSettings
from rs3gwd.node.blob_sources import SourceSettings
from rs3gwd.node.cluster_node import ClusterNode, ClusterSettings, NodePorts, make_host_settings

AUTHORITY_FOLDER = "cluster"
WAL_FOLDER = "wal"

CLOSE_SECONDS = 5.0
"""For the files of the log, also where the start was given up."""

HAND_OVER_SECONDS = 3.0
"""For all groups together. Each takes some milliseconds; a target that is slow has 0.7 s."""


@asynccontextmanager
async def open_stores(config: Config, engine: Engine, ports: Ports) -> AsyncIterator[Stores]:
    """What the node serves, over its running engine.

    Raises (in a group, for a cluster) IdentityError, WalDamaged, OSError, and as `ClusterNode.run`.
    """
    if not config.cluster_enabled:
        yield local_stores(engine)
        return
    root = data_root(config)
    folder = AuthorityFolder(root / AUTHORITY_FOLDER)
    wal = await ports.threads.run(
        partial(Wal.open, FileDisk(str(root)), WAL_FOLDER, random=ports.random)
    )
    try:
        who = await ports.threads.run(partial(establish, folder, wal, ports.random))
        async with _cluster_node(config, engine, ports, wal, who, folder) as (
            node,
            gossip,
            admin,
        ):
            founder = min(seed_addresses(config))
            yield Stores(
                node.store,
                node.directory,
                node.store,
                is_founder=who.identity.node == founder,
                blobs=node.blobs,
                gossip=gossip,
                clock=node.clock,
                hand_over=partial(_hand_over, node),
                cluster=admin,
            )
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await ports.threads.run(wal.close)


@asynccontextmanager
async def _cluster_node(
    config: Config,
    engine: Engine,
    ports: Ports,
    wal: Wal,
    who: Established,
    folder: AuthorityFolder,
) -> AsyncIterator[tuple[ClusterNode, Gossip, NodeAdmin]]:
    identity, seeds = who.identity, seed_addresses(config)
    if identity.node not in seeds:
        raise IdentityError(f"cluster.seed_nodes does not say where node {identity.node} listens")
    nodes = ClusterNodes(identity, seeds=seeds, engine=engine)
    host, port = seeds[identity.node]
    listeners = await trio.open_tcp_listeners(port, host=host or None)
    network = TlsNetwork(listeners, nodes.addresses, folder.tls())
    transport = Transport(identity, network, check=nodes.check, random=ports.random)
    nodes.register(transport)
    certificates = await ports.threads.run(
        partial(Certificates, folder, identity, network, transport, nodes, ports)
    )
    async with (
        open_gossip(
            config,
            identity=identity,
            own=seeds[identity.node],
            address_of=nodes.address,
            peers=transport,
            handlers=transport,
            clock=ports.clock,
            random=ports.random,
        ) as gossip,
        trio.open_nursery() as nursery,
    ):
        node = await ClusterNode.open(
            engine,
            identity=identity,
            members=_first_members(who, nodes),
            wal=wal,
            ports=NodePorts(transport, transport, ports.clock, ports.random, ports.threads, gossip),
            settings=_cluster_settings(config),
        )
        await ports.threads.run(folder.forget_first_start)
        admin = NodeAdmin(
            node,
            config=config,
            peers=transport,
            handlers=transport,
            liveness=gossip,
            clock=ports.clock,
            nodes=nodes,
            threads=ports.threads,
            authority=AuthorityAdmin(certificates, identity, node.host, gossip.is_alive, ports),
        )
        nursery.start_soon(transport.run)
        nursery.start_soon(gossip.run)
        await nursery.start(node.run)
        running = Node(
            node.host, node.parts.proposer, gossip.is_alive, node.layout.placement.holds_copies
        )
        nursery.start_soon(
            partial(nodes.run, running, transport, transport, changed=gossip.look_for)
        )
        nursery.start_soon(certificates.run, LedgerChanges(nodes.ledger, node.parts.proposer))
        await _wait_majority(node, is_new=who.begins is Begins.JOINS)
        yield node, gossip, admin
        await gossip.leave()
        await transport.drain()
        nursery.cancel_scope.cancel()


def _first_members(who: Established, nodes: ClusterNodes) -> tuple[int, ...]:
    match who.begins:
        case Begins.ALONE:
            return (who.identity.node,)
        case Begins.JOINS:
            return ()
        case _:
            return nodes.numbers()


async def _hand_over(node: ClusterNode) -> None:
    left = await node.host.hand_over(HAND_OVER_SECONDS)
    if left:
        structlog.get_logger().warning("nobody could take over what is led here", groups=left)


def _cluster_settings(config: Config) -> ClusterSettings:
    return ClusterSettings(
        groups=config.cluster_groups,
        copies=config.replication_factor,
        zone=config.cluster_zone,
        host=make_host_settings(leaders=Leaders(config.cluster_leaders)),
        blobs=_blob_settings(config),
    )


def _blob_settings(config: Config) -> BlobSettings:
    return BlobSettings(
        sources=SourceSettings(hedge_share=config.cluster_hedge_percent / 100),
        hints=HintSettings(hints_max=config.cluster_hints_max),
        mending=MendingSettings(scrub_bytes_per_s=config.cluster_scrub_bytes_per_second),
    )


async def _wait_majority(node: ClusterNode, *, is_new: bool) -> None:
    """Until this node can read and knows the time: nodes of a cluster start in any order. One that
    is new waits for all its groups, and asks for the time again when it knows whom to ask."""
    log = structlog.get_logger()
    groups = node.parts.proposer.all_groups if is_new else (SYSTEM_GROUP,)
    while True:
        try:
            await node.parts.proposer.wait_current(groups)
        except Overloaded as error:
            log.info("waiting for a majority of the cluster", reason=str(error))
        else:
            break
    if is_new:
        await node.clock.ask()
    await node.clock.wait_proved()


def seed_addresses(config: Config) -> dict[int, Address]:
    """Where the nodes of the configuration are reached, by number."""
    addresses: dict[int, Address] = {}
    for text in config.cluster_seed_nodes:
        number, _, address = text.partition("@")
        listen = address_of(address, secure=True)
        addresses[int(number)] = listen.host, listen.port
    return addresses
