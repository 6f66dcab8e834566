"""Which node of which cluster this is: its certificate, and the disk that must belong to it.

A node's votes and acknowledgements are on its disk, so that an empty one must never come back under
a number that has voted (`cluster.raft.identity`). `rs3gwctl cluster init | join` notes the token
of the disk that they were said on, to which the certificate is bound; the first start writes it to
the log, with some more that is drawn then, and forgets the note. From then on a start without a log
is refused here, and every handshake compares the token with the certificate
(`PeerCertificate.check_disk`) and with the one that the cluster has noted
(`rs3gwd.daemon.cluster_nodes`). What it is not: it starts nothing.
"""

from typing import NamedTuple

from cluster.authority.certificates import PeerCertificate
from cluster.base.errors import IdentityError
from cluster.drivers.authority import AuthorityFolder, Begins
from cluster.raft.identity import NodeIdentity
from cluster.wal.wal import Wal
from rs3gwd.base.ports import Random

STARTED_BYTES = 16
"""Drawn at the first start: a copy of the folder `cluster` from before it makes another disk."""


class Established(NamedTuple):
    """Who this node is. `begins` says how at its first start, and is None ever after."""

    identity: NodeIdentity
    begins: Begins | None


def establish(folder: AuthorityFolder, wal: Wal, random: Random) -> Established:
    """Who the node of this folder and this log is; blocks.

    Raises IdentityError: the log is another node's, or is empty where the node has started before;
    OSError.
    """
    certificate = folder.read_node()
    stored = wal.identity()
    if stored is None:
        first = folder.read_first_start()
        token = first.token + random.token_bytes(STARTED_BYTES)
        stored = NodeIdentity(certificate.cluster, certificate.node, token)
        begins: Begins | None = first.begins
    else:
        folder.forget_first_start()
        begins = None
    _check_certificate(stored, certificate)
    return Established(stored, begins)


def _check_certificate(identity: NodeIdentity, certificate: PeerCertificate) -> None:
    if (identity.cluster, identity.node) != (certificate.cluster, certificate.node):
        raise IdentityError(
            f"the disk is of node {identity.node} of cluster {identity.cluster}, the certificate "
            f"of node {certificate.node} of {certificate.cluster}"
        )
    certificate.check_disk(identity.token)
