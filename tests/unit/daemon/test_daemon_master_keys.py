"""Where the master key comes from, and what is said where it is missing, wrong or open to all."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rs3gwd.base.errors import KeyringRefused
from rs3gwd.config import load
from rs3gwd.daemon.master_keys import open_master_key
from rs3gwd.engine.system import SystemRandom
from rs3gwd.testing.threads import InlineThreads
from rs3gwd.transform.master_key import MasterKey

KEY = bytes(range(32))

Open = Callable[..., MasterKey]


@pytest.fixture
def open_key(tmp_path: Path) -> Open:
    """Opens the master key of a node whose data is in a folder of the test's."""

    def run(environ: dict[str, str] | None = None, *, first: bool = False) -> MasterKey:
        given = {"RS3GW_STORAGE_ROOT": str(tmp_path), **(environ or {})}
        settings = {name: value for name, value in given.items() if name.startswith("RS3GW_")}
        return open_master_key(
            load([], settings),
            given,
            random=SystemRandom(),
            threads=InlineThreads(),
            is_first_start=first,
        )

    return run


def test_the_first_start_makes_a_file_that_only_its_owner_reads(
    open_key: Open, tmp_path: Path
) -> None:
    """auto: 32 random bytes, mode 0600, and the same key at the next start."""
    made = open_key(first=True)
    path = tmp_path / "master.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(path.read_text())) == 32
    assert open_key().id == made.id


def test_a_lost_file_is_never_replaced(open_key: Open, tmp_path: Path) -> None:
    """Where there is a keyring a missing file is an error, and no file is made."""
    with pytest.raises(KeyringRefused, match="is missing"):
        open_key()
    assert list(tmp_path.iterdir()) == []


def test_the_source_file_makes_nothing(open_key: Open, tmp_path: Path) -> None:
    """`file` reads what somebody else has made, at the first start too."""
    path = tmp_path / "elsewhere"
    environ = {"RS3GW_MASTER_KEY_SOURCE": "file", "RS3GW_MASTER_KEY_FILE": str(path)}
    with pytest.raises(KeyringRefused, match="is missing"):
        open_key(environ, first=True)
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o640)
    assert str(path) in open_key(environ).provider


def test_a_file_that_everybody_may_read_is_refused(open_key: Open, tmp_path: Path) -> None:
    """A master key that is no secret protects nothing, and must not seem to."""
    path = tmp_path / "master.key"
    path.write_text(KEY.hex())
    path.chmod(0o644)
    with pytest.raises(KeyringRefused, match="everybody may read"):
        open_key()


@pytest.mark.parametrize("text", ["", "\n", "00" * 32, "ab" * 31, "ff" * 32, "no key", "\xff\xfe"])
def test_a_file_without_a_key_is_refused_and_not_shown(
    open_key: Open, tmp_path: Path, text: str
) -> None:
    """Empty, zeros, too short, one byte repeated, words: no node starts with such a key."""
    path = tmp_path / "master.key"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(KeyringRefused) as caught:
        open_key(first=True)
    assert not text.strip() or text not in str(caught.value)


def test_the_environment_and_the_credential_give_the_same_key(
    open_key: Open, tmp_path: Path
) -> None:
    """RS3GW_MASTER_KEY in hex or base64, and systemd's file, are the same key."""
    environment = {"RS3GW_MASTER_KEY_SOURCE": "environment"}
    in_hex = open_key({**environment, "RS3GW_MASTER_KEY": KEY.hex()})
    in_base64 = open_key({**environment, "RS3GW_MASTER_KEY": base64.b64encode(KEY).decode()})
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "master-key").write_text(KEY.hex())
    os.chmod(folder / "master-key", 0o400)
    credential = {"RS3GW_MASTER_KEY_SOURCE": "credential", "CREDENTIALS_DIRECTORY": str(folder)}
    assert in_hex.id == in_base64.id == open_key(credential).id


def test_a_credential_that_nobody_gave_is_an_error(open_key: Open, tmp_path: Path) -> None:
    """Neither without a service manager nor without the file does a node start."""
    source = {"RS3GW_MASTER_KEY_SOURCE": "credential"}
    with pytest.raises(KeyringRefused, match="CREDENTIALS_DIRECTORY"):
        open_key(source)
    with pytest.raises(KeyringRefused, match="is missing"):
        open_key({**source, "CREDENTIALS_DIRECTORY": str(tmp_path)})
