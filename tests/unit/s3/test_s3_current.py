"""Where look-ups must be waited for, nobody is authenticated before the node is current."""

from __future__ import annotations

from typing import NoReturn

import msgspec
import pytest
from s3_world import ALICE, S3World

from rs3gwd.base.errors import Overloaded
from rs3gwd.base.ports import NotProved, ObjectStore
from rs3gwd.s3.service import S3Service


class Gate:
    """A store that becomes current when a request has begun."""

    def __init__(self, world: S3World) -> None:
        self.world = world
        self.asked: list[tuple[str, bytes, bool]] = []
        self.learns_of_removal = False
        self.failure: Overloaded | None = None
        self.is_current = False
        self.asked_now: list[tuple[str, bytes, bool]] = []
        services = msgspec.structs.replace(world.service._services, sessions=self)
        world.service = S3Service(services)

    def begin_now(self, bucket: str, key: bytes, reads_key: bool = True) -> ObjectStore | None:
        if not self.is_current:
            return None
        self.asked_now.append((bucket, key, reads_key))
        return self.world.store

    async def begin(self, bucket: str, key: bytes, reads_key: bool = True) -> ObjectStore:
        self.asked.append((bucket, key, reads_key))
        if self.failure is not None:
            raise self.failure
        if self.learns_of_removal:
            del self.world.store.state.access_keys[S3World.key_id(ALICE)]
        return self.world.store


async def test_a_request_waits_for_its_bucket_and_key() -> None:
    """What it is about is handed to whoever proves that this node is current, and whether the key
    has to be: a write of one is decided where it is applied."""
    world = S3World()
    gate = Gate(world)
    assert (await world.call("PUT", "/bucket")).status == 200
    assert (await world.call("PUT", "/bucket/a%20key", body=b"data")).status == 200
    assert (await world.call("GET", "/bucket/a%20key")).body == b"data"
    assert (await world.call("OPTIONS", "/bucket/a%20key", by=None)).status == 400
    assert (await world.call("GET", "/")).status == 200
    assert gate.asked == [
        ("bucket", b"", False),
        ("bucket", b"a key", False),
        ("bucket", b"a key", True),
        ("bucket", b"a key", True),
        ("", b"", True),
    ]


async def test_a_node_that_is_current_already_answers_at_once() -> None:
    """Where the proof is there, nothing is waited for; what cannot be made out has no bucket."""
    world = S3World()
    gate = Gate(world)
    gate.is_current = True
    assert (await world.call("PUT", "/bucket")).status == 200
    assert (await world.call("PUT", "/bucket/key", body=b"data")).status == 200
    assert (await world.call("GET", "/bucket/key")).body == b"data"
    assert (await world.call("GET", "/bucket/%zz")).status == 400
    assert gate.asked == []
    assert gate.asked_now == [
        ("bucket", b"", False),
        ("bucket", b"key", False),
        ("bucket", b"key", True),
        ("", b"", True),
    ]


class _Keyless:
    """Look-ups of what is not proved yet."""

    def get_bucket(self, name: str) -> NoReturn:
        raise NotProved


async def test_what_is_not_proved_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permission that needs a look-up of what is not known to be current is decided once it is,
    and not by what is there."""
    world = S3World()
    assert (await world.call("PUT", "/bucket")).status == 200
    monkeypatch.setattr(world.store, "lookups_now", _Keyless)
    assert (await world.call("PUT", "/bucket/key", body=b"data")).status == 200
    assert (await world.call("GET", "/bucket/key")).body == b"data"


async def test_a_key_that_was_removed_elsewhere_is_refused() -> None:
    """The removal is learned of while the request waits, and counts."""
    world = S3World()
    gate = Gate(world)
    assert (await world.call("GET", "/")).status == 200
    gate.learns_of_removal = True
    answer = await world.call("GET", "/")
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")


async def test_a_node_that_is_not_current_says_so() -> None:
    """Without a proof nothing is read and nobody is let in: 503, to everybody alike."""
    world = S3World()
    gate = Gate(world)
    gate.failure = Overloaded("no majority")
    for by in (ALICE, None):
        answer = await world.call("GET", "/bucket/key", by=by)
        assert (answer.status, answer.code) == (503, "SlowDown")
