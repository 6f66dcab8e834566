"""The apply: what each command does, by example. The model test covers what examples do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_metadata_scene import OWNER, Scene

from rs3gwd.base import commands
from rs3gwd.base.codec import make_sequenced_id
from rs3gwd.base.commands import AnyCommand, Conditions, DeleteResult
from rs3gwd.base.errors import (
    AccountAlreadyExists,
    BucketAlreadyExists,
    BucketNotEmpty,
    InvalidRequest,
    MethodNotAllowed,
    NoSuchAccount,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NoSuchVersion,
    PreconditionFailed,
    StoreError,
)
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccessKeyStatus,
    AccountRecord,
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    Durability,
    Versioning,
    VersionKind,
)
from rs3gwd.engine import accounts, apply_uploads, listings, queries
from rs3gwd.engine.apply import FUNCTIONS, INDEX_FUNCTIONS, SYSTEM_FUNCTIONS
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.tables import Table
from rs3gwd.engine.verify import verify_metadata

ALICE = AccountRecord(
    canonical_id=OWNER, display_name="alice", email="Alice@example.org", created_ms=1
)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("apply") / "meta"))
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


def current(scene: Scene, key: bytes = b"key") -> str | None:
    """The id of the current version, or None."""
    try:
        return queries.get_version(scene.txn, "bucket", key, None).version_id
    except NoSuchKey:
        return None


def history(scene: Scene) -> list[tuple[str, bool, bool]]:
    """(version id, is a marker, is latest) of every version, as listed."""
    page = listings.list_versions(scene.txn, "bucket")
    return [
        (entry.version.version_id, entry.version.kind is VersionKind.DELETE_MARKER, entry.is_latest)
        for entry in page.entries
        if entry.version
    ]


def test_every_command_has_its_function() -> None:
    """The table of functions holds each command of the union and nothing else."""
    known = {*FUNCTIONS, *INDEX_FUNCTIONS, *SYSTEM_FUNCTIONS}
    assert known == set(AnyCommand.__args__)


# -- buckets


def test_a_bucket_is_made_once_for_its_owner(scene: Scene) -> None:
    """The owner's repeat gives the bucket that exists, unchanged; another account is refused."""
    first = scene.bucket()
    assert scene.bucket() == first
    before = scene.rows()
    with pytest.raises(BucketAlreadyExists):
        scene.apply(commands.CreateBucket(name="bucket", owner_id="b", now_ms=1, region="r"))
    assert scene.rows() == before


def test_a_bucket_made_anew_has_a_new_id(scene: Scene) -> None:
    """Nothing of a deleted bucket can show in one of the same name."""
    first = scene.bucket()
    scene.apply(commands.DeleteBucket(name="bucket"))
    assert scene.bucket().bucket_id != first.bucket_id


@pytest.mark.parametrize("versioning", list(Versioning))
def test_a_bucket_with_anything_in_it_stays(scene: Scene, versioning: Versioning) -> None:
    """A version or a delete marker keeps a bucket from being deleted."""
    scene.bucket(versioning=None if versioning is Versioning.UNVERSIONED else versioning)
    scene.put()
    with pytest.raises(BucketNotEmpty):
        scene.apply(commands.DeleteBucket(name="bucket"))
    result = scene.delete()
    if result.delete_marker:
        with pytest.raises(BucketNotEmpty):
            scene.apply(commands.DeleteBucket(name="bucket"))


def test_deleting_a_bucket_drops_its_uploads(scene: Scene) -> None:
    """Unfinished uploads are aborted and their blobs freed; kept results go; others stay."""
    scene.bucket()
    finished = scene.upload(b"done")
    scene.complete(finished, [scene.part(finished, 1, key=b"done")], key=b"done")
    scene.delete(b"done")
    blobs = []
    for number in range(250):
        upload = scene.upload(b"key" * 200 if number % 2 else b"%d" % number)
        part = scene.part(upload, 1, key=b"key" * 200 if number % 2 else b"%d" % number)
        assert part.blob is not None
        blobs.append(part.blob.blob_id)
    scene.bucket("other")
    scene.upload(bucket="other")
    scene.apply(commands.DeleteBucket(name="bucket"))
    assert sorted(scene.freed) == sorted(blobs)
    assert scene.txn.count(Table.PARTS) == scene.txn.count(Table.COMPLETED) == 0
    assert scene.txn.count(Table.UPLOADS) == scene.txn.count(Table.UPLOAD_TIMES) == 1


