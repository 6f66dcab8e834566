"""Every operation, signed in every way, by everybody: who is let in, and who is not.

Each caller is made by one function, so that a new row of the table of operations, or a new way to
sign, is in the matrix without anybody thinking of it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable

import pytest
from forging import ROWS, Cell, Signer, Variant, sign_cell, sign_form, target_of
from msgspec import structs
from s3_world import ALICE, BOB, HOST, SECRET, S3World
from users import add_role, add_user, open_session, policy

from rs3gwd.base.commands import DeleteAccessKey, DeleteIdentity, SetAccessKeyStatus
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.records import AccessKeyStatus
from rs3gwd.iam.sessions.session import SessionKind
from rs3gwd.s3.operations import Level, Operation

ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY = {"Effect": "Deny", "Action": "*", "Resource": "*"}

REFUSED = {"AccessDenied", "InvalidAccessKeyId"}
"""Status 403: not for this caller."""

NOT_ASKED = {"SignatureDoesNotMatch", "RequestTimeTooSkewed"}
"""The signatures here are right and in time; any of these would hide what the matrix asks."""

ANYBODY = {"ListBuckets", "CreateBucket"}
"""Rows that ask for nothing that belongs to alice: another account may call them for itself."""

NOWHERE = {row.name for row in ROWS if row.level is Level.SERVICE and row.handler is None}
"""Rows that name no bucket and do nothing: 501 for everybody with a right signature."""

MUTATIONS_MIN = 10_000


async def make_world() -> tuple[S3World, str]:
    """alice's `bucket` with `key` and an upload of it; bob has an account beside hers."""
    world = S3World(presigned_v2_methods=frozenset({"GET", "HEAD", "PUT", "DELETE", "POST"}))
    return world, await add_bucket(world, "bucket")


async def add_bucket(world: S3World, bucket: str) -> str:
    """One more bucket of alice's with `key`, and the id of an upload of it."""
    await world.call("PUT", f"/{bucket}")
    await world.call("PUT", f"/{bucket}/key", body=b"hello")
    return (await world.call("POST", f"/{bucket}/key?uploads")).text("UploadId")


async def owner(world: S3World) -> str:
    """The root key of the account that owns the bucket."""
    return world.key_id(ALICE)


async def user_without_policy(world: S3World) -> str:
    """A user of the owner whom nobody allowed anything."""
    return await add_user(world, "carol")


async def user_allowed(world: S3World) -> str:
    """A user of the owner who is allowed everything."""
    return await add_user(world, "carol", ALLOW)


async def user_denied(world: S3World) -> str:
    """A user who is allowed everything and denied everything: the denial wins."""
    return await add_user(world, "carol", ALLOW, DENY)


async def other_account(world: S3World) -> str:
    """The root key of an account that owns nothing here."""
    return world.key_id(BOB)


async def key_switched_off(world: S3World) -> str:
    """The owner's key, inactive since a moment."""
    await world.store.submit(SetAccessKeyStatus(world.key_id(ALICE), AccessKeyStatus.INACTIVE))
    return world.key_id(ALICE)


async def key_revoked(world: S3World) -> str:
    """The key of a user who was allowed everything, gone since a moment."""
    key_id = await add_user(world, "carol", ALLOW)
    await world.store.submit(DeleteAccessKey(key_id))
    return key_id


async def session_of_role(world: S3World) -> Signer:
    """A session of a role that is allowed everything."""
    role = await add_role(world, "worker", ALLOW)
    return await open_session(
        world, SessionKind.ROLE, holder=role.name, holder_id=role.unique_id, name="job"
    )


async def session_of_owner(world: S3World) -> Signer:
    """A session of the account that owns the bucket."""
    return await open_session(world, SessionKind.USER, made_with=world.key_id(ALICE))


async def session_bounded(world: S3World) -> Signer:
    """A session of a role that may do everything, by a session policy that permits nothing here."""
    role = await add_role(world, "worker", ALLOW)
    elsewhere = policy({**ALLOW, "Resource": "arn:aws:s3:::another*"})
    return await open_session(
        world,
        SessionKind.ROLE,
        holder=role.name,
        holder_id=role.unique_id,
        name="job",
        policies=[elsewhere],
    )


async def session_expired(world: S3World) -> Signer:
    """The owner's session, whose time has just run out."""
    signer = await open_session(world, SessionKind.USER, made_with=world.key_id(ALICE), seconds=60)
    world.clock.advance(60_000)
    return signer


async def session_of_removed_role(world: S3World) -> Signer:
    """A session of a role that is gone since a moment."""
    role = await add_role(world, "worker")
    signer = await open_session(
        world, SessionKind.ROLE, holder=role.name, holder_id=role.unique_id, name="job"
    )
    await world.store.submit(DeleteIdentity(ALICE.canonical_id, IdentityKind.ROLE, "worker"))
    return signer


