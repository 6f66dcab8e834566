"""The keys of the key management in the metadata, on the engine and on the model alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_metadata_scene import OWNER, Scene
from msgspec.structs import replace

from rs3gwd.base import commands
from rs3gwd.base.errors import (
    InvalidRequest,
    KmsKeyAlreadyExists,
    KmsKeyChanged,
    NoSuchKmsKey,
    StaleCommand,
)
from rs3gwd.base.kms_keys import KEYS_MAX, KmsKeyRecord, KmsKeyState, KmsKeyVersion
from rs3gwd.base.records import (
    Attributes,
    EncryptionKind,
    EncryptionRecord,
    Versioning,
    VersionRecord,
)
from rs3gwd.engine import kms_keys, queries
from rs3gwd.engine.apply import SYSTEM_FUNCTIONS, Applier
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.groups import SYSTEM_GROUP, group_of
from rs3gwd.engine.verify import verify_metadata
from rs3gwd.testing.memory_commands import apply_command
from rs3gwd.testing.memory_kms import MemoryKmsKeys
from rs3gwd.testing.memory_state import MemoryState

ID = "6f1cdc2c-0000-4000-8000-000000000000"
FIRST, SECOND = (KmsKeyVersion(number, b"sealed", b"m" * 16, number) for number in (1, 2))
PHOTOS = KmsKeyRecord(ID, "photos", 1, [FIRST])


class EngineKeys:
    """The reads of the engine over one transaction."""

    def __init__(self, txn: Any) -> None:
        self._txn = txn

    def by_id(self, key_id: str) -> KmsKeyRecord | None:
        return kms_keys.read_kms_key(self._txn, key_id)

    def by_name(self, name: str) -> KmsKeyRecord | None:
        return kms_keys.read_kms_key_by_name(self._txn, name)

    def all(self) -> list[KmsKeyRecord]:
        return kms_keys.list_kms_keys(self._txn)


class Place:
    """A store of keys: what applies commands, and what answers look-ups."""

    def __init__(self, apply: Callable[[Any], Any], keys: Any) -> None:
        self._apply = apply
        self.keys = keys

    def put(self, record: KmsKeyRecord, revision: int = 0) -> KmsKeyRecord:
        """Puts a key."""
        command = commands.PutKmsKey(kms_key=record, expected_revision=revision)
        found: KmsKeyRecord = self._apply(command)
        return found


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("kms") / "meta"))
    yield opened
    opened.close()


@pytest.fixture(params=["engine", "model"])
def place(request: pytest.FixtureRequest, env: Environment) -> Iterator[Place]:
    if request.param == "model":
        state = MemoryState()
        yield Place(lambda command: apply_command(state, command), MemoryKmsKeys(state))
        return
    txn = env.write()
    applier = Applier(txn)
    yield Place(lambda command: applier.apply(command).result, EngineKeys(txn))
    applier.finish()
    findings = list(verify_metadata(txn))
    txn.abort()
    assert findings == []


def test_a_key_is_found_by_id_and_by_name(place: Place) -> None:
    """Any text may be asked for."""
    made = place.put(PHOTOS)
    assert made == replace(PHOTOS, revision=1)
    assert place.keys.by_id(ID) == place.keys.by_name("photos") == made
    assert place.keys.all() == [made]
    for text in ("", "other", "é" * 300, "photos\0"):
        assert place.keys.by_id(text) is None
        assert place.keys.by_name(text) is None


def test_a_name_and_an_id_belong_to_one_key(place: Place) -> None:
    """A second key of either is refused, and the first is as it was."""
    made = place.put(PHOTOS)
    with pytest.raises(KmsKeyAlreadyExists):
        place.put(replace(PHOTOS, name="other"))
    with pytest.raises(KmsKeyAlreadyExists):
        place.put(replace(PHOTOS, key_id=ID.replace("6", "7")))
    assert place.keys.all() == [made]


def test_of_two_changes_at_one_time_one_is_refused(place: Place) -> None:
    """A change names the revision that it was made from: no rotation gets lost."""
    made = place.put(PHOTOS)
    rotated = place.put(replace(made, versions=[FIRST, SECOND]), 1)
    assert rotated.revision == 2
    with pytest.raises(KmsKeyChanged):
        place.put(replace(made, state=KmsKeyState.DISABLED), 1)
    assert place.keys.by_id(ID) == rotated
    with pytest.raises(NoSuchKmsKey):
        place.put(replace(PHOTOS, key_id=ID.replace("6", "7"), name="other"), 1)


def test_no_version_is_ever_lost(place: Place) -> None:
    """A change without one, with a gap, or of the name is refused: objects hang on it."""
    made = place.put(replace(PHOTOS, versions=[FIRST, SECOND]))
    third = replace(SECOND, number=4)
    for wrong in (
        replace(made, versions=[FIRST]),
        replace(made, versions=[SECOND, FIRST]),
        replace(made, versions=[FIRST, SECOND, third]),
        replace(made, versions=[]),
        replace(made, name="renamed"),
    ):
        with pytest.raises(InvalidRequest):
            place.put(wrong, 1)
    assert place.keys.all() == [made]


def test_there_is_a_bound_on_keys(place: Place) -> None:
    """Keys are kept for ever, so there are not any number of them."""
    for number in range(KEYS_MAX):
        place.put(replace(PHOTOS, key_id=f"{number:036}", name=f"name-{number}"))
    with pytest.raises(InvalidRequest, match="keys"):
        place.put(PHOTOS)


def test_a_data_key_is_exchanged_where_it_is_still_the_one(env: Environment) -> None:
    """The rest of the version stays; a version written meanwhile, or in clear, is left alone."""
    txn = env.write()
    scene = Scene(txn)
    scene.bucket(versioning=Versioning.ENABLED)
    old = EncryptionRecord(EncryptionKind.SSE_S3, "cipher", b"old")
    versions = []
    for encryption in (old, None, old):
        attributes = Attributes(OWNER, tags=[("k", "v")], encryption=encryption)
        put = commands.PutObject(
            bucket="bucket",
            key=b"key",
            now_ms=scene.tick(),
            nonce=scene.nonce(),
            attributes=attributes,
            size_bytes=0,
            etag="etag",
            blob=None,
        )
        result = scene.apply(put).result
        assert isinstance(result, VersionRecord)
        versions.append(result)
    first, plain, last = versions

    def exchange(version: VersionRecord, expected: bytes) -> None:
        scene.apply(
            commands.PutObjectDataKey("bucket", b"key", version.version_id, expected, b"new")
        )

    for version in (first, last):
        with pytest.raises(StaleCommand):
            exchange(version, b"other")
        exchange(version, b"old")
        found = queries.get_version(txn, "bucket", b"key", version.version_id)
        moved = replace(version.attributes, encryption=replace(old, wrapped_key=b"new"))
        assert found == replace(version, attributes=moved)
        with pytest.raises(StaleCommand):
            exchange(version, b"old")
    with pytest.raises(StaleCommand):
        exchange(plain, b"old")
    txn.abort()


def test_keys_are_a_matter_of_the_system_group() -> None:
    """Every node of a cluster has all of them."""
    command = commands.PutKmsKey(kms_key=PHOTOS, expected_revision=0)
    assert group_of(command, 8) == SYSTEM_GROUP
    assert commands.PutKmsKey in SYSTEM_FUNCTIONS
