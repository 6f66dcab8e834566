"""The files of an authority that is replaced by another one, whatever crash comes between."""

from pathlib import Path

import pytest
from transport_world import CLUSTER, NOW_MS, SeededRandom, der_of, new_authority

from cluster.authority.certificates import NodeKey, to_der
from cluster.base.errors import IdentityError
from cluster.drivers.authority import AuthorityFolder

OLD, NEW = new_authority(seed=1), new_authority(seed=2)


def folder_of(tmp_path: Path) -> AuthorityFolder:
    """One with an authority, and another that is to come."""
    folder = AuthorityFolder(tmp_path / "cluster")
    folder.write_authority(OLD)
    folder.write_candidate(NEW)
    return folder


def test_a_new_authority_takes_its_place_when_it_issues(tmp_path: Path) -> None:
    """Until then it lies beside the old one; then the old key is gone."""
    folder, both = folder_of(tmp_path), (der_of(NEW), der_of(OLD))
    assert not folder.settle(der_of(OLD), both)
    assert folder.read_authority().certificate == OLD.certificate
    assert folder.settle(der_of(NEW), both)
    assert folder.read_authority().certificate == NEW.certificate
    assert not folder.settle(der_of(NEW), both)
    assert sorted(path.name for path in (tmp_path / "cluster").iterdir()) == [
        "authority.key",
        "authority.pem",
    ]


def test_a_crash_between_key_and_certificate_is_mended(tmp_path: Path) -> None:
    """They do not belong together, which is said; settling again finishes it."""
    folder = folder_of(tmp_path)
    (tmp_path / "cluster" / "authority.key").write_bytes(NEW.key_pem())
    with pytest.raises(IdentityError, match="belong together"):
        folder.read_authority()
    assert folder.settle(der_of(NEW), (der_of(NEW), der_of(OLD)))
    assert folder.read_authority().certificate == NEW.certificate


def test_the_key_of_a_dropped_root_is_removed(tmp_path: Path) -> None:
    """On a node that had a copy, while the new key is elsewhere."""
    folder = AuthorityFolder(tmp_path / "cluster")
    folder.write_authority(OLD)
    assert not folder.settle(der_of(NEW), (der_of(NEW), der_of(OLD)))
    assert folder.has_authority()
    assert folder.settle(der_of(NEW), (der_of(NEW),))
    assert not folder.has_authority()


def test_an_authority_that_never_came_to_be_is_forgotten(tmp_path: Path) -> None:
    """That of a root which is trusted stays."""
    folder = folder_of(tmp_path)
    folder.forget_candidates(but=(der_of(NEW),))
    assert folder.settle(der_of(NEW), (der_of(NEW),))
    folder.write_candidate(OLD)
    folder.forget_candidates(but=(der_of(NEW),))
    assert not folder.settle(der_of(OLD), (der_of(NEW), der_of(OLD)))


def test_what_was_issued_is_kept_until_it_is_noted(tmp_path: Path) -> None:
    """Each in a file of its own, so that two commands do not meet."""
    folder, certificates = folder_of(tmp_path), []
    for node in (2, 3):
        request = NodeKey.create().request()
        random = SeededRandom(node)
        made = OLD.issue(request, cluster=CLUSTER, node=node, now_ms=NOW_MS, random=random)
        folder.note_issued(to_der(made))
        certificates.append(made.serial_number)
    assert {(each.node, each.serial) for each in folder.read_issued()} == {
        (2, certificates[0]),
        (3, certificates[1]),
    }
    folder.forget_issued(certificates[0])
    folder.forget_issued(certificates[0])
    assert [each.node for each in folder.read_issued()] == [3]
