"""After a rotation: data keys of objects are put under the newest version of their key.

A walk over all versions of all buckets, in pages; each data key that is sealed with an older
version is opened, sealed anew and exchanged by one command. No byte of an object is read or
written, and readers notice nothing: what they hold opens as before.

What it is not: it does not go on by itself after a restart (it can be begun again, and finds
little left to do), and leaves unfinished uploads to the next time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
import trio

from rs3gwd.base.commands import PutObjectDataKey
from rs3gwd.base.errors import NoSuchBucket, NoSuchKey, NoSuchVersion, Rs3gwError, StaleCommand
from rs3gwd.base.ports import VersionEntry
from rs3gwd.daemon.stores import Stores
from rs3gwd.transform.object_keys import KeyringObjectKeys

PAGE_VERSIONS = 256
"""Versions listed, and at most exchanged, at one time."""

TOGETHER = 16
"""Exchanges under way: they share a sync, and leave the disk to requests."""


class Rewrapping:
    """One walk at a time; `run` must be active."""

    def __init__(self, stores: Stores, keys: KeyringObjectKeys) -> None:
        self._stores = stores
        self._keys = keys
        self._wanted = trio.Event()
        self._is_running = False
        self._seen = self._done = self._failed = 0
        self._failure = ""
        self._log = structlog.get_logger()

    def begin(self) -> bool:
        """Begins a walk; False while one is under way."""
        if self._is_running:
            return False
        self._is_running = True
        self._seen = self._done = self._failed = 0
        self._failure = ""
        self._wanted.set()
        return True

    def figures(self) -> dict[str, bool | int | str]:
        """How far the last walk is, or was."""
        return {
            "rewrap_running": self._is_running,
            "rewrap_seen": self._seen,
            "rewrap_done": self._done,
            "rewrap_failed": self._failed,
            "rewrap_failure": self._failure,
        }

    async def run(self) -> None:
        """Carries out walks as they are begun, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self._walk()
            except Rs3gwError as error:
                self._failure = str(error) or error.code
            finally:
                self._is_running = False
            self._log.info("data keys rewrapped", **self.figures())

    async def _walk(self) -> None:
        for account in self._stores.directory.accounts():
            async for bucket in self._buckets(account.canonical_id):
                try:
                    await self._walk_bucket(bucket)
                except NoSuchBucket:
                    continue  # it was deleted meanwhile, with all that was in it

    async def _buckets(self, owner_id: str) -> AsyncIterator[str]:
        after: str | None = ""
        while after is not None:
            page = await self._stores.store.list_buckets(owner_id=owner_id, after=after)
            for bucket in page.buckets:
                yield bucket.name
            after = page.next_after

    async def _walk_bucket(self, bucket: str) -> None:
        limit = trio.CapacityLimiter(TOGETHER)
        after_key, after_id, more = b"", None, True
        while more:
            page = await self._stores.store.list_versions(
                bucket, after_key=after_key, after_version_id=after_id, limit=PAGE_VERSIONS
            )
            async with trio.open_nursery() as nursery:
                for entry in page.entries:
                    nursery.start_soon(self._exchange, bucket, entry, limit)
            more = page.next_key is not None
            after_key, after_id = page.next_key or b"", page.next_version_id

    async def _exchange(
        self, bucket: str, entry: VersionEntry, limit: trio.CapacityLimiter
    ) -> None:
        version = entry.version
        if version is None or version.attributes.encryption is None:
            return
        record = version.attributes.encryption
        async with limit:
            self._seen += 1
            try:
                moved = await self._keys.rewrap(record, bucket=bucket, key=entry.key)
                if moved is None:
                    return
                await self._stores.store.submit(
                    PutObjectDataKey(
                        bucket=bucket,
                        key=entry.key,
                        version_id=version.version_id,
                        expected=record.wrapped_key,
                        wrapped_key=moved.wrapped_key,
                    )
                )
            except (NoSuchBucket, NoSuchKey, NoSuchVersion, StaleCommand):
                return  # it was deleted, or written anew and so with the newest version
            except Rs3gwError as error:
                self._failed += 1
                self._failure = str(error) or error.code
            else:
                self._done += 1
