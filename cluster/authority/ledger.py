"""What the cluster has agreed on about its authority: roots, certificates, and a change of root.

Picture: a firm that changes its locks. First everybody is given the new key beside the old one;
when all have it, doors get new locks one by one; when all doors have them, everybody throws the old
key away. Nobody is ever before a door that he cannot open, whoever is late or falls ill meanwhile.

    phase        what each node does, and then says         the next phase begins when all have said
    STEADY       nothing                                    somebody begins a change
    TRUSTING     trusts the new root beside the old ones    the new root issues from here on
    RENEWING     has a certificate of the new root          nobody shows an old one any more
    RELINKING    has no connection with an old certificate  the old roots are not trusted any more
    FORGETTING   trusts the new root alone                  STEADY

`duty` says what is next for one node, `advanced` what is next for the cluster. "All" are the
members and whoever holds a certificate that may yet be used (`holders`): also a node that is away,
or was let in and never started. Who is waited for in vain is removed, revoked or left behind by
name.

A change may begin in any phase, so that a new root whose key was lost is followed by another. What
it is not: it is stored and agreed on elsewhere (`rs3gwd.engine.cluster_authority`), and is a value.

Invariants: two nodes that are waited for always trust each other's certificates; a root is dropped
only when nobody of them shows one of its certificates; a certificate that was revoked stays so
until it has expired, and its serial number is never noted as good again.
"""

from collections.abc import Collection
from enum import Enum, IntEnum
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from cluster.authority.certificates import PeerCertificate, root_name
from cluster.authority.denied import Denied
from cluster.base.errors import IdentityError
from cluster.base.ids import NodeId

VERSION: Final = 1

CERTIFICATES_OF_NODE_MAX: Final = 32
"""Live ones. A node asks for one in 60 days; this bounds what one that asks without end costs."""

ROOTS_MAX: Final = 4
"""Each costs 600 bytes and a check; more than two are trusted only where keys got lost."""

EXPIRED_KEPT_MS: Final = 86_400_000
"""Clocks differ: a certificate is forgotten a day after its end."""


class Phase(IntEnum):
    """How far a change of the root is."""

    STEADY = 0
    TRUSTING = 1
    RENEWING = 2
    RELINKING = 3
    FORGETTING = 4


class Duty(Enum):
    """What a node has to do next."""

    NOTHING = "nothing"
    TRUST = "trust"
    RENEW = "renew"
    RELINK = "relink"
    SAY = "say"


class Issued(msgspec.Struct, array_like=True, frozen=True):
    """A certificate; `authority` names its root, `revoked_ms` is 0 while it is good."""

    node: NodeId
    not_after_ms: int
    authority: str
    revoked_ms: int = 0


class Standing(NamedTuple):
    """How far one node is: the roots it trusts (DER), who issued its certificate, its serial number
    in hex, and the number of the change since whose third phase all its connections are new."""

    node: NodeId
    roots: tuple[bytes, ...]
    authority: str
    serial: str
    relinked: int


