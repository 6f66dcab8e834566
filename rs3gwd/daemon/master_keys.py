"""Where the master key comes from: the option `encryption.master_key_source`.

    auto         the file, made with a random key at the first start
    file         the file, which somebody else has made
    environment  RS3GW_MASTER_KEY
    credential   the systemd credential `master-key` (systemd.exec(5), "CREDENTIALS")
    vault        it stays in Vault (`rs3gwd.transform.vault`)

Each process fetches it by itself. Invariant: a key is made only where there is no keyring yet. To
make one beside a keyring would hide that the right one is lost, and be of no use.
"""

import base64
from collections.abc import Mapping
from pathlib import Path

from rs3gwd.base.errors import KeyringRefused
from rs3gwd.base.ports import Random, Threads
from rs3gwd.config import Config
from rs3gwd.config.settings import MasterKeySource
from rs3gwd.daemon.bootstrap import write_private
from rs3gwd.daemon.opening import data_root
from rs3gwd.daemon.vault_http import VaultHttp
from rs3gwd.transform.master_key import LocalMasterKey, MasterKey, parse_master_key
from rs3gwd.transform.sealed import new_key
from rs3gwd.transform.vault import VaultMasterKey

MASTER_KEY_FILE = "master.key"
"""The file of `auto`, below the data directory, where no other is named."""

CREDENTIAL = "master-key"

_OTHERS = 0o007
_FILE_BYTES_MAX = 4096


def open_master_key(
    config: Config,
    environ: Mapping[str, str],
    *,
    random: Random,
    threads: Threads,
    is_first_start: bool,
) -> MasterKey:
    """The master key that the configuration names; blocks for a file at most.

    Raises KeyringRefused, which says what is missing or wrong and where.
    """
    match config.master_key_source:
        case MasterKeySource.VAULT:
            transport = VaultHttp(
                config.vault_address,
                token_path=config.vault_token_file,
                ca_path=config.vault_ca_file,
                threads=threads,
            )
            return VaultMasterKey(transport, mount=config.vault_mount, name=config.vault_key)
        case MasterKeySource.ENVIRONMENT:
            source = "encryption.master_key (RS3GW_MASTER_KEY)"
            text = config.master_key
        case MasterKeySource.CREDENTIAL:
            folder = environ.get("CREDENTIALS_DIRECTORY", "")
            if not folder:
                raise KeyringRefused("CREDENTIALS_DIRECTORY is not set: no service manager gave it")
            source = f"the credential {CREDENTIAL}"
            text = _read(Path(folder) / CREDENTIAL)
        case MasterKeySource.AUTO | MasterKeySource.FILE:
            path = _key_file(config)
            source = str(path)
            may_make = is_first_start and config.master_key_source is MasterKeySource.AUTO
            if may_make and not path.exists():
                write_private(path, base64.b64encode(new_key(random)) + b"\n")
            text = _read(path)
            if path.stat().st_mode & _OTHERS:
                raise KeyringRefused(f"{path}: everybody may read the master key; chmod 600 it")
    key = parse_master_key(text, source=source)
    return LocalMasterKey(key, provider=source, random=random)


def open_previous_master_key(config: Config, *, random: Random) -> MasterKey | None:
    """The master key that the present one takes the place of; None where there is none.

    Raises KeyringRefused.
    """
    if not config.previous_master_key_file:
        return None
    path = Path(config.previous_master_key_file)
    key = parse_master_key(_read(path), source=str(path))
    return LocalMasterKey(key, provider=str(path), random=random)


def _key_file(config: Config) -> Path:
    if config.master_key_file:
        return Path(config.master_key_file)
    return data_root(config) / MASTER_KEY_FILE


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_FILE_BYTES_MAX)
    except FileNotFoundError as error:
        raise KeyringRefused(
            f"the master key {path} is missing: without it nothing that is encrypted can be read; "
            "put it back, or name where it is (encryption.master_key_source)"
        ) from error
    except OSError as error:
        raise KeyringRefused(f"the master key cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise KeyringRefused(f"{path} holds no master key in text") from error
