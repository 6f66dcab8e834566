"""A node of a cluster: its certificate, its log, its connections and its groups, over the engine.

What it is not: nothing of it runs on a single node. Under the data directory lie `cluster/` with
the node's certificate and key and the roots that it trusts (`cluster.drivers.authority`), and
`wal/` with the log of all groups. Which node this is says its certificate; where the others are
says the configuration.

Order of the start: the log is read, the groups begin, the transport listens, a majority is found.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from cluster.authority.certificates import PeerCertificate
from cluster.base.errors import IdentityError
from cluster.drivers.authority import AuthorityFolder
from cluster.drivers.gossip import Gossip
from cluster.drivers.transport import Transport
from cluster.drivers.transport_network import Address, TlsNetwork
from cluster.raft.identity import NodeIdentity
from cluster.wal.wal import Wal
from rs3gwd.base.errors import Overloaded
from rs3gwd.config import Config
from rs3gwd.daemon.cluster_identity import establish
from rs3gwd.daemon.frontend import Ports
from rs3gwd.daemon.gossiping import open_gossip
from rs3gwd.daemon.opening import data_root
from rs3gwd.daemon.settings import address_of
from rs3gwd.daemon.stores import Stores, local_stores
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.system import FileDisk
from rs3gwd.node.blob_hints import HintSettings
from rs3gwd.node.blob_mending import MendingSettings
from rs3gwd.node.blob_parts import BlobSettings
from rs3gwd.node.blob_sources import SourceSettings
from rs3gwd.node.cluster_node import ClusterNode, ClusterSettings, NodePorts

AUTHORITY_FOLDER = "cluster"
WAL_FOLDER = "wal"

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
        identity, _ = await ports.threads.run(partial(establish, folder, wal, ports.random))
        async with _cluster_node(config, engine, ports, wal, identity, folder) as (node, gossip):
            founder = min(seed_addresses(config))
            yield Stores(
                node.store,
                node.directory,
                node.store.begin,
                is_founder=identity.node == founder,
                blobs=node.blobs,
                gossip=gossip,
                clock=node.clock,
                hand_over=partial(_hand_over, node),
            )
    finally:
        await ports.threads.run(wal.close)


@asynccontextmanager
async def _cluster_node(
    config: Config,
    engine: Engine,
    ports: Ports,
    wal: Wal,
    identity: NodeIdentity,
    folder: AuthorityFolder,
) -> AsyncIterator[tuple[ClusterNode, Gossip]]:
    addresses = seed_addresses(config)
    if identity.node not in addresses:
        raise IdentityError(f"cluster.seed_nodes does not say where node {identity.node} listens")
    host, port = addresses[identity.node]
    listeners = await trio.open_tcp_listeners(port, host=host or None)
    network = TlsNetwork(
        listeners,
        lambda node: [addresses[node]] if node in addresses else [],
        folder.tls(),
    )
    transport = Transport(
        identity, network, check=partial(_check_peer, identity), random=ports.random
    )
    async with (
        open_gossip(
            config,
            identity=identity,
            addresses=addresses,
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
            members=tuple(sorted(addresses)),
            wal=wal,
            ports=NodePorts(transport, transport, ports.clock, ports.random, ports.threads, gossip),
            settings=_cluster_settings(config),
        )
        await ports.threads.run(folder.forget_first_start)
        nursery.start_soon(transport.run)
        nursery.start_soon(gossip.run)
        await nursery.start(node.run)
        await _wait_majority(node)
        yield node, gossip
        await gossip.leave()
        await transport.drain()
        nursery.cancel_scope.cancel()


async def _hand_over(node: ClusterNode) -> None:
    left = await node.host.hand_over(HAND_OVER_SECONDS)
    if left:
        structlog.get_logger().warning("nobody could take over what is led here", groups=left)


def _cluster_settings(config: Config) -> ClusterSettings:
    return ClusterSettings(
        groups=config.cluster_groups,
        copies=config.replication_factor,
        blobs=_blob_settings(config),
    )


def _blob_settings(config: Config) -> BlobSettings:
    return BlobSettings(
        sources=SourceSettings(hedge_share=config.cluster_hedge_percent / 100),
        hints=HintSettings(hints_max=config.cluster_hints_max),
        mending=MendingSettings(scrub_bytes_per_s=config.cluster_scrub_bytes_per_second),
    )


async def _wait_majority(node: ClusterNode) -> None:
    """Until this node can read and knows the time: nodes of a cluster start in any order."""
    log = structlog.get_logger()
    while True:
        try:
            await node.store.begin("", b"")
        except Overloaded as error:
            log.info("waiting for a majority of the cluster", reason=str(error))
        else:
            break
    await node.clock.wait_proved()


def seed_addresses(config: Config) -> dict[int, Address]:
    """Where the nodes of the configuration are reached, by number."""
    addresses: dict[int, Address] = {}
    for text in config.cluster_seed_nodes:
        number, _, address = text.partition("@")
        listen = address_of(address, secure=True)
        addresses[int(number)] = listen.host, listen.port
    return addresses


def _check_peer(own: NodeIdentity, peer: NodeIdentity, certificate: PeerCertificate | None) -> None:
    """Whoever has a certificate of this cluster is in, from the disk that it joined with. Raises
    IdentityError."""
    if certificate is None or certificate.cluster != own.cluster or peer.cluster != own.cluster:
        raise IdentityError(f"node {peer.node} is not of cluster {own.cluster}")
    certificate.check_disk(peer.token)
