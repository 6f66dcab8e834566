"""Look-ups and pages: their errors, their bounds, and what writes between two pages do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_metadata_model import ModelBucket
from engine_metadata_scene import OWNER, Scene
from hypothesis import given, settings
from hypothesis import strategies as st

from rs3gwd.base import commands
from rs3gwd.base.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NoSuchVersion,
    StoreError,
    VersionGone,
)
from rs3gwd.base.records import Versioning
from rs3gwd.engine import listings, queries
from rs3gwd.engine.environment import Environment


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("queries") / "meta"))
    yield opened
    opened.close()


@pytest.fixture
def scene(env: Environment) -> Iterator[Scene]:
    txn = env.write()
    yield Scene(txn)
    txn.abort()


# -- look-ups


@pytest.mark.parametrize("key", [b"key", b"k" * 500, b"k" * 501, b"k" * 1024])
def test_a_version_is_found_whatever_the_length_of_its_key(scene: Scene, key: bytes) -> None:
    """The current, the named and the null version of short and of long keys."""
    scene.bucket()
    null = scene.put(key)
    scene.versioning(Versioning.ENABLED)
    newer = scene.put(key)
    assert queries.get_version(scene.txn, "bucket", key, None) == newer
    assert queries.get_version(scene.txn, "bucket", key, newer.version_id) == newer
    assert queries.get_version(scene.txn, "bucket", key, "null") == null


def test_a_missing_key_says_what_hides_it(scene: Scene) -> None:
    """Nothing at all and a delete marker are both NoSuchKey; the second names the marker."""
    scene.bucket(versioning=Versioning.ENABLED)
    with pytest.raises(NoSuchKey) as nothing:
        queries.get_version(scene.txn, "bucket", b"key", None)
    assert nothing.value.delete_marker_version_id is None
    scene.put()
    marker = scene.delete()
    with pytest.raises(NoSuchKey) as hidden:
        queries.get_version(scene.txn, "bucket", b"key", None)
    assert hidden.value.delete_marker_version_id == marker.version_id
    assert hidden.value.last_modified_ms == scene.now_ms
    with pytest.raises(MethodNotAllowed) as named:
        queries.get_version(scene.txn, "bucket", b"key", marker.version_id)
    assert named.value.delete_marker_version_id == marker.version_id


@pytest.mark.parametrize("version_id", ["null", "", "nonsense", "0" * 32, "\N{SNOWMAN}" * 32])
def test_an_unknown_version_is_not_found(scene: Scene, version_id: str) -> None:
    """Whatever the text, an id that no version has is NoSuchVersion."""
    scene.bucket(versioning=Versioning.ENABLED)
    scene.put()
    with pytest.raises(NoSuchVersion):
        queries.get_version(scene.txn, "bucket", b"key", version_id)


def test_every_question_to_a_missing_bucket_is_refused(scene: Scene) -> None:
    """No look-up or listing mistakes a missing bucket for an empty one."""
    txn = scene.txn
    questions = [
        lambda: queries.get_bucket(txn, "none"),
        lambda: queries.get_version(txn, "none", b"key", None),
        lambda: queries.get_upload(txn, "none", b"key", "id"),
        lambda: queries.list_parts(txn, "none", b"key", "id"),
        lambda: listings.list_objects(txn, "none"),
        lambda: listings.list_versions(txn, "none"),
        lambda: listings.list_uploads(txn, "none"),
    ]
    for question in questions:
        with pytest.raises(NoSuchBucket):
            question()


def test_a_manifest_that_is_gone_says_so(scene: Scene) -> None:
    """Whoever asks for the parts of a version deleted meanwhile is told to look again."""
    scene.bucket()
    upload = scene.upload()
    version = scene.complete(upload, [scene.part(upload, 1)])
    assert queries.get_manifest(scene.txn, version).numbers == b"\0\x01"
    scene.delete()
    with pytest.raises(VersionGone):
        queries.get_manifest(scene.txn, version)


def test_an_upload_is_found_under_its_own_key_only(scene: Scene) -> None:
    """The id of another key's upload, a forged id and any text are NoSuchUpload."""
    scene.bucket()
    upload = scene.upload()
    assert queries.get_upload(scene.txn, "bucket", b"key", upload.upload_id) == upload
    for key, upload_id in ((b"other", upload.upload_id), (b"key", "x"), (b"key", "0" * 32)):
        with pytest.raises(NoSuchUpload):
            queries.get_upload(scene.txn, "bucket", key, upload_id)