async def session_of_revoked_key(world: S3World) -> Signer:
    """A session of a user who was allowed everything, made with a key that is gone."""
    key_id = await add_user(world, "carol", ALLOW)
    signer = await open_session(
        world, SessionKind.USER, holder="carol", holder_id="AIDACAROL", made_with=key_id
    )
    await world.store.submit(DeleteAccessKey(key_id))
    return signer


async def session_without_token(world: S3World) -> Signer:
    """Key and secret of a session of the owner, and no token."""
    return structs.replace(await session_of_owner(world), token="")


Caller = Callable[[S3World], Awaitable[str | Signer]]

LET_IN: tuple[Caller, ...] = (owner, user_allowed, session_of_role, session_of_owner)
KEPT_OUT: tuple[Caller, ...] = (
    user_without_policy,
    user_denied,
    other_account,
    session_bounded,
    key_switched_off,
    key_revoked,
    session_expired,
    session_of_removed_role,
    session_of_revoked_key,
    session_without_token,
)
ASKED_FOR_EACH = (user_without_policy, user_denied, session_bounded)
UNKNOWN = KEPT_OUT[4:]
"""Callers whom nobody here knows any more: refused before anything is asked."""

OVER = {"ExpiredToken": 400, "InvalidToken": 400}
"""Statuses of what is said of a session that is over; everything else in `REFUSED` is 403."""


def signer_of(who: str | Signer) -> Signer:
    """Who signs: a session, or a key with the secret that all have."""
    return who if isinstance(who, Signer) else Signer.now(who, SECRET)


def cell_of(
    row: Operation, variant: Variant, who: str | Signer, upload_id: str, bucket: str = "bucket"
) -> Cell:
    """The row's request, signed rightly."""
    path, query = target_of(row, bucket=bucket, key="key", upload_id=upload_id)
    return sign_cell(row, variant, signer_of(who), path=path, query=query)


def is_beyond_v2(variant: Variant, row: Operation, body: bytes) -> bool:
    """Version 2 does not sign this row's parameter, so nobody is let in by it."""
    return variant is Variant.QUERY_V2 and (
        b"ParametersNotSigned" in body or row.level is Level.SERVICE
    )


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("caller", LET_IN, ids=lambda caller: caller.__name__)
async def test_who_may_is_let_in(caller: Caller, variant: Variant) -> None:
    """No row refuses the owner, or a user who is allowed everything, for who they are.

    Each row has a bucket of its own, since some of them change or remove it.
    """
    world, _ = await make_world()
    who = await caller(world)
    for number, row in enumerate(ROWS):
        bucket = f"bucket-{number}"
        upload_id = await add_bucket(world, bucket)
        cell = cell_of(row, variant, who, upload_id, bucket)
        answer = await world.send(cell.request())
        if is_beyond_v2(variant, row, answer.body):
            continue
        assert answer.response.error_code not in REFUSED | NOT_ASKED, (row.name, answer.body)


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("caller", KEPT_OUT, ids=lambda caller: caller.__name__)
async def test_who_may_not_is_kept_out(caller: Caller, variant: Variant) -> None:
    """Refused on every row, no body read, nothing changed."""
    world, upload_id = await make_world()
    who = await caller(world)
    before = world.snapshot()
    for row in ROWS:
        if caller is other_account and row.name in ANYBODY:
            continue
        if row.name in NOWHERE and caller not in UNKNOWN:
            continue
        if row.name == "DeleteObjects" and caller in ASKED_FOR_EACH:
            continue  # It asks for each of its keys; the next test does.
        request = cell_of(row, variant, who, upload_id).request()
        answer = await world.send(request)
        code = answer.response.error_code
        assert code in REFUSED or (code in OVER and caller in UNKNOWN), (row.name, answer.body)
        assert answer.status == OVER.get(code, 403), (row.name, answer.body)
        assert not request.body.received, row.name  # type: ignore[attr-defined]
    assert world.snapshot() == before


@pytest.mark.parametrize("caller", ASKED_FOR_EACH, ids=lambda one: one.__name__)
async def test_who_may_not_deletes_none_of_many(caller: Caller) -> None:
    """DeleteObjects by a user of the owner who may not: AccessDenied for each key, which stays."""
    world, _ = await make_world()
    signer = signer_of(await caller(world))
    before = world.snapshot()
    row = next(row for row in ROWS if row.name == "DeleteObjects")
    body = b"<Delete><Object><Key>key</Key></Object><Object><Key>none</Key></Object></Delete>"
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": HOST,
        "x-amz-date": signer.timestamp,
        "x-amz-content-sha256": digest,
        "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode(),
        **({"x-amz-security-token": signer.token} if signer.token else {}),
    }
    seed = signer.request_signature("POST", "/bucket", {"delete": ""}, headers, digest)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.access_key_id}/{signer.scope}, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={seed}"
    )
    cell = Cell(row, Variant.HEADER, "POST", "/bucket", {"delete": ""}, headers, body)
    answer = await world.send(cell.request())
    assert answer.texts("Error/Code") == ["AccessDenied", "AccessDenied"], answer.body
    assert world.snapshot() == before


