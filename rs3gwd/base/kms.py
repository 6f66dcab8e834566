"""The stored records of the keyring: named keys and the versions of their key-encryption keys.

Like the records in `rs3gwd.base.records`, and under the same rule: fields are only ever appended.
What is stored is sealed by the master key, which never is in the metadata: without it the records
say which keys there are and nothing of what they open.

A key is named once and for ever, since data is sealed with it. Its `revision` grows by one with
every change; a change names the revision that it was made from.
"""

from enum import StrEnum

from msgspec import Struct

KEY_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_/-]{0,199}"
"""The names of keys, without the `alias/` that AWS puts in front."""


class KeyState(StrEnum):
    """What a key may be used for: a disabled one neither seals nor opens."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class KmsKeyVersion(Struct, array_like=True, frozen=True):
    """A key-encryption key: `sealed` by the master key whose name is `master`.

    Numbers count from 1. The newest seals; all of them open.
    """

    number: int
    sealed: bytes
    master: str
    created_ms: int


class KmsKeyRecord(Struct, array_like=True, frozen=True):
    """A named key. `key_id` is a UUID (RFC 9562) in lower case, `arn` names it to clients."""

    name: str
    key_id: str
    arn: str
    created_ms: int
    versions: list[KmsKeyVersion]
    state: KeyState = KeyState.ENABLED
    revision: int = 0