# -- pages


def test_a_page_of_nothing_is_not_truncated(scene: Scene) -> None:
    """A limit of 0 gives an empty page without a marker, as the port says."""
    scene.bucket()
    upload = scene.upload()
    scene.part(upload, 1)
    scene.put()
    txn = scene.txn
    assert listings.list_objects(txn, "bucket", limit=0).next_after is None
    assert listings.list_versions(txn, "bucket", limit=0).next_key is None
    assert listings.list_uploads(txn, "bucket", limit=0).next_key is None
    assert queries.list_buckets(txn, owner_id=OWNER, limit=0).next_after is None
    page = queries.list_parts(txn, "bucket", b"key", upload.upload_id, limit=0)
    assert (page.parts, page.next_number) == ([], None)


def test_parts_come_in_pages(scene: Scene) -> None:
    """By number, behind the marker, with a marker only where more follows."""
    scene.bucket()
    upload = scene.upload()
    other = scene.upload()
    for number in (10_000, 3, 1, 2):
        scene.part(upload, number)
    scene.part(other, 4)
    found, after = [], 0
    for _ in range(2):
        page = queries.list_parts(
            scene.txn, "bucket", b"key", upload.upload_id, after_number=after, limit=2
        )
        found += [part.number for part in page.parts]
        after = page.next_number or 0
    assert found == [1, 2, 3, 10_000]
    assert after == 0


def test_buckets_come_in_pages_per_owner(scene: Scene) -> None:
    """Only the owner's, by name, under a prefix, behind the marker."""
    for name in ("b-one", "a-two", "a-one", "a-three"):
        scene.bucket(name)
    scene.apply(commands.CreateBucket(name="a-zzz", owner_id="b" * 64, now_ms=1, region="r"))

    def names(**arguments: object) -> tuple[list[str], str | None]:
        page = queries.list_buckets(scene.txn, owner_id=OWNER, **arguments)  # type: ignore[arg-type]
        return [bucket.name for bucket in page.buckets], page.next_after

    assert names() == (["a-one", "a-three", "a-two", "b-one"], None)
    assert names(limit=2) == (["a-one", "a-three"], "a-three")
    assert names(after="a-three", limit=2) == (["a-two", "b-one"], None)
    assert names(prefix="a-t", after="a-three") == (["a-two"], None)
    assert names(prefix="a-", after="b") == ([], None)


def test_a_page_costs_what_it_holds(scene: Scene) -> None:
    """A common prefix over many keys is passed by one seek, not read through."""
    scene.bucket()
    for number in range(300):
        scene.put(b"folder/%03d" % number)
    scene.put(b"last")
    page = listings.list_objects(scene.txn, "bucket", delimiter=b"/")
    assert [entry.key for entry in page.entries] == [b"folder/", b"last"]
    reads = CountingTransaction(scene.txn)
    listings.list_objects(reads, "bucket", delimiter=b"/")  # type: ignore[arg-type]
    assert reads.moves <= 4 + listings.GROUPED_ROWS_MIN


class CountingTransaction:
    """Counts how often its cursors move."""

    def __init__(self, txn: object) -> None:
        self._txn = txn
        self.moves = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._txn, name)

    def cursor(self, table: object) -> object:
        return CountingCursor(self._txn.cursor(table), self)  # type: ignore[attr-defined]


class CountingCursor:
    """One cursor of a CountingTransaction."""

    def __init__(self, cursor: object, counter: CountingTransaction) -> None:
        self._cursor = cursor
        self._counter = counter

    def iternext(self) -> Iterator[object]:
        """Rows are moves, too."""
        for item in self._cursor.iternext():  # type: ignore[attr-defined]
            yield item
            self._counter.moves += 1

    def __getattr__(self, name: str) -> object:
        if name in ("next", "set_range"):
            self._counter.moves += 1
        return getattr(self._cursor, name)