def test_bucket_settings_are_kept(scene: Scene) -> None:
    """Tags, versioning and durability are set one by one and read back together."""
    scene.bucket(versioning=Versioning.SUSPENDED)
    scene.apply(commands.PutBucketTagging(name="bucket", tags=[("k", "v")]))
    scene.apply(commands.PutBucketDurability(name="bucket", durability=Durability.RELAXED))
    record = queries.get_bucket(scene.txn, "bucket")
    assert (record.versioning, record.tags, record.durability) == (
        Versioning.SUSPENDED,
        [("k", "v")],
        Durability.RELAXED,
    )
    scene.apply(commands.PutBucketTagging(name="bucket", tags=None))
    assert queries.get_bucket(scene.txn, "bucket").tags is None


def test_versioning_cannot_be_taken_away(scene: Scene) -> None:
    """There is no command back to a bucket that never was versioned."""
    scene.bucket(versioning=Versioning.ENABLED)
    with pytest.raises(InvalidRequest):
        scene.versioning(Versioning.UNVERSIONED)


# -- objects


def test_an_unversioned_put_replaces_and_frees(scene: Scene) -> None:
    """The earlier bytes have no owner any more; the id is `null` and the seq greater."""
    scene.bucket()
    first = scene.put()
    second = scene.put()
    assert first.blob is not None
    assert scene.freed == [first.blob.blob_id]
    assert (second.version_id, second.seq) == ("null", first.seq + 1)
    assert history(scene) == [("null", False, True)]


def test_versions_pile_up_newest_first(scene: Scene) -> None:
    """In an enabled bucket every put and delete adds a version; the null version stays below."""
    scene.bucket()
    scene.put()
    scene.versioning(Versioning.ENABLED)
    second, third = scene.put(), scene.put()
    marker = scene.delete()
    assert marker.version_id is not None
    assert history(scene) == [
        (marker.version_id, True, True),
        (third.version_id, False, False),
        (second.version_id, False, False),
        ("null", False, False),
    ]
    assert scene.freed == []


def test_deleting_the_marker_brings_the_object_back(scene: Scene) -> None:
    """Undelete: without the marker the version under it is current again."""
    scene.bucket(versioning=Versioning.ENABLED)
    version = scene.put()
    marker = scene.delete()
    assert current(scene) is None
    assert scene.delete(version_id=marker.version_id) == DeleteResult(marker.version_id, True)
    assert current(scene) == version.version_id


def test_deleting_the_current_version_promotes_the_one_below(scene: Scene) -> None:
    """An object below becomes current; a delete marker below hides the key."""
    scene.bucket(versioning=Versioning.ENABLED)
    first = scene.put()
    marker = scene.delete()
    second, third = scene.put(), scene.put()
    scene.delete(version_id=third.version_id)
    assert third.blob is not None
    assert scene.freed == [third.blob.blob_id]
    assert current(scene) == second.version_id
    scene.delete(version_id=second.version_id)
    assert current(scene) is None
    scene.delete(version_id=marker.version_id)
    assert current(scene) == first.version_id


def test_a_suspended_put_replaces_the_null_version_wherever_it_is(scene: Scene) -> None:
    """A null version deep in the history goes, versions with an id stay."""
    scene.bucket()
    null = scene.put()
    scene.versioning(Versioning.ENABLED)
    kept = scene.put()
    scene.versioning(Versioning.SUSPENDED)
    new_null = scene.put()
    assert null.blob is not None
    assert scene.freed == [null.blob.blob_id]
    assert new_null.version_id == "null"
    assert history(scene) == [("null", False, True), (kept.version_id, False, False)]


def test_a_suspended_delete_leaves_one_null_marker(scene: Scene) -> None:
    """The null version is replaced by a null marker, and a second delete replaces the marker."""
    scene.bucket(versioning=Versioning.ENABLED)
    kept = scene.put()
    scene.versioning(Versioning.SUSPENDED)
    scene.put()
    for _ in range(2):
        assert scene.delete() == DeleteResult("null", True)
        assert history(scene) == [("null", True, True), (kept.version_id, False, False)]
    assert scene.delete(version_id="null") == DeleteResult("null", True)
    assert current(scene) == kept.version_id


