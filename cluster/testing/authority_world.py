"""Nodes that change the root of their cluster, fall away and are revoked, from one seed.

The ledger is one value that all changes are made from, as the system group has it; each node goes
by the copy that it has seen, which may be an older one. What a node keeps on its disk (roots, its
certificate, the ledger it has seen) outlives a crash, its connections do not. A connection has the
certificates that both ends showed when it was made.

`BUGS` names what is left out of the rules on purpose; a search over seeds must notice each.

What it is not: a network. No messages are lost here; nodes that are down see and do nothing.

Invariants (`check`): two nodes that are up and let in trust each other's certificate, and no
connection between them is cut off; a node that has seen a revocation has none on that certificate.
At the end (`heal`) every change has come to its end, and nobody trusts an old root or has a
connection by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Final

from msgspec.structs import replace

from cluster.authority.certificates import Authority, PeerCertificate, root_name, to_der
from cluster.authority.ledger import Duty, Ledger, Phase, Standing
from cluster.base.errors import IdentityError
from cluster.base.ids import NodeId

NODES: Final = 3
NODES_MAX: Final = 6
ROOTS: Final = 6
LIFE_MS: Final = 1 << 40

BUGS: Final = (
    "issues_before_all_trust",
    "drops_the_old_root_too_early",
    "waits_for_living_nodes_alone",
    "trusts_the_new_root_alone",
    "let_in_and_not_waited_for",
    "word_of_another_change_counts",
    "says_relinked_and_is_not",
    "revocation_unseen_by_links",
    "revocation_lost_on_restart",
)
"""Rules that can be left out, by name."""


class RuleBroken(AssertionError):
    """What the module's head promises does not hold."""


@dataclass(slots=True)
class Member:
    """A node: what is on its disk, whether it is up, and the certificates of its connections."""

    number: NodeId
    roots: tuple[bytes, ...]
    certificate: PeerCertificate
    seen: Ledger
    denied: Ledger
    """The ledger by which it refuses; the same as `seen` but for bugs."""
    is_up: bool = True
    relinked: int = 0
    links: dict[NodeId, PeerCertificate] = field(default_factory=dict)


