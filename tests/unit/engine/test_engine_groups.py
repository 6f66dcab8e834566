"""Groups apart: what one does never depends on how far another has come."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from rs3gwd.base import commands
from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.commands import AnyCommand, CompletePart, Conditions
from rs3gwd.base.errors import StoreError
from rs3gwd.base.records import (
    Attributes,
    BlobRef,
    BucketRecord,
    Checksum,
    ChecksumAlgorithm,
    Durability,
    Versioning,
)
from rs3gwd.engine.apply import group_applier
from rs3gwd.engine.blobs import BlobRecord, Extent
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_blobs import (
    MISSING_CODEC,
    STAGED_CODEC,
    MissingRecord,
    StagedOwner,
    StagedRecord,
)
from rs3gwd.engine.group_entries import pack_result
from rs3gwd.engine.group_rows import group_digest, group_rows
from rs3gwd.engine.group_sessions import (
    RESULT_CODEC,
    SESSION_CODEC,
    USED_CODEC,
    ResultRecord,
    SessionRecord,
    UsedRecord,
)
from rs3gwd.engine.group_state import IndexState, TreeIds
from rs3gwd.engine.groups import (
    CLUSTER_CODEC,
    GROUP_COUNTERS_CODEC,
    GROUP_MARK_CODEC,
    GROUPS_MAX,
    SYSTEM_GROUP,
    TREE_IDS_CODEC,
    ClusterRecord,
    GroupCountersRecord,
    GroupMarkRecord,
    TreeIdsRecord,
    group_of,
    group_of_key,
    put_cluster,
)
from rs3gwd.engine.tables import GROUP_BUCKET_CODEC, GroupBucketRecord

GOLDEN = Path(__file__).parent / "golden" / "groups-v1.json"
GROUPS = 2
NAMES = ["one", "two"]
LONG = b"L" * 600
RECORDS: dict[str, tuple[RecordCodec[Any], Struct]] = {
    "cluster": (CLUSTER_CODEC, ClusterRecord(8, 5)),
    "counters": (GROUP_COUNTERS_CODEC, GroupCountersRecord(6, 7, 2, 96)),
    "mark": (GROUP_MARK_CODEC, GroupMarkRecord(9, 2, b"members")),
    "tree": (TREE_IDS_CODEC, TreeIdsRecord(3)),
    "bucket": (GROUP_BUCKET_CODEC, GroupBucketRecord(112, None, token=b"token")),
    "session": (SESSION_CODEC, SessionRecord(4, 9, 1)),
    "result": (RESULT_CODEC, ResultRecord(b"result")),
    "used": (USED_CODEC, UsedRecord(5)),
    "staged": (
        STAGED_CODEC,
        StagedRecord(BlobRecord(4, [Extent(1, 64, 4, 77)]), StagedOwner("b", b"k", b"n"), 8),
    ),
    "missing": (
        MISSING_CODEC,
        MissingRecord(4, "etag", Checksum(ChecksumAlgorithm.CRC32, "AAAAAA==")),
    ),
}
KEYS = [b"a", b"a/b", b"nul\0", LONG, LONG + b"/x", LONG + b"/y", b"M" * 1024]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("groups") / "meta"))
    yield opened
    opened.close()


class Story:
    """What each group's log says, drawn by a seed; made in the order in which it is drawn."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.logs: dict[int, list[AnyCommand]] = {group: [] for group in range(GROUPS + 1)}
        self.revision = 0
        self.uploads: list[tuple[str, bytes, str]] = []
        self.buckets: dict[str, BucketRecord] = {}

    def tell(self, steps: int) -> None:
        for name in NAMES:
            self.adopt(name)
        for number in range(steps):
            kind = self.random.random()
            if kind < 0.1:
                self.adopt(self.random.choice(NAMES))
            elif kind < 0.15:
                self.drop(self.random.choice(NAMES))
            elif kind < 0.2:
                self.system(number)
            elif kind < 0.25:
                forget = commands.ForgetUploads(self.random.randint(0, steps), limit=2)
                for group in range(1, GROUPS + 1):
                    self.logs[group].append(forget)
            else:
                self.change_key(number)

    def adopt(self, name: str) -> None:
        self.revision += 1
        bucket_id = self.random.choice([16, 32]) + 256 * NAMES.index(name)
        versioning = self.random.choice(list(Versioning))
        bucket = BucketRecord(name, bucket_id, "owner", 1, "r", versioning, Durability.STRICT)
        as_of = self.revision - self.random.choice([0, 0, 0, 3])
        kind = commands.SealBucket if self.random.random() < 0.2 else commands.AdoptBucket
        for group in range(1, GROUPS + 1):
            self.logs[group].append(kind(bucket, self.revision, as_of))
        self.buckets[name] = bucket

    def drop(self, name: str) -> None:
        self.revision += 1
        command = commands.DropBucket(name, self.buckets[name].bucket_id, self.revision)
        for group in range(1, GROUPS + 1):
            self.logs[group].append(command)

    def system(self, number: int) -> None:
        name = self.random.choice(["x", "y"])
        token = b"t%d" % self.random.randint(0, 1)
        self.logs[0].append(
            self.random.choice(
                [
                    commands.CreateBucket(name, "owner", number, "r", configurations={"k": b"d"}),
                    commands.PutBucketTagging(name, [("n", str(number))]),
                    commands.BeginDeleteBucket(name, token),
                    commands.FinishDeleteBucket(name, token),
                    commands.CancelDeleteBucket(name, token),
                ]
            )
        )

    def change_key(self, number: int) -> None:
        chance = self.random
        name, key = chance.choice(NAMES), chance.choice(KEYS)
        nonce = hashlib.blake2b(b"%d" % number, digest_size=16).digest()
        blob = BlobRef(nonce, 4)
        attributes = Attributes("owner")
        condition = Conditions(if_none_match="*") if chance.random() < 0.2 else Conditions()
        kind = chance.choice(["put", "put", "put", "delete", "tag", "upload", "part", "complete"])
        command: AnyCommand
        if kind == "put":
            command = commands.PutObject(
                name, key, number, nonce, attributes, "e", 4, blob, conditions=condition
            )
        elif kind == "delete":
            version_id = chance.choice([None, None, "null"])
            command = commands.DeleteObject(name, key, version_id, number, nonce, "owner")
        elif kind == "tag":
            command = commands.PutObjectTagging(name, key, None, [("n", str(number))])
        elif kind == "upload":
            command = commands.CreateUpload(name, key, number, nonce, attributes)
            self.uploads.append((name, key, ""))
        else:
            command = self.upload_step(kind, number, blob)
        bucket_id = self.buckets[command.bucket].bucket_id  # type: ignore[union-attr]
        group = group_of(command, GROUPS, bucket_id=bucket_id)
        assert group is not None
        self.logs[group].append(command)

    def upload_step(self, kind: str, number: int, blob: BlobRef) -> AnyCommand:
        """A part or a Complete; `#n` stands for the id of the n-th upload of the key's group."""
        if not self.uploads:
            return commands.PutObjectTagging(NAMES[0], KEYS[0], None, [])
        name, key, _ = self.random.choice(self.uploads)
        upload_id = f"#{self.random.randint(0, 5)}"
        if kind == "part":
            return commands.PutPart(name, key, upload_id, 1, number, "0" * 32, 4, blob)
        parts = [CompletePart(1, "0" * 32)]
        return commands.CompleteUpload(name, key, upload_id, parts, number, blob.blob_id)


