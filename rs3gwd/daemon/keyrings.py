"""The keyring of one process, opened and checked; in the core also made at the first start."""

import os

import structlog

from rs3gwd.base.errors import DiskError
from rs3gwd.base.ports import ObjectStore
from rs3gwd.config import Config
from rs3gwd.config.settings import EncryptionAlgorithm
from rs3gwd.daemon.frontend import Ports
from rs3gwd.daemon.master_keys import open_master_key, open_previous_master_key
from rs3gwd.engine.face import EngineFace
from rs3gwd.node.local import LocalKmsKeys
from rs3gwd.transform.key_management import KeyManagement
from rs3gwd.transform.keyring import Keyring
from rs3gwd.transform.sealed import Algorithm

_ALGORITHMS = {
    EncryptionAlgorithm.AES256_GCM: Algorithm.AES_256_GCM,
    EncryptionAlgorithm.CHACHA20_POLY1305: Algorithm.CHACHA20_POLY1305,
}


async def open_keyring(config: Config, engine: EngineFace, ports: Ports) -> Keyring:
    """The keyring of the store. Raises KeyringRefused, KeyProviderUnavailable, DataCorrupt."""
    keyring = _join_keyring(config, engine, ports)
    await keyring.check()
    return keyring


async def make_keyring(
    config: Config, engine: EngineFace, ports: Ports, store: ObjectStore
) -> tuple[Keyring, KeyManagement]:
    """As `open_keyring`, with the server's own keys made if they are missing.

    What the previous master key has sealed is sealed by the present one.
    """
    keyring = _join_keyring(config, engine, ports)
    management = KeyManagement(store, keyring, clock=ports.clock, random=ports.random)
    log = structlog.get_logger()
    previous = open_previous_master_key(config, random=ports.random)
    if previous is not None:
        log.info("master key replaced", versions=await management.reseal(previous))
    await keyring.check()
    try:
        await management.ensure_own_keys()
    except DiskError as error:
        # A full disk must still be served: how else could somebody delete from it?
        log.error("the keyring cannot be made", reason=str(error))
    return keyring, management


def _join_keyring(config: Config, engine: EngineFace, ports: Ports) -> Keyring:
    keys = LocalKmsKeys(engine)
    master = open_master_key(
        config,
        os.environ,
        random=ports.random,
        threads=ports.threads,
        is_first_start=not keys.all(),
    )
    algorithm = _ALGORITHMS[config.encryption_algorithm]
    return Keyring(keys, master, random=ports.random, algorithm=algorithm)