class AuthorityWorld:
    """One walk: `step` does something by chance, `check` looks at everybody."""

    def __init__(self, seed: int, *, bug: str = "") -> None:
        assert not bug or bug in BUGS
        self._random = Random(seed)
        self._bug = bug
        self._serial = 0
        self._roots_used = 1
        self.truth = Ledger((a_root(0),))
        self.members: dict[NodeId, Member] = {}
        self.changes_ended = 0
        for _ in range(NODES):
            self._let_in()

    def step(self) -> None:
        """One act of a node or of an operator; one that is refused changes nothing."""
        acts = [self._begin, self._let_in, self._crash, self._start, self._start, self._revoke]
        acts += [self._join_again]
        acts += [self._learn_any, self._act_any, self._link_any, self._advance] * 6
        try:
            self._random.choice(acts)()
        except IdentityError:
            return

    def check(self) -> None:
        """Raises RuleBroken."""
        up = [each for each in self.members.values() if each.is_up]
        for one in up:
            for other in up:
                if one is not other and self._is_good(one) and self._is_good(other):
                    self._check_trust(one, other)
            for peer, certificate in one.links.items():
                issued = one.seen.certificates.get(f"{certificate.serial:x}")
                if issued is not None and issued.revoked_ms:
                    raise RuleBroken(f"node {one.number} keeps the revoked link of node {peer}")

    def heal(self) -> None:
        """Everybody is up, learns and acts; a change that is under way must come to its end.

        Raises RuleBroken."""
        for _ in range(8 * NODES_MAX):
            for member in self.members.values():
                member.is_up = True
                self._learn(member)
                self._act(member)
                self.check()
            self._link_all()
            self._advance()
        if self.truth.phase is not Phase.STEADY:
            raise RuleBroken(f"a change does not end: {self.truth.phase.name}")
        for member in self.members.values():
            if self._is_good(member) and member.roots != self.truth.roots:
                raise RuleBroken(f"node {member.number} trusts a root that was dropped")
            if {each.authority for each in member.links.values()} - self._names(self.truth.roots):
                raise RuleBroken(f"node {member.number} has a link by a root that was dropped")

    # Nodes.

    def _any(self) -> Member:
        return self._random.choice(list(self.members.values()))

    def _learn_any(self) -> None:
        member = self._any()
        if member.is_up and self._is_good(member):
            self._learn(member)

    def _learn(self, member: Member) -> None:
        """The member sees the newest ledger, and looks at once at its connections."""
        member.seen = member.denied = self.truth
        if self._bug != "revocation_unseen_by_links":
            self._recheck(member)

    def _recheck(self, member: Member) -> None:
        for peer, certificate in [*member.links.items()]:
            try:
                member.denied.check(peer, certificate, member.roots)
            except IdentityError as error:
                if self._is_good(self.members[peer]) and self._is_good(member):
                    raise RuleBroken(f"node {member.number} cuts node {peer} off") from error
                self._unlink(member.number, peer)

    def _act_any(self) -> None:
        member = self._any()
        if member.is_up:
            self._act(member)

    def _act(self, member: Member) -> None:
        """The next thing that is this member's to do."""
        seen = member.seen
        serial, authority = f"{member.certificate.serial:x}", member.certificate.authority
        standing = Standing(member.number, member.roots, authority, serial, member.relinked)
        match seen.duty(standing):
            case Duty.TRUST:
                alone = self._bug == "trusts_the_new_root_alone"
                member.roots = seen.roots
                if alone and seen.phase is Phase.TRUSTING:
                    member.roots = seen.roots[:1]
                if self._bug != "revocation_unseen_by_links":
                    self._recheck(member)
            case Duty.RENEW:
                self._renew(member)
            case Duty.RELINK:
                if self._bug != "says_relinked_and_is_not":
                    for peer in [*member.links]:
                        self._unlink(member.number, peer)
                member.relinked = seen.change
            case Duty.SAY:
                self._say(member)
            case Duty.NOTHING:
                pass

    def _say(self, member: Member) -> None:
        change = member.seen.change
        if self._bug == "word_of_another_change_counts":
            change = self.truth.change
        phase = member.seen.phase
        if self._bug == "word_of_another_change_counts" and phase is not Phase.STEADY:
            phase = self.truth.phase
        self.truth = self.truth.with_word(member.number, change=change, phase=phase)

    def _renew(self, member: Member) -> None:
        """By a node that has the issuer's key and is up, if this one may talk to it."""
        if self._is_good(member):
            self._issue(member, self.truth.issuer)

    def _issue(self, member: Member, root: bytes) -> None:
        certificate = self._certificate(member.number, root)
        self.truth = self.truth.with_certificate(certificate, now_ms=1)
        member.certificate = certificate

    def _certificate(self, number: NodeId, root: bytes) -> PeerCertificate:
        self._serial += 1
        return PeerCertificate("c", number, self._serial, 0, LIFE_MS, authority=root_name(root))

    def _link_any(self) -> None:
        one, other = self._any(), self._any()
        if one is not other and one.is_up and other.is_up:
            self._link(one, other)

    def _link_all(self) -> None:
        members = [*self.members.values()]
        for one in members:
            for other in members:
                if one is not other and other.number not in one.links:
                    self._link(one, other)

    def _link(self, one: Member, other: Member) -> None:
        """Both show their certificates; each refuses by what it has seen."""
        for server, client in ((one, other), (other, one)):
            if client.certificate.authority not in self._names(server.roots):
                return
            try:
                server.denied.check(client.number, client.certificate, server.roots)
            except IdentityError:
                return
        one.links[other.number] = other.certificate
        other.links[one.number] = one.certificate

    def _unlink(self, one: NodeId, other: NodeId) -> None:
        self.members[one].links.pop(other, None)
        self.members[other].links.pop(one, None)

    def _crash(self) -> None:
        member = self._any()
        member.is_up = False
        for peer in [*member.links]:
            self._unlink(member.number, peer)

    def _start(self) -> None:
        member = self._any()
        member.is_up = True
        if self._bug == "revocation_lost_on_restart":
            forgotten = {
                serial: replace(each, revoked_ms=0)
                for serial, each in member.seen.certificates.items()
            }
            member.denied = replace(member.seen, certificates=forgotten)

    # The cluster and its operators.

    def _advance(self) -> None:
        """As whoever notices would have it agreed."""
        members = [number for number, each in self.members.items() if self._is_good(each)]
        ledger, before = self.truth, self.truth.phase
        if self._bug == "waits_for_living_nodes_alone":
            away = [number for number, each in self.members.items() if not each.is_up]
            ledger = ledger.without(away)
        if self._bug == "let_in_and_not_waited_for":
            members = [number for number in members if number <= NODES]
            ledger = replace(ledger, certificates={})
        if (self._bug, before) in (
            ("issues_before_all_trust", Phase.TRUSTING),
            ("drops_the_old_root_too_early", Phase.RENEWING),
        ):
            ledger = replace(ledger, said=dict.fromkeys([*self.members], int(before)))
        if self._bug == "drops_the_old_root_too_early" and before is Phase.RELINKING:
            ledger = replace(ledger, said=dict.fromkeys([*self.members], int(before)))
        after = ledger.advanced(members, now_ms=1)
        kept = replace(
            after, left_behind=self.truth.left_behind, certificates=self.truth.certificates
        )
        self.changes_ended += kept.phase is Phase.STEADY and before is not Phase.STEADY
        self.truth = kept

    def _begin(self) -> None:
        if self._roots_used < ROOTS and self._random.random() < 0.3:
            self.truth = self.truth.begun(a_root(self._roots_used), keeper=1)
            self._roots_used += 1

    def _let_in(self) -> None:
        """A node that is given a certificate by the newest rules, and starts at some time later."""
        if len(self.members) >= NODES_MAX:
            return
        number = NodeId(len(self.members) + 1)
        certificate = self._certificate(number, self.truth.issuer)
        self.truth = self.truth.with_certificate(certificate, now_ms=1)
        self.members[number] = Member(
            number, self.truth.roots, certificate, self.truth, self.truth, is_up=number <= NODES
        )

    def _revoke(self) -> None:
        """At most one node in a walk, with all its certificates."""
        if all(self._is_good(each) for each in self.members.values()):
            number = self._any().number
            self.truth = self.truth.revoked(self.truth.serials_of(number), now_ms=1)

    def _join_again(self) -> None:
        """A node that was revoked is given a new certificate; what it has seen stays old."""
        for member in self.members.values():
            if not self._is_good(member) and self._random.random() < 0.3:
                self._issue(member, self.truth.issuer)
                member.roots, member.is_up = self.truth.roots, False
                for peer in [*member.links]:
                    self._unlink(member.number, peer)

    # What holds.

    def _is_good(self, member: Member) -> bool:
        return not self._is_revoked(self.truth, member.certificate)

    @staticmethod
    def _is_revoked(ledger: Ledger, certificate: PeerCertificate) -> bool:
        issued = ledger.certificates.get(f"{certificate.serial:x}")
        return issued is not None and issued.revoked_ms > 0

    def _check_trust(self, one: Member, other: Member) -> None:
        if other.certificate.authority not in self._names(one.roots):
            raise RuleBroken(f"node {one.number} does not trust node {other.number}")
        try:
            one.denied.check(other.number, other.certificate, one.roots)
        except IdentityError as error:
            raise RuleBroken(f"node {one.number} refuses node {other.number}") from error

    @staticmethod
    def _names(roots: tuple[bytes, ...]) -> set[str]:
        return {root_name(root) for root in roots}


class _Counted:
    """The port Random, for roots that are the same in every walk."""

    def token_bytes(self, count: int) -> bytes:
        return sha256(b"root").digest()[:count]


@lru_cache(maxsize=ROOTS)
def a_root(number: int) -> bytes:
    """A root; making one costs a key, so that all walks share them."""
    return to_der(Authority.create(f"c{number}", now_ms=0, random=_Counted()).certificate)
