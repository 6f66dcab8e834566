"""Pages of listings: objects, versions and uploads in byte order of their keys.

The rows already lie in the order in which S3 lists them, so a page is a walk from a start to a
count, and its cost is the page's, not the bucket's. With a delimiter, a common prefix is like a
closed folder: it is given out once and the walk continues with a seek to the first key that it
does not begin. What it is not: it encodes no XML and makes no tokens.

A page continues from the last thing given out. `after` is a key or a common prefix; a common
prefix that `after` equals or lies in has been given out already, so the walk starts behind it.
Since the place is a key and not a row number, writes between two pages neither repeat nor hide a
key that is there throughout.

Source: Amazon S3 API Reference, ListObjectsV2, ListObjectVersions, ListMultipartUploads; Amazon
S3 User Guide, "Organizing objects using prefixes".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from rs3gwd.base.codec import make_sequenced_id, sequence_of_id
from rs3gwd.base.errors import InvalidRequest
from rs3gwd.base.ports import (
    ListEntry,
    ListPage,
    ListTraits,
    UploadEntry,
    UploadPage,
    VersionEntry,
    VersionPage,
)
from rs3gwd.base.records import NULL_VERSION_ID, Attributes, BucketRecord, Versioning, VersionRecord
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.queries import get_bucket
from rs3gwd.engine.tables import (
    LISTED_CODEC,
    UPLOAD_CODEC,
    Table,
    escape_key,
    unescape_key,
    upload_key,
)
from rs3gwd.engine.tree import Tree, prefix_successor
from rs3gwd.engine.version_cursor import VersionCursor
from rs3gwd.engine.versions import KeyVersions

GROUPED_ROWS_MIN = 8
"""Rows read at once where a delimiter may group them; doubled while it does not."""


def list_objects(
    txn: Transaction,
    bucket: str,
    *,
    prefix: bytes = b"",
    delimiter: bytes = b"",
    after: bytes = b"",
    limit: int = 1000,
) -> ListPage:
    """Current versions, strictly behind `after`; see `ObjectStore.list_objects`.

    Raises NoSuchBucket.
    """
    bucket_id = get_bucket(txn, bucket).bucket_id
    entries: list[ListEntry] = []
    start = first_key(prefix, delimiter, after)
    if limit <= 0 or start is None:
        return ListPage(entries=entries, next_after=None)
    cursor = Tree(txn, Table.LIVE, bucket_id).cursor()
    reader = ListedRows()
    found = cursor.seek(start)
    # Rows that a common prefix then makes us skip were read in vain: begin with few.
    at_once = GROUPED_ROWS_MIN if delimiter else limit
    while found and len(entries) < limit:
        rows, found = cursor.take(min(at_once, limit - len(entries)))
        count = _count_plain(rows, prefix, delimiter)
        entries += reader.read(rows[:count])
        if count == len(rows):
            at_once = min(2 * at_once, limit)
            continue
        key = rows[count][0][8:]
        if not key.startswith(prefix):
            return ListPage(entries=entries, next_after=None)
        group = common_prefix(key, prefix, delimiter)
        assert group is not None, "a row that is not plain is in a group or behind the prefix"
        entries.append(ListEntry(group))
        at_once = GROUPED_ROWS_MIN
        behind = prefix_successor(group)
        found = behind is not None and cursor.seek(behind)
    is_truncated = found and cursor.key.startswith(prefix)
    return ListPage(entries=entries, next_after=entries[-1].key if is_truncated else None)


def _count_plain(rows: Sequence[tuple[bytes, bytes]], prefix: bytes, delimiter: bytes) -> int:
    """How many rows there are before the first that is behind the prefix or in a group."""
    if not delimiter:
        # Keys come in order: if the last one has the prefix, all have.
        if rows[-1][0].startswith(prefix, 8):
            return len(rows)
        return next(n for n, (row, _) in enumerate(rows) if not row.startswith(prefix, 8))
    search_from = 8 + len(prefix)
    for number, (row_key, _) in enumerate(rows):
        if not row_key.startswith(prefix, 8) or row_key.find(delimiter, search_from) >= 0:
            return number
    return len(rows)


class ListedRows:
    """Makes entries of rows of LIVE, and the traits of equal ones only once."""

    __slots__ = ("_attributes", "_decode", "_kind", "_traits")

    def __init__(self) -> None:
        self._decode = msgspec.msgpack.Decoder(Attributes).decode
        self._attributes = msgspec.Raw()
        self._kind: tuple[str, str] | None = None
        self._traits = ListTraits("", "")

    def read(self, rows: Sequence[tuple[bytes, bytes]]) -> list[ListEntry]:
        """The entries of rows given by their row keys and values. Raises DataCorrupt,
        FormatError."""
        entries: list[ListEntry] = []
        attributes, kind, traits = self._attributes, self._kind, self._traits
        for (row_key, _), listed in zip(rows, LISTED_CODEC.open_all(rows), strict=True):
            checksum = listed.checksum
            new_kind = None if checksum is None else (checksum.algorithm, checksum.type)
            if listed.attributes != attributes or new_kind != kind:
                attributes, kind = listed.attributes, new_kind
                traits = self._make_traits(attributes, kind)
            entries.append(
                ListEntry(
                    row_key[8:], traits, listed.etag, listed.size_bytes, listed.last_modified_ms
                )
            )
        self._attributes, self._kind, self._traits = attributes, kind, traits
        return entries

    def _make_traits(self, attributes: msgspec.Raw, kind: tuple[str, str] | None) -> ListTraits:
        decoded = self._decode(attributes)
        algorithm, type_ = kind or (None, None)
        return ListTraits(decoded.owner_id, decoded.storage_class, algorithm, type_)


def list_versions(
    txn: Transaction,
    bucket: str,
    *,
    prefix: bytes = b"",
    delimiter: bytes = b"",
    after_key: bytes = b"",
    after_version_id: str | None = None,
    limit: int = 1000,
) -> VersionPage:
    """Versions and delete markers, newest first per key; see `ObjectStore.list_versions`.

    Raises NoSuchBucket, InvalidRequest (`after_version_id` is not a version id).
    """
    record = get_bucket(txn, bucket)
    entries: list[VersionEntry] = []
    if limit <= 0:
        return VersionPage(entries=entries, next_key=None, next_version_id=None)
    cursor = VersionCursor(txn, record.bucket_id)
    seq = None
    if after_version_id is not None and _may_hold(after_key, prefix, delimiter):
        seq = _sequence_of_marker(KeyVersions(txn, record.bucket_id, after_key), after_version_id)
    if seq is not None:
        found = cursor.seek_behind(after_key, seq)
    else:
        start = first_key(prefix, delimiter, after_key)
        found = start is not None and cursor.seek(start)
    last: VersionRecord | None = None
    while found and cursor.key.startswith(prefix):
        if len(entries) == limit:
            marker = None if last is None else _version_marker(record, entries[-1].key, last)
            return VersionPage(entries=entries, next_key=entries[-1].key, next_version_id=marker)
        group = common_prefix(cursor.key, prefix, delimiter) if delimiter else None
        if group is None:
            last = cursor.read()
            entries.append(VersionEntry(cursor.key, last, cursor.is_latest))
            found = cursor.next()
        else:
            last = None
            entries.append(VersionEntry(group, None))
            behind = prefix_successor(group)
            found = behind is not None and cursor.seek(behind)
    return VersionPage(entries=entries, next_key=None, next_version_id=None)


def list_uploads(
    txn: Transaction,
    bucket: str,
    *,
    prefix: bytes = b"",
    delimiter: bytes = b"",
    after_key: bytes = b"",
    after_upload_id: str | None = None,
    limit: int = 1000,
) -> UploadPage:
    """Unfinished uploads, oldest first per key; see `ObjectStore.list_uploads`.

    Raises NoSuchBucket, InvalidRequest (`after_upload_id` is not an upload id).
    """
    bucket_id = get_bucket(txn, bucket).bucket_id
    entries: list[UploadEntry] = []
    if limit <= 0:
        return UploadPage(entries=entries, next_key=None, next_upload_id=None)
    if after_upload_id is not None and _may_hold(after_key, prefix, delimiter):
        seq = sequence_of_id(after_upload_id)
        if seq is None:
            raise InvalidRequest("The upload id marker is not valid.")
        start: bytes | None = upload_key(after_key, seq) + b"\0"
    else:
        start_key = first_key(prefix, delimiter, after_key)
        start = None if start_key is None else escape_key(start_key)
    cursor = Tree(txn, Table.UPLOADS, bucket_id).cursor()
    found = start is not None and cursor.seek(start)
    while found:
        key = unescape_key(cursor.key[:-8])
        if not key.startswith(prefix):
            break
        if len(entries) == limit:
            last = entries[-1].upload
            marker = None if last is None else last.upload_id
            return UploadPage(entries=entries, next_key=entries[-1].key, next_upload_id=marker)
        group = common_prefix(key, prefix, delimiter) if delimiter else None
        if group is None:
            entries.append(UploadEntry(key, UPLOAD_CODEC.open(cursor.row_key, cursor.value)))
            found = cursor.next()
        else:
            entries.append(UploadEntry(group, None))
            behind = prefix_successor(group)
            found = behind is not None and cursor.seek(escape_key(behind))
    return UploadPage(entries=entries, next_key=None, next_upload_id=None)


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """`key` up to and with the first delimiter behind `prefix`; None when there is none.

    `key` begins with `prefix`; an empty delimiter groups nothing.
    """
    if not delimiter:
        return None
    place = key.find(delimiter, len(prefix))
    return None if place < 0 else key[: place + len(delimiter)]


def first_key(prefix: bytes, delimiter: bytes, after: bytes) -> bytes | None:
    """The least key that a page behind `after` may hold; None when there can be none."""
    if not after:
        return prefix
    if after.startswith(prefix):
        group = common_prefix(after, prefix, delimiter)
        if group is not None:
            return prefix_successor(group)
    return max(prefix, after + b"\0")


def _may_hold(key: bytes, prefix: bytes, delimiter: bytes) -> bool:
    """Whether `key` can be an entry of its own, so that a marker among its rows has a meaning."""
    return key.startswith(prefix) and common_prefix(key, prefix, delimiter) is None


def _sequence_of_marker(versions: KeyVersions, version_id: str) -> int | None:
    """The seq behind which a page continues; None skips all versions of the key."""
    if version_id == NULL_VERSION_ID:
        null = versions.find(version_id)
        return None if null is None else null.seq
    seq = sequence_of_id(version_id)
    if seq is None:
        raise InvalidRequest("The version id marker is not valid.")
    return seq


def _version_marker(bucket: BucketRecord, key: bytes, last: VersionRecord) -> str:
    """The marker behind `last`: its id, from which its place follows even if it is deleted.

    `null` says nothing of the place and may be written anew between two pages, so where a key can
    have other versions beside it the marker is an id made up to carry its seq.
    """
    if last.version_id != NULL_VERSION_ID or bucket.versioning is Versioning.UNVERSIONED:
        return last.version_id
    return make_sequenced_id(last.seq, hashlib.blake2b(key, digest_size=16).digest())
