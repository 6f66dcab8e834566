"""The certificates of the nodes stay young: each asks for another at two thirds of its life.

Any member may be asked; one that has the authority's key answers, the others have no such method,
and the next is tried. What could not be had is tried again within the hour, for thirty days. What
it is not: new certificates count from the next handshake on, and connections that are up go on.
"""

import structlog

from cluster.authority.certificates import Trust
from cluster.drivers.authority import AuthorityFolder, Renewal, RenewalService
from cluster.drivers.transport import Transport
from cluster.drivers.transport_network import TlsNetwork
from cluster.raft.identity import NodeIdentity
from rs3gwd.daemon.cluster_nodes import ClusterNodes
from rs3gwd.daemon.frontend import Ports


def open_renewal(
    folder: AuthorityFolder,
    identity: NodeIdentity,
    network: TlsNetwork,
    transport: Transport,
    nodes: ClusterNodes,
    ports: Ports,
) -> Renewal:
    """The task, whose `run` is to be started; before the transport runs, since a node that has the
    authority's key answers others. Blocks. Raises IdentityError, OSError."""
    service = None
    if folder.has_authority():
        service = RenewalService(
            folder.read_authority(),
            Trust(folder.read_roots()),
            cluster=identity.cluster,
            handlers=transport,
            clock=ports.clock,
            random=ports.random,
            disk_of=nodes.disk_token,
        )

    async def renewed() -> None:
        await ports.threads.run(network.reload)
        structlog.get_logger().info("the certificate of this node was renewed")

    return Renewal(
        folder,
        peers=transport,
        members=nodes.numbers,
        clock=ports.clock,
        threads=ports.threads,
        renewed=renewed,
        own=service,
    )
