"""The first start: a root account, its key, and the lines that let a person use them at once.

There are no default credentials (promise P6). Unless the configuration gives them, access key,
secret and canonical id are random; they are shown once on the terminal and kept in a file that
only the daemon's user may read. The same goes for the token that /metrics asks for.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe

import msgspec
import trio
from msgspec import Struct

from rs3gwd.base.commands import PutAccessKey, PutAccount
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Random
from rs3gwd.base.records import AccessKeyRecord
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.config import Config
from rs3gwd.iam.accounts import make_access_key, make_account
from rs3gwd.iam.key_secrets import sealed_key

CREDENTIALS_FILE = "root-credentials.json"
METRICS_TOKEN_FILE = "metrics.token"

ROOT_INTERVAL_SECONDS = 0.1
"""How often a node that joins in at the first start looks whether there is a root account yet."""


class RootCredentials(Struct, frozen=True):
    """What the credentials file holds, as JSON."""

    access_key_id: str
    secret_access_key: str
    canonical_id: str


async def ensure_root(
    store: ObjectStore,
    directory: Directory,
    config: Config,
    *,
    clock: Clock,
    random: Random,
    secrets: SecretWrapper,
) -> RootCredentials | None:
    """Makes the root account when there is none; gives its credentials if they are random and new.

    A configured access key that the root account lacks is added to it, so that keys can be
    rotated by configuration. The credentials file is synced before the account exists, and a root
    account without any key gets the one in the file: whenever a crash came, the file's key works.
    """
    root = next((each for each in directory.accounts() if each.is_root), None)
    now_ms = clock.now_ms()
    if root is not None:
        key = _missing_key(config, directory, root.canonical_id, now_ms, random)
        if key is not None:
            await store.submit(PutAccessKey(access_key=await sealed_key(key, secrets)))
        return None
    account = msgspec.structs.replace(
        make_account(
            display_name=config.root_account_name,
            email=config.root_email,
            canonical_id=config.root_canonical_id or None,
            now_ms=now_ms,
            random=random,
        ),
        is_root=True,
    )
    key = _make_key(config, account.canonical_id, now_ms, random)
    credentials = RootCredentials(key.access_key_id, key.secret, account.canonical_id)
    write_private(Path(config.storage_root) / CREDENTIALS_FILE, msgspec.json.encode(credentials))
    stored = await sealed_key(key, secrets)
    await store.submit(PutAccount(account=account))
    await store.submit(PutAccessKey(access_key=stored))
    return None if config.secret_key else credentials


async def wait_root(directory: Directory) -> None:
    """Until another node of the cluster has made the root account and its key."""
    while True:
        root = next((each for each in directory.accounts() if each.is_root), None)
        if root is not None and directory.access_keys(root.canonical_id):
            return
        await trio.sleep(ROOT_INTERVAL_SECONDS)


def ensure_metrics_token(config: Config) -> str:
    """The token that /metrics asks for: the configured one, else the kept one, else a new one."""
    if config.metrics_token:
        return config.metrics_token
    path = Path(config.storage_root) / METRICS_TOKEN_FILE
    if not path.exists():
        write_private(path, token_urlsafe(32).encode())
    return path.read_text(encoding="ascii").strip()


def write_private(path: Path, content: bytes) -> None:
    """Puts a file that only its owner may read in place, whole or not at all, and syncs it."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def welcome(
    url: str, credentials: RootCredentials, config: Config, environ: Mapping[str, str]
) -> str:
    """The lines for the terminal at the first start, ready to be pasted.

    Where output goes to the journal (JOURNAL_STREAM, systemd.exec(5)) they name the file alone: a
    secret does not belong into a log that others may read.
    """
    kept = Path(config.storage_root) / CREDENTIALS_FILE
    if "JOURNAL_STREAM" in environ:
        return f"rs3gwd serves {url}. The root account's key is in {kept}.\n"
    return f"""
rs3gwd serves {url}. This is the root account's key, shown this once (kept in {kept}):

  export AWS_ACCESS_KEY_ID={credentials.access_key_id}
  export AWS_SECRET_ACCESS_KEY={credentials.secret_access_key}
  export AWS_DEFAULT_REGION={config.region}

With the AWS CLI:

  aws --endpoint-url {url} s3 mb s3://first
  aws --endpoint-url {url} s3 cp README.md s3://first/

With boto3, in the same shell:

  import boto3
  s3 = boto3.client("s3", endpoint_url="{url}")
  s3.put_object(Bucket="first", Key="hello", Body=b"world")
"""


def _missing_key(
    config: Config, directory: Directory, canonical_id: str, now_ms: int, random: Random
) -> AccessKeyRecord | None:
    """The key that an existing root account should have and lacks."""
    if config.access_key:
        if directory.access_key(config.access_key) is None:
            return _make_key(config, canonical_id, now_ms, random)
        return None
    if directory.access_keys(canonical_id):
        return None
    kept = (Path(config.storage_root) / CREDENTIALS_FILE).read_bytes()
    credentials = msgspec.json.decode(kept, type=RootCredentials)
    return make_access_key(
        canonical_id=canonical_id,
        access_key_id=credentials.access_key_id,
        secret=credentials.secret_access_key,
        now_ms=now_ms,
        random=random,
    )


def _make_key(config: Config, canonical_id: str, now_ms: int, random: Random) -> AccessKeyRecord:
    return make_access_key(
        canonical_id=canonical_id,
        access_key_id=config.access_key or None,
        secret=config.secret_key or None,
        now_ms=now_ms,
        random=random,
    )
