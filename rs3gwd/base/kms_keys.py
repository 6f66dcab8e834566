"""The stored records of the key management, the port to read them, and what may be changed.

A key has a name (its alias) and an id for ever, and versions. Each version is 32 random bytes that
are stored sealed by the node's master key, which is nowhere in the metadata. The newest version
wraps; every version unwraps, so a rotation rewrites nothing.

Fields are only ever appended, as in `rs3gwd.base.records`. What it is not: no cryptography; that is
`rs3gwd.transform`.

Source: "AWS KMS concepts" in the AWS KMS Developer Guide (key ids, aliases, key states, rotation).
"""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

KEYS_MAX = 1000
"""Keys of a store. Each costs a row, and each process keeps the versions it uses in memory."""

VERSIONS_MAX = 1000
"""Versions of a key: daily rotation for almost three years. Each is 150 bytes of the key's row."""


class KmsKeyState(StrEnum):
    """What a key may be used for: everything, or nothing. Nothing is forgotten."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class KmsKeyVersion(Struct, array_like=True, frozen=True):
    """A key-encryption key: `sealed` by the master key whose 16-byte fingerprint is `master_id`.

    Numbers are given out from 1, in order, and never again.
    """

    number: int
    sealed: bytes
    master_id: bytes
    created_ms: int


class KmsKeyRecord(Struct, array_like=True, frozen=True):
    """A key. `key_id` is a UUID in lower case; `versions` are in order, the last one wraps.

    `revision` grows by one with every change; a change names the one that it was made from.
    """

    key_id: str
    name: str
    created_ms: int
    versions: list[KmsKeyVersion]
    state: KmsKeyState = KmsKeyState.ENABLED
    revision: int = 0


class KmsKeys(Protocol):
    """The keys, as the last commit left them."""

    def by_id(self, key_id: str) -> KmsKeyRecord | None:
        """The key with this id; any text may be asked for."""
        ...

    def by_name(self, name: str) -> KmsKeyRecord | None:
        """The key of this name; any text may be asked for."""
        ...

    def all(self) -> list[KmsKeyRecord]:
        """All keys, by id."""
        ...