class Engine:
    """Applies the logs of a story, the groups in an order drawn by a seed."""

    def __init__(self, txn: Transaction, story: Story, seed: int) -> None:
        self.txn = txn
        self.random = random.Random(seed)
        self.results: dict[int, list[bytes]] = {group: [] for group in story.logs}
        self.uploads: dict[int, list[str]] = {group: [] for group in story.logs}
        put_cluster(txn, ClusterRecord(GROUPS, 5))
        waiting = {group: iter(log) for group, log in story.logs.items() if log}
        while waiting:
            tree_ids = TreeIds(txn)
            appliers = {g: group_applier(txn, g, GROUPS, tree_ids) for g in waiting}
            for _ in range(self.random.randint(1, 9)):
                group = self.random.choice(sorted(waiting))
                command = next(waiting[group], None)
                if command is None:
                    del waiting[group]
                    break
                self.apply(group, appliers[group], command)
            for applier in appliers.values():
                applier.finish()
            tree_ids.finish()

    def apply(self, group: int, applier, command: AnyCommand) -> None:  # type: ignore[no-untyped-def]
        upload_id = getattr(command, "upload_id", "")
        if upload_id.startswith("#"):
            known = self.uploads[group] or ["0" * 32]
            found = known[int(upload_id[1:]) % len(known)]
            command = type(command)(
                **{
                    name: found if name == "upload_id" else getattr(command, name)
                    for name in command.__struct_fields__
                }
            )
        try:
            applied = applier.apply(command)
        except StoreError as error:
            self.results[group].append(pack_result(error))
            return
        if isinstance(command, commands.CreateUpload):
            self.uploads[group].append(applied.result.upload_id)
        freed = b"".join(applied.freed)
        self.results[group].append(pack_result(applied.result) + freed)

    def digests(self) -> list[bytes]:
        return [group_digest(self.txn, group, GROUPS) for group in range(GROUPS + 1)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(min_value=0), steps=st.integers(min_value=1, max_value=150))