def test_the_null_version_overwritten_between_pages_repeats_nothing(scene: Scene) -> None:
    """The marker behind a null version holds its place even when there is a newer null version."""
    scene.bucket(versioning=Versioning.ENABLED)
    oldest = scene.put()
    scene.versioning(Versioning.SUSPENDED)
    scene.put()
    scene.versioning(Versioning.ENABLED)
    newest = scene.put()
    first = listings.list_versions(scene.txn, "bucket", limit=2)
    assert [one.version.version_id for one in first.entries if one.version] == [
        newest.version_id,
        "null",
    ]
    for change in (scene.put, lambda: scene.delete(version_id="null")):
        scene.versioning(Versioning.SUSPENDED)
        change()
        rest = listings.list_versions(
            scene.txn,
            "bucket",
            after_key=first.next_key or b"",
            after_version_id=first.next_version_id,
        )
        assert [one.version for one in rest.entries] == [oldest]
        assert not rest.entries[0].is_latest


def test_a_plain_null_marker_is_understood(scene: Scene) -> None:
    """A client may send `null`: the page starts behind the null version, wherever it is."""
    scene.bucket()
    scene.put()
    scene.versioning(Versioning.ENABLED)
    scene.put()
    scene.put(b"other")
    page = listings.list_versions(scene.txn, "bucket", after_key=b"key", after_version_id="null")
    assert [one.key for one in page.entries] == [b"other"]


def test_an_id_that_is_none_of_ours_is_refused_as_marker(scene: Scene) -> None:
    """A place cannot be told from it."""
    scene.bucket()
    with pytest.raises(InvalidRequest):
        listings.list_versions(scene.txn, "bucket", after_key=b"k", after_version_id="x")
    with pytest.raises(InvalidRequest):
        listings.list_uploads(scene.txn, "bucket", after_key=b"k", after_upload_id="x")


KEYS = st.sampled_from([b"a", b"a/", b"a/b", b"a/c", b"b", b"b/x/y", b"L" * 600, b"L" * 600 + b"/"])


@settings(max_examples=60, deadline=None)
@given(
    before=st.sets(KEYS),
    changes=st.lists(st.tuples(st.booleans(), KEYS), max_size=12),
    delimiter=st.sampled_from([b"", b"/"]),
    limit=st.integers(1, 3),
)
def test_a_key_that_is_there_throughout_is_listed_once(
    env: Environment,
    before: set[bytes],
    changes: list[tuple[bool, bytes]],
    delimiter: bytes,
    limit: int,
) -> None:
    """Puts and deletes between the pages neither hide nor repeat what they do not touch."""
    txn = env.write()
    try:
        scene = Scene(txn)
        scene.bucket()
        for key in before:
            scene.put(key)
        pending = list(changes)
        seen: list[bytes] = []
        after: bytes | None = b""
        for _ in range(50):
            page = listings.list_objects(
                txn, "bucket", delimiter=delimiter, after=after or b"", limit=limit
            )
            seen += [entry.key for entry in page.entries]
            after = page.next_after
            if after is None:
                break
            if pending:
                is_put, key = pending.pop()
                scene.put(key) if is_put else scene.delete(key)
        assert after is None
        assert len(seen) == len(set(seen))
        touched = {key for _, key in changes}
        model = ModelBucket(OWNER)
        for key in before - touched:
            model.versions[key] = [queries.get_version(txn, "bucket", key, None)]
        throughout = {key for key, _ in model.list_objects(b"", delimiter, b"")}
        assert throughout <= set(seen)
    finally:
        txn.abort()


@settings(max_examples=60, deadline=None)
@given(key=st.binary(min_size=1, max_size=20), version_id=st.text(max_size=40))
def test_no_text_breaks_a_look_up(env: Environment, key: bytes, version_id: str) -> None:
    """Any key and any id give an answer or a StoreError."""
    txn = env.write()
    try:
        scene = Scene(txn)
        scene.bucket(versioning=Versioning.ENABLED)
        scene.put(key)
        with pytest.raises(StoreError):
            queries.get_version(txn, "bucket", key, version_id)
    finally:
        txn.abort()
