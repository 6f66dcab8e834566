"""Object Lock on the reference model: documents, headers, and what they keep from being deleted."""

import base64
import hashlib

import msgspec
import pytest
from object_world import BUCKET, STRANGER, World, headers_of, make_world, refused_code, xml_of

from rs3gwd.base.commands import PutBucketLock
from rs3gwd.base.errors import ApiError, ObjectLocked
from rs3gwd.base.records import DefaultRetention, LockMode, Versioning
from rs3gwd.s3.buckets import create_bucket
from rs3gwd.s3.copy import copy_object
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.delete import delete_object, delete_objects
from rs3gwd.s3.lock_headers import lock_from
from rs3gwd.s3.object_lock import (
    get_object_legal_hold,
    get_object_lock_configuration,
    get_object_retention,
    parse_configuration,
    put_object_legal_hold,
    put_object_lock_configuration,
    put_object_retention,
)
from rs3gwd.s3.object_reads import get_object, head_object
from rs3gwd.s3.objects import put_object

pytestmark = pytest.mark.proves(
    "GetObjectLockConfiguration",
    "PutObjectLockConfiguration",
    "GetObjectRetention",
    "PutObjectRetention",
    "GetObjectLegalHold",
    "PutObjectLegalHold",
)

DAY_MS = 24 * 3600 * 1000
MD5_OF_X = {"content-md5": "ndTkYSaMgDT1yFZOFVxnpg=="}
BYPASS = {"x-amz-bypass-governance-retention": "true"}


async def locked_world(default: DefaultRetention | None = None) -> World:
    """A world whose bucket can lock versions."""
    world = await make_world()
    await world.set_versioning(Versioning.ENABLED)
    await world.store.submit(PutBucketLock(name=BUCKET, default_retention=default))
    return world


def configuration(inside: str) -> bytes:
    """An ObjectLockConfiguration with this rule content."""
    return (
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
        f"{inside}</ObjectLockConfiguration>"
    ).encode()


def rule(mode: str, period: str) -> str:
    """A Rule element."""
    return f"<Rule><DefaultRetention><Mode>{mode}</Mode>{period}</DefaultRetention></Rule>"


def retention(mode: str, until_ms: int) -> bytes:
    """A Retention document."""
    date = iso_time(until_ms)
    inside = f"<Mode>{mode}</Mode><RetainUntilDate>{date}</RetainUntilDate>"
    return f"<Retention>{inside}</Retention>".encode()


async def test_a_configuration_comes_back_as_it_was_put() -> None:
    """With days, with years, and without a rule."""
    world = await make_world()
    await world.set_versioning(Versioning.ENABLED)
    with pytest.raises(ApiError) as missing:
        await world.run(get_object_lock_configuration)
    assert missing.value.api_code == "ObjectLockConfigurationNotFoundError"
    for inside in (
        "",
        rule("GOVERNANCE", "<Days>3</Days>"),
        rule("COMPLIANCE", "<Years>1</Years>"),
    ):
        put = await world.run(put_object_lock_configuration, body=configuration(inside))
        assert put.status == 200
        shown = await world.run(get_object_lock_configuration)
        assert isinstance(shown.body, bytes)
        assert inside.encode() in shown.body


async def test_object_lock_needs_versioning() -> None:
    """InvalidBucketState where versioning was never enabled."""
    world = await make_world()
    code = await refused_code(world.run(put_object_lock_configuration, body=configuration("")))
    assert code == "InvalidBucketState"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<ObjectLockConfiguration></ObjectLockConfiguration>", "MalformedXML"),
        (configuration(rule("governance", "<Days>1</Days>")), "MalformedXML"),
        (configuration(rule("GOVERNANCE", "")), "MalformedXML"),
        (configuration(rule("GOVERNANCE", "<Days>1</Days><Years>1</Years>")), "MalformedXML"),
        (configuration(rule("GOVERNANCE", "<Days>one</Days>")), "MalformedXML"),
        (configuration(rule("GOVERNANCE", "<Days>0</Days>")), "InvalidArgument"),
        (configuration(rule("GOVERNANCE", "<Days>-1</Days>")), "InvalidArgument"),
        (configuration(rule("GOVERNANCE", "<Years>101</Years>")), "InvalidArgument"),
        (configuration("<Rule/>"), "MalformedXML"),
    ],
)
def test_a_wrong_configuration_is_refused(body: bytes, code: str) -> None:
    """Each with the code that S3 gives."""
    with pytest.raises(ApiError) as refused:
        parse_configuration(body)
    assert refused.value.api_code == code


async def test_a_locked_version_stays_and_says_why() -> None:
    """The headers of the write come back, a delete of the version is AccessDenied."""
    world = await locked_world()
    until_ms = world.clock.now_ms() + DAY_MS
    lock = {
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": iso_time(until_ms),
        "x-amz-object-lock-legal-hold": "OFF",
    }
    put = await world.run(put_object, body=b"x", headers=lock | MD5_OF_X)
    version_id = headers_of(put)["x-amz-version-id"]
    shown = headers_of(await world.run(head_object, method="HEAD"))
    assert {name: shown[name] for name in lock} == lock
    query = {"versionId": version_id}
    with pytest.raises(ObjectLocked):
        await world.run(delete_object, query=query)
    document = (
        f"<Delete><Object><Key>key</Key><VersionId>{version_id}</VersionId></Object></Delete>"
    )
    digest = base64.b64encode(hashlib.md5(document.encode()).digest()).decode()
    answer = await world.run(
        delete_objects, body=document.encode(), headers={"content-md5": digest}
    )
    assert isinstance(answer.body, bytes)
    assert b"<Code>AccessDenied</Code>" in answer.body
    await world.run(delete_object)
    await world.run(get_object, query=query)
    await world.run(delete_object, query=query, headers=BYPASS)
    assert await refused_code(world.run(get_object, query=query)) == "NoSuchVersion"