def test_the_order_between_groups_changes_nothing(env: Environment, seed: int, steps: int) -> None:
    """The same logs, interleaved and cut into transactions in two ways: each group's rows, results
    and freed blobs are the same."""
    story = Story(seed)
    story.tell(steps)
    seen = []
    for order in (1, 2):
        txn = env.write()
        engine = Engine(txn, story, order)
        seen.append((engine.results, engine.digests()))
        txn.abort()
    assert seen[0] == seen[1]


def test_no_row_of_a_group_is_anothers(env: Environment) -> None:
    """The rows of all groups are disjoint, and together they are all but the node's own."""
    story = Story(7)
    story.tell(300)
    txn = env.write()
    Engine(txn, story, 1)
    rows = [row[:2] for group in range(GROUPS + 1) for row in group_rows(txn, group, GROUPS)]
    assert len(rows) == len(set(rows))
    assert len({table for table, _ in rows}) >= 10
    txn.abort()


def test_a_digest_tells_one_changed_row(env: Environment) -> None:
    """The control: a value, a key or a table that differs gives another digest."""
    story = Story(3)
    story.tell(100)
    txn = env.write()
    engine = Engine(txn, story, 1)
    before = engine.digests()
    group = next(g for g in (1, 2) if any(r.table.name == "LIVE" for r in _rows(txn, g)))
    row = next(r for r in _rows(txn, group) if r.table.name == "GROUP_BUCKETS")
    txn.delete(row.table, row.key)
    after = engine.digests()
    assert after[group] != before[group]
    assert after[SYSTEM_GROUP] == before[SYSTEM_GROUP]
    txn.abort()


def test_keys_and_rows_are_those_of_version_1() -> None:
    """The golden file: which group a key belongs to, and a row of each new kind, as every release
    writes and reads them."""
    golden = json.loads(GOLDEN.read_text())
    assert [group_of_key(7, key, 8) for key in KEYS] == golden["groups_of_keys"]
    for name, (codec, record) in RECORDS.items():
        sealed = bytes.fromhex(golden["rows"][name])
        assert codec.open(b"key", sealed) == record
        assert codec.seal(b"key", record) == sealed


def test_a_command_that_looks_at_other_groups_is_caught(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: were uploads of all groups forgotten by each, some order would show it."""
    monkeypatch.setattr(IndexState, "owns_key", lambda *_: True)
    differing = 0
    for seed in range(30):
        story = Story(seed)
        story.tell(150)
        seen = []
        for order in (1, 2):
            txn = env.write()
            engine = Engine(txn, story, order)
            seen.append((engine.results, engine.digests()))
            txn.abort()
        differing += seen[0] != seen[1]
    assert differing > 0


def test_keys_spread_over_the_groups() -> None:
    """No group has more than a fifth too many of ten thousand keys."""
    counts = [0] * (GROUPS_MAX + 1)
    for number in range(10_000):
        counts[group_of_key(1, b"key %d" % number, GROUPS_MAX)] += 1
    assert counts[0] == 0
    assert max(counts) < 1.2 * 10_000 / GROUPS_MAX


def _rows(txn: Transaction, group: int):  # type: ignore[no-untyped-def]
    return list(group_rows(txn, group, GROUPS))
