"""A copy of a cluster's authority: out of the node that has it, and into another one.

Whoever has the authority's key can let nodes in and renew their certificates; by and by nobody
could talk to anybody if it were lost with the first node. So it is exported once, sealed by a
passphrase, and kept elsewhere; when the first node is gone, or a second one is to have it too, it
is imported there. On a node it lies unsealed, since certificates are renewed with nobody there.

The file:

    16 bytes "rs3gw authority\n", 1 byte version (1), 16 bytes salt, 12 bytes nonce, then
    AES-256-GCM over msgpack [certificate PEM, key PEM, highest number given], with all before it
    as associated data; the key is scrypt (RFC 7914) of the passphrase, N = 2^17, r = 8, p = 1,
    which takes 128 MiB and some tenths of a second

What it is not: a backup of a node. Blocking code, in a process of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct

from cluster.authority.certificates import Authority, to_der
from cluster.authority.tokens import TokenBook
from cluster.base.errors import ClusterError, IdentityError
from cluster.drivers.authority import AuthorityFolder
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.ports import Random
from rs3gwd.daemon.cluster_joining import FOLDER, JoiningFailed
from rs3gwd.engine.cluster_nodes import list_nodes
from rs3gwd.engine.engine import ENVIRONMENT_DIRECTORY
from rs3gwd.engine.environment import Environment

PASSPHRASE_CHARACTERS_MIN: Final = 12

_MAGIC: Final = b"rs3gw authority\n"
_VERSION: Final = 1
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(_MAGIC) + 1 + _SALT_BYTES + _NONCE_BYTES
_FILE_BYTES_MAX: Final = 64 << 10
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1


class AuthorityCopy(Struct, array_like=True, frozen=True):
    """What is sealed; `highest` is the highest number that was ever given to a node."""

    certificate: bytes
    key: bytes
    highest: int


class AuthorityName(Struct, frozen=True):
    """Which authority it is, and up to which number it has let nodes in."""

    cluster: str
    highest_node: int


def export_authority(data: Path, target: Path, passphrase: str, random: Random) -> AuthorityName:
    """Writes a sealed copy of the authority of the node in `data` to a file that is not there yet.

    Raises JoiningFailed (the node has none, the passphrase is short), OSError.
    """
    folder = AuthorityFolder(data / FOLDER)
    _check_passphrase(passphrase)
    try:
        authority, book = folder.read_authority(), folder.read_book()
        name = folder.read_node().cluster
    except FileNotFoundError as error:
        raise JoiningFailed(f"{data} has no authority") from error
    except ClusterError as error:
        raise JoiningFailed(str(error)) from error
    highest = max(book.node_highest, _highest_known(data))
    copy = AuthorityCopy(authority.certificate_pem(), authority.key_pem(), highest)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(seal_authority(copy, passphrase, random))
        file.flush()
        os.fsync(file.fileno())
    return AuthorityName(name, highest)


def import_authority(data: Path, source: Path, passphrase: str) -> AuthorityName:
    """Gives the node in `data` the authority of its cluster. Its daemon, if it runs, takes it into
    use when it is started the next time.

    Raises JoiningFailed (another cluster's, a wrong passphrase, damage; the node has one already or
    is no node), OSError.
    """
    folder = AuthorityFolder(data / FOLDER)
    if folder.has_authority():
        raise JoiningFailed(f"{data} has an authority already")
    with source.open("rb") as file:
        copy = open_authority(file.read(_FILE_BYTES_MAX + 1), passphrase)
    try:
        own = folder.read_node()
        authority = Authority.from_pem(copy.certificate, copy.key)
        is_trusted = to_der(authority.certificate) in folder.read_roots()
    except FileNotFoundError as error:
        raise JoiningFailed(f"{data} is no node of a cluster yet") from error
    except IdentityError as error:
        raise JoiningFailed(str(error)) from error
    if not is_trusted:
        raise JoiningFailed(f"it is not the authority of cluster {own.cluster}")
    highest = max(copy.highest, own.node, _highest_known(data))
    folder.write_book(TokenBook(node_highest=highest))
    folder.write_authority(authority)
    return AuthorityName(own.cluster, highest)


def seal_authority(copy: AuthorityCopy, passphrase: str, random: Random) -> bytes:
    """The bytes of the file."""
    salt, nonce = random.token_bytes(_SALT_BYTES), random.token_bytes(_NONCE_BYTES)
    head = _MAGIC + bytes([_VERSION]) + salt + nonce
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, msgspec.msgpack.encode(copy), head)
    return head + sealed


def open_authority(data: bytes, passphrase: str) -> AuthorityCopy:
    """What `seal_authority` sealed. Raises JoiningFailed."""
    head, sealed = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    if len(data) > _FILE_BYTES_MAX or not sealed or not head.startswith(_MAGIC):
        raise JoiningFailed("this is no exported authority")
    if head[len(_MAGIC)] != _VERSION:
        raise JoiningFailed(f"an authority of version {head[len(_MAGIC)]} is not known here")
    salt, nonce = head[-_SALT_BYTES - _NONCE_BYTES : -_NONCE_BYTES], head[-_NONCE_BYTES:]
    try:
        opened = AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, head)
        return msgspec.msgpack.decode(opened, type=AuthorityCopy)
    except (InvalidTag, msgspec.DecodeError) as error:
        raise JoiningFailed("the passphrase is wrong, or the file is damaged") from error


def _key(passphrase: str, salt: bytes) -> bytes:
    kdf = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    return kdf.derive(passphrase.encode())


def _check_passphrase(passphrase: str) -> None:
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise JoiningFailed(f"a passphrase has at least {PASSPHRASE_CHARACTERS_MIN} characters")


def _highest_known(data: Path) -> int:
    """The highest number among the nodes that the store knows, also while its daemon runs; 0 for
    one that has not started yet. Raises JoiningFailed."""
    path = data / ENVIRONMENT_DIRECTORY
    if not path.exists():
        return 0
    try:
        environment = Environment.open(str(path), read_only=True)
        try:
            with environment.read() as txn:
                return max((record.number for record in list_nodes(txn)), default=0)
        finally:
            environment.close()
    except Rs3gwError as error:
        raise JoiningFailed(f"the nodes in {path} cannot be read: {error}") from error
