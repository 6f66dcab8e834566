"""A keyring over records in a dict, for tests: no tests in here."""

from uuid import UUID

from msgspec.structs import replace

from rs3gwd.base.kms import KeyState, KmsKeyRecord
from rs3gwd.testing.random import SeededRandom
from rs3gwd.transform.keyring import DEFAULT_KMS_KEY, OBJECTS_KEY, SECRETS_KEY, Keyring
from rs3gwd.transform.master import LocalMaster

MASTER = bytes(range(32))


class Records:
    """The port `KeyRecords`."""

    def __init__(self) -> None:
        self.by_name: dict[str, KmsKeyRecord] = {}

    def kms_key(self, name: str) -> KmsKeyRecord | None:
        """The key of this name."""
        return self.by_name.get(name)

    def kms_keys(self) -> list[KmsKeyRecord]:
        """All keys, by name."""
        return [self.by_name[name] for name in sorted(self.by_name)]

    def set_state(self, name: str, state: KeyState) -> None:
        """Enables or disables a key."""
        self.by_name[name] = replace(self.by_name[name], state=state)

    async def add(self, keyring: Keyring, name: str) -> KmsKeyRecord:
        """A new key with one version."""
        number = len(self.by_name) + 1
        key_id = str(UUID(int=number))
        version = await keyring.make_version(key_id, 1, 1)
        record = KmsKeyRecord(name, key_id, f"arn:aws:kms:r:1:key/{key_id}", 1, [version])
        self.by_name[name] = record
        return record

    async def rotate(self, keyring: Keyring, name: str) -> None:
        """A further version of a key."""
        record = self.by_name[name]
        version = await keyring.make_version(record.key_id, len(record.versions) + 1, 2)
        self.by_name[name] = replace(record, versions=[*record.versions, version])


async def make_keyring(master: bytes = MASTER, seed: int = 1) -> tuple[Keyring, Records]:
    """A keyring with the keys that a node makes for itself, and `mine`."""
    records, random = Records(), SeededRandom(seed)
    keyring = Keyring(records, LocalMaster(master, random), random)
    for name in (DEFAULT_KMS_KEY, OBJECTS_KEY, SECRETS_KEY, "mine"):
        await records.add(keyring, name)
    return keyring, records
