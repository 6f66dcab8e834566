"""The certificate of this node and the roots that it trusts, as the cluster has agreed on them.

Each second a node looks at the ledger (`cluster.authority.ledger`) and does what is next for it:
trust a new root, fetch a certificate from it, dial everybody anew with that, say so, forget the old
root. Where all have said so, whoever sees it first has the next phase agreed. Every act is on disk
before it is said and can be repeated, so that a crash costs a second. Besides: certificates are
renewed when two thirds of their life are over; those that were issued where no daemon runs are
noted; those of removed nodes are revoked; connections that the ledger has no good word for are
closed.

Any member may be asked for a certificate; one that has the key of the authority answers, the others
refuse, and the next is tried. What it is not: it begins no change and revokes nothing by itself
(`cluster_authority_admin`).
"""

from __future__ import annotations

from functools import partial
from ssl import SSLError
from typing import Final

import structlog
import trio

from cluster.authority.certificates import (
    PeerCertificate,
    Trust,
    read_certificate,
    root_name,
    to_der,
)
from cluster.authority.ledger import Duty, Ledger, Standing
from cluster.base.errors import IdentityError, NoLeader
from cluster.drivers.authority import AuthorityFolder, Renewal, RenewalService, Rights
from cluster.drivers.transport import Transport
from cluster.drivers.transport_network import TlsNetwork
from cluster.raft.identity import NodeIdentity
from rs3gwd.base.cluster_nodes import NodeState
from rs3gwd.base.errors import OutcomeUnknown, Overloaded, StoreError
from rs3gwd.daemon.cluster_ledger import LedgerChanges
from rs3gwd.daemon.cluster_nodes import ClusterNodes
from rs3gwd.daemon.frontend import Ports

LOOK_INTERVAL_SECONDS: Final = 1.0
"""How soon a revocation counts on a node that has it; a change of the root takes some of these."""

REFUSALS: Final = ("revoked", "replaced", "alert unknown ca", "CERTIFICATE_VERIFY_FAILED")
"""What others say, or TLS, where certificates are the reason that nobody talks to this node."""