def test_a_missing_version_is_no_error(scene: Scene) -> None:
    """Deleting what is not there changes nothing and succeeds."""
    scene.bucket()
    scene.put()
    before = scene.rows()
    for version_id in ("0" * 32, "nonsense", ""):
        assert scene.delete(version_id=version_id) == DeleteResult(version_id, False)
    assert scene.delete(b"other") == DeleteResult(None, False)
    assert scene.rows() == before


def test_the_id_of_another_key_names_nothing(scene: Scene) -> None:
    """A version id counts only together with its key."""
    scene.bucket(versioning=Versioning.ENABLED)
    first = scene.put(b"one")
    scene.put(b"two")
    scene.delete(b"two", first.version_id)
    assert current(scene, b"one") == first.version_id
    assert current(scene, b"two") is not None


def test_an_id_with_another_nonce_names_nothing(scene: Scene) -> None:
    """An id cannot be made up from the sequence number alone."""
    scene.bucket(versioning=Versioning.ENABLED)
    version = scene.put()
    forged = make_sequenced_id(version.seq, bytes(16))
    with pytest.raises(NoSuchVersion):
        queries.get_version(scene.txn, "bucket", b"key", forged)
    scene.delete(version_id=forged)
    assert current(scene) == version.version_id


def test_tags_change_nothing_else(scene: Scene) -> None:
    """Tagging a version, current or not, keeps its id, date, seq and place."""
    scene.bucket(versioning=Versioning.ENABLED)
    old, new = scene.put(), scene.put()
    tag = commands.PutObjectTagging(
        bucket="bucket", key=b"key", version_id=old.version_id, tags=[("a", "b")]
    )
    scene.apply(tag)
    stored = queries.get_version(scene.txn, "bucket", b"key", old.version_id)
    assert stored.attributes.tags == [("a", "b")]
    assert (stored.seq, stored.last_modified_ms) == (old.seq, old.last_modified_ms)
    assert current(scene) == new.version_id
    assert scene.freed == []


def test_a_delete_marker_has_no_tags(scene: Scene) -> None:
    """The current version is missing under a marker, and the marker itself refuses tags."""
    scene.bucket(versioning=Versioning.ENABLED)
    scene.put()
    marker = scene.delete()
    with pytest.raises(NoSuchKey) as hidden:
        scene.apply(
            commands.PutObjectTagging(bucket="bucket", key=b"key", version_id=None, tags=[])
        )
    assert hidden.value.delete_marker_version_id == marker.version_id
    with pytest.raises(MethodNotAllowed):
        scene.apply(
            commands.PutObjectTagging(
                bucket="bucket", key=b"key", version_id=marker.version_id, tags=[]
            )
        )


# -- conditions


@pytest.mark.parametrize(
    ("conditions", "error"),
    [
        (Conditions(if_match="e"), None),
        (Conditions(if_match="*"), None),
        (Conditions(if_match="f"), PreconditionFailed),
        (Conditions(if_none_match="f"), None),
        (Conditions(if_none_match="e"), PreconditionFailed),
        (Conditions(if_none_match="*"), PreconditionFailed),
        (Conditions(if_match="e", if_none_match="*"), PreconditionFailed),
        (Conditions(if_match_size=10), None),
        (Conditions(if_match_size=11), PreconditionFailed),
        (Conditions(if_match_last_modified_s=1_700_000_002), None),
        (Conditions(if_match_last_modified_s=1_700_000_001), PreconditionFailed),
    ],
)
def test_conditions_meet_the_current_version(
    scene: Scene, conditions: Conditions, error: type[StoreError] | None
) -> None:
    """A write and a delete pass or fail by what is current."""
    scene.bucket()
    scene.put()
    before = scene.rows()
    if error is None:
        scene.put(conditions=conditions)
        return
    with pytest.raises(error):
        scene.put(conditions=conditions)
    with pytest.raises(error):
        scene.delete(conditions=conditions)
    assert scene.rows() == before


