"""The ledger of the authority: phases that wait for all, and certificates that are good no more."""

import pytest

from cluster.authority.certificates import PeerCertificate, root_name
from cluster.authority.ledger import (
    CERTIFICATES_OF_NODE_MAX,
    EXPIRED_KEPT_MS,
    ROOTS_MAX,
    Duty,
    Ledger,
    Phase,
    Standing,
)
from cluster.base.errors import IdentityError
from cluster.testing.authority_world import a_root

OLD, NEW, NEWER = a_root(0), a_root(1), a_root(2)
MEMBERS = (1, 2)
NOW_MS = 1000


def certificate(node: int, serial: int, root: bytes = OLD, end_ms: int = 9000) -> PeerCertificate:
    """What a node shows."""
    return PeerCertificate("c", node, serial, 0, end_ms, authority=root_name(root))


def steady() -> Ledger:
    """Two nodes with a certificate each."""
    ledger = Ledger((OLD,))
    for node in MEMBERS:
        ledger = ledger.with_certificate(certificate(node, 16 + node), now_ms=NOW_MS)
    return ledger


def said_by_all(ledger: Ledger) -> Ledger:
    """The next phase, after a word of every member."""
    for node in MEMBERS:
        assert ledger.advanced(MEMBERS, now_ms=NOW_MS) == ledger
        ledger = ledger.with_word(node, change=ledger.change, phase=ledger.phase)
    return ledger.advanced(MEMBERS, now_ms=NOW_MS)


def test_a_change_goes_through_its_phases_and_ends() -> None:
    """Both roots are trusted until nobody has connections by the old one; who issues changes once
    all trust the new one."""
    ledger = steady().begun(NEW, keeper=2)
    found = []
    while ledger.phase is not Phase.STEADY:
        found.append((ledger.phase, ledger.roots, ledger.issuer))
        ledger = said_by_all(ledger)
    assert found == [
        (Phase.TRUSTING, (NEW, OLD), OLD),
        (Phase.RENEWING, (NEW, OLD), NEW),
        (Phase.RELINKING, (NEW, OLD), NEW),
        (Phase.FORGETTING, (NEW,), NEW),
    ]
    assert (ledger.roots, ledger.keeper, ledger.change) == ((NEW,), 2, 1)


def test_a_word_of_another_change_or_phase_is_no_news() -> None:
    """A node that was slow has said something of what is over."""
    ledger = steady().begun(NEW, keeper=1)
    again = ledger.begun(NEWER, keeper=1)
    assert again.with_word(1, change=ledger.change, phase=Phase.TRUSTING) == again
    assert again.with_word(1, change=again.change, phase=Phase.RENEWING) == again


def test_a_change_is_overtaken_by_another() -> None:
    """A root that has issued nothing is dropped at once; one that has stays trusted."""
    trusting = steady().begun(NEW, keeper=1)
    assert trusting.begun(NEWER, keeper=2).roots == (NEWER, OLD)
    renewing = said_by_all(trusting)
    overtaken = renewing.begun(NEWER, keeper=2)
    assert overtaken.roots == (NEWER, NEW, OLD)
    assert overtaken.issuer == NEW
    full = Ledger(tuple(a_root(number) for number in range(ROOTS_MAX)))
    with pytest.raises(IdentityError, match="too many"):
        full.begun(a_root(ROOTS_MAX), keeper=1)


def test_who_holds_a_certificate_is_waited_for() -> None:
    """A node that was let in, unless it is revoked or left behind; who is left behind is waited for
    again when it has a certificate of the new root."""
    ledger = steady().with_certificate(certificate(7, 7), now_ms=NOW_MS).begun(NEW, keeper=1)
    assert ledger.waited_for(MEMBERS, now_ms=NOW_MS) == [1, 2, 7]
    assert ledger.revoked(["7"], now_ms=NOW_MS).waited_for(MEMBERS, now_ms=NOW_MS) == [1, 2]
    behind = ledger.without([7])
    assert behind.waited_for(MEMBERS, now_ms=NOW_MS) == [1, 2]
    back = behind.with_certificate(certificate(7, 8, NEW), now_ms=NOW_MS)
    assert back.waited_for(MEMBERS, now_ms=NOW_MS) == [1, 2, 7]
    assert ledger.waited_for(MEMBERS, now_ms=9001) == [1, 2]


