"""rs3gwctl gives nodes their certificates by tokens, and refuses whoever has none."""

from __future__ import annotations

import json
from pathlib import Path

from cluster_commands import ctl, invitation, let_in
from msgspec.structs import replace

from cluster.authority.tokens import read_token


def test_nodes_get_numbers_of_their_own_and_private_keys(tmp_path: Path) -> None:
    """Each that joins has the next number, and nobody else can read its key."""
    folders = [tmp_path / name for name in ("one", "two", "three")]
    assert json.loads(ctl(folders[0], "cluster", "init"))["node"] == 1
    assert [let_in(folders[0], folder) for folder in folders[1:]] == [2, 3]
    for folder in folders:
        assert (folder / "cluster" / "node.pem").stat().st_mode & 0o777 == 0o600
    assert not (folders[1] / "cluster" / "authority.key").exists()


def test_a_node_that_is_one_already_is_left_as_it_is(tmp_path: Path) -> None:
    """Neither init nor join replaces a certificate."""
    ctl(tmp_path, "cluster", "init")
    before = (tmp_path / "cluster" / "node.pem").read_bytes()
    assert "exists" in ctl(tmp_path, "cluster", "init", status=1)
    assert "a-z" in ctl(tmp_path / "other", "cluster", "init", "--name", "a b", status=1)
    assert "exists" in ctl(tmp_path, "cluster", "join", "--token", "-", status=1)
    assert (tmp_path / "cluster" / "node.pem").read_bytes() == before


def test_a_token_is_good_once_and_while_its_command_runs(tmp_path: Path) -> None:
    """A used token and one whose invitation was stopped open nothing."""
    first = tmp_path / "one"
    ctl(first, "cluster", "init")
    with invitation(first) as (process, token):
        ctl(tmp_path / "two", "cluster", "join", "--token", "-", stdin=token)
        process.communicate(timeout=30)
    said = ctl(tmp_path / "three", "cluster", "join", "--token", "-", stdin=token, status=1)
    assert "nobody answers" in said
    assert not (tmp_path / "three" / "cluster").exists()


def test_an_invitation_that_nobody_takes_ends(tmp_path: Path) -> None:
    """After its time the command fails, and its number is given to the next."""
    first = tmp_path / "one"
    ctl(first, "cluster", "init")
    listen = ("--listen", "127.0.0.1:0", "--minutes", "0.01")
    assert "nobody came" in ctl(first, "cluster", "invite", *listen, status=1)
    assert let_in(first, tmp_path / "two") == 2


def test_a_token_of_another_cluster_or_none_is_refused(tmp_path: Path) -> None:
    """A live invitation of one cluster lets nobody in who holds the token of another."""
    for name in ("here", "there"):
        ctl(tmp_path / name, "cluster", "init", "--name", name)
    with invitation(tmp_path / "here") as (_, here), invitation(tmp_path / "there") as (_, there):
        new = tmp_path / "new"
        # The address of one cluster with the secret and the authority of the other.
        crossed = cross(here, there)
        assert "Error" in ctl(new, "cluster", "join", "--token", "-", stdin=crossed, status=1)
        assert "begins with" in ctl(new, "cluster", "join", "--token", "-", stdin="", status=1)
        assert "runs here" in ctl(
            tmp_path / "here", "cluster", "invite", "--listen", "127.0.0.1:0", status=1
        )
        assert not (new / "cluster").exists()


def cross(address: str, rest: str) -> str:
    """The token `rest` with the addresses of another."""
    return replace(read_token(rest), members=read_token(address).members).text()


def test_a_node_without_authority_invites_nobody(tmp_path: Path) -> None:
    """The refusal says where the authority is."""
    said = ctl(tmp_path, "cluster", "invite", "--listen", "127.0.0.1:0", status=1)
    assert "cluster init" in said
    assert "10.0.0.1:7947" in ctl(tmp_path, "cluster", "invite", "--listen", "nowhere", status=2)
