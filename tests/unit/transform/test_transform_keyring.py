"""Named keys, their versions and states, secrets, and the master key above them."""

from __future__ import annotations

import pytest
from keyring_world import MASTER, KeyWorld, make_world
from msgspec.structs import replace

from rs3gwd.base.errors import (
    ApiError,
    DataCorrupt,
    InvalidRequest,
    KeyringRefused,
    KmsKeyAlreadyExists,
    NoSuchKmsKey,
    Rs3gwError,
)
from rs3gwd.base.kms_keys import KmsKeyRecord, KmsKeyState
from rs3gwd.transform.key_management import OWN_KEYS
from rs3gwd.transform.keyring import Keyring
from rs3gwd.transform.sealed import read_header


async def wrap(world: KeyWorld, keyring: Keyring | None = None) -> bytes:
    """A data key, sealed with the key `mine`."""
    return await (keyring or world.keyring).wrap(
        world.management.find("mine"), b"data key", context=b"context"
    )


def store(world: KeyWorld, record: KmsKeyRecord) -> None:
    """Changes a record behind everybody's back."""
    world.state.kms_keys[record.key_id] = record


async def test_a_secret_opens_for_its_context_alone() -> None:
    """Nobody's secret can be put in another's place."""
    world = await make_world()
    wrapped = await world.keyring.wrap_secret(b"secret", context=b"AKIAONE")
    assert b"secret" not in wrapped
    assert await world.keyring.unwrap_secret(wrapped, context=b"AKIAONE") == b"secret"
    with pytest.raises(DataCorrupt):
        await world.keyring.unwrap_secret(wrapped, context=b"AKIATWO")


async def test_a_wrapped_data_key_is_no_secret() -> None:
    """What was sealed for another purpose does not open as a secret."""
    world = await make_world()
    with pytest.raises(DataCorrupt):
        await world.keyring.unwrap_secret(await wrap(world), context=b"context")


async def test_secrets_need_a_keyring() -> None:
    """Before the first start has made the keys, no secret is stored in clear instead."""
    with pytest.raises(KeyringRefused):
        await KeyWorld().keyring.wrap_secret(b"secret", context=b"AKIA")


async def test_the_next_process_opens_what_this_one_sealed() -> None:
    """All that is needed is the metadata and the master key."""
    world = await make_world()
    wrapped = await wrap(world)
    keyring = world.restarted(MASTER)
    await keyring.check()
    assert await keyring.unwrap(wrapped, context=b"context") == b"data key"


async def test_what_an_older_version_sealed_stays_open() -> None:
    """A rotation takes nothing away; from then on the new version seals."""
    world = await make_world()
    old = await wrap(world)
    await world.management.rotate("mine")
    new = await wrap(world)
    assert (read_header(old).key_version, read_header(new).key_version) == (1, 2)
    for keyring in (world.keyring, world.restarted(MASTER)):
        for each in (old, new):
            assert await keyring.unwrap(each, context=b"context") == b"data key"


async def test_a_disabled_key_neither_seals_nor_opens() -> None:
    """Disabling holds at once, also for keys that are open already, and can be taken back."""
    world = await make_world()
    wrapped = await wrap(world)
    await world.management.set_state("mine", KmsKeyState.DISABLED)
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await world.keyring.unwrap(wrapped, context=b"context")
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await wrap(world)
    await world.management.set_state("mine", KmsKeyState.ENABLED)
    assert await world.keyring.unwrap(wrapped, context=b"context") == b"data key"


async def test_another_master_key_is_a_clear_error_at_the_start() -> None:
    """It says that it is another one, opens nothing and shows neither."""
    world = await make_world()
    other = world.restarted(MASTER[::-1])
    with pytest.raises(KeyringRefused, match="another master key") as caught:
        await other.check()
    assert MASTER.hex() not in str(caught.value)
    with pytest.raises(KeyringRefused):
        await other.unwrap(await wrap(world), context=b"context")


