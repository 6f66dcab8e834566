"""Certificates, tokens and denials, without any socket."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.authority.certificates import (
    Authority,
    NodeKey,
    PeerCertificate,
    Trust,
    node_uri,
    read_certificate,
    to_der,
)
from cluster.authority.denied import Denied
from cluster.authority.tokens import PREFIX, TokenBook, new_token, read_token
from cluster.base.errors import IdentityError, JoinRefused

NOW_MS = 1_800_000_000_000


class CountedRandom:
    """The port Random: hashes of a counter."""

    def __init__(self, seed: int = 0) -> None:
        self._count = seed * 1000

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes, at most 32."""
        self._count += 1
        return hashlib.sha256(self._count.to_bytes(8)).digest()[:count]


def authority_of(seed: int) -> Authority:
    """An authority of the cluster c1."""
    return Authority.create("c1", now_ms=NOW_MS, random=CountedRandom(seed))


def issue(authority: Authority, node: int = 3) -> bytes:
    """A node's certificate."""
    request = NodeKey.create().request()
    random = CountedRandom(node)
    return to_der(authority.issue(request, cluster="c1", node=node, now_ms=NOW_MS, random=random))


def test_a_rotation_trusts_both_roots_and_then_the_new_one_alone() -> None:
    """During the window old and new certificates hold; after it the old do not."""
    old, new = authority_of(1), authority_of(2)
    old_root, new_root = to_der(old.certificate), to_der(new.certificate)
    both = Trust((old_root,)).rotated(new_root)
    assert both.roots == (new_root, old_root)
    for authority in (old, new):
        assert both.check(issue(authority), now_ms=NOW_MS).node == 3
    after = both.without(old_root)
    with pytest.raises(IdentityError, match="not of this cluster"):
        after.check(issue(old), now_ms=NOW_MS)
    with pytest.raises(IdentityError):
        after.without(new_root)


def test_a_root_is_not_a_node() -> None:
    """The authority's own certificate names no node."""
    with pytest.raises(IdentityError):
        read_certificate(to_der(authority_of(1).certificate))


def test_a_request_that_is_no_request_is_refused() -> None:
    """Bytes that are no PKCS 10 get an error, not a certificate."""
    with pytest.raises(IdentityError):
        authority_of(1).issue(b"x", cluster="c1", node=1, now_ms=NOW_MS, random=CountedRandom())


@pytest.mark.parametrize("cluster", ["", "A", "a/b", "a" * 65, "a\n", "..", "a b"])
def test_a_cluster_id_that_no_uri_carries_is_refused(cluster: str) -> None:
    """What would be read back otherwise than it was written is never written."""
    with pytest.raises(IdentityError):
        node_uri(cluster, 1)


def test_who_was_removed_and_what_was_revoked_is_denied() -> None:
    """A node by its id for ever, a certificate by its serial until it would have expired."""
    certificate = PeerCertificate("c1", 3, 77, NOW_MS, NOW_MS + 10)
    denied = Denied().with_node(9).with_serial(certificate, now_ms=NOW_MS)
    denied.check(3, certificate._replace(serial=78))
    with pytest.raises(IdentityError, match="revoked"):
        denied.check(3, certificate)
    with pytest.raises(IdentityError, match="removed"):
        denied.check(9, None)
    later = denied.with_serial(certificate._replace(serial=78), now_ms=NOW_MS + 11)
    assert set(later.serials) == {"4e"}


def test_a_book_spends_uses_and_never_gives_an_id_twice() -> None:
    """Two uses are two nodes; a stored book reads back as it was."""
    token = new_token("c1", bytes(32), (("h", 1),), CountedRandom())
    book = TokenBook(node_highest=4).with_token(token, uses=2, expires_ms=NOW_MS + 1, now_ms=NOW_MS)
    book, first = TokenBook.decode(book.encode()).admit(token.id, now_ms=NOW_MS)
    book, second = book.admit(token.id, now_ms=NOW_MS)
    assert (first, second) == (5, 6)
    with pytest.raises(JoinRefused, match="used up"):
        book.admit(token.id, now_ms=NOW_MS)
    assert token.secret not in book.encode()
    with pytest.raises(JoinRefused, match="not known"):
        book.without_token(token.id).find(token.id, now_ms=NOW_MS)


def test_a_token_reads_back_and_its_repr_keeps_the_secret() -> None:
    """The text carries all of it; what a log would show does not."""
    token = new_token("c1", bytes(32), (("host", 7000),), CountedRandom())
    assert read_token(token.text() + "\n") == token
    assert token.secret.hex() not in repr(token)
    assert str(token.secret) not in repr(token)


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    """Nothing that an operator may paste raises anything but JoinRefused."""
    with pytest.raises(JoinRefused):
        read_token(PREFIX + text)
