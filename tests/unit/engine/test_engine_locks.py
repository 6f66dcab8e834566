"""Object Lock, access control lists and configurations in the apply, against the model and by case.

The random test gives the same commands to the engine's apply and to the reference model, and
compares results, errors and, at the end, all versions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_metadata_scene import OWNER, Scene
from hypothesis import given, settings
from hypothesis import strategies as st

from rs3gwd.base import commands as c
from rs3gwd.base.errors import (
    InvalidBucketState,
    InvalidRequest,
    ObjectLocked,
    StoreError,
)
from rs3gwd.base.records import (
    Attributes,
    BucketRecord,
    DefaultRetention,
    Grant,
    GranteeKind,
    LockMode,
    ObjectLock,
    Permission,
    Retention,
    Versioning,
    VersionRecord,
)
from rs3gwd.engine import listings, queries
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.locks import DAY_MS, default_until
from rs3gwd.engine.tables import Table
from rs3gwd.engine.verify import verify_metadata
from rs3gwd.testing.memory_commands import apply_command
from rs3gwd.testing.memory_state import MemoryState

GOVERNANCE, COMPLIANCE = LockMode.GOVERNANCE, LockMode.COMPLIANCE
KEYS = [b"a", b"b"]
BUCKETS = ["plain", "locked", "versioned"]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("locks") / "meta"))
    yield opened
    opened.close()


@pytest.fixture
def scene(env: Environment) -> Iterator[Scene]:
    txn = env.write()
    scene = Scene(txn)
    yield scene
    scene.applier.finish()
    findings = list(verify_metadata(txn))
    txn.abort()
    assert findings == []


def locked_scene(scene: Scene) -> None:
    """A bucket `bucket` with Object Lock and no default."""
    scene.apply(
        c.CreateBucket(name="bucket", owner_id=OWNER, now_ms=1, region="r", object_lock=True)
    )


def put_locked(scene: Scene, lock: ObjectLock | None) -> VersionRecord:
    """A version of `key` with this lock."""
    result = scene.apply(
        c.PutObject(
            bucket="bucket",
            key=b"key",
            now_ms=scene.tick(),
            nonce=scene.nonce(),
            attributes=Attributes(OWNER, lock=lock),
            etag="e",
            size_bytes=0,
            blob=None,
        )
    ).result
    assert isinstance(result, VersionRecord)
    return result


def delete(scene: Scene, version: VersionRecord, *, now_ms: int, bypass: bool = False) -> None:
    """Deletes just this version."""
    scene.apply(
        c.DeleteObject(
            bucket="bucket",
            key=b"key",
            version_id=version.version_id,
            now_ms=now_ms,
            nonce=scene.nonce(),
            owner_id=OWNER,
            bypass_governance=bypass,
        )
    )


def retain(
    scene: Scene, version: VersionRecord, new: Retention | None, *, now_ms: int, bypass: bool
) -> VersionRecord:
    """Changes the retention of a version."""
    command = c.PutObjectRetention(
        bucket="bucket",
        key=b"key",
        version_id=version.version_id,
        retention=new,
        now_ms=now_ms,
        bypass_governance=bypass,
    )
    result = scene.apply(command).result
    assert isinstance(result, VersionRecord)
    return result


@pytest.mark.parametrize(
    ("mode", "bypass", "goes"),
    [(GOVERNANCE, False, False), (GOVERNANCE, True, True), (COMPLIANCE, True, False)],
)
def test_a_retained_version_goes_only_where_its_mode_lets_it(
    scene: Scene, mode: LockMode, bypass: bool, goes: bool
) -> None:
    """GOVERNANCE yields to who may bypass it, COMPLIANCE to nobody before its time."""
    locked_scene(scene)
    until_ms = scene.now_ms + 10 * DAY_MS
    version = put_locked(scene, ObjectLock(Retention(mode, until_ms)))
    if goes:
        delete(scene, version, now_ms=until_ms - 1, bypass=bypass)
        assert listings.list_versions(scene.txn, "bucket").entries == []
        return
    with pytest.raises(ObjectLocked):
        delete(scene, version, now_ms=until_ms - 1, bypass=bypass)
    delete(scene, version, now_ms=until_ms)


def test_a_legal_hold_outlives_every_retention_and_every_bypass(scene: Scene) -> None:
    """Only lifting the hold lets the version go."""
    locked_scene(scene)
    version = put_locked(scene, ObjectLock(legal_hold=True))
    with pytest.raises(ObjectLocked):
        delete(scene, version, now_ms=scene.now_ms + 10_000 * DAY_MS, bypass=True)
    lift = c.PutObjectLegalHold(
        bucket="bucket", key=b"key", version_id=version.version_id, legal_hold=False
    )
    changed = scene.apply(lift).result
    assert isinstance(changed, VersionRecord)
    assert changed.attributes.lock == ObjectLock(legal_hold=False)
    delete(scene, version, now_ms=scene.now_ms)


def test_a_delete_without_a_version_hides_what_is_locked_and_removes_nothing(scene: Scene) -> None:
    """A delete marker goes on top; the version below stays and can be read."""
    locked_scene(scene)
    until_ms = scene.now_ms + DAY_MS
    version = put_locked(scene, ObjectLock(Retention(COMPLIANCE, until_ms)))
    assert scene.delete().delete_marker
    found = queries.get_version(scene.txn, "bucket", b"key", version.version_id)
    assert found.version_id == version.version_id
    put_locked(scene, None)
    with pytest.raises(ObjectLocked):
        delete(scene, version, now_ms=until_ms - 1, bypass=True)


@pytest.mark.parametrize(
    ("old", "new", "bypass", "taken"),
    [
        ((GOVERNANCE, 5), (GOVERNANCE, 6), False, True),
        ((GOVERNANCE, 5), (GOVERNANCE, 4), False, False),
        ((GOVERNANCE, 5), (GOVERNANCE, 4), True, True),
        ((GOVERNANCE, 5), (COMPLIANCE, 6), False, False),
        ((GOVERNANCE, 5), (COMPLIANCE, 6), True, True),
        ((GOVERNANCE, 5), None, False, False),
        ((GOVERNANCE, 5), None, True, True),
        ((COMPLIANCE, 5), (COMPLIANCE, 6), False, True),
        ((COMPLIANCE, 5), (COMPLIANCE, 4), True, False),
        ((COMPLIANCE, 5), (GOVERNANCE, 6), True, False),
        ((COMPLIANCE, 5), None, True, False),
        (None, (COMPLIANCE, 1), False, True),
    ],
)
def test_protection_may_always_grow_and_shrinks_only_by_the_rules(
    scene: Scene,
    old: tuple[LockMode, int] | None,
    new: tuple[LockMode, int] | None,
    bypass: bool,
    taken: bool,
) -> None:
    """Each change of mode and time, in days, before the old retention ends."""
    locked_scene(scene)
    start_ms = scene.now_ms

    def retention(pair: tuple[LockMode, int] | None) -> Retention | None:
        return None if pair is None else Retention(pair[0], start_ms + pair[1] * DAY_MS)

    first = retention(old)
    version = put_locked(scene, None if first is None else ObjectLock(first))
    if taken:
        changed = retain(scene, version, retention(new), now_ms=start_ms, bypass=bypass)
        wanted = retention(new)
        assert changed.attributes.lock == (None if wanted is None else ObjectLock(wanted))
    else:
        with pytest.raises(ObjectLocked):
            retain(scene, version, retention(new), now_ms=start_ms, bypass=bypass)
        found = queries.get_version(scene.txn, "bucket", b"key", None)
        assert found.attributes.lock == ObjectLock(first)


def test_new_versions_get_the_retention_of_the_bucket(scene: Scene) -> None:
    """PUT and Complete take the default at the moment they make the version; copies of it stay."""
    scene.lockable_bucket("bucket")
    version = scene.put()
    lock = version.attributes.lock
    assert lock == ObjectLock(
        default_until(DefaultRetention(GOVERNANCE, days=1), version.last_modified_ms)
    )
    upload = scene.upload(b"large")
    part = scene.part(upload, 1, key=b"large")
    done = scene.complete(upload, [part], key=b"large")
    assert done.attributes.lock is not None
    own = ObjectLock(Retention(COMPLIANCE, scene.now_ms + DAY_MS))
    assert put_locked(scene, own).attributes.lock == own


def test_a_bucket_without_object_lock_takes_no_lock(scene: Scene) -> None:
    """PUT, uploads, retention and hold are refused there, and Object Lock needs versioning."""
    scene.bucket()
    with pytest.raises(InvalidRequest, match="Object Lock Configuration"):
        put_locked(scene, ObjectLock(legal_hold=True))
    version = scene.put()
    with pytest.raises(InvalidRequest):
        retain(scene, version, None, now_ms=1, bypass=True)
    with pytest.raises(InvalidBucketState):
        scene.apply(c.PutBucketLock(name="bucket", default_retention=None))
    scene.versioning(Versioning.ENABLED)
    scene.apply(c.PutBucketLock(name="bucket", default_retention=None))
    with pytest.raises(InvalidBucketState):
        scene.versioning(Versioning.SUSPENDED)


def test_configurations_have_stamps_and_go_with_their_bucket(scene: Scene) -> None:
    """A document set again has another stamp; one of a deleted bucket leaves no row."""
    scene.bucket()
    stamps = []
    for document in (b"one", b"two"):
        command = c.PutBucketConfiguration(
            name="bucket", kind="policy", document=document, now_ms=1
        )
        record = scene.apply(command).result
        assert isinstance(record, BucketRecord)
        stamps.append(record.configurations["policy"])
        assert queries.get_configuration(scene.txn, record, "policy") == document
    assert stamps[0] != stamps[1]
    scene.apply(c.DeleteBucket(name="bucket"))
    assert scene.txn.count(Table.CONFIGURATIONS) == 0
    scene.bucket()
    fresh = queries.get_bucket(scene.txn, "bucket")
    assert queries.get_configuration(scene.txn, fresh, "policy") is None


@pytest.mark.parametrize("kind", ["", "x" * 201, "caf\xe9", "a\0b"])
def test_a_kind_that_no_row_can_have_is_refused(scene: Scene, kind: str) -> None:
    """Nothing is written for it."""
    scene.bucket()
    with pytest.raises(InvalidRequest):
        scene.apply(c.PutBucketConfiguration(name="bucket", kind=kind, document=b"x", now_ms=1))


def test_the_access_control_list_of_a_version_can_be_changed_alone(scene: Scene) -> None:
    """The date, the ETag and the tags stay as they are."""
    scene.bucket()
    version = scene.put()
    grant = Grant(GranteeKind.ACCOUNT, "b" * 64, Permission.READ)
    changed = scene.apply(
        c.PutObjectAcl(bucket="bucket", key=b"key", version_id=None, acl=[grant])
    ).result
    assert isinstance(changed, VersionRecord)
    assert changed.attributes.acl == [grant]
    assert (changed.last_modified_ms, changed.etag) == (version.last_modified_ms, version.etag)


retentions = st.one_of(
    st.none(), st.builds(Retention, st.sampled_from(LockMode), st.integers(0, 60_000))
)
steps = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(BUCKETS),
        st.sampled_from(KEYS),
        retentions,
        st.booleans(),
        st.integers(0, 5),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_random_commands_do_the_same_to_the_store_and_the_model(
    env: Environment, drawn: list[tuple[int, str, bytes, Retention | None, bool, int]]
) -> None:
    """Same results, same errors, same versions at the end, and rows that agree."""
    txn = env.write()
    try:
        scene, model = Scene(txn), MemoryState()
        made: list[tuple[str, bytes, str]] = [("locked", b"a", "null")]
        for command in first_commands():
            scene.apply(command)
            apply_command(model, command)
        for number, step in enumerate(drawn):
            command = make_command(number, step, made)
            found, expected = outcomes(scene, model, command)
            assert found == expected, command
            if isinstance(found, VersionRecord) and isinstance(command, c.PutObject):
                made.append((command.bucket, command.key, found.version_id))
        scene.applier.finish()
        assert list(verify_metadata(txn)) == []
        for bucket in BUCKETS:
            page = listings.list_versions(txn, bucket)
            listed = [(entry.key, entry.version) for entry in page.entries]
            wanted = [
                (key, version)
                for key, versions in sorted(model.buckets[bucket].versions.items())
                for version in versions
            ]
            assert listed == wanted
    finally:
        txn.abort()


def first_commands() -> list[c.AnyCommand]:
    """Three buckets: unversioned, with Object Lock, versioned."""
    return [
        *(
            c.CreateBucket(
                name=name, owner_id=OWNER, now_ms=1, region="r", object_lock=name == "locked"
            )
            for name in BUCKETS
        ),
        c.PutBucketVersioning(name="versioned", versioning=Versioning.ENABLED),
    ]


def make_command(
    number: int,
    step: tuple[int, str, bytes, Retention | None, bool, int],
    made: list[tuple[str, bytes, str]],
) -> c.AnyCommand:
    """The command that a drawn step stands for; a second passes with each."""
    kind, bucket, key, retention, flag, place = step
    now_ms, nonce = 1000 * number, number.to_bytes(16, "big")
    target = made[-1 - place % len(made)]
    if kind < 3:
        lock = ObjectLock(retention, flag) if bucket == "locked" or place == 0 else None
        return c.PutObject(
            bucket=bucket,
            key=key,
            now_ms=now_ms,
            nonce=nonce,
            attributes=Attributes(OWNER, lock=lock),
            etag=str(number),
            size_bytes=0,
            blob=None,
        )
    match kind:
        case 3 | 4:
            bucket, key, version_id = target
            return c.DeleteObject(
                bucket=bucket,
                key=key,
                version_id=version_id if place else None,
                now_ms=now_ms,
                nonce=nonce,
                owner_id=OWNER,
                bypass_governance=flag,
            )
        case 5 | 6:
            bucket, key, version_id = target
            return c.PutObjectRetention(bucket, key, version_id, retention, now_ms, flag)
        case 7:
            bucket, key, version_id = target
            return c.PutObjectLegalHold(bucket, key, version_id, flag)
        case 8:
            default = DefaultRetention(retention.mode, days=place + 1) if retention else None
            return c.PutBucketLock(name=bucket, default_retention=default)
        case _ if place < 3:
            versioning = Versioning.ENABLED if flag else Versioning.SUSPENDED
            return c.PutBucketVersioning(name=bucket, versioning=versioning)
        case _:
            document = b"%d" % number if flag else None
            return c.PutBucketConfiguration(
                name=bucket, kind=f"kind-{place}", document=document, now_ms=now_ms
            )


def outcomes(scene: Scene, model: MemoryState, command: c.AnyCommand) -> tuple[object, object]:
    """What the engine and the model answer: a result, or the type of an error."""
    results: list[object] = []
    for apply in (lambda: scene.apply(command).result, lambda: apply_command(model, command)):
        try:
            results.append(apply())
        except StoreError as error:
            results.append(type(error))
    return results[0], results[1]