def test_a_revoked_certificate_stays_revoked() -> None:
    """Also when its node notes it again, and through storage; until some time after its end."""
    ledger = steady().revoked(["11", "no such"], now_ms=NOW_MS)
    with pytest.raises(IdentityError, match="was revoked"):
        ledger.check(1, certificate(1, 0x11), (OLD,))
    ledger.check(2, certificate(2, 0x12), (OLD,))
    again = ledger.with_certificate(certificate(1, 0x11), now_ms=NOW_MS)
    assert again == ledger
    stored = Ledger.decode(ledger.with_word(1, change=0, phase=Phase.STEADY).encode())
    assert stored.certificates == ledger.certificates
    later = 9001 + EXPIRED_KEPT_MS
    new = certificate(1, 0x13, end_ms=2 * later)
    assert set(ledger.with_certificate(new, now_ms=later).certificates) == {"13"}


def test_a_certificate_of_a_dropped_root_is_refused() -> None:
    """With words that say what its node is to do; and it is not noted."""
    ledger = Ledger((NEW,))
    with pytest.raises(IdentityError, match="invite --node 3"):
        ledger.check(3, certificate(3, 3), (NEW,))
    with pytest.raises(IdentityError, match="replaced"):
        ledger.with_certificate(certificate(3, 3), now_ms=NOW_MS)


def test_a_node_that_asks_without_end_is_refused() -> None:
    """Its live certificates have a bound."""
    ledger = Ledger((OLD,))
    for serial in range(1, CERTIFICATES_OF_NODE_MAX + 1):
        ledger = ledger.with_certificate(certificate(1, serial), now_ms=NOW_MS)
    with pytest.raises(IdentityError, match="revoke some"):
        ledger.with_certificate(certificate(1, 999), now_ms=NOW_MS)
    ledger.with_certificate(certificate(2, 999), now_ms=NOW_MS)


def test_what_is_next_for_a_node() -> None:
    """Trust, renew, connect anew, say so; a root is trusted before a certificate of it is shown."""
    trusting = steady().begun(NEW, keeper=1)
    old, new = root_name(OLD), root_name(NEW)
    assert trusting.duty(Standing(1, (OLD,), old, "11", 0)) is Duty.TRUST
    assert trusting.duty(Standing(1, (NEW, OLD), old, "11", 0)) is Duty.SAY
    renewing = said_by_all(trusting)
    assert renewing.duty(Standing(1, (OLD,), old, "11", 0)) is Duty.TRUST
    assert renewing.duty(Standing(1, (NEW, OLD), old, "11", 0)) is Duty.RENEW
    relinking = said_by_all(renewing)
    assert relinking.duty(Standing(1, (NEW, OLD), new, "11", 0)) is Duty.RELINK
    assert relinking.duty(Standing(1, (NEW, OLD), new, "11", 1)) is Duty.SAY
    forgetting = said_by_all(relinking)
    assert forgetting.duty(Standing(1, (NEW, OLD), new, "11", 1)) is Duty.TRUST
    assert said_by_all(forgetting).duty(Standing(1, (NEW,), new, "11", 1)) is Duty.NOTHING


def test_a_ledger_older_than_the_certificate_asks_for_nothing() -> None:
    """A node has joined again with a certificate of a root that its ledger has yet to hear of; one
    that it knows of has to be renewed."""
    new = root_name(NEW)
    assert steady().duty(Standing(1, (NEW,), new, "99", 0)) is Duty.NOTHING
    dropped = steady().begun(NEW, keeper=1)
    for _ in range(3):
        dropped = said_by_all(dropped)
    assert dropped.duty(Standing(1, (OLD,), root_name(OLD), "11", 0)) is Duty.TRUST


def test_what_is_no_ledger_is_refused() -> None:
    """Damage, another version, and one without a root."""
    for data in (b"", b"\x92\x01", Ledger(()).encode(), Ledger((OLD,)).encode()[:-1]):
        with pytest.raises(IdentityError):
            Ledger.decode(data)
