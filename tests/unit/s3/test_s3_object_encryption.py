"""Encrypted objects through the handlers: what is stored, what comes back, and what is refused."""

import hashlib
from collections.abc import Callable

import pytest
from encryption_world import CUSTOMER, KMS, ONE, OTHER, S3, SOURCE_CUSTOMER, customer
from encryption_world import make_encrypted_world as make_world
from object_world import (
    STRANGER,
    World,
    body_of,
    headers_of,
    md5_base64,
    refused_code,
    text_in,
    xml_of,
)
from upload_world import BIG, Upload

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import EncryptionKind, VersionRecord
from rs3gwd.s3.attributes import get_object_attributes
from rs3gwd.s3.copy import copy_object
from rs3gwd.s3.list_parts import list_parts
from rs3gwd.s3.multipart import upload_part_copy
from rs3gwd.s3.object_reads import get_object, get_object_at_once, head_object
from rs3gwd.s3.objects import put_object

DATA = hashlib.shake_128(b"data").digest(200_000)
PREFIX = "x-amz-server-side-encryption"
KINDS = {"sse-s3": S3, "sse-kms": KMS, "sse-c": customer()}
Headers = dict[str, str]


def to_read(headers: Headers) -> Headers:
    """What a read must send of what a write sent."""
    return headers if f"{CUSTOMER}key" in headers else {}


def as_source(headers: Headers) -> Headers:
    """What a copy must send of what the write of its source sent."""
    return customer(ONE, SOURCE_CUSTOMER) if f"{CUSTOMER}key" in headers else {}


async def stored_of(world: World, key: str = "key") -> tuple[VersionRecord, bytes]:
    version = await world.store.get_version("bucket", key.encode(), None)
    return version, world.store.state.body(version)


