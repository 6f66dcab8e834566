"""Whoever fails to prove who they are is slowed, and nobody else with them."""

import pytest
from forging import ROWS, Cell, Signer, Variant, sign_cell, sign_form
from msgspec.structs import replace
from s3_world import ALICE, BOB, SECRET, Answer, S3World

from rs3gwd.base.errors import ApiError
from rs3gwd.iam import brake as brakes
from rs3gwd.iam.brake import NOBODY, Brake

BURST = 5
GET = next(row for row in ROWS if row.name == "GetObject")


async def make_world() -> S3World:
    """alice's bucket with an object, and a brake that takes five failures."""
    world = S3World(brake=Brake(burst=BURST, per_second=1))
    await world.call("PUT", "/bucket")
    await world.call("PUT", "/bucket/key", body=b"hello")
    return world


def cell(access_key_id: str, secret: str, variant: Variant = Variant.HEADER) -> Cell:
    """A GET of the object."""
    signer = Signer.now(access_key_id, secret)
    return sign_cell(GET, variant, signer, path="/bucket/key", query={})


async def get(
    world: S3World,
    secret: str = SECRET,
    *,
    peer: str = "127.0.0.1",
    key: str = "",
    variant: Variant = Variant.HEADER,
) -> Answer:
    """The answer to a GET from an address."""
    request = cell(key or world.key_id(ALICE), secret, variant).request()
    return await world.send(replace(request, peer=peer))


@pytest.mark.parametrize("variant", Variant)
async def test_a_key_that_fails_too_often_is_answered_slowly(variant: Variant) -> None:
    """SlowDown instead of an answer, for the right secret too; a second later one more."""
    world = await make_world()
    for _ in range(BURST):
        assert (await get(world, "wrong", variant=variant)).status == 403
    assert (await get(world, "wrong", variant=variant)).response.error_code == "SlowDown"
    assert (await get(world, variant=variant)).response.error_code == "SlowDown"
    world.clock.advance(1_000)
    assert (await get(world, variant=variant)).body == b"hello"
    assert (await get(world, "wrong", variant=variant)).status == 403
    assert (await get(world, variant=variant)).status == 503


async def test_nobody_else_is_slowed() -> None:
    """The same key from another address, and another key from the same one."""
    world = await make_world()
    for _ in range(BURST + 1):
        await get(world, "wrong")
    assert (await get(world)).status == 503
    assert (await get(world, peer="10.0.0.1")).body == b"hello"
    assert (await get(world, key=world.key_id(BOB))).response.error_code == "AccessDenied"


async def test_unknown_keys_share_what_an_address_may_try() -> None:
    """A new name for each guess begins nothing anew, and hurts no key that is known."""
    world = await make_world()
    for number in range(BURST):
        answer = await get(world, key=f"AKIANOBODY{number}")
        assert answer.response.error_code == "InvalidAccessKeyId"
    assert (await get(world, key="AKIANOBODYELSE")).response.error_code == "SlowDown"
    assert (await get(world)).body == b"hello"


async def test_forms_and_the_query_api_are_counted_with_the_rest() -> None:
    """One brake for every way to sign."""
    world = await make_world()
    for _ in range(BURST):
        assert (await world.send(sign_form(Signer.now(world.key_id(ALICE), "wrong")))).status == 403
    form = sign_form(Signer.now(world.key_id(ALICE), SECRET))
    assert (await world.send(form)).response.error_code == "SlowDown"
    assert (await get(world)).response.error_code == "SlowDown"


async def test_requests_that_may_not_are_not_slowed() -> None:
    """A refusal by a policy, a bad argument, a missing key: their signatures were right."""
    world = await make_world()
    for _ in range(BURST * 3):
        assert (await get(world, key=world.key_id(BOB))).status == 403
    assert (await get(world, key=world.key_id(BOB))).response.error_code == "AccessDenied"


def test_the_table_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many addresses as there may be; the one that was longest quiet starts anew."""
    monkeypatch.setattr(brakes, "BUCKETS_MAX", 3)
    brake = Brake(burst=1, per_second=1)
    wrong = ApiError("SignatureDoesNotMatch", fields={"AWSAccessKeyId": "k"})
    for number in range(4):
        brake.note(wrong, f"10.0.0.{number}", 0)
    brake.check("k", "10.0.0.0", 0)
    for number in range(1, 4):
        with pytest.raises(ApiError, match="SlowDown"):
            brake.check("k", f"10.0.0.{number}", 0)


def test_a_subscriber_of_ipv6_is_one_address() -> None:
    """All of a /64 together; an IPv4 address in disguise is that address."""
    brake = Brake(burst=1, per_second=1)
    unknown = ApiError("InvalidAccessKeyId")
    brake.note(unknown, "2001:db8:0:1::1", 0)
    with pytest.raises(ApiError):
        brake.check(NOBODY, "2001:db8:0:1:ffff::2", 0)
    brake.check(NOBODY, "2001:db8:0:2::1", 0)
    brake.note(unknown, "::ffff:10.0.0.1", 0)
    with pytest.raises(ApiError):
        brake.check(NOBODY, "10.0.0.1", 0)


def test_a_clock_that_jumps_back_gives_nothing_and_takes_nothing() -> None:
    """The bucket stays as it was."""
    brake = Brake(burst=1, per_second=1)
    brake.note(ApiError("InvalidToken"), "10.0.0.1", 10_000)
    with pytest.raises(ApiError):
        brake.check(NOBODY, "10.0.0.1", 0)
    brake.check(NOBODY, "10.0.0.1", 11_000)