@pytest.mark.parametrize("hidden", [False, True], ids=["nothing", "delete marker"])
def test_nothing_current_meets_the_conditions(scene: Scene, hidden: bool) -> None:
    """Without a current version, or under a marker, If-Match fails and If-None-Match passes."""
    scene.bucket(versioning=Versioning.ENABLED)
    if hidden:
        scene.put()
        scene.delete()
    for missing in (
        Conditions(if_match="e"),
        Conditions(if_match="*"),
        Conditions(if_match="*", if_match_size=10),
    ):
        with pytest.raises(NoSuchKey):
            scene.put(conditions=missing)
        with pytest.raises(NoSuchKey):
            scene.delete(conditions=missing)
    for held in (Conditions(if_match_size=10), Conditions(if_match_last_modified_s=1)):
        scene.delete(conditions=held)
    scene.put(conditions=Conditions(if_none_match="*"))


def test_a_named_version_meets_its_own_conditions(scene: Scene) -> None:
    """If-Match on a delete with a version id looks at that version and not at the current one."""
    scene.bucket(versioning=Versioning.ENABLED)
    old = scene.put(etag="old")
    scene.put(etag="new")
    with pytest.raises(PreconditionFailed):
        scene.delete(version_id=old.version_id, conditions=Conditions(if_match="new"))
    with pytest.raises(NoSuchKey):
        scene.delete(version_id="0" * 32, conditions=Conditions(if_match="new"))
    scene.delete(version_id=old.version_id, conditions=Conditions(if_match="old"))
    assert len(history(scene)) == 1


def test_of_racing_creates_one_wins(scene: Scene) -> None:
    """Of 64 conditional writes of a key in one batch the first wins; the others change nothing."""
    scene.bucket()
    winner = scene.put(conditions=Conditions(if_none_match="*"))
    before = scene.rows()
    for _ in range(63):
        with pytest.raises(PreconditionFailed):
            scene.put(conditions=Conditions(if_none_match="*"))
    assert scene.rows() == before
    assert queries.get_version(scene.txn, "bucket", b"key", None) == winner


# -- uploads


def test_an_upload_becomes_an_object(scene: Scene) -> None:
    """The object has the upload's attributes and the parts' bytes; a part left out is freed."""
    scene.bucket()
    earlier = scene.put()
    upload = scene.upload()
    first, second, third = (scene.part(upload, number) for number in (1, 2, 3))
    version = scene.complete(upload, [first, third])
    assert version.attributes == upload.attributes
    assert version.size_bytes == first.size_bytes + third.size_bytes
    assert earlier.blob is not None
    assert second.blob is not None
    assert scene.freed == [earlier.blob.blob_id, second.blob.blob_id]
    manifest = queries.get_manifest(scene.txn, version)
    assert first.blob is not None
    assert third.blob is not None
    assert manifest.blob_ids == first.blob.blob_id + third.blob.blob_id
    with pytest.raises(NoSuchUpload):
        queries.get_upload(scene.txn, "bucket", b"key", upload.upload_id)
    assert listings.list_uploads(scene.txn, "bucket").entries == []


def test_deleting_the_object_frees_its_parts(scene: Scene) -> None:
    """The manifest goes with the version."""
    scene.bucket()
    upload = scene.upload()
    parts = [scene.part(upload, 1), scene.part(upload, 2, size_bytes=1)]
    scene.complete(upload, parts)
    scene.delete()
    assert scene.freed == [part.blob.blob_id for part in parts if part.blob]
    assert scene.txn.count(Table.MANIFESTS) == 0


def test_complete_can_be_repeated(scene: Scene) -> None:
    """The same parts give the kept answer, even after the object is gone; others do not."""
    scene.bucket()
    upload = scene.upload()
    parts = [scene.part(upload, 1), scene.part(upload, 2)]
    version = scene.complete(upload, parts)
    scene.delete()
    before = scene.rows()
    assert scene.complete(upload, parts) == version
    assert scene.complete(upload, parts, conditions=Conditions(if_match="gone")) == version
    with pytest.raises(NoSuchUpload):
        scene.complete(upload, parts[:1])
    with pytest.raises(NoSuchUpload):
        scene.complete(upload, parts, key=b"other")
    with pytest.raises(NoSuchUpload):
        scene.part(upload, 3)
    with pytest.raises(NoSuchUpload):
        scene.apply(commands.AbortUpload(bucket="bucket", key=b"key", upload_id=upload.upload_id))
    assert scene.rows() == before