@pytest.mark.proves("PutObject", "GetObject", "HeadObject")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 70_000, 200_000])
async def test_an_object_comes_back_and_is_not_stored_as_it_is(kind: str, size: int) -> None:
    """The bytes and checksums are the caller's, what is stored is neither theirs nor as long."""
    world, _ = await make_world()
    headers, data = KINDS[kind], DATA[:size]
    put = headers_of(await world.run(put_object, body=data, headers=headers))
    found = await world.run(get_object, headers=to_read(headers), method="GET")
    assert await body_of(found) == data
    version, stored = await stored_of(world)
    assert version.size_bytes == size
    assert len(stored) == size + 16 * -(-size // 65_536)
    assert size < 32 or data[:32] not in stored
    shown = headers_of(found)
    expected = {
        "sse-s3": {PREFIX: "AES256"},
        "sse-kms": {PREFIX: "aws:kms", f"{PREFIX}-aws-kms-key-id": "default"},
        "sse-c": {f"{CUSTOMER}algorithm": "AES256", f"{CUSTOMER}key-md5": md5_base64(ONE)},
    }[kind]
    head = await world.run(head_object, headers=to_read(headers), method="HEAD")
    assert head.length_override == size
    for answer in (put, shown, headers_of(head)):
        assert {name: value for name, value in answer.items() if PREFIX in name} == expected
        assert answer["etag"] == put["etag"]
    assert (put["etag"] == f'"{hashlib.md5(data).hexdigest()}"') == (kind == "sse-s3")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", ["bytes=0-0", "bytes=65535-65536", "bytes=-1", "bytes=70000-"])
async def test_a_range_is_of_the_object(kind: str, wanted: str) -> None:
    """As of an object that is not encrypted."""
    world, _ = await make_world()
    await world.run(put_object, "plain", body=DATA)
    await world.run(put_object, "sealed", body=DATA, headers=KINDS[kind])
    plain = await world.run(get_object, "plain", headers={"range": wanted}, method="GET")
    headers = {"range": wanted, **to_read(KINDS[kind])}
    sealed = await world.run(get_object, "sealed", headers=headers, method="GET")
    assert sealed.status == 206
    assert await body_of(sealed) == await body_of(plain)
    assert headers_of(sealed)["content-range"] == headers_of(plain)["content-range"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_at_hand_is_not_given_out_undecrypted(kind: str) -> None:
    """The short way of small bodies answers nothing for an encrypted one."""
    world, _ = await make_world()
    headers = KINDS[kind]
    await world.run(put_object, body=b"small", headers=headers)
    call = await world.call(headers=to_read(headers), method="GET")
    assert world.store.lookups.read_small((await stored_of(world))[0]) is not None
    assert get_object_at_once(call, world.store.lookups) is None
    await world.run(put_object, body=b"small")
    assert get_object_at_once(await world.call(method="GET"), world.store.lookups) is not None


async def test_a_checksum_and_a_content_md5_are_of_what_was_sent() -> None:
    """Also where the ETag is no MD5; a wrong one stores nothing."""
    world, _ = await make_world()
    headers = {**KMS, "content-md5": md5_base64(DATA)}
    put = headers_of(await world.run(put_object, body=DATA, headers=headers))
    await world.run(put_object, "plain", body=DATA)
    mode = {"x-amz-checksum-mode": "ENABLED"}
    plain = headers_of(await world.run(get_object, "plain", headers=mode, method="GET"))
    sealed = headers_of(await world.run(get_object, headers=mode, method="GET"))
    name = "x-amz-checksum-crc64nvme"
    assert put[name] == plain[name] == sealed[name]
    wrong = {**KMS, "content-md5": md5_base64(b"")}
    assert await refused_code(world.run(put_object, "no", body=DATA, headers=wrong)) == "BadDigest"
    assert await world.keys() == ["key", "plain"]


READS: list[Callable[..., object]] = [get_object, head_object, get_object_attributes]


@pytest.mark.parametrize("handler", READS)
async def test_a_customer_key_must_be_the_one(handler: Callable[..., object]) -> None:
    """None is 400, another 403, half of one 400."""
    world, _ = await make_world()
    await world.run(put_object, body=DATA, headers=customer())

    async def read(headers: Headers) -> str:
        asked = {"x-amz-object-attributes": "ETag", **headers}
        return await refused_code(world.run(handler, headers=asked, method="GET"))  # type: ignore[arg-type]

    assert await read({}) == "InvalidRequest"
    assert await read(customer(OTHER)) == "AccessDenied"
    assert await read({f"{CUSTOMER}algorithm": "AES256"}) == "InvalidArgument"
    assert await read({**customer(), PREFIX: "AES256"}) == "InvalidArgument"
    # An MD5 that matches does not make a key: the record says which one sealed the data key.
    version, _ = await stored_of(world)
    assert version.attributes.encryption is not None
    assert version.attributes.encryption.customer_key_md5 == md5_base64(ONE)


@pytest.mark.parametrize("headers", [{}, S3, KMS])
async def test_a_customer_key_is_refused_where_none_belongs(headers: Headers) -> None:
    """Else its owner would believe that the bytes are encrypted with it."""
    world, _ = await make_world()
    await world.run(put_object, body=b"x", headers=headers)
    assert (
        await refused_code(world.run(get_object, headers=customer(), method="GET"))
        == "InvalidRequest"
    )


async def test_a_key_that_is_gone_gives_out_nothing() -> None:
    """A disabled key and a missing one are AWS's errors, for reads and writes."""
    world, keys = await make_world()
    keys.keys["k"] = b"k" * 32
    named = {**KMS, f"{PREFIX}-aws-kms-key-id": "k"}
    await world.run(put_object, body=DATA, headers=named)
    keys.keys["k"] = None
    assert await refused_code(world.run(get_object, method="GET")) == "KMS.DisabledException"
    assert (
        await refused_code(world.run(put_object, "b", body=DATA, headers=named))
        == "KMS.DisabledException"
    )
    del keys.keys["k"]
    assert await refused_code(world.run(get_object, method="GET")) == "KMS.NotFoundException"
    assert (await world.run(head_object, method="HEAD")).status == 200
    assert await world.keys() == ["key"]


async def test_a_node_without_keys_encrypts_nothing_and_says_so() -> None:
    """The wish is refused, not overlooked."""
    world, _ = await make_world(keys=None)
    for headers in KINDS.values():
        assert (
            await refused_code(world.run(put_object, body=b"x", headers=headers))
            == "NotImplemented"
        )
    assert await world.keys() == []


async def test_customer_keys_need_tls() -> None:
    """Unless the operator says otherwise."""
    world, _ = await make_world(takes_customer_keys_in_clear=False)
    assert (
        await refused_code(world.run(put_object, body=b"x", headers=customer())) == "InvalidRequest"
    )


async def test_nobody_uses_managed_keys_without_a_name() -> None:
    """An anonymous caller neither writes nor reads with SSE-KMS."""
    world, _ = await make_world()
    await world.run(put_object, body=b"x", headers=KMS)
    for handler, headers in ((put_object, KMS), (get_object, {})):
        code = await refused_code(
            world.run(handler, headers=headers, body=b"x", account=None)  # type: ignore[arg-type]
        )
        assert code == "InvalidArgument"


async def test_the_identity_of_an_object_belongs_to_its_key() -> None:
    """A record that strays to another object opens nothing."""
    world, _ = await make_world()
    await world.run(put_object, "one", body=DATA, headers=S3)
    await world.run(put_object, "two", body=DATA[:100], headers=S3)
    versions = world.store.state.buckets["bucket"].versions
    versions[b"two"] = versions[b"one"]
    assert await refused_code(world.run(get_object, "two", method="GET")) == "AccessDenied"


@pytest.mark.proves("CopyObject")
@pytest.mark.parametrize("source", ["none", *KINDS])
@pytest.mark.parametrize("target", ["none", *KINDS])
async def test_a_copy_goes_from_any_kind_to_any(source: str, target: str) -> None:
    """The target is encrypted as the request says, whatever the source was."""
    world, _ = await make_world()
    written = KINDS.get(source, {})
    wanted = customer(OTHER) if target == "sse-c" else KINDS.get(target, {})
    await world.run(put_object, "from", body=DATA, headers=written)
    headers = {"x-amz-copy-source": "bucket/from", **as_source(written), **wanted}
    answer = await world.run(copy_object, "to", headers=headers)
    found = await world.run(get_object, "to", headers=to_read(wanted), method="GET")
    assert await body_of(found) == DATA
    version, _ = await stored_of(world, "to")
    record = version.attributes.encryption
    assert (record is None) == (target == "none")
    is_md5 = version.etag == hashlib.md5(DATA).hexdigest()
    assert is_md5 == (record is None or record.kind is EncryptionKind.SSE_S3)
    assert (PREFIX in headers_of(answer)) == (target in ("sse-s3", "sse-kms"))
    assert text_in(xml_of(answer.body), "ETag") == f'"{version.etag}"'


async def test_the_source_of_a_copy_needs_its_own_key() -> None:
    """In headers of its own; the target's do not count."""
    world, _ = await make_world()
    await world.run(put_object, "from", body=DATA, headers=customer())
    source = {"x-amz-copy-source": "bucket/from"}

    async def copy(headers: Headers) -> str:
        return await refused_code(world.run(copy_object, "to", headers={**source, **headers}))

    assert await copy({}) == "InvalidRequest"
    assert await copy(customer()) == "InvalidRequest"
    assert await copy(customer(OTHER, SOURCE_CUSTOMER)) == "AccessDenied"
    await world.run(put_object, "from", body=DATA)
    assert await copy(customer(ONE, SOURCE_CUSTOMER)) == "InvalidRequest"


async def test_a_copy_onto_itself_may_change_the_encryption() -> None:
    """That is a change as AWS means it, and the way to encrypt what is there."""
    world, _ = await make_world()
    await world.run(put_object, body=DATA)
    headers = {"x-amz-copy-source": "bucket/key"}
    assert await refused_code(world.run(copy_object, headers=headers)) == "InvalidRequest"
    await world.run(copy_object, headers={**headers, **S3})
    version, stored = await stored_of(world)
    assert version.attributes.encryption is not None
    assert DATA[:32] not in stored


@pytest.mark.proves("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListParts")
@pytest.mark.parametrize("kind", KINDS)
async def test_parts_are_encrypted_one_by_one(kind: str) -> None:
    """The whole, a range over both parts, and each part by number come back."""
    world, _ = await make_world()
    headers = KINDS[kind]
    upload = await Upload.start(world, **headers)
    again = to_read(headers)
    tags = [(await upload.put(number, data, **again))["etag"] for number, data in PARTS]
    listed = await world.run(list_parts, query=upload.query(), headers=again, method="GET")
    assert text_in(xml_of(listed.body), "Part/Size") == str(len(BIG))
    answer = await upload.complete(
        *(f"<PartNumber>{n}</PartNumber><ETag>{tag}</ETag>" for n, tag in enumerate(tags, 1))
    )
    assert headers_of(answer)  # type: ignore[arg-type]
    whole = b"".join(data for _, data in PARTS)
    found = await world.run(get_object, headers=again, method="GET")
    assert await body_of(found) == whole
    _, stored = await stored_of(world)
    assert BIG[:32] not in stored
    # The two parts begin alike, and are encrypted with keys of their own.
    assert stored[:1000] != stored[len(BIG) + 16 * 80 :][:1000]
    edge = len(BIG)
    wanted = {"range": f"bytes={edge - 100_000}-{edge + 10}", **again}
    part = await world.run(get_object, headers=wanted, method="GET")
    assert await body_of(part) == whole[edge - 100_000 : edge + 11]
    second = await world.run(get_object, headers=again, query={"partNumber": "2"}, method="GET")
    assert await body_of(second) == PARTS[1][1]


PARTS = [(1, BIG), (2, BIG[:70_000])]


async def test_a_part_must_bring_the_key_of_its_upload() -> None:
    """None, another one, or one that the upload did not ask for."""
    world, _ = await make_world()
    upload = await Upload.start(world, **customer())
    for headers in ({}, customer(OTHER)):
        assert await refused_code(upload.put(1, b"x", **headers)) == "InvalidRequest"
    plain = await Upload.start(world)
    assert await refused_code(plain.put(1, b"x", **customer())) == "InvalidRequest"
    assert await refused_code(plain.put(1, b"x", **S3)) == "InvalidArgument"


@pytest.mark.proves("UploadPartCopy")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_part_may_be_copied_out_of_an_encrypted_object(kind: str) -> None:
    """A range of the source, with its key, into an upload with another."""
    world, _ = await make_world()
    await world.run(put_object, "from", body=DATA, headers=KINDS[kind])
    upload = await Upload.start(world, **customer(OTHER))
    answer = await world.run(
        upload_part_copy,
        query=upload.query(partNumber="1"),
        headers={
            "x-amz-copy-source": "bucket/from",
            "x-amz-copy-source-range": "bytes=100000-199999",
            **as_source(KINDS[kind]),
            **customer(OTHER),
        },
    )
    tag = text_in(xml_of(answer.body), "ETag")
    await upload.complete(f"<PartNumber>1</PartNumber><ETag>{tag}</ETag>")
    found = await world.run(get_object, headers=customer(OTHER), method="GET")
    assert await body_of(found) == DATA[100_000:]


@pytest.mark.proves("GetObjectAttributes")
async def test_attributes_tell_the_size_of_the_object() -> None:
    """Not that of what is stored."""
    world, _ = await make_world()
    await world.run(put_object, body=DATA, headers=S3)
    headers = {"x-amz-object-attributes": "ObjectSize"}
    answer = await world.run(get_object_attributes, headers=headers, method="GET")
    assert text_in(xml_of(answer.body), "ObjectSize") == str(len(DATA))


async def test_a_stranger_is_not_told_whether_a_key_fits() -> None:
    """What the handlers refuse they refuse behind the gate; no key is asked for before."""
    world, keys = await make_world()
    await world.run(put_object, "from", body=DATA, headers=S3)
    asked = keys.asked
    with pytest.raises(ApiError) as caught:
        await world.run(
            copy_object,
            "to",
            headers={"x-amz-copy-source": "bucket/from", **customer(ONE, SOURCE_CUSTOMER)},
            account=STRANGER,
        )
    assert caught.value.api_code == "AccessDenied"
    assert keys.asked == asked
