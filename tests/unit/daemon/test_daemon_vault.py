"""A master key in Vault: over HTTP to a stand-in that speaks the documented API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rs3gwd.base.errors import DataCorrupt, KeyProviderUnavailable, KeyringRefused
from rs3gwd.daemon.vault_http import VaultHttp
from rs3gwd.engine.system import SystemClock, SystemRandom
from rs3gwd.testing.fake_vault import TOKEN, FakeVault
from rs3gwd.testing.memory_kms import MemoryKmsKeys
from rs3gwd.testing.memory_store import MemoryStore
from rs3gwd.testing.threads import InlineThreads
from rs3gwd.transform.key_management import KeyManagement
from rs3gwd.transform.keyring import Keyring
from rs3gwd.transform.vault import VaultMasterKey

KEY = bytes(range(32))


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    """A Vault on loopback."""
    with FakeVault() as running:
        yield running


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file of the token."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def master_of(vault: FakeVault, token: Path, *, name: str = "rs3gwd") -> VaultMasterKey:
    """The master key of a process."""
    http = VaultHttp(vault.address, token_path=str(token), ca_path="", threads=InlineThreads())
    return VaultMasterKey(http, mount="transit", name=name)


def spoil(token: Path, text: str | None) -> None:
    """Puts another token into the file, or takes the file away."""
    if text is None:
        token.unlink()
    else:
        token.write_text(text, encoding="latin-1")


def keyring_of(store: MemoryStore, vault: FakeVault, token: Path) -> Keyring:
    """The keyring of a process."""
    keys = MemoryKmsKeys(store.state)
    return Keyring(keys, master_of(vault, token), random=SystemRandom())


async def test_a_key_comes_back_for_its_context_alone(vault: FakeVault, token: Path) -> None:
    """The context goes along as associated data: a version in another's place is refused."""
    master = master_of(vault, token)
    sealed = await master.seal(KEY, context=b"one")
    assert sealed.startswith(b"vault:v1:")
    assert KEY not in sealed
    assert await master.unseal(sealed, context=b"one") == KEY
    with pytest.raises(KeyringRefused, match="does not open"):
        await master.unseal(sealed, context=b"two")


async def test_vault_is_asked_once_for_each_version(vault: FakeVault, token: Path) -> None:
    """A thousand data keys cost the requests of one, with bucket keys and without."""
    store = MemoryStore()
    ring = keyring_of(store, vault, token)
    management = KeyManagement(store, ring, clock=SystemClock(), random=SystemRandom())
    await management.ensure_own_keys()
    record = await management.create("photos")
    other = keyring_of(store, vault, token)
    await other.check()
    before = len(vault.asked)
    for number in range(1000):
        context = b"%d" % number
        bucket = None if number % 2 else "bucket"
        wrapped = await other.wrap(record, KEY, context=context, bucket=bucket)
        assert await other.unwrap(wrapped, context=context, bucket=bucket) == KEY
    assert len(vault.asked) == before + 1


async def test_a_sealed_vault_is_a_503_until_it_is_back(vault: FakeVault, token: Path) -> None:
    """A version that was not opened yet cannot be used meanwhile; then it can."""
    store = MemoryStore()
    ring = keyring_of(store, vault, token)
    management = KeyManagement(store, ring, clock=SystemClock(), random=SystemRandom())
    await management.ensure_own_keys()
    wrapped = await ring.wrap_secret(b"secret", context=b"AKIA")
    other = keyring_of(store, vault, token)
    vault.sealed = True
    with pytest.raises(KeyProviderUnavailable, match="sealed") as caught:
        await other.unwrap_secret(wrapped, context=b"AKIA")
    assert caught.value.code == "ServiceUnavailable"
    # What is open needs no Vault.
    assert await ring.unwrap_secret(wrapped, context=b"AKIA") == b"secret"
    with pytest.raises(KeyProviderUnavailable):
        await management.rotate("aws/s3")
    vault.sealed = False
    assert await other.unwrap_secret(wrapped, context=b"AKIA") == b"secret"


async def test_another_vault_does_not_open_the_keyring(vault: FakeVault, token: Path) -> None:
    """A key of the same name with other bytes is found at the start; of another name too."""
    store = MemoryStore()
    ring = keyring_of(store, vault, token)
    management = KeyManagement(store, ring, clock=SystemClock(), random=SystemRandom())
    await management.ensure_own_keys()
    with FakeVault() as other, pytest.raises(KeyringRefused, match="does not open"):
        await keyring_of(store, other, token).check()
    renamed = Keyring(
        MemoryKmsKeys(store.state), master_of(vault, token, name="new"), random=SystemRandom()
    )
    with pytest.raises(KeyringRefused, match="another master key"):
        await renamed.check()


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, b""),
        (200, b"{}"),
        (200, b"<html>"),
        (200, b'{"data": {"ciphertext": "c2VjcmV0"}}'),
        (200, b'{"data": {"ciphertext": 5}}'),
        (403, b'{"errors": ["permission denied"]}'),
        (404, b'{"errors": []}'),
        (500, b"x" * 100_000),
    ],
)
async def test_a_strange_answer_makes_no_key(
    vault: FakeVault, token: Path, status: int, answer: bytes
) -> None:
    """Whatever Vault answers, nothing is stored that cannot be opened again."""
    vault.answer = (status, answer)
    with pytest.raises(KeyProviderUnavailable):
        await master_of(vault, token).seal(KEY, context=b"")


@pytest.mark.parametrize("plaintext", ["", "AAAA", "not base64!"])
async def test_an_opened_key_of_another_length_is_refused(
    vault: FakeVault, token: Path, plaintext: str
) -> None:
    """What is no key of 32 bytes is never taken for one."""
    vault.answer = (200, b'{"data": {"plaintext": "%s"}}' % plaintext.encode())
    with pytest.raises(DataCorrupt, match="no key"):
        await master_of(vault, token).unseal(b"vault:v1:x", context=b"")


@pytest.mark.parametrize("text", ["wrong", "two\r\nX-Evil: lines", "\xff", None])
async def test_a_token_that_will_not_do_is_not_shown(
    vault: FakeVault, token: Path, text: str | None
) -> None:
    """Wrong, malformed or missing: the error says so without the token."""
    spoil(token, text)
    with pytest.raises(KeyProviderUnavailable) as caught:
        await master_of(vault, token).seal(KEY, context=b"")
    assert text is None or text not in str(caught.value)


async def test_a_vault_that_is_not_there_is_unavailable(token: Path) -> None:
    """A refused connection is the provider's fault and can be tried again."""
    with FakeVault() as gone:
        address = gone.address
    http = VaultHttp(address, token_path=str(token), ca_path="", threads=InlineThreads())
    with pytest.raises(KeyProviderUnavailable, match="does not answer"):
        await http.post("/v1/transit/encrypt/rs3gwd", b"{}")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://vault.example.org:8200", "without TLS"),
        ("http://10.0.0.1", "without TLS"),
        ("ftp://localhost", "no address"),
        ("localhost:8200", "no address"),
    ],
)
def test_keys_do_not_cross_the_network_in_clear(address: str, reason: str) -> None:
    """Plain http is for an agent on this machine."""
    with pytest.raises(KeyringRefused, match=reason):
        VaultHttp(address, token_path="t", ca_path="", threads=InlineThreads())


def test_certificates_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    """A missing file of certificates is said at the start."""
    with pytest.raises(KeyringRefused, match="vault_ca_file"):
        VaultHttp(
            "https://localhost",
            token_path="t",
            ca_path=str(tmp_path / "none"),
            threads=InlineThreads(),
        )
