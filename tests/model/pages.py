"""Walks listings page by page, with names in the place of ids, so that two stores can be compared.

Each function gives all pages from a start on, or the error. A walk that does not end is an error
of the store: PAGES_MAX is far above what the tests can fill.
"""

from __future__ import annotations

from typing import Any

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.testing.target import StoreTarget

PAGES_MAX = 3000
ENDLESS = "the pages of a listing have no end"


async def all_pages(target: StoreTarget, bucket: str, where: dict[str, Any]) -> object:
    """The pages of all three listings for several prefixes."""
    found = []
    for prefix in where["prefixes"]:
        for delimiter, limit in ((b"/", 1), (b"/", 1000), (b"", 2)):
            here = {"prefix": prefix, "delimiter": delimiter, "limit": limit}
            for function in (object_pages, version_pages, upload_pages):
                found.append((here, await function(target, bucket, here)))
    return found


async def object_pages(target: StoreTarget, bucket: str, where: dict[str, Any]) -> object:
    """Keys and common prefixes."""
    pages = []
    where = dict(where)
    try:
        for _ in range(PAGES_MAX):
            page = await target.store.list_objects(bucket, **where)
            pages.append(
                [
                    (entry.key, entry.traits, entry.etag, entry.size_bytes, entry.last_modified_ms)
                    for entry in page.entries
                ]
            )
            if page.next_after is None:
                return pages
            where["after"] = page.next_after
    except Rs3gwError as error:
        return target.describe(error)
    raise AssertionError(ENDLESS)


async def version_pages(target: StoreTarget, bucket: str, where: dict[str, Any]) -> object:
    """Versions, delete markers and common prefixes; `after_name` is the marker's name."""
    pages = []
    where = dict(where)
    where["after_version_id"] = target.id_of(where.pop("after_name", None))
    try:
        for _ in range(PAGES_MAX):
            page = await target.store.list_versions(bucket, **where)
            pages.append(
                [
                    (
                        entry.key,
                        entry.version
                        and target.view_version(
                            entry.version, is_latest=entry.is_latest, digest=None
                        ),
                    )
                    for entry in page.entries
                ]
            )
            if page.next_key is None:
                return pages
            where["after_key"], where["after_version_id"] = page.next_key, page.next_version_id
    except Rs3gwError as error:
        return target.describe(error)
    raise AssertionError(ENDLESS)


async def upload_pages(target: StoreTarget, bucket: str, where: dict[str, Any]) -> object:
    """Unfinished uploads and common prefixes; `after_name` is the marker's name."""
    pages = []
    where = dict(where)
    where["after_upload_id"] = target.id_of(where.pop("after_name", None))
    try:
        for _ in range(PAGES_MAX):
            page = await target.store.list_uploads(bucket, **where)
            pages.append(
                [
                    (entry.key, entry.upload and target.name_of(entry.upload.upload_id))
                    for entry in page.entries
                ]
            )
            if page.next_key is None:
                return pages
            where["after_key"], where["after_upload_id"] = page.next_key, page.next_upload_id
    except Rs3gwError as error:
        return target.describe(error)
    raise AssertionError(ENDLESS)


async def part_pages(target: StoreTarget, bucket: str, where: dict[str, Any]) -> object:
    """The parts of the upload called `where["upload"]`."""
    pages = []
    upload_id = target.id_of(where["upload"]) or ""
    after: int | None = where["after"]
    try:
        for _ in range(PAGES_MAX):
            if after is None:
                return pages
            page = await target.store.list_parts(
                bucket, where["key"], upload_id, after_number=after, limit=where["limit"]
            )
            pages.append(
                [(part.number, part.size_bytes, part.etag, part.checksum) for part in page.parts]
            )
            after = page.next_number
    except Rs3gwError as error:
        return target.describe(error)
    raise AssertionError(ENDLESS)


async def bucket_pages(target: StoreTarget, owner: str, where: dict[str, Any]) -> object:
    """The buckets of an owner."""
    pages = []
    where = dict(where)
    for _ in range(PAGES_MAX):
        page = await target.store.list_buckets(owner_id=owner, **where)
        pages.append(
            [
                (b.name, b.owner_id, b.created_ms, b.versioning, b.durability, b.tags)
                for b in page.buckets
            ]
        )
        if page.next_after is None:
            return pages
        where["after"] = page.next_after
    raise AssertionError(ENDLESS)
