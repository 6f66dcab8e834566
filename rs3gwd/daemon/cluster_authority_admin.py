"""The authority as operators have it: shown, changed for another one, and certificates revoked.

What it is not: what is begun here is done by every node by itself (`cluster_certificates`), so that
it goes on whether or not whoever asked still waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from cryptography import x509

from cluster.authority.certificates import Authority, fingerprint, root_name, to_der
from cluster.authority.ledger import Ledger, Phase
from cluster.authority.tokens import TokenBook
from cluster.base.errors import IdentityError
from cluster.drivers.groups import GroupHost
from cluster.raft.identity import NodeIdentity
from rs3gwd.base.cluster_authority import (
    AuthorityPicture,
    AuthorityRefused,
    CertificatePicture,
    Revoked,
    RootPicture,
)
from rs3gwd.daemon.cluster_certificates import Certificates
from rs3gwd.daemon.frontend import Ports

NODE_PREFIX: Final = "node:"


class AuthorityAdmin:
    """The port `AuthorityControl` of one node."""

    def __init__(
        self,
        certificates: Certificates,
        identity: NodeIdentity,
        host: GroupHost,
        is_alive: Callable[[int], bool],
        ports: Ports,
    ) -> None:
        self._certificates = certificates
        self._identity = identity
        self._host = host
        self._is_alive = is_alive
        self._ports = ports

    async def show(self) -> AuthorityPicture:
        """As the port says."""
        return self._draw(self._known(self._certificates.view.now()))

    async def rotate(self, *, here: bool, without: list[int]) -> AuthorityPicture:
        """As the port says."""
        changes = self._certificates.changes
        ledger = self._known(await changes.current())
        is_lost = here and ledger.keeper != self._identity.node
        if ledger.phase is Phase.STEADY or is_lost:
            self._check_all_noted(ledger, without)
            await self._begin(ledger, here=here)
        if without:
            await self._change(partial(self._without, without))
        return self._draw(self._known(await changes.current()))

    async def revoke(self, what: str) -> Revoked:
        """As the port says."""
        ledger = self._known(await self._certificates.changes.current())
        serials = self._find(ledger, what)
        own = self._identity.node
        if any(ledger.certificates[serial].node == own for serial in serials):
            await self._check_own(serials)
        for node in {ledger.certificates[serial].node for serial in serials} - {own}:
            self._check_majority(node)
        now_ms = self._ports.clock.now_ms()
        await self._change(lambda known: known and known.revoked(serials, now_ms=now_ms))
        return Revoked(serials)

    # Changing the root.

    async def _begin(self, ledger: Ledger, *, here: bool) -> None:
        """The new key is on this node's disk before the cluster hears of its root."""
        folder, run = self._certificates.folder, self._ports.threads.run
        if not here and not folder.has_authority():
            raise AuthorityRefused(
                f"the key of the authority is not on node {self._identity.node}: ask the node that "
                "has it, or say --here to have the new one's key made on this node, for good"
            )
        authority = await run(self._make)
        root = to_der(authority.certificate)
        before = ledger.change

        def step(known: Ledger | None) -> Ledger | None:
            if known is None or known.change != before:
                raise IdentityError("somebody else has begun a change of the authority")
            return known.begun(root, keeper=self._identity.node)

        await self._change(step)
        # What was asked of the cluster before can come to be no more: the ledger has gone on.
        after = self._known(await self._certificates.changes.current())
        await run(partial(folder.forget_candidates, but=(root, *after.roots)))

    def _make(self) -> Authority:
        folder, ports = self._certificates.folder, self._ports
        cluster = self._identity.cluster
        authority = Authority.create(cluster, now_ms=ports.clock.now_ms(), random=ports.random)
        highest = max([self._identity.node, *self._certificates.numbers_ever()])
        with suppress(FileNotFoundError):  # where this node has let nobody in until now
            highest = max(highest, folder.read_book().node_highest)
        folder.write_book(TokenBook(node_highest=highest))
        folder.write_candidate(authority)
        return authority

    def _check_all_noted(self, ledger: Ledger, without: list[int]) -> None:
        now_ms = self._ports.clock.now_ms()
        known = ledger.holders(now_ms=now_ms) | ledger.cut_off(now_ms=now_ms) | {*without}
        unknown = sorted(set(self._certificates.members()) - known)
        if unknown:
            names = ", ".join(map(str, unknown))
            raise AuthorityRefused(
                f"no certificate is noted of node {names}: it has not been up lately; start it, "
                "remove it, or say --without it, and it has to join again"
            )

    def _without(self, nodes: list[int], known: Ledger | None) -> Ledger | None:
        if known is None or known.phase is Phase.STEADY:
            return None
        if self._identity.node in nodes:
            raise IdentityError("a node does not leave itself behind: say it on another one")
        return known.without(nodes)

    # Revoking.

    def _find(self, ledger: Ledger, what: str) -> list[str]:
        """Serial numbers; raises AuthorityRefused for what is not known."""
        if what.startswith(NODE_PREFIX) and what.removeprefix(NODE_PREFIX).isdecimal():
            node = int(what.removeprefix(NODE_PREFIX))
            found = ledger.serials_of(node)
            if not found:
                raise AuthorityRefused(f"no certificate of node {node} is good")
            return found
        serial = what.lower().lstrip("0")
        if serial not in ledger.certificates:
            raise AuthorityRefused(f"no certificate has the serial number {what}")
        return [serial]

    async def _check_own(self, serials: list[str]) -> None:
        """A former certificate of one's own may be revoked; raises AuthorityRefused."""
        mine = await self._ports.threads.run(self._certificates.folder.read_node)
        if f"{mine.serial:x}" in serials:
            raise AuthorityRefused("a node does not revoke itself: say it on another one")

    def _check_majority(self, node: int) -> None:
        """Raises AuthorityRefused where a group could not go on without the node."""
        for status in self._host.status():
            voters = status.members.voters
            alive = [each for each in voters if each != node and self._is_alive(each)]
            if node in voters and len(alive) < len(voters) // 2 + 1:
                raise AuthorityRefused(
                    f"without node {node} group {status.group} would have {len(alive)} of "
                    f"{len(voters)} voters, and could not go on: remove the node instead"
                )

    async def _change(self, step: Callable[[Ledger | None], Ledger | None]) -> None:
        try:
            await self._certificates.changes.change(step)
        except IdentityError as error:
            raise AuthorityRefused(str(error)) from error

    # Showing.

    @staticmethod
    def _known(ledger: Ledger | None) -> Ledger:
        if ledger is None:
            raise AuthorityRefused("the cluster has not noted its authority yet: wait some seconds")
        return ledger

    def _draw(self, ledger: Ledger) -> AuthorityPicture:
        now_ms = self._ports.clock.now_ms()
        waited = ledger.waited_for(self._certificates.members(), now_ms=now_ms)
        return draw_authority(ledger, waited)