@pytest.mark.parametrize("caller", LET_IN, ids=lambda caller: caller.__name__)
async def test_the_form_of_who_may_is_stored(caller: Caller) -> None:
    """A browser's form is one more way to sign."""
    world, _ = await make_world()
    answer = await world.send(sign_form(signer_of(await caller(world))))
    assert answer.status == 204, answer.body
    assert (await world.call("GET", "/bucket/form")).body == b"1"


@pytest.mark.parametrize("caller", KEPT_OUT, ids=lambda caller: caller.__name__)
async def test_the_form_of_who_may_not_is_refused(caller: Caller) -> None:
    """With the same answers, and nothing stored; nor is a form that was changed."""
    world, _ = await make_world()
    signer = signer_of(await caller(world))
    before = world.snapshot()
    answer = await world.send(sign_form(signer))
    code = answer.response.error_code
    assert code in REFUSED or (code in OVER and caller in UNKNOWN), answer.body
    assert answer.status == OVER.get(code, 403), answer.body
    changed = await world.send(sign_form(signer, **{"x-amz-credential": "AKIAFORGED"}))
    assert 400 <= changed.status <= 403
    assert world.snapshot() == before


async def test_nobody_without_a_name_is_let_in() -> None:
    """Anonymous requests are refused on every row; nothing here is public."""
    world, upload_id = await make_world()
    before = world.snapshot()
    for row in ROWS:
        cell = cell_of(row, Variant.HEADER, world.key_id(ALICE), upload_id)
        bare = {
            name: value
            for name, value in cell.headers.items()
            if name not in ("authorization", "x-amz-date", "x-amz-content-sha256")
        }
        answer = await world.send(structs.replace(cell, headers=bare).request())
        assert (answer.status, answer.response.error_code) == (403, "AccessDenied"), row.name
    assert world.snapshot() == before


async def test_a_denial_in_the_bucket_holds_for_its_owner_too() -> None:
    """A bucket policy that denies everything to everyone keeps root out of all but the policy
    itself, which only root could mend otherwise."""
    world, upload_id = await make_world()
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "*",
        "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
    }
    assert (await world.call("PUT", "/bucket?policy", body=policy(statement))).status == 204
    mending = {"GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"}
    # DeleteObjects asks for each of its keys, and this one's document names none.
    apart = mending | {"CreateBucket", "DeleteObjects"}
    for row in ROWS:
        if row.level is Level.SERVICE or row.name in apart:
            continue
        cell = cell_of(row, Variant.HEADER, world.key_id(ALICE), upload_id)
        answer = await world.send(cell.request())
        assert answer.response.error_code == "AccessDenied", row.name
    assert (await world.call("DELETE", "/bucket?policy")).status == 204
    assert (await world.call("GET", "/bucket/key")).body == b"hello"


def mutations(cell: Cell) -> list[Cell]:
    """The cell with one bit of one byte changed, everywhere in its path, query and headers."""
    changed: list[Cell] = []
    for place in range(1, len(cell.path)):
        changed.append(structs.replace(cell, path=_flipped(cell.path, place)))
    for name, value in cell.query.items():
        for place in range(len(value)):
            query = {**cell.query, name: _flipped(value, place)}
            changed.append(structs.replace(cell, query=query))
    for name, value in cell.headers.items():
        for place in range(len(value)):
            headers = {**cell.headers, name: _flipped(value, place)}
            changed.append(structs.replace(cell, headers=headers))
    return changed


def _flipped(text: str, place: int) -> str:
    return text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]


MUTATED = [
    row
    for row in ROWS
    if row.name
    in (
        *("PutObject", "GetObject", "DeleteObject", "ListObjectsV2", "DeleteObjects", "UploadPart"),
        *("CopyObject", "PutBucketPolicy", "PutObjectAcl", "DeleteBucket", "CreateBucket"),
    )
]


async def test_ten_thousand_requests_with_one_bit_changed_are_refused() -> None:
    """Path, parameters and headers of requests signed in all ways of version 4: each bit counts."""
    world, upload_id = await make_world()
    before = world.snapshot()
    tried = 0
    for row in MUTATED:
        for variant in Variant:
            if variant is Variant.QUERY_V2:
                continue  # It signs neither host nor most parameters; test_forged has its cells.
            cell = cell_of(row, variant, world.key_id(ALICE), upload_id)
            for changed in mutations(cell):
                answer = await world.send(changed.request())
                assert answer.status in (400, 403, 405, 411), (row.name, variant, changed)
                tried += 1
        assert world.snapshot() == before, row.name
    assert tried >= MUTATIONS_MIN