def test_a_refused_complete_leaves_the_upload(scene: Scene) -> None:
    """After a failed condition the upload can still be completed."""
    scene.bucket()
    upload = scene.upload()
    part = scene.part(upload, 1)
    before = scene.rows()
    with pytest.raises(NoSuchKey):
        scene.complete(upload, [part], conditions=Conditions(if_match="*"))
    assert scene.rows() == before
    assert scene.complete(upload, [part]).etag.endswith("-1")


def test_a_part_is_replaced_by_its_number(scene: Scene) -> None:
    """The later part of a number counts and the earlier one's bytes are freed."""
    scene.bucket()
    upload = scene.upload()
    first = scene.part(upload, 7)
    second = scene.part(upload, 7)
    assert first.blob is not None
    assert scene.freed == [first.blob.blob_id]
    page = queries.list_parts(scene.txn, "bucket", b"key", upload.upload_id)
    assert page.parts == [second]


def test_the_algorithm_of_the_upload_binds_its_parts(scene: Scene) -> None:
    """A part with another checksum, or none, is refused."""
    scene.bucket()
    upload = scene.upload(algorithm=ChecksumAlgorithm.SHA256)
    assert upload.checksum_type is ChecksumType.COMPOSITE
    before = scene.rows()
    for checksum in (None, Checksum(ChecksumAlgorithm.CRC32, "AAAAAA==")):
        with pytest.raises(InvalidRequest):
            scene.part(upload, 1, checksum=checksum)
    assert scene.rows() == before


@pytest.mark.parametrize(
    ("algorithm", "checksum_type"),
    [
        (None, ChecksumType.COMPOSITE),
        (ChecksumAlgorithm.SHA256, ChecksumType.FULL_OBJECT),
        (ChecksumAlgorithm.CRC64NVME, ChecksumType.COMPOSITE),
    ],
)
def test_impossible_checksum_types_are_refused(
    scene: Scene, algorithm: ChecksumAlgorithm | None, checksum_type: ChecksumType
) -> None:
    """SHA sums cannot be joined to a full object's, and CRC64NVME has no composite form."""
    scene.bucket()
    with pytest.raises(InvalidRequest):
        scene.upload(algorithm=algorithm, checksum_type=checksum_type)


def test_part_numbers_have_bounds(scene: Scene) -> None:
    """0 and 10,001 are no part numbers."""
    scene.bucket()
    upload = scene.upload()
    for number in (0, 10_001, 70_000):
        with pytest.raises(InvalidRequest):
            scene.part(upload, number)


def test_aborting_frees_the_parts(scene: Scene) -> None:
    """Nothing of the upload is left, and other uploads of the key are."""
    scene.bucket()
    upload, other = scene.upload(), scene.upload()
    part, kept = scene.part(upload, 1), scene.part(other, 1)
    scene.apply(commands.AbortUpload(bucket="bucket", key=b"key", upload_id=upload.upload_id))
    assert part.blob is not None
    assert scene.freed == [part.blob.blob_id]
    page = queries.list_parts(scene.txn, "bucket", b"key", other.upload_id)
    assert page.parts == [kept]


