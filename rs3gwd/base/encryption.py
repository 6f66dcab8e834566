"""The port between the S3 surface and the keys of encrypted objects, and the sizes both agree on.

The surface knows headers, bodies and ranges; whoever implements `ObjectKeys` knows keyrings, key
management and ciphers (`rs3gwd.transform`). What passes between them is a data key that can only be
used: it makes ciphers of blocks, and nothing shows its bytes.

A body is encrypted in blocks of BLOCK_BYTES, the last one shorter; each is stored with a tag of
TAG_BYTES behind, which says that it is this block of this body, and whether it is the last.
"""

from typing import Protocol

from msgspec import Struct

from rs3gwd.base.records import EncryptionKind, EncryptionRecord

BLOCK_BYTES = 64 << 10
"""Bytes of a block before it is encrypted: what a range read decrypts at least. The engine's own
blocks are as long."""

TAG_BYTES = 16

SALT_BYTES = 16
"""Bytes that tell the bodies of one object apart, so that no two are encrypted alike."""


def stored_size(size_bytes: int) -> int:
    """The stored bytes of a body of so many bytes."""
    return size_bytes + -(-size_bytes // BLOCK_BYTES) * TAG_BYTES


class KeyWish(Struct, frozen=True):
    """The key that an object shall have.

    `bucket` and `key` are the object's identity, without which its data key cannot be opened.
    `key_id` is an id, an ARN or an alias of a key of SSE_KMS, empty for the default one; `context`
    is JSON or empty. `customer_key` is the 32 bytes of SSE_C.
    """

    kind: EncryptionKind
    bucket: str
    key: bytes
    key_id: str = ""
    context: str = ""
    bucket_key: bool = False
    customer_key: bytes | None = None


class BlockCipher(Protocol):
    """Encrypts and decrypts the blocks of one body. Calls let other threads run."""

    def seal(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """Encrypts block `index`, counted from 0, into `out`, which is TAG_BYTES longer."""
        ...

    def open(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """Decrypts a block into `out`, TAG_BYTES shorter. Raises DataCorrupt: it is another."""
        ...


class DataKey(Protocol):
    """The data key of one object, opened."""

    def cipher(self, salt: bytes) -> BlockCipher:
        """The cipher of the body with this salt, SALT_BYTES long."""
        ...


class ObjectKeys(Protocol):
    """Makes and opens the data keys of objects.

    Raises, from both methods, errors whose codes are those of S3: KMS.NotFoundException,
    KMS.DisabledException, ServiceUnavailable (a provider does not answer), InvalidRequest (this
    node has no keys of that kind).
    """

    async def create(self, wish: KeyWish) -> tuple[EncryptionRecord, DataKey]:
        """A new data key, and what to keep of it. `customer_key_md5` is left to the caller."""
        ...

    async def open(
        self,
        record: EncryptionRecord,
        *,
        bucket: str,
        key: bytes,
        customer_key: bytes | None = None,
    ) -> DataKey:
        """The data key of an object. Raises AccessDenied where `customer_key` is another one."""
        ...