async def test_a_master_key_that_only_looks_right_is_refused() -> None:
    """Where the id of the master key was forged, what it sealed still does not open."""
    world = await make_world()
    other = world.restarted(MASTER[::-1])
    for record in list(world.state.kms_keys.values()):
        versions = [replace(each, master_id=other.master.id) for each in record.versions]
        store(world, replace(record, versions=versions))
    with pytest.raises(DataCorrupt):
        await other.check()


async def test_versions_of_keys_cannot_be_exchanged() -> None:
    """A sealed version at another key or number is refused, also by who would seal with it."""
    world = await make_world()
    await world.management.rotate("mine")
    mine, other = world.management.find("mine"), world.management.find("aws/s3")
    first, second = mine.versions
    for sealed in (first.sealed, other.versions[0].sealed):
        store(world, replace(mine, versions=[first, replace(second, sealed=sealed)]))
        with pytest.raises(DataCorrupt):
            await wrap(world, world.restarted(MASTER))


async def test_every_flipped_bit_of_a_stored_version_is_refused() -> None:
    """No bit of what the master key sealed can change."""
    world = await make_world()
    wrapped, mine = await wrap(world), world.management.find("mine")
    sealed = mine.versions[0].sealed
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        store(world, replace(mine, versions=[replace(mine.versions[0], sealed=bytes(changed))]))
        with pytest.raises(Rs3gwError):
            await world.restarted(MASTER).unwrap(wrapped, context=b"context")


async def test_the_metadata_has_no_key_in_clear() -> None:
    """Neither the master key nor any version of a key can be read from the records."""
    world = await make_world()
    kept = b"".join(
        version.sealed + version.master_id
        for record in world.state.kms_keys.values()
        for version in record.versions
    )
    wrapped = await wrap(world)
    assert MASTER not in kept
    assert b"data key" not in kept + wrapped


async def test_the_servers_own_keys_are_made_once() -> None:
    """A second start finds them and makes no others."""
    world = await make_world()
    before = dict(world.state.kms_keys)
    await world.management.ensure_own_keys()
    assert world.state.kms_keys == before
    assert {each.name for each in before.values()} == {*OWN_KEYS, "mine"}


@pytest.mark.parametrize("name", OWN_KEYS)
async def test_the_servers_own_keys_rotate_and_stay_enabled(name: str) -> None:
    """Nobody can lock the store out of itself."""
    world = await make_world()
    assert len((await world.management.rotate(name)).versions) == 2
    with pytest.raises(InvalidRequest):
        await world.management.set_state(name, KmsKeyState.DISABLED)


@pytest.mark.parametrize("name", ["", "a b", "aws/other", "rs3gw/mine", "x" * 201, "a:b", "ü"])
async def test_names_that_no_key_may_have_are_refused(name: str) -> None:
    """Names are those of aliases; the server's prefixes are its own."""
    world = await make_world()
    with pytest.raises(InvalidRequest):
        await world.management.create(name)


async def test_a_name_belongs_to_one_key() -> None:
    """A second key of a name is refused, and keys that are not there are not found."""
    world = await make_world()
    with pytest.raises(KmsKeyAlreadyExists):
        await world.management.create("mine")
    for change in (
        world.management.rotate("nobodys"),
        world.management.set_state("nobodys", KmsKeyState.DISABLED),
    ):
        with pytest.raises(NoSuchKmsKey):
            await change


async def test_another_master_key_takes_over_where_it_was_interrupted() -> None:
    """What the previous one has sealed is sealed anew, the rest is left; old secrets open."""
    world = await make_world()
    wrapped = await wrap(world)
    await world.management.rotate("mine")
    previous = world.keyring.master
    keyring = world.restarted(MASTER[::-1])
    mine = world.management.find("mine")
    first = await keyring.reseal_version(mine.key_id, mine.versions[0], previous)
    store(world, replace(mine, versions=[first, mine.versions[1]]))
    with pytest.raises(KeyringRefused):
        await keyring.check()
    management = world.managed_by(keyring)
    assert await management.reseal(previous) == 4
    assert await management.reseal(previous) == 0
    await keyring.check()
    assert await keyring.unwrap(wrapped, context=b"context") == b"data key"
    with pytest.raises(KeyringRefused):
        await world.restarted(MASTER).check()