def test_uploads_of_many_parts_are_forgotten_in_steps(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once many parts have gone the command stops, and the next one goes on."""
    monkeypatch.setattr(apply_uploads, "FORGOTTEN_PARTS_MAX", 3)
    scene.bucket()
    for number in range(5):
        upload = scene.upload(b"%d" % number)
        for part in (1, 2):
            scene.part(upload, part, key=b"%d" % number)
    forget = commands.ForgetUploads(before_ms=scene.tick())
    steps = []
    while count := scene.apply(forget).result:
        steps.append((count, len(scene.freed)))
    assert steps == [(2, 4), (2, 4), (1, 2)]


def test_old_uploads_are_forgotten_oldest_first(scene: Scene) -> None:
    """Up to `limit` uploads and kept results from before the time go, and their parts are freed."""
    scene.bucket()
    uploads = [scene.upload(b"%d" % number) for number in range(4)]
    part = scene.part(uploads[0], 1, key=b"0")
    scene.complete(uploads[1], [scene.part(uploads[1], 1, key=b"1")], key=b"1")
    later_ms = scene.tick()
    late = scene.upload(b"late")
    forget = commands.ForgetUploads(before_ms=later_ms, limit=3)
    assert scene.apply(forget).result == 3
    assert part.blob is not None
    assert scene.freed == [part.blob.blob_id]
    assert scene.apply(forget).result == 1
    assert scene.freed == []
    assert scene.apply(forget).result == 0
    page = listings.list_uploads(scene.txn, "bucket")
    assert [entry.upload for entry in page.entries] == [late]
    assert current(scene, b"1") == "null"


# -- accounts


def test_ids_and_emails_are_unique(scene: Scene) -> None:
    """An account is refused when its id or its email, whatever the case, is taken."""
    scene.apply(commands.PutAccount(account=ALICE))
    before = scene.rows()
    for taken in (
        AccountRecord(OWNER, "bob", "bob@example.org", 1),
        AccountRecord("b" * 64, "bob", "alice@EXAMPLE.org", 1),
    ):
        with pytest.raises(AccountAlreadyExists):
            scene.apply(commands.PutAccount(account=taken))
    assert scene.rows() == before
    assert accounts.read_account_by_email(scene.txn, "ALICE@example.org") == ALICE


def test_keys_belong_to_an_account(scene: Scene) -> None:
    """A key needs an account, has a unique id, and can be deactivated and removed."""
    key = AccessKeyRecord("AKIA1", "secret", OWNER, 1)
    with pytest.raises(NoSuchAccount):
        scene.apply(commands.PutAccessKey(access_key=key))
    scene.apply(commands.PutAccount(account=ALICE))
    scene.apply(commands.PutAccessKey(access_key=key))
    with pytest.raises(AccountAlreadyExists):
        scene.apply(commands.PutAccessKey(access_key=key))
    inactive = AccessKeyStatus.INACTIVE
    scene.apply(commands.SetAccessKeyStatus(access_key_id="AKIA1", status=inactive))
    stored = accounts.read_access_key(scene.txn, "AKIA1")
    assert stored is not None
    assert stored.status is inactive
    assert accounts.list_access_keys(scene.txn, OWNER) == [stored]
    scene.apply(commands.DeleteAccessKey(access_key_id="AKIA1"))
    assert accounts.list_access_keys(scene.txn, OWNER) == []
    with pytest.raises(NoSuchAccount):
        scene.apply(commands.DeleteAccessKey(access_key_id="AKIA1"))
    with pytest.raises(NoSuchAccount):
        scene.apply(commands.SetAccessKeyStatus(access_key_id="AKIA1", status=inactive))


def test_an_account_goes_with_its_keys_but_not_with_buckets(scene: Scene) -> None:
    """An owner of buckets stays; once they are gone, the account, email and keys go together."""
    scene.apply(commands.PutAccount(account=ALICE))
    scene.apply(commands.PutAccessKey(access_key=AccessKeyRecord("AKIA1", "s", OWNER, 1)))
    scene.bucket()
    with pytest.raises(BucketNotEmpty):
        scene.apply(commands.DeleteAccount(canonical_id=OWNER))
    scene.apply(commands.DeleteBucket(name="bucket"))
    scene.apply(commands.DeleteAccount(canonical_id=OWNER))
    for table in (Table.ACCOUNTS, Table.EMAILS, Table.ACCESS_KEYS, Table.ACCOUNT_KEYS):
        assert scene.txn.count(table) == 0
    with pytest.raises(NoSuchAccount):
        scene.apply(commands.DeleteAccount(canonical_id=OWNER))


def test_names_that_fit_no_row_are_refused(scene: Scene) -> None:
    """A name beyond LMDB's keys is a caller's error on writing and unknown on reading."""
    long_name = "x" * 600
    with pytest.raises(InvalidRequest):
        scene.bucket(long_name)
    with pytest.raises(NoSuchBucket):
        queries.get_bucket(scene.txn, long_name)
    with pytest.raises(NoSuchBucket):
        queries.get_bucket(scene.txn, "")
    with pytest.raises(InvalidRequest):
        scene.apply(commands.PutAccount(account=AccountRecord(long_name, "x", "", 1)))
    assert accounts.read_access_key(scene.txn, long_name) is None
    assert queries.list_buckets(scene.txn, owner_id=long_name).buckets == []
