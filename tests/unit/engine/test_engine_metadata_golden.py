"""The rows of the metadata as each release wrote them: written so still, and read for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_metadata_scene import OWNER, Scene
from msgspec.structs import replace

from rs3gwd.base import commands
from rs3gwd.base.identities import (
    IdentityKind,
    IdentityRecord,
    InlinePolicy,
    PolicyRecord,
    PolicyVersion,
)
from rs3gwd.base.kms_keys import KmsKeyRecord, KmsKeyState, KmsKeyVersion
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccountRecord,
    Checksum,
    ChecksumAlgorithm,
    EncryptionKind,
    EncryptionRecord,
    Versioning,
)
from rs3gwd.engine import accounts, queries
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.tables import Table
from rs3gwd.engine.verify import verify_metadata

ALICE = AccountRecord(
    canonical_id=OWNER, display_name="alice", email="Alice@example.org", created_ms=1
)
GOLDENS = Path(__file__).parent / "golden"
GOLDEN_WRITTEN = GOLDENS / "metadata-v1.5.json"
"""Format 1 with wrapped secrets and uses of access keys, and with providers of web identities; 1.4
brought the keys of the key management, 1.3 encrypted objects, 1.1 Object Lock, lists and
configurations, 1.2 the tables of identities."""

GOLDEN_READ = [
    GOLDENS / "metadata-v1.json",
    GOLDENS / "metadata-v1.1.json",
    GOLDENS / "metadata-v1.2.json",
    GOLDENS / "metadata-v1.3.json",
    GOLDENS / "metadata-v1.4.json",
    GOLDEN_WRITTEN,
]
"""What every release so far has written."""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("golden") / "meta"))
    yield opened
    opened.close()


def test_the_same_commands_give_the_same_bytes(env: Environment) -> None:
    """Two replicas that apply the same commands have the same rows, in one batch or in many."""
    states = []
    for one_batch in (True, False):
        txn = env.write()
        scene = Scene(txn)
        for step in STORY:
            step(scene)
            if not one_batch:
                scene.applier.finish()
                scene.applier = Applier(txn)
        states.append(scene.rows())
        txn.abort()
    assert states[0] == states[1]


def test_the_rows_are_those_of_format_1(env: Environment) -> None:
    """The golden rows of format 1 are written as they were, so every release can read them."""
    txn = env.write()
    scene = Scene(txn)
    for step in STORY:
        step(scene)
    rows = [[table, key.hex(), value.hex()] for table, key, value in scene.rows()]
    txn.abort()
    assert rows == json.loads(GOLDEN_WRITTEN.read_text())


@pytest.mark.parametrize("golden", GOLDEN_READ, ids=lambda path: path.stem)
def test_the_golden_rows_of_format_1_can_be_read(env: Environment, golden: Path) -> None:
    """A store of format 1 answers and verifies."""
    txn = env.write()
    for table, key, value in json.loads(golden.read_text()):
        txn.put(Table[table], bytes.fromhex(key), bytes.fromhex(value))
    assert list(verify_metadata(txn)) == []
    names = {bucket.name for bucket in queries.list_buckets(txn, owner_id=OWNER).buckets}
    assert names - {"locked", "secret"} == {"bucket", "other"}
    version = queries.get_version(txn, "bucket", b"large", None)
    assert version.part_count == 2
    assert queries.get_manifest(txn, version).numbers == bytes.fromhex("00010003")
    assert queries.get_version(txn, "bucket", b"L" * 1024, None).etag == "long"
    assert accounts.read_access_key(txn, "AKIAGOLDEN") is not None
    txn.abort()


def _tell_large_object(scene: Scene) -> None:
    algorithm = ChecksumAlgorithm.CRC64NVME
    upload = scene.upload(b"large", algorithm=algorithm)
    checksum = Checksum(algorithm, "AAAAAAAAAAE=")
    parts = [scene.part(upload, number, key=b"large", checksum=checksum) for number in (1, 3)]
    scene.complete(upload, parts, key=b"large")


def _tell_encrypted(scene: Scene) -> None:
    """An upload of parts that are stored in 16 bytes more than they have."""
    record = EncryptionRecord(
        EncryptionKind.SSE_KMS, "cipher", b"wrapped", "arn", '{"a":"b"}', bucket_key=True
    )
    scene.apply(commands.CreateBucket(name="secret", owner_id=OWNER, now_ms=1, region="r"))
    upload = scene.upload(b"sealed", bucket="secret", encryption=record)
    parts = [
        scene.part(upload, number, key=b"sealed", bucket="secret", salt=bytes([number]) * 16)
        for number in (1, 2)
    ]
    scene.complete(upload, parts, key=b"sealed", bucket="secret")


def _tell_identities(scene: Scene) -> None:
    versions = [PolicyVersion(1, b"{}", 1)]
    policy = PolicyRecord(OWNER, "Read", "/", "ANPA", 1, 1, versions, 1, 1, tags=[("k", "v")])
    scene.apply(commands.PutManagedPolicy(policy=policy, expected_revision=0))
    group = IdentityRecord(OWNER, IdentityKind.GROUP, "Staff", "/", "AGPA", 1)
    scene.apply(commands.PutIdentity(identity=group, expected_revision=0))
    arn = "arn:aws:iam::111111111111:policy/Read"
    for kind, groups, trust in (
        (IdentityKind.USER, ["Staff"], b""),
        (IdentityKind.ROLE, [], b"{}"),
    ):
        record = IdentityRecord(
            canonical_id=OWNER,
            kind=kind,
            name="Bob",
            path="/a/",
            unique_id="AIDA",
            created_ms=1,
            tags=[("k", "v")],
            inline=[InlinePolicy("own", b"{}")],
            attached=[arn],
            groups=groups,
            boundary=arn,
            trust=trust,
        )
        scene.apply(commands.PutIdentity(identity=record, expected_revision=0))
    key = AccessKeyRecord("AKIAUSER", "secret", OWNER, 1, user_name="Bob")
    scene.apply(commands.PutAccessKey(access_key=key))


def _tell_kms_key(scene: Scene) -> None:
    versions = [KmsKeyVersion(1, b"sealed", b"m" * 16, 1)]
    record = KmsKeyRecord("6f1cdc2c-0000-4000-8000-000000000000", "photos", 1, versions)
    scene.apply(commands.PutKmsKey(kms_key=record, expected_revision=0))
    versions.append(KmsKeyVersion(2, b"sealed too", b"m" * 16, 2))
    disabled = replace(record, versions=versions, state=KmsKeyState.DISABLED)
    scene.apply(commands.PutKmsKey(kms_key=disabled, expected_revision=1))


def _tell_wrapped(scene: Scene) -> None:
    """A wrapped secret of a key that was used, and a provider."""
    key = AccessKeyRecord("AKIASEALED", "secret", OWNER, 1)
    scene.apply(commands.PutAccessKey(access_key=key))
    scene.apply(commands.SealAccessKey(access_key_id="AKIASEALED", sealed=b"wrapped"))
    use = commands.KeyUse("AKIASEALED", 5, "s3", "us-east-1")
    scene.apply(commands.NoteKeyUses(uses=[use]))
    provider = IdentityRecord(
        canonical_id=OWNER,
        kind=IdentityKind.PROVIDER,
        name="issuer.example.org/a",
        path="/",
        unique_id="",
        created_ms=1,
        url="https://issuer.example.org/a",
        clients=["client"],
        thumbprints=["0" * 40],
    )
    scene.apply(commands.PutIdentity(identity=provider, expected_revision=0))


STORY: list[Callable[[Scene], object]] = [
    lambda scene: scene.apply(commands.PutAccount(account=ALICE)),
    lambda scene: scene.apply(
        commands.PutAccessKey(access_key=AccessKeyRecord("AKIAGOLDEN", "secret", OWNER, 1))
    ),
    lambda scene: scene.bucket(),
    lambda scene: scene.bucket("other", Versioning.ENABLED),
    lambda scene: scene.apply(commands.PutBucketTagging(name="other", tags=[("k", "v")])),
    lambda scene: scene.put(b"small"),
    lambda scene: scene.put(b"L" * 1024, etag="long"),
    lambda scene: scene.versioning(Versioning.ENABLED),
    lambda scene: scene.put(b"small"),
    lambda scene: scene.delete(b"L" * 1000),
    lambda scene: scene.delete(b"nul\0byte"),
    _tell_large_object,
    lambda scene: scene.part(scene.upload(b"open"), 2, key=b"open"),
    lambda scene: scene.lockable_bucket("locked"),
    lambda scene: scene.put(b"kept", bucket="locked"),
    _tell_identities,
    _tell_encrypted,
    _tell_kms_key,
    _tell_wrapped,
]
"""One of each kind of row; what a release wrote is never changed, only added to."""