def draw_authority(ledger: Ledger, waited_for: list[int]) -> AuthorityPicture:
    """The picture of a ledger."""
    names = {root_name(root) for root in ledger.roots}
    certificates = [
        CertificatePicture(
            serial=serial,
            node=each.node,
            not_after_ms=each.not_after_ms,
            authority=each.authority,
            revoked_ms=each.revoked_ms,
            is_trusted=not each.revoked_ms and each.authority in names,
        )
        for serial, each in ledger.certificates.items()
    ]
    return AuthorityPicture(
        phase=ledger.phase.name.lower(),
        change=ledger.change,
        keeper=ledger.keeper,
        waited_for=waited_for,
        done=sum(done >= ledger.phase for done in ledger.said.values()),
        left_behind=sorted(ledger.left_behind),
        roots=[_draw_root(root, ledger) for root in ledger.roots],
        certificates=sorted(certificates, key=lambda each: (each.node, each.not_after_ms)),
    )


def _draw_root(root: bytes, ledger: Ledger) -> RootPicture:
    end = x509.load_der_x509_certificate(root).not_valid_after_utc
    return RootPicture(
        name=root_name(root),
        sha256=fingerprint(root).hex(),
        not_after_ms=int(end.timestamp()) * 1000,
        is_issuer=root == ledger.issuer,
    )
