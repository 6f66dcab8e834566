"""The headers of encryption as clients send them, for tests: no tests in here."""

import base64
import hashlib

from msgspec.structs import replace
from object_world import World, make_world

from rs3gwd.testing.memory_keys import MemoryKeys

CUSTOMER = "x-amz-server-side-encryption-customer-"
SOURCE_CUSTOMER = "x-amz-copy-source-server-side-encryption-customer-"
KMS = {"x-amz-server-side-encryption": "aws:kms"}
S3 = {"x-amz-server-side-encryption": "AES256"}
ONE, OTHER = b"1" * 32, b"2" * 32


def customer(key: bytes = ONE, prefix: str = CUSTOMER) -> dict[str, str]:
    """The three headers that bring a key."""
    return {
        f"{prefix}algorithm": "AES256",
        f"{prefix}key": base64.b64encode(key).decode(),
        f"{prefix}key-md5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


async def make_encrypted_world(**services: object) -> tuple[World, MemoryKeys]:
    """A world with keys that takes SSE-C without TLS."""
    world = await make_world()
    keys = MemoryKeys()
    settings = {"keys": keys, "takes_customer_keys_in_clear": True, **services}
    world.services = replace(world.services, **settings)
    return world, keys
