"""The commands after which processes keep their rows of configuration change none of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rs3gwd.base.commands import (
    AbortUpload,
    AnyCommand,
    CompletePart,
    CompleteUpload,
    CreateUpload,
    ForgetUploads,
    PutBucketTagging,
    PutObject,
    PutObjectDataKey,
    PutObjectTagging,
    PutPart,
)
from rs3gwd.base.records import Attributes, EncryptionKind, EncryptionRecord, UploadRecord
from rs3gwd.engine.commit import OBJECT_COMMANDS
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import Table
from rs3gwd.testing import worker_jobs as jobs
from rs3gwd.testing.open_local import LocalNode, open_local

OBJECT_TABLES = frozenset(
    {
        Table.META,
        Table.LIVE,
        Table.HISTORY,
        Table.NULLS,
        Table.UPLOADS,
        Table.COMPLETED,
        Table.UPLOAD_TIMES,
        Table.PARTS,
        Table.MANIFESTS,
        Table.BLOBS,
        Table.SEGMENTS,
        Table.UNSYNCED,
    }
)
"""What is looked up anew each time. A row of any other table may be kept decoded."""


def watch_writes(monkeypatch: pytest.MonkeyPatch) -> set[Table]:
    """The tables that any transaction writes from now on."""
    written: set[Table] = set()

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(txn: Transaction, table: Table, *rest: bytes) -> Any:
            written.add(table)
            return method(txn, table, *rest)

        return call

    for name in ("put", "append", "delete", "delete_prefix"):
        monkeypatch.setattr(Transaction, name, watched(getattr(Transaction, name)))
    return written


async def make_upload(node: LocalNode) -> str:
    """Begins an upload; gives its id."""
    record = await node.store.submit(
        CreateUpload(
            bucket=jobs.BUCKET,
            key=b"key",
            now_ms=1,
            nonce=bytes(16),
            attributes=Attributes(jobs.OWNER),
        )
    )
    assert isinstance(record, UploadRecord)
    return record.upload_id


async def put_encrypted(node: LocalNode) -> None:
    """An empty object that has a data key."""
    encryption = EncryptionRecord(EncryptionKind.SSE_S3, "cipher", b"old")
    await node.store.submit(
        PutObject(
            bucket=jobs.BUCKET,
            key=b"sealed",
            now_ms=1,
            nonce=bytes(16),
            attributes=Attributes(jobs.OWNER, encryption=encryption),
            etag="e" * 32,
            size_bytes=0,
            blob=None,
        )
    )


async def do_all(node: LocalNode, done: set[type]) -> None:
    """Each of OBJECT_COMMANDS at least once, with something to do."""

    async def submit(command: AnyCommand) -> None:
        await node.store.submit(command)
        done.add(type(command))

    await jobs.put(node, b"key", b"data")
    await submit(PutObjectTagging(jobs.BUCKET, b"key", None, [("color", "red")]))
    await put_encrypted(node)
    await submit(PutObjectDataKey(jobs.BUCKET, b"sealed", None, b"old", b"new"))
    await jobs.delete(node, b"key")
    for end in (CompleteUpload, AbortUpload):
        upload_id = await make_upload(node)
        await submit(
            PutPart(
                bucket=jobs.BUCKET,
                key=b"key",
                upload_id=upload_id,
                number=1,
                now_ms=1,
                etag="e" * 32,
                size_bytes=0,
                blob=None,
            )
        )
        if end is AbortUpload:
            await submit(AbortUpload(jobs.BUCKET, b"key", upload_id))
        else:
            parts = [CompletePart(1, "e" * 32)]
            await submit(
                CompleteUpload(jobs.BUCKET, b"key", upload_id, parts, now_ms=1, nonce=bytes(16))
            )
    await make_upload(node)
    await submit(ForgetUploads(before_ms=1 << 60))


async def test_commands_of_objects_write_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker would go on with the row that it keeps."""
    async with open_local(str(tmp_path)) as node:
        await jobs.create_bucket(node)
        before = node.engine.shared.config_id
        written = watch_writes(monkeypatch)
        done: set[type] = set()
        await do_all(node, done)
        assert {kind.__name__ for kind in OBJECT_COMMANDS - done} == {
            "PutObject",
            "DeleteObject",
            "CreateUpload",
        }, "done by the jobs above"
        assert written <= OBJECT_TABLES
        assert node.engine.shared.config_id == before


async def test_any_other_command_is_announced(tmp_path: Path) -> None:
    """Before its commit, under the id of that commit."""
    async with open_local(str(tmp_path)) as node:
        await jobs.create_bucket(node)
        for number in range(3):
            before = node.engine.shared.config_id
            await node.store.submit(PutBucketTagging(jobs.BUCKET, [("number", str(number))]))
            assert node.engine.shared.config_id > before
            with node.engine.environment.read() as txn:
                assert txn.transaction_id >= node.engine.shared.config_id
