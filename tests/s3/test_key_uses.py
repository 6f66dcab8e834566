"""When a key was last used: noted by requests, stored now and then, asked by boto3."""

from typing import Any

import pytest
import trio
from iam_endpoint import IamEndpoint
from s3_world import ALICE, S3World
from test_iam_clients import allow, code_of
from trio.testing import MockClock

from rs3gwd.base.commands import NoteKeyUses
from rs3gwd.base.errors import DiskFull
from rs3gwd.daemon.key_using import EVERY_SECONDS, FIRST_SECONDS, store_key_uses
from rs3gwd.iam import key_uses
from rs3gwd.iam.key_uses import EVERY_MS, KeyUses
from rs3gwd.iam.principal import Principal


class Scene:
    """A world that notes uses, with bob, who may read and make sessions."""

    def __init__(self) -> None:
        self.uses = KeyUses("us-east-1")
        self.endpoint = IamEndpoint(S3World(uses=self.uses))
        self.iam = self.endpoint.client("iam")
        self.iam.create_user(UserName="bob")
        self.iam.put_user_policy(
            UserName="bob", PolicyName="p", PolicyDocument=allow("s3:*", "sts:*")
        )
        self.key = self.iam.create_access_key(UserName="bob")["AccessKey"]

    def client(self, service: str) -> Any:
        """A client of bob's."""
        return self.endpoint.client(service, self.key["AccessKeyId"], self.key["SecretAccessKey"])

    def last_used(self) -> dict[str, Any]:
        """What IAM says of bob's key, with everything noted that there is to note."""
        taken = self.uses.take()
        if taken:
            trio.run(self.endpoint.world.store.submit, NoteKeyUses(taken))
        answer = self.iam.get_access_key_last_used(AccessKeyId=self.key["AccessKeyId"])
        assert answer["UserName"] == "bob"
        found: dict[str, Any] = answer["AccessKeyLastUsed"]
        return found


@pytest.fixture
def scene() -> Scene:
    """A new one."""
    return Scene()


def test_a_key_says_when_and_for_what_it_was_last_used(scene: Scene) -> None:
    """Never, then for S3, then, a quarter of an hour later, for STS."""
    found = scene.last_used()
    assert (found["ServiceName"], found["Region"]) == ("N/A", "N/A")
    assert "LastUsedDate" not in found
    scene.client("s3").list_buckets()
    first = scene.last_used()
    assert (first["ServiceName"], first["Region"]) == ("s3", "us-east-1")
    scene.client("sts").get_caller_identity()
    assert scene.last_used() == first
    scene.endpoint.world.clock.advance(EVERY_MS)
    scene.client("sts").get_session_token()
    second = scene.last_used()
    assert second["ServiceName"] == "sts"
    passed = second["LastUsedDate"] - first["LastUsedDate"]
    assert passed.total_seconds() * 1000 >= EVERY_MS


def test_a_session_uses_the_key_that_made_it(scene: Scene) -> None:
    """Whoever looks for keys that can go must see that this one still works."""
    session = scene.client("sts").get_session_token()["Credentials"]
    scene.last_used()
    scene.endpoint.world.clock.advance(EVERY_MS)
    scene.endpoint.session_client("s3", session).list_buckets()
    assert scene.last_used()["ServiceName"] == "s3"


def test_a_refused_signature_is_no_use(scene: Scene) -> None:
    """Else anybody could keep a key looking alive."""
    wrong = scene.endpoint.client("s3", scene.key["AccessKeyId"], "wrong")
    assert code_of(wrong.list_buckets) == "SignatureDoesNotMatch"
    assert scene.last_used()["ServiceName"] == "N/A"


def test_another_accounts_key_is_not_found(scene: Scene) -> None:
    """Nobody learns about the keys of others."""
    other = "RSKANOBODY0000000000"
    assert code_of(scene.iam.get_access_key_last_used, AccessKeyId=other) == "NoSuchEntity"


def test_a_user_asks_about_those_whom_the_policy_names(scene: Scene) -> None:
    """Not about everybody, and never about the keys of the account itself."""
    scene.iam.create_user(UserName="carol")
    bob = scene.iam.get_user(UserName="bob")["User"]["Arn"]
    may = allow("iam:GetAccessKeyLastUsed", resource=bob)
    scene.iam.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=may)
    by_bob = scene.client("iam")
    assert by_bob.get_access_key_last_used(AccessKeyId=scene.key["AccessKeyId"])["UserName"]
    carol = scene.iam.create_access_key(UserName="carol")["AccessKey"]["AccessKeyId"]
    root = scene.endpoint.world.key_id(ALICE)
    for key_id, code in ((carol, "AccessDenied"), (root, "NoSuchEntity")):
        assert code_of(by_bob.get_access_key_last_used, AccessKeyId=key_id) == code


def test_notes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room is noted at its next use."""
    monkeypatch.setattr(key_uses, "KEYS_MAX", 2)
    uses = KeyUses("r")
    for number in range(3):
        uses.note(Principal(ALICE, f"key{number}"), "s3", 1)
    assert [use.access_key_id for use in uses.take()] == ["key0", "key1"]
    uses.note(Principal(ALICE, "key2"), "s3", 2)
    assert [use.access_key_id for use in uses.take()] == ["key2"]


class _Store:
    """Takes commands, or refuses."""

    def __init__(self) -> None:
        self.taken: list[NoteKeyUses] = []
        self.is_full = False

    async def submit(self, command: NoteKeyUses) -> None:
        if self.is_full:
            raise DiskFull("no room")
        self.taken.append(command)


async def test_notes_are_stored_every_few_minutes(autojump_clock: MockClock) -> None:
    """In one command; a store that refuses is asked again with what comes later."""
    store, uses = _Store(), KeyUses("r")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store_key_uses, uses, store)
        uses.note(Principal(ALICE, "one"), "s3", 1)
        uses.note(Principal(ALICE, "two"), "s3", 1)
        await trio.sleep(FIRST_SECONDS + 1)
        assert [len(command.uses) for command in store.taken] == [2]
        store.is_full = True
        uses.note(Principal(ALICE, "three"), "s3", 1)
        await trio.sleep(EVERY_SECONDS)
        store.is_full = False
        uses.note(Principal(ALICE, "four"), "s3", 1)
        await trio.sleep(EVERY_SECONDS)
        assert [command.uses[0].access_key_id for command in store.taken] == ["one", "four"]
        nursery.cancel_scope.cancel()