class Certificates:
    """Made before the transport runs, since it answers others; blocks then, and raises
    IdentityError, OSError."""

    def __init__(
        self,
        folder: AuthorityFolder,
        identity: NodeIdentity,
        network: TlsNetwork,
        transport: Transport,
        nodes: ClusterNodes,
        ports: Ports,
    ) -> None:
        self.folder = folder
        self.view = nodes.ledger
        self._number = identity.node
        self._network = network
        self._transport = transport
        self._nodes = nodes
        self._ports = ports
        self._changes: LedgerChanges | None = None
        self._mine = folder.read_node()
        self._roots = self.view.roots = folder.read_roots()
        self._relinked = self._redialled = self._revision = 0
        self._said = ("", "")
        self._log = structlog.get_logger()
        self.renewal = self._open_renewal(identity.cluster)

    def _open_renewal(self, cluster: str) -> Renewal:
        ports = self._ports
        service = RenewalService(
            self._rights,
            cluster=cluster,
            handlers=self._transport,
            clock=ports.clock,
            random=ports.random,
            disk_of=self._nodes.disk_token,
            note=self._note,
        )
        return Renewal(
            self.folder,
            peers=self._transport,
            members=self._nodes.numbers,
            clock=ports.clock,
            threads=ports.threads,
            renewed=self._renewed,
            own=service,
            roots=lambda: self._roots,
        )

    async def run(self, changes: LedgerChanges) -> None:
        """Follows the ledger and renews in time, until cancelled."""
        self._changes = changes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.renewal.run)
            while True:
                try:
                    await self._look(changes)
                except (Overloaded, OutcomeUnknown, NoLeader) as error:
                    self._tell("the ledger of the authority cannot be changed now", str(error))
                except (IdentityError, StoreError, SSLError) as error:
                    self._tell("the certificates are not as they should be", str(error))
                await trio.sleep(LOOK_INTERVAL_SECONDS)

    @property
    def changes(self) -> LedgerChanges:
        """Raises Overloaded while the node is just starting."""
        if self._changes is None:
            raise Overloaded(f"node {self._number} is just starting")
        return self._changes

    def members(self) -> list[int]:
        """Every node that was noted and not removed, by number."""
        return [r.number for r in self._nodes.records() if r.state is not NodeState.REMOVED]

    def numbers_ever(self) -> list[int]:
        """Every node that was ever noted, those that were removed among them."""
        return [record.number for record in self._nodes.records()]

    # What is next.

    async def _look(self, changes: LedgerChanges) -> None:
        record = self.view.record()
        ledger = self.view.ledger(record)
        if ledger is None or record is None:
            if self._number in self.members():
                await changes.change(lambda known: known or Ledger(self._roots))
            return
        if record.revision != self._revision:
            self._transport.recheck()
            self._revision = record.revision
        self._tell_of_refusals()
        serial, authority = f"{self._mine.serial:x}", self._mine.authority
        standing = Standing(self._number, self._roots, authority, serial, self._relinked)
        if ledger.is_older_than(standing):
            return  # what has come since is on its way
        await self._act(ledger, standing, changes)
        settle = partial(self.folder.settle, ledger.issuer, ledger.roots)
        if await self._ports.threads.run(settle):
            self._log.info("the key of the authority is as the cluster agreed")
        await self._keep_book(ledger, changes)

    async def _act(self, ledger: Ledger, standing: Standing, changes: LedgerChanges) -> None:
        """The next thing that is this node's to do."""
        match ledger.duty(standing):
            case Duty.TRUST:
                await self._trust(ledger.roots)
            case Duty.RENEW:
                await self.renewal.renew_of(root_name(ledger.issuer))
            case Duty.RELINK:
                self._relink(ledger)
            case Duty.SAY:
                await changes.change(partial(self._word, ledger))
            case Duty.NOTHING:
                pass

    async def _trust(self, roots: tuple[bytes, ...]) -> None:
        await self._ports.threads.run(partial(self.folder.write_roots, roots))
        await self._ports.threads.run(self._network.reload)
        self._roots = self.view.roots = roots
        self._transport.recheck()
        self._log.info("the roots that this node trusts have changed", roots=len(roots))

    def _relink(self, ledger: Ledger) -> None:
        """Done when no connection, of whichever side's making, has an old certificate."""
        if self._redialled != ledger.change:
            self._transport.redial()
            self._redialled = ledger.change
            return
        wanted = root_name(ledger.issuer)
        if all(each.authority == wanted for each in self._transport.certificates()):
            self._relinked = ledger.change

    def _word(self, done: Ledger, known: Ledger | None) -> Ledger | None:
        if known is None:
            return None
        return known.with_word(self._number, change=done.change, phase=done.phase)

    async def _keep_book(self, ledger: Ledger, changes: LedgerChanges) -> None:
        """Notes certificates that are not noted, revokes those of removed nodes, and goes on to the
        next phase when all have done this one."""
        await self._note_issued(ledger, changes)
        removed = [r.number for r in self._nodes.records() if r.state is NodeState.REMOVED]
        gone = [serial for node in removed for serial in ledger.serials_of(node)]
        now_ms = self._ports.clock.now_ms()
        if gone:
            await changes.change(lambda known: known and known.revoked(gone, now_ms=now_ms))
        if ledger.advanced(self.members(), now_ms=now_ms) != ledger:
            await changes.change(self._advanced)

    async def _note_issued(self, ledger: Ledger, changes: LedgerChanges) -> None:
        """This node's own certificate, and those that its `invite` has given."""
        if f"{self._mine.serial:x}" not in ledger.certificates:
            await changes.change(partial(self._noted, self._mine))
        for said in await self._ports.threads.run(self.folder.read_issued):
            try:
                await changes.change(partial(self._noted, said))
            except IdentityError as error:
                self._log.warning("a certificate is worth nothing", reason=str(error))
            await self._ports.threads.run(partial(self.folder.forget_issued, said.serial))

    def _noted(self, said: PeerCertificate, known: Ledger | None) -> Ledger | None:
        now_ms = self._ports.clock.now_ms()
        return known and known.with_certificate(said, now_ms=now_ms)

    def _advanced(self, known: Ledger | None) -> Ledger | None:
        if known is None:
            return None
        after = known.advanced(self.members(), now_ms=self._ports.clock.now_ms())
        if after.phase is not known.phase:
            self._log.info(
                "a change of the authority goes on", change=known.change, phase=after.phase.name
            )
        return after

    # Certificates.

    async def _rights(self) -> Rights:
        """The authority of now, on the node that has its key."""
        ledger = self.view.now()
        if not self.folder.has_authority():
            raise IdentityError(f"node {self._number} does not have the key of the authority")
        authority = await self._ports.threads.run(self.folder.read_authority)
        roots = (to_der(authority.certificate),) if ledger is None else ledger.roots
        if ledger is not None and to_der(authority.certificate) != ledger.issuer:
            raise IdentityError(f"the authority that node {self._number} has is being replaced")
        return Rights(authority, Trust(roots))

    async def _note(self, certificate: bytes) -> None:
        """Before a certificate is given away the cluster knows of it. Raises IdentityError."""
        if self.view.now() is None:
            return  # it will note it by itself
        try:
            await self.changes.change(partial(self._noted, read_certificate(certificate)))
        except (Overloaded, OutcomeUnknown) as error:
            raise IdentityError(f"the certificate could not be noted: {error}") from error

    async def _renewed(self) -> None:
        await self._ports.threads.run(self._network.reload)
        self._mine = await self._ports.threads.run(self.folder.read_node)
        self._log.info("the certificate of this node was renewed", serial=f"{self._mine.serial:x}")

    # What is said.

    def _tell_of_refusals(self) -> None:
        """What to do where the others refuse this node, once for each reason."""
        failures = self._transport.dial_failures
        refused = {node: why for node, why in failures.items() if any(r in why for r in REFUSALS)}
        others = set(self.members()) - {self._number}
        if others and others <= refused.keys():
            self._tell(
                "the other nodes refuse the certificate of this node, or it does not trust theirs: "
                "the authority was replaced while it was away, or its certificate was revoked. "
                f"Where the key of the authority is say `rs3gwctl cluster invite --node "
                f"{self._number}`, here stop the daemon and say `rs3gwctl cluster join --again`",
                "; ".join(sorted(set(refused.values()))),
            )

    def _tell(self, text: str, reason: str) -> None:
        if (text, reason) != self._said:
            self._said = text, reason
            self._log.warning(text, reason=reason)
