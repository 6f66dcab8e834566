"""Secrets of access keys at rest: wrapped before they are stored, and those of older stores after.

A store that was made before there were keyrings, or by `rs3gwctl` while no daemon ran, has secrets
as they are; the daemon wraps them when it starts, a few at a time.
"""

from msgspec.structs import replace

from rs3gwd.base.commands import SealAccessKey
from rs3gwd.base.errors import NoSuchAccount
from rs3gwd.base.ports import Directory, ObjectStore
from rs3gwd.base.records import AccessKeyRecord
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.signers import key_context


async def sealed_key(key: AccessKeyRecord, secrets: SecretWrapper | None) -> AccessKeyRecord:
    """The key as it is stored; without `secrets` as it is.

    Raises as `SecretWrapper.wrap_secret`.
    """
    if secrets is None:
        return key
    sealed = await secrets.wrap_secret(key.secret.encode(), context=key_context(key.access_key_id))
    return replace(key, secret="", sealed=sealed)


async def seal_plain_keys(store: ObjectStore, directory: Directory, secrets: SecretWrapper) -> int:
    """Wraps every secret that is stored as it is; how many there were.

    Raises as `SecretWrapper.wrap_secret`, and what the store raises; what was done stays done.
    """
    count = 0
    for account in directory.accounts():
        for key in directory.access_keys(account.canonical_id):
            if not key.secret:
                continue
            sealed = (await sealed_key(key, secrets)).sealed
            try:
                await store.submit(SealAccessKey(key.access_key_id, sealed))
            except NoSuchAccount:
                continue  # removed meanwhile
            count += 1
    return count
