"""Who is no longer let in: nodes that were removed and certificates that were revoked.

A removed node holds a good certificate until that runs out, so its id is denied for ever (ids are
never given again, so the list grows by one number for each removal). A single certificate whose key
leaked is denied by its serial number until it would have expired. The list is checked at every
handshake and, when it changes, against the connections that are up.
"""

import msgspec

from cluster.authority.certificates import PeerCertificate
from cluster.base.errors import IdentityError
from cluster.base.ids import NodeId


class Denied(msgspec.Struct, array_like=True, frozen=True):
    """Node ids, and serial numbers as hex with the end of their certificate."""

    nodes: frozenset[NodeId] = frozenset()
    serials: dict[str, int] = {}

    def with_node(self, node: NodeId) -> "Denied":
        """With a node that was removed."""
        return Denied(self.nodes | {node}, self.serials)

    def with_serial(self, certificate: PeerCertificate, *, now_ms: int) -> "Denied":
        """With one certificate; those that have expired meanwhile are dropped."""
        live = {serial: end for serial, end in self.serials.items() if end > now_ms}
        return Denied(self.nodes, {**live, f"{certificate.serial:x}": certificate.not_after_ms})

    def check(self, node: NodeId, certificate: PeerCertificate | None) -> None:
        """Raises IdentityError for who is denied."""
        if node in self.nodes:
            raise IdentityError(f"node {node} was removed from the cluster")
        if certificate is not None and f"{certificate.serial:x}" in self.serials:
            raise IdentityError(f"a certificate of node {node} was revoked")
