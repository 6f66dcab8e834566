"""A sealed copy of a cluster's authority: out of one node and into another of the same cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.authority.tokens import TokenBook
from cluster.drivers.authority import AuthorityFolder
from rs3gwd.daemon.cluster_authority import (
    AuthorityCopy,
    export_authority,
    import_authority,
    open_authority,
    seal_authority,
)
from rs3gwd.daemon.cluster_joining import FOLDER, JoiningFailed, init_cluster
from rs3gwd.testing.random import SeededRandom

PASSPHRASE = "correct horse battery"


def member_of(first: Path, new: Path) -> None:
    """Makes `new` a node that trusts what `first` trusts, without an authority."""
    (new / FOLDER).mkdir(parents=True)
    for name in ("node.pem", "roots.pem"):
        (new / FOLDER / name).write_bytes((first / FOLDER / name).read_bytes())


def test_another_node_takes_the_authority_over(tmp_path: Path) -> None:
    """It has the same key, and goes on behind the highest number; the file is the owner's alone."""
    first, other, sealed = tmp_path / "1", tmp_path / "2", tmp_path / "sealed"
    init_cluster(first, cluster="c")
    AuthorityFolder(first / FOLDER).write_book(TokenBook(node_highest=7))
    member_of(first, other)
    made = export_authority(first, sealed, PASSPHRASE, SeededRandom(1))
    assert (made.cluster, made.highest_node) == ("c", 7)
    assert os.stat(sealed).st_mode & 0o777 == 0o600
    key = (first / FOLDER / "authority.key").read_bytes()
    assert key not in sealed.read_bytes()
    assert import_authority(other, sealed, PASSPHRASE) == made
    assert (other / FOLDER / "authority.key").read_bytes() == key
    assert AuthorityFolder(other / FOLDER).read_book().node_highest == 7


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a file that is there, nor an authority."""
    first, sealed = tmp_path / "1", tmp_path / "sealed"
    init_cluster(first)
    export_authority(first, sealed, PASSPHRASE, SeededRandom(1))
    with pytest.raises(FileExistsError):
        export_authority(first, sealed, PASSPHRASE, SeededRandom(1))
    with pytest.raises(JoiningFailed, match="has an authority already"):
        import_authority(first, sealed, PASSPHRASE)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """A short passphrase, a node without an authority, one of another cluster, no node at all."""
    first, stranger, sealed = tmp_path / "1", tmp_path / "2", tmp_path / "sealed"
    init_cluster(first)
    init_cluster(tmp_path / "3", cluster="another")
    member_of(tmp_path / "3", stranger)
    with pytest.raises(JoiningFailed, match="at least 12"):
        export_authority(first, sealed, "short", SeededRandom(1))
    with pytest.raises(JoiningFailed, match="has no authority"):
        export_authority(stranger, sealed, PASSPHRASE, SeededRandom(1))
    assert not sealed.exists()
    export_authority(first, sealed, PASSPHRASE, SeededRandom(1))
    with pytest.raises(JoiningFailed, match="not the authority of cluster another"):
        import_authority(stranger, sealed, PASSPHRASE)
    with pytest.raises(JoiningFailed, match="no node of a cluster"):
        import_authority(tmp_path / "4", sealed, PASSPHRASE)
    assert not (stranger / FOLDER / "authority.key").exists()


def test_a_wrong_passphrase_and_every_flipped_byte_are_refused() -> None:
    """Nothing of the file is taken without being proved."""
    copy = AuthorityCopy(b"certificate", b"key", 3)
    sealed = seal_authority(copy, PASSPHRASE, SeededRandom(1))
    assert open_authority(sealed, PASSPHRASE) == copy
    with pytest.raises(JoiningFailed, match="wrong, or the file is damaged"):
        open_authority(sealed, PASSPHRASE + "s")
    for at in (0, 16, 17, 33, 45, len(sealed) // 2, len(sealed) - 1):
        flipped = bytearray(sealed)
        flipped[at] ^= 1
        with pytest.raises(JoiningFailed):
            open_authority(bytes(flipped), PASSPHRASE)
    for text in (b"", b"rs3gw authority\n", sealed[:45], b"x" * 100_000):
        with pytest.raises(JoiningFailed, match="no exported authority"):
            open_authority(text, PASSPHRASE)