class Ledger(msgspec.Struct, array_like=True, frozen=True):
    """`roots` are DER, newest first; `keeper` made the newest one's key (0: not known); `change`
    counts the changes that were begun; `said` has the phase that each node has done in this one;
    `certificates` are by serial number in hex."""

    roots: tuple[bytes, ...]
    phase: Phase = Phase.STEADY
    change: int = 0
    keeper: NodeId = 0
    said: dict[NodeId, int] = {}
    left_behind: frozenset[NodeId] = frozenset()
    certificates: dict[str, Issued] = {}

    # What it says.

    @property
    def issuer(self) -> bytes:
        """The root that issues now."""
        return self.roots[1] if self.phase is Phase.TRUSTING else self.roots[0]

    def holders(self, *, now_ms: int) -> frozenset[NodeId]:
        """Whose certificate may yet be used."""
        names = {root_name(root) for root in self.roots}
        return frozenset(
            each.node
            for each in self.certificates.values()
            if not each.revoked_ms and each.not_after_ms > now_ms and each.authority in names
        )

    def cut_off(self, *, now_ms: int) -> frozenset[NodeId]:
        """Whose certificates were all revoked: nobody talks to them until they join again."""
        revoked = {each.node for each in self.certificates.values() if each.revoked_ms}
        return frozenset(revoked - self.holders(now_ms=now_ms))

    def waited_for(self, members: Collection[NodeId], *, now_ms: int) -> list[NodeId]:
        """Who has not done this phase yet, by number; nobody in STEADY."""
        if self.phase is Phase.STEADY:
            return []
        wanted = {*members} | self.holders(now_ms=now_ms)
        wanted -= self.left_behind | self.cut_off(now_ms=now_ms)
        return sorted(node for node in wanted if self.said.get(node, 0) < self.phase)

    def check(self, node: NodeId, certificate: PeerCertificate, roots: tuple[bytes, ...]) -> None:
        """Raises IdentityError for a certificate that was revoked, or whose root is not one of
        those that this node trusts (DER); the text is what its node will read."""
        serial = f"{certificate.serial:x}"
        revoked = self.certificates.get(serial)
        if revoked is not None and revoked.revoked_ms:
            denied = Denied(serials={serial: revoked.not_after_ms})
            denied.check(node, certificate)
        if certificate.authority not in {root_name(root) for root in roots}:
            raise IdentityError(
                f"node {node} has a certificate of an authority that was replaced: it needs a new "
                f"one (`rs3gwctl cluster invite --node {node}` there, `join --again` here)"
            )

    def is_older_than(self, standing: Standing) -> bool:
        """Whether it knows nothing of a node's certificate nor of its root: so it is on a disk that
        was away when its node joined again."""
        names = {root_name(root) for root in self.roots}
        return standing.authority not in names and standing.serial not in self.certificates

    def duty(self, standing: Standing) -> Duty:
        """What a node has to do next; the order is that of the phases. A ledger that is older than
        its certificate asks for nothing."""
        if self.is_older_than(standing):
            return Duty.NOTHING
        if standing.roots != self.roots:
            return Duty.TRUST
        if self.phase >= Phase.RENEWING and standing.authority != root_name(self.issuer):
            return Duty.RENEW
        if self.phase is Phase.RELINKING and standing.relinked != self.change:
            return Duty.RELINK
        if self.said.get(standing.node, 0) < self.phase:
            return Duty.SAY
        return Duty.NOTHING

    # How it changes.

    def begun(self, root: bytes, *, keeper: NodeId) -> "Ledger":
        """A change to a new root begins; one that was under way is overtaken.

        Raises IdentityError when too many roots are trusted by now."""
        # What was only to be trusted has issued nothing.
        former = self.roots[1:] if self.phase is Phase.TRUSTING else self.roots
        if root in former or len(former) >= ROOTS_MAX:
            raise IdentityError("too many authorities were begun: let one of them be finished")
        return replace(
            self,
            roots=(root, *former),
            phase=Phase.TRUSTING,
            change=self.change + 1,
            keeper=keeper,
            said={},
            left_behind=frozenset(),
        )

    def with_word(self, node: NodeId, *, change: int, phase: Phase) -> "Ledger":
        """A node has done a phase of a change; of another one it is no news."""
        if (change, phase) != (self.change, self.phase):
            return self
        return replace(self, said={**self.said, node: int(phase)})

    def advanced(self, members: Collection[NodeId], *, now_ms: int) -> "Ledger":
        """The next phase, when nobody is waited for; else what it is."""
        if self.phase is Phase.STEADY or self.waited_for(members, now_ms=now_ms):
            return self
        match self.phase:
            case Phase.RELINKING:
                return replace(self, phase=Phase.FORGETTING, roots=self.roots[:1])
            case Phase.FORGETTING:
                return replace(self, phase=Phase.STEADY, said={})
            case _:
                return replace(self, phase=Phase(self.phase + 1))

    def without(self, nodes: Collection[NodeId]) -> "Ledger":
        """Nodes are not waited for any more in the change under way, and may have to join again."""
        return replace(self, left_behind=self.left_behind | {*nodes})

    def with_certificate(self, said: PeerCertificate, *, now_ms: int) -> "Ledger":
        """A certificate was issued, or is in use; one that is known stays as it is.

        Raises IdentityError: its root is not trusted, or its node has too many."""
        serial = f"{said.serial:x}"
        if serial in self.certificates or said.not_after_ms <= now_ms:
            return self
        if said.authority not in {root_name(root) for root in self.roots}:
            raise IdentityError(f"the authority of a certificate of node {said.node} was replaced")
        kept = self._kept(now_ms)
        own = [each for each in kept.values() if each.node == said.node and not each.revoked_ms]
        if len(own) >= CERTIFICATES_OF_NODE_MAX:
            raise IdentityError(f"node {said.node} has {len(own)} certificates: revoke some")
        issued = Issued(said.node, said.not_after_ms, said.authority)
        back = said.authority == root_name(self.roots[0])
        left = self.left_behind - {said.node} if back else self.left_behind
        return replace(self, certificates={**kept, serial: issued}, left_behind=left)

    def revoked(self, serials: Collection[str], *, now_ms: int) -> "Ledger":
        """Certificates are good no more; serial numbers that are not known say nothing."""
        kept = self._kept(now_ms)
        for serial in serials:
            known = kept.get(serial)
            if known is not None and not known.revoked_ms:
                kept[serial] = replace(known, revoked_ms=now_ms)
        return replace(self, certificates=kept)

    def serials_of(self, node: NodeId) -> list[str]:
        """The certificates of a node that are not revoked."""
        found = self.certificates.items()
        return sorted(name for name, each in found if each.node == node and not each.revoked_ms)

    def _kept(self, now_ms: int) -> dict[str, Issued]:
        return {
            serial: each
            for serial, each in self.certificates.items()
            if each.not_after_ms + EXPIRED_KEPT_MS > now_ms
        }

    # How it is stored.

    def encode(self) -> bytes:
        """For storage: msgpack [1, the fields in their order]."""
        return msgspec.msgpack.encode((VERSION, self))

    @classmethod
    def decode(cls, data: bytes) -> "Ledger":
        """What `encode` gave. Raises IdentityError for anything else."""
        try:
            version, ledger = msgspec.msgpack.decode(data, type=tuple[int, Ledger])
        except msgspec.DecodeError as error:
            raise IdentityError(f"the ledger of the authority cannot be read: {error}") from error
        if version != VERSION or not ledger.roots:
            raise IdentityError(f"a ledger of the authority of version {version} is not known here")
        return ledger
