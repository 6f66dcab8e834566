"""A keyring over the model of the metadata, for tests: no tests in here."""

from __future__ import annotations

from typing import Any

from rs3gwd.base.ports import ObjectStore
from rs3gwd.testing.memory_commands import apply_command
from rs3gwd.testing.memory_kms import MemoryKmsKeys
from rs3gwd.testing.memory_state import MemoryState
from rs3gwd.testing.random import SeededRandom
from rs3gwd.transform.key_management import KeyManagement
from rs3gwd.transform.keyring import Keyring
from rs3gwd.transform.master_key import LocalMasterKey
from rs3gwd.transform.object_keys import KeyringObjectKeys
from rs3gwd.transform.sealed import Algorithm

MASTER = bytes(range(32))


class StillClock:
    """A clock that stands."""

    def now_ms(self) -> int:
        """A moment."""
        return 1_000

    def monotonic(self) -> float:
        """A moment."""
        return 1.0


class CommandStore:
    """As much of a store as takes commands."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def submit(self, command: Any, staged: object = None) -> Any:
        """Applies a command to the model."""
        return apply_command(self._state, command)


class KeyWorld:
    """One store and one process with a keyring over it."""

    def __init__(
        self, *, algorithm: Algorithm = Algorithm.AES_256_GCM, state: MemoryState | None = None
    ) -> None:
        self.state = MemoryState() if state is None else state
        self.random = SeededRandom(7)
        self.keyring = self.restarted(MASTER, algorithm)
        self.management = self.managed_by(self.keyring)
        self.objects = KeyringObjectKeys(self.keyring, region="r", random=self.random)

    def managed_by(self, keyring: Keyring) -> KeyManagement:
        """What changes the keys of this store with a keyring."""
        store: ObjectStore = CommandStore(self.state)  # type: ignore[assignment]
        return KeyManagement(store, keyring, clock=StillClock(), random=self.random)

    def restarted(self, master: bytes, algorithm: Algorithm = Algorithm.AES_256_GCM) -> Keyring:
        """The keyring of a process that starts over this store with some master key."""
        key = LocalMasterKey(master, provider="test", random=self.random)
        keys = MemoryKmsKeys(self.state)
        return Keyring(keys, key, random=self.random, algorithm=algorithm)


async def make_world(algorithm: Algorithm = Algorithm.AES_256_GCM) -> KeyWorld:
    """A world with the server's own keys and the key `mine`."""
    world = KeyWorld(algorithm=algorithm)
    await world.management.ensure_own_keys()
    await world.management.create("mine")
    return world
