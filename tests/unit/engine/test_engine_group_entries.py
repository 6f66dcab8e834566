"""Entries, answers and sessions of the groups: the cluster library's, kept in rows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.raft import commands as raft
from cluster.raft.sessions import Answer, Sessions
from cluster.raft.sessions import Outcome as RaftOutcome
from rs3gwd.base.commands import CommandResult, DeleteResult, PutObject
from rs3gwd.base.errors import (
    BlobNotHere,
    FormatError,
    NoSuchKey,
    PreconditionFailed,
    StoreError,
)
from rs3gwd.base.records import (
    Attributes,
    BlobRef,
    BucketRecord,
    PartRecord,
    UploadRecord,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.group_entries import (
    Outcome,
    decode_body,
    decode_envelope,
    encode_answer,
    encode_opened,
    pack_result,
    unpack_result,
)
from rs3gwd.engine.group_sessions import GroupSessions
from rs3gwd.engine.tables import Table

GOLDEN = Path(__file__).parent / "golden" / "entries-v1.json"
VERSION = VersionRecord(VersionKind.OBJECT, "null", 16, 1, 4, "etag", Attributes("owner"))
PUT = PutObject("b", b"k", 1, b"n" * 16, Attributes("o"), "etag", 4, BlobRef(b"i" * 16, 4))
RESULTS: list[CommandResult] = [
    None,
    7,
    DeleteResult("null", delete_marker=True),
    VERSION,
    BucketRecord("b", 16, "owner", 1, "r"),
    UploadRecord("id", 16, 1, Attributes("owner")),
    PartRecord(1, 4, "etag", 1),
]
ERRORS: list[StoreError] = [
    NoSuchKey("gone", delete_marker_version_id="v", last_modified_ms=3),
    PreconditionFailed("If-Match"),
    BlobNotHere("elsewhere", blob_id=b"i" * 16),
]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = Environment.open(str(tmp_path_factory.mktemp("entries") / "meta"))
    yield opened
    opened.close()


def test_an_envelope_is_the_cluster_librarys() -> None:
    """Both sides read the same fields from the same bytes, and refuse the same bytes."""
    made = raft.encode_command(raft.Command(5, 6, 4, b"body"))
    read = decode_envelope(made)
    assert (read.session, read.number, read.acknowledged_to, read.body) == (5, 6, 4, b"body")
    for wrong in (b"\x02" + made[1:], made[:20]):
        with pytest.raises(FormatError):
            decode_envelope(wrong)
        with pytest.raises(ValueError, match="version"):
            raft.decode_command(wrong)


def test_an_answer_is_the_cluster_librarys() -> None:
    """The outcomes have the same numbers, and the answer to an opening names the session."""
    assert {one.name: one.value for one in Outcome} == {o.name: o.value for o in RaftOutcome}
    for outcome in Outcome:
        answer = raft.decode_answer(encode_answer(outcome, b"result"))
        assert answer == Answer(RaftOutcome(outcome), b"result")
    assert raft.opened_session(raft.decode_answer(encode_opened(9))) == 9


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_result_comes_back(result: CommandResult) -> None:
    """Every kind of result is read as it was packed."""
    assert unpack_result(pack_result(result)) == result


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_refusal_comes_back_as_it_was_raised(error: StoreError) -> None:
    """Its class, its message and its fields."""
    with pytest.raises(type(error)) as raised:
        unpack_result(pack_result(error))
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_bodies_and_results_of_version_1_are_read() -> None:
    """The golden bytes of entries and results give what they were made of."""
    golden = json.loads(GOLDEN.read_text())
    read = [decode_body(bytes.fromhex(body)) for body in golden["bodies"]]
    assert read == [(PUT, None), (PUT, b"data")]
    results = [bytes.fromhex(packed) for packed in golden["results"]]
    assert [unpack_result(packed) for packed in results[: len(RESULTS)]] == RESULTS
    for packed, error in zip(results[len(RESULTS) :], ERRORS, strict=True):
        with pytest.raises(type(error), match=str(error)):
            unpack_result(packed)


@given(data=st.binary(max_size=40))
def test_what_is_no_body_is_refused(data: bytes) -> None:
    """Any bytes give a command or FormatError."""
    try:
        command, _ = decode_body(b"\x01" + data)
    except FormatError:
        return
    assert command is not None


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(min_value=0), steps=st.integers(min_value=1, max_value=120))
def test_sessions_in_rows_answer_as_those_in_memory(
    env: Environment, seed: int, steps: int
) -> None:
    """The same openings and commands, in transactions cut anywhere: the same answers, and at the
    end the same sessions, the least recently used gone first."""
    chance = random.Random(seed)
    model = Sessions(sessions_max=3, results_max=4)
    txn = env.write()
    rows = GroupSessions(txn, 2, 0, sessions_max=3, results_max=4)
    opened = [99]
    for index in range(100, 100 + steps):
        if chance.random() < 0.15:
            model.open(raft.session_name(index))
            rows.open(index)
            opened.append(index)
        else:
            command = raft.Command(
                chance.choice(opened[-5:]), chance.randint(1, 9), chance.randint(0, 5)
            )
            result = b"%d" % index
            expected = model.execute(
                raft.session_name(command.session),
                command.number,
                acknowledged_to=command.acknowledged_to,
                run=lambda result=result: result,  # type: ignore[misc]
            )
            envelope = decode_envelope(raft.encode_command(command))
            outcome, answer = rows.execute(envelope, index, lambda result=result: result)  # type: ignore[misc]
            assert (outcome, answer) == (expected.outcome, expected.result)
        if chance.random() < 0.3:
            rows.finish()
            rows = GroupSessions(txn, 2, rows.count, sessions_max=3, results_max=4)
    rows.finish()
    kept = {key[2:] for key, _ in txn.cursor(Table.SESSIONS) if key[1] == 0}
    assert kept == {name for name, _, _ in model.state()}
    assert rows.count == len(model)
    held = sum(len(results) for _, _, results in model.state())
    assert txn.count(Table.SESSIONS) == 2 * len(model) + held
    txn.abort()
