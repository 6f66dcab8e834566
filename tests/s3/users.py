"""Users of alice's account with a key and a policy of their own. No tests."""

from __future__ import annotations

import json
from typing import Any

from forging import Signer
from msgspec import structs
from s3_world import ALICE, SECRET, S3World

from rs3gwd.base.commands import PutAccessKey, PutIdentity
from rs3gwd.base.identities import IdentityKind, IdentityRecord, InlinePolicy
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.iam.sessions.issue import issue_token, new_session
from rs3gwd.iam.sessions.session import SessionKind
from rs3gwd.testing.random import SeededRandom


def policy(*statements: dict[str, Any]) -> bytes:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}).encode()


async def add_user(world: S3World, name: str, *statements: dict[str, Any]) -> str:
    """A user with these statements for a policy, or none; the id of the user's key."""
    user = IdentityRecord(
        ALICE.canonical_id,
        IdentityKind.USER,
        name,
        "/",
        f"AIDA{name.upper()}",
        0,
        inline=[InlinePolicy("p", policy(*statements))] if statements else [],
    )
    await world.store.submit(PutIdentity(user, 0))
    key = AccessKeyRecord(
        access_key_id=f"AKIAUSER{name.upper():0<12}",
        secret=SECRET,
        canonical_id=ALICE.canonical_id,
        created_ms=0,
        user_name=name,
    )
    await world.store.submit(PutAccessKey(key))
    return key.access_key_id


async def add_role(world: S3World, name: str, *statements: dict[str, Any]) -> IdentityRecord:
    """A role with these statements for a policy, or none."""
    role = IdentityRecord(
        ALICE.canonical_id,
        IdentityKind.ROLE,
        name,
        "/",
        f"AROA{name.upper()}",
        0,
        inline=[InlinePolicy("p", policy(*statements))] if statements else [],
    )
    await world.store.submit(PutIdentity(role, 0))
    return role


async def open_session(world: S3World, kind: SessionKind, **fields: Any) -> Signer:
    """A signer with a session of alice's account, which is good for `seconds` (900)."""
    seconds = fields.pop("seconds", 900)
    session = new_session(
        kind,
        ALICE.canonical_id,
        seconds=seconds,
        now_ms=world.clock.now_ms(),
        random=SeededRandom(7),
    )
    session = structs.replace(session, **fields)
    token = await issue_token(session, world.secrets)
    return Signer.now(session.access_key_id, session.secret, token)


class Caller:
    """Signs as one key: what `S3World.call` takes as `by` is an account, whose key id it makes."""

    def __init__(self, world: S3World, access_key_id: str) -> None:
        self._world = world
        self._key_id = access_key_id

    async def call(self, method: str, target: str, **options: Any) -> Any:
        """As `S3World.call`, by this key."""
        by = structs.replace(ALICE, display_name=self._key_id)
        original = self._world.key_id
        self._world.key_id = self._key_of  # type: ignore[method-assign]
        try:
            return await self._world.call(method, target, by=by, **options)
        finally:
            self._world.key_id = original  # type: ignore[method-assign]

    def _key_of(self, account: AccountRecord) -> str:
        return account.display_name
