"""Whose disk this is: two files with the same content, each with a checksum, written once.

A node id without its disk votes twice (`cluster.raft.identity`), so the note must outlive a rotted
block: either copy is enough. A disk on which both are there and neither is whole is not empty.
"""

from __future__ import annotations

from struct import Struct as Packed

import msgspec
from awscrt.checksums import crc32c

from cluster.base.errors import IdentityError
from cluster.base.ports import Disk
from cluster.raft.identity import NodeIdentity

IDENTITY_NAMES = ("identity.a", "identity.b")

_MAGIC = b"rs3gwid\1"
_HEADER = Packed(">8sII")

_decoder = msgspec.msgpack.Decoder(NodeIdentity)


def encode_identity(identity: NodeIdentity) -> bytes:
    """The content of either file: magic and version, length, CRC-32C, msgpack."""
    payload = msgspec.msgpack.encode(identity)
    return _HEADER.pack(_MAGIC, len(payload), crc32c(payload)) + payload


def decode_identity(data: bytes) -> NodeIdentity | None:
    """The identity; None where the content is not whole."""
    if len(data) < _HEADER.size:
        return None
    magic, length, crc = _HEADER.unpack_from(data)
    payload = data[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or len(payload) < length or crc32c(payload) != crc:
        return None
    return _decoder.decode(payload)


def read_identity(disk: Disk, directory: str) -> NodeIdentity | None:
    """Whose disk this is; None for an empty one.

    Raises IdentityError when there are copies and none is whole, or they differ; OSError.
    """
    names = [name for name in IDENTITY_NAMES if name in disk.list(directory)]
    found = [decode_identity(_read(disk, f"{directory}/{name}")) for name in names]
    whole = {identity for identity in found if identity is not None}
    if len(whole) > 1:
        raise IdentityError("the disk says of itself that it belongs to two nodes")
    if whole:
        return whole.pop()
    if len(names) == len(IDENTITY_NAMES):
        raise IdentityError("both notes of whose disk this is have rotted: join it anew")
    return None


def write_identity(disk: Disk, directory: str, identity: NodeIdentity) -> None:
    """Writes both copies, one durable before the other. Raises IdentityError, OSError."""
    known = read_identity(disk, directory)
    if known not in (None, identity):
        raise IdentityError(f"the disk belongs to node {known.node} already")
    data = encode_identity(identity)
    for name in IDENTITY_NAMES:
        path = f"{directory}/{name}"
        descriptor = disk.open(path, create=name not in disk.list(directory))
        try:
            disk.pwrite(descriptor, [data], 0)
            disk.sync_data(descriptor)
        finally:
            disk.close(descriptor)
        disk.sync_directory(directory)


def _read(disk: Disk, path: str) -> bytes:
    descriptor = disk.open(path)
    try:
        return disk.pread(descriptor, disk.size(path), 0)
    finally:
        disk.close(descriptor)