async def test_who_may_not_bypass_is_refused_for_asking() -> None:
    """The header of a stranger is not overlooked."""
    world = await locked_world()
    code = await refused_code(world.run(delete_object, headers=BYPASS, account=STRANGER))
    assert code == "AccessDenied"


async def test_retention_is_set_read_extended_and_taken_away() -> None:
    """Taking it away needs the bypass; a past date is InvalidArgument."""
    world = await locked_world()
    await world.run(put_object, body=b"x")
    assert await refused_code(world.run(get_object_retention)) == "NoSuchObjectLockConfiguration"
    now_ms = world.clock.now_ms()
    for days in (1, 2):
        await world.run(put_object_retention, body=retention("GOVERNANCE", now_ms + days * DAY_MS))
    root = xml_of((await world.run(get_object_retention)).body)
    assert [child.text for child in root] == ["GOVERNANCE", iso_time(now_ms + 2 * DAY_MS)]
    shorter = retention("GOVERNANCE", now_ms + DAY_MS)
    with pytest.raises(ObjectLocked):
        await world.run(put_object_retention, body=shorter)
    await world.run(put_object_retention, body=b"<Retention/>", headers=BYPASS)
    assert await refused_code(world.run(get_object_retention)) == "NoSuchObjectLockConfiguration"
    past = retention("GOVERNANCE", now_ms - DAY_MS)
    assert await refused_code(world.run(put_object_retention, body=past)) == "InvalidArgument"
    wrong = retention("governance", now_ms + DAY_MS)
    assert await refused_code(world.run(put_object_retention, body=wrong)) == "MalformedXML"


async def test_a_legal_hold_is_set_and_lifted() -> None:
    """ON and OFF; nothing before either."""
    world = await locked_world()
    await world.run(put_object, body=b"x")
    assert await refused_code(world.run(get_object_legal_hold)) == "NoSuchObjectLockConfiguration"
    for status in ("ON", "OFF"):
        body = f"<LegalHold><Status>{status}</Status></LegalHold>".encode()
        await world.run(put_object_legal_hold, body=body)
        root = xml_of((await world.run(get_object_legal_hold)).body)
        assert root[0].text == status
    assert (
        await refused_code(
            world.run(put_object_legal_hold, body=b"<LegalHold><Status>on</Status></LegalHold>")
        )
        == "MalformedXML"
    )


async def test_a_bucket_without_object_lock_answers_invalid_request() -> None:
    """Headers and documents alike."""
    world = await make_world()
    await world.run(put_object, body=b"x")
    for handler in (get_object_retention, get_object_legal_hold):
        assert await refused_code(world.run(handler)) == "InvalidRequest"
    hold = {"x-amz-object-lock-legal-hold": "ON"} | MD5_OF_X
    assert await refused_code(world.run(put_object, body=b"x", headers=hold)) == "InvalidRequest"


async def test_a_locked_write_needs_a_digest() -> None:
    """Without Content-MD5 or a checksum it is InvalidRequest."""
    world = await locked_world()
    hold = {"x-amz-object-lock-legal-hold": "ON"}
    assert await refused_code(world.run(put_object, body=b"x", headers=hold)) == "InvalidRequest"


async def test_a_copy_takes_no_lock_from_its_source() -> None:
    """But the default of the bucket it goes to."""
    world = await locked_world(DefaultRetention(LockMode.COMPLIANCE, days=1))
    hold = {"x-amz-object-lock-legal-hold": "ON"} | MD5_OF_X
    await world.run(put_object, body=b"x", headers=hold)
    await world.run(copy_object, "copy", headers={"x-amz-copy-source": f"{BUCKET}/key"})
    shown = headers_of(await world.run(head_object, "copy", method="HEAD"))
    assert "x-amz-object-lock-legal-hold" not in shown
    assert shown["x-amz-object-lock-mode"] == "COMPLIANCE"


async def test_a_bucket_can_be_made_with_object_lock() -> None:
    """It is versioned from the start, and versioning cannot be suspended."""
    world = await make_world()
    call = await world.call(headers={"x-amz-bucket-object-lock-enabled": "true"})
    await create_bucket(msgspec.structs.replace(call, bucket="vault"))
    record = await world.store.get_bucket("vault")
    assert (record.object_lock, record.versioning) == (True, Versioning.ENABLED)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"x-amz-object-lock-retain-until-date": iso_time(DAY_MS)},
        {
            "x-amz-object-lock-mode": "governance",
            "x-amz-object-lock-retain-until-date": iso_time(DAY_MS),
        },
        {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "soon"},
        {
            "x-amz-object-lock-mode": "GOVERNANCE",
            "x-amz-object-lock-retain-until-date": iso_time(0),
        },
        {"x-amz-object-lock-legal-hold": "on"},
    ],
)
def test_lock_headers_that_say_nothing_clear_are_refused(headers: dict[str, str]) -> None:
    """Half a retention, an unknown word, a date that is over."""
    with pytest.raises(ApiError) as refused:
        lock_from(headers, now_ms=1000)
    assert refused.value.api_code == "InvalidArgument"
