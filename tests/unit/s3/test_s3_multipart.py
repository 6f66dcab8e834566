"""Multipart uploads on the reference model, from create to complete."""

import base64
import hashlib

import pytest
from object_world import (
    STRANGER,
    body_of,
    headers_of,
    make_world,
    refused_code,
    text_in,
    xml_of,
)
from upload_world import BIG, SMALL, Upload, md5_hex, part, value_of

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Versioning
from rs3gwd.engine.system import TrioThreads
from rs3gwd.s3.complete_upload import parse_parts
from rs3gwd.s3.list_parts import list_parts
from rs3gwd.s3.multipart import (
    abort_multipart_upload,
    create_multipart_upload,
    upload_part,
    upload_part_copy,
)
from rs3gwd.s3.object_reads import get_object, head_object
from rs3gwd.s3.object_tagging import get_object_tagging
from rs3gwd.s3.objects import put_object

pytestmark = pytest.mark.proves(
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "ListParts",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
)


async def test_parts_become_an_object() -> None:
    """The ETag is the MD5 of MD5s, the default checksum that of all bytes; nothing is left over."""
    world = await make_world()
    upload = await Upload.start(
        world, content_type="text/plain", x_amz_meta_a="1", x_amz_tagging="t=1"
    )
    first = await upload.put(1, BIG)
    assert first["etag"] == f'"{md5_hex(BIG)}"'
    assert first["x-amz-checksum-crc64nvme"] == value_of("CRC64NVME", BIG)
    await upload.put(2, SMALL)
    assert await world.keys() == []
    done = await upload.complete(part(1, BIG), part(2, SMALL))
    root = xml_of(done.body)
    assert root.tag.endswith("CompleteMultipartUploadResult")
    digests = hashlib.md5(BIG).digest() + hashlib.md5(SMALL).digest()
    etag = f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert text_in(root, "ETag") == etag
    assert text_in(root, "Bucket") == "bucket"
    assert text_in(root, "Key") == "key"
    assert text_in(root, "Location") == "http://127.0.0.1:9000/bucket/key"
    assert text_in(root, "ChecksumCRC64NVME") == value_of("CRC64NVME", BIG + SMALL)
    assert text_in(root, "ChecksumType") == "FULL_OBJECT"
    got = await world.run(get_object)
    assert await body_of(got) == BIG + SMALL
    shown = headers_of(got)
    assert shown["etag"] == etag
    assert shown["content-type"] == "text/plain"
    assert shown["x-amz-meta-a"] == "1"
    assert xml_of((await world.run(get_object_tagging)).body)[0][0][0].text == "t"
    assert await refused_code(world.run(list_parts, query=upload.query())) == "NoSuchUpload"


async def test_completing_twice_gives_the_same_answer() -> None:
    """For the client whose answer was lost."""
    world = await make_world()
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    first = await upload.complete(part(1, SMALL))
    again = await upload.complete(part(1, SMALL))
    assert first.body == again.body


async def test_parts_can_be_read_by_number() -> None:
    """partNumber: 206 with Content-Range, x-amz-mp-parts-count and the part's checksum."""
    world = await make_world()
    upload = await Upload.start(world, x_amz_checksum_algorithm="SHA256")
    for number, data in ((2, BIG), (7, SMALL)):
        await upload.put(number, data, x_amz_checksum_sha256=value_of("SHA256", data))
    parts = [part(n, d, SHA256=value_of("SHA256", d)) for n, d in ((2, BIG), (7, SMALL))]
    await upload.complete(*parts)
    asked = {"x-amz-checksum-mode": "ENABLED"}
    for handler in (get_object, head_object):
        response = await world.run(handler, query={"partNumber": "7"}, headers=asked)
        assert response.status == 206
        shown = headers_of(response)
        size = len(BIG) + len(SMALL)
        assert shown["content-range"] == f"bytes {len(BIG)}-{size - 1}/{size}"
        assert shown["x-amz-mp-parts-count"] == "2"
        assert shown["x-amz-checksum-sha256"] == value_of("SHA256", SMALL)
    got = await world.run(get_object, query={"partNumber": "7"})
    assert await body_of(got) == SMALL
    assert await body_of(await world.run(get_object, query={"partNumber": "2"})) == BIG
    for missing in ("1", "3", "8"):
        code = await refused_code(world.run(get_object, query={"partNumber": missing}))
        assert code == "InvalidPartNumber"
    whole = headers_of(await world.run(head_object, headers=asked))
    digests = b"".join(hashlib.sha256(data).digest() for data in (BIG, SMALL))
    composite = base64.b64encode(hashlib.sha256(digests).digest()).decode()
    assert whole["x-amz-checksum-sha256"] == f"{composite}-2"
    assert whole["x-amz-checksum-type"] == "COMPOSITE"
    assert "x-amz-mp-parts-count" not in whole


async def test_create_tells_the_rules_of_its_checksum() -> None:
    """x-amz-checksum-algorithm and -type of the answer; SHA1 with FULL_OBJECT is InvalidRequest."""
    world = await make_world()
    plain = await world.run(create_multipart_upload)
    assert "x-amz-checksum-algorithm" not in headers_of(plain)
    chosen = await world.run(create_multipart_upload, headers={"x-amz-checksum-algorithm": "crc32"})
    assert headers_of(chosen)["x-amz-checksum-algorithm"] == "CRC32"
    assert headers_of(chosen)["x-amz-checksum-type"] == "COMPOSITE"
    for headers in (
        {"x-amz-checksum-algorithm": "SHA1", "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
    ):
        code = await refused_code(world.run(create_multipart_upload, headers=headers))
        assert code == "InvalidRequest"


async def test_a_part_needs_the_checksum_of_its_upload() -> None:
    """ "Checksum Type mismatch occurred", for another algorithm and, if COMPOSITE, for none."""
    world = await make_world()
    composite = await Upload.start(world, x_amz_checksum_algorithm="SHA256")
    for headers in ({}, {"x_amz_checksum_crc32": value_of("CRC32", SMALL)}):
        with pytest.raises(ApiError) as caught:
            await composite.put(1, SMALL, **headers)
        assert caught.value.api_code == "InvalidRequest"
        assert "expected checksum Type: sha256" in caught.value.message
    full = await Upload.start(
        world, x_amz_checksum_algorithm="CRC32", x_amz_checksum_type="FULL_OBJECT"
    )
    shown = await full.put(1, SMALL)
    assert shown["x-amz-checksum-crc32"] == value_of("CRC32", SMALL)


async def test_a_part_may_bring_a_checksum_nobody_asked_for() -> None:
    """It is checked and shown, and the object gets the default one all the same."""
    world = await make_world()
    upload = await Upload.start(world)
    shown = await upload.put(1, SMALL, x_amz_checksum_crc32=value_of("CRC32", SMALL))
    assert shown["x-amz-checksum-crc32"] == value_of("CRC32", SMALL)
    assert await refused_code(
        upload.put(2, SMALL, x_amz_checksum_crc32=value_of("CRC32", BIG))
    ) == ("BadDigest")
    done = await upload.complete(part(1, SMALL, CRC32=value_of("CRC32", SMALL)))
    assert text_in(xml_of(done.body), "ChecksumCRC64NVME") == value_of("CRC64NVME", SMALL)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
async def test_a_full_object_checksum_can_be_given_with_complete(algorithm: str) -> None:
    """It is compared with that of all bytes; a wrong one completes nothing."""
    world = await make_world()
    upload = await Upload.start(
        world, x_amz_checksum_algorithm=algorithm, x_amz_checksum_type="FULL_OBJECT"
    )
    await upload.put(1, BIG)
    await upload.put(2, SMALL)
    header = f"x_amz_checksum_{algorithm.lower()}"
    parts = (part(1, BIG), part(2, SMALL))
    wrong = upload.complete(*parts, **{header: value_of(algorithm, b"other")})
    assert await refused_code(wrong) == "BadDigest"
    right = await upload.complete(
        *parts,
        **{header: value_of(algorithm, BIG + SMALL), "x_amz_checksum_type": "FULL_OBJECT"},
    )
    assert text_in(xml_of(right.body), f"Checksum{algorithm}") == value_of(algorithm, BIG + SMALL)


async def test_complete_must_keep_to_the_checksum_mode() -> None:
    """Another x-amz-checksum-type than the upload's is InvalidRequest."""
    world = await make_world()
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    code = await refused_code(upload.complete(part(1, SMALL), x_amz_checksum_type="COMPOSITE"))
    assert code == "InvalidRequest"


async def test_complete_names_what_is_wrong_with_the_parts() -> None:
    """InvalidPart, InvalidPartOrder, EntityTooSmall; the upload stays as it was."""
    world = await make_world()
    upload = await Upload.start(world)
    for number in (1, 2, 3):
        await upload.put(number, SMALL)
    for code, parts in (
        ("InvalidPart", (part(1, b"other"),)),
        ("InvalidPart", (part(9, SMALL),)),
        ("InvalidPartOrder", (part(2, SMALL), part(1, SMALL))),
        ("InvalidPartOrder", (part(1, SMALL), part(1, SMALL))),
        ("EntityTooSmall", (part(1, SMALL), part(2, SMALL))),
        ("MalformedXML", ()),
    ):
        assert await refused_code(upload.complete(*parts)) == code
    wrong = upload.complete(part(1, SMALL), x_amz_mp_object_size="99")
    assert await refused_code(wrong) == "InvalidRequest"
    broken = upload.complete(part(1, SMALL), x_amz_mp_object_size="many")
    assert await refused_code(broken) == "InvalidRequest"
    assert (
        await upload.complete(part(1, SMALL), x_amz_mp_object_size=str(len(SMALL)))
    ).status == 200


async def test_complete_has_conditions_with_one_winner() -> None:
    """If-None-Match: * on a key that another write created meanwhile."""
    world = await make_world()
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    await world.run(put_object, body=b"first")
    lost = upload.complete(part(1, SMALL), if_none_match="*")
    assert await refused_code(lost) == "PreconditionFailed"
    won = await upload.complete(part(1, SMALL), if_match=f'"{md5_hex(b"first")}"')
    assert won.status == 200


async def test_complete_tells_the_version_it_made() -> None:
    """x-amz-version-id in a versioned bucket."""
    world = await make_world()
    await world.set_versioning(Versioning.ENABLED)
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    version_id = headers_of(await upload.complete(part(1, SMALL)))["x-amz-version-id"]
    got = await world.run(get_object, query={"versionId": version_id})
    assert await body_of(got) == SMALL


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "InvalidRequest"),
        (b"<CompleteMultipartUpload/>", "MalformedXML"),
        (b"<Other><Part/></Other>", "MalformedXML"),
        (
            b"<CompleteMultipartUpload><Part><ETag>x</ETag></Part></CompleteMultipartUpload>",
            "MalformedXML",
        ),
        (
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part>"
            b"</CompleteMultipartUpload>",
            "MalformedXML",
        ),
        (
            b"<CompleteMultipartUpload><Part><PartNumber>one</PartNumber><ETag>x</ETag></Part>"
            b"</CompleteMultipartUpload>",
            "MalformedXML",
        ),
        (
            b"<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>x</ETag></Part>"
            b"</CompleteMultipartUpload>",
            "InvalidArgument",
        ),
        (
            b"<CompleteMultipartUpload><Part><PartNumber>10001</PartNumber><ETag>x</ETag></Part>"
            b"</CompleteMultipartUpload>",
            "InvalidArgument",
        ),
        (
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag><Size>1</Size>"
            b"</Part></CompleteMultipartUpload>",
            "MalformedXML",
        ),
    ],
)
def test_documents_that_s3_does_not_take(document: bytes, code: str) -> None:
    """Each part needs a number and an ETag."""
    with pytest.raises(ApiError) as caught:
        parse_parts(document)
    assert caught.value.api_code == code


def test_ten_thousand_parts_are_the_most() -> None:
    """ "Amazon S3 multipart upload limits"."""
    one = "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
    body = f"<CompleteMultipartUpload>{one * 10_000}</CompleteMultipartUpload>"
    assert len(parse_parts(body.encode())) == 10_000
    over = f"<CompleteMultipartUpload>{one * 10_001}</CompleteMultipartUpload>"
    with pytest.raises(ApiError):
        parse_parts(over.encode())


async def test_part_numbers_are_1_to_10000() -> None:
    """Any other is InvalidArgument, and none too."""
    world = await make_world()
    upload = await Upload.start(world)
    for number in ("0", "10001", "x", ""):
        call = world.run(upload_part, query=upload.query(partNumber=number), body=b"x")
        assert await refused_code(call) == "InvalidArgument"
    assert await refused_code(world.run(upload_part, query=upload.query(), body=b"x")) == (
        "InvalidArgument"
    )
    await upload.put(10_000, b"x")


async def test_parts_are_listed_in_pages() -> None:
    """ListParts: max-parts, part-number-marker, owner and checksums of an upload that has them."""
    world = await make_world()
    upload = await Upload.start(
        world, x_amz_checksum_algorithm="CRC32", x_amz_storage_class="STANDARD_IA"
    )
    for number in (3, 1, 20):
        await upload.put(number, SMALL, x_amz_checksum_crc32=value_of("CRC32", SMALL))
    first = xml_of((await world.run(list_parts, query=upload.query(**{"max-parts": "2"}))).body)
    assert first.tag.endswith("ListPartsResult")
    assert text_in(first, "IsTruncated") == "true"
    assert text_in(first, "NextPartNumberMarker") == "3"
    assert text_in(first, "MaxParts") == "2"
    assert text_in(first, "StorageClass") == "STANDARD_IA"
    assert text_in(first, "Owner/ID") == text_in(first, "Initiator/ID") == "a" * 64
    assert text_in(first, "ChecksumAlgorithm") == "CRC32"
    assert text_in(first, "ChecksumType") == "COMPOSITE"
    assert text_in(first, "Part/PartNumber") == "1"
    assert text_in(first, "Part/Size") == str(len(SMALL))
    assert text_in(first, "Part/ETag") == f'"{md5_hex(SMALL)}"'
    assert text_in(first, "Part/ChecksumCRC32") == value_of("CRC32", SMALL)
    rest = xml_of(
        (
            await world.run(
                list_parts, query=upload.query(**{"part-number-marker": "3", "max-parts": "2"})
            )
        ).body
    )
    assert text_in(rest, "IsTruncated") == "false"
    assert text_in(rest, "PartNumberMarker") == "3"
    assert text_in(rest, "Part/PartNumber") == "20"
    empty = xml_of((await world.run(list_parts, query=upload.query(**{"max-parts": "0"}))).body)
    assert text_in(empty, "IsTruncated") == "false"
    assert text_in(empty, "Part/PartNumber") is None


async def test_checksums_kept_of_our_own_accord_are_not_listed() -> None:
    """An upload without an algorithm shows none."""
    world = await make_world()
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    root = xml_of((await world.run(list_parts, query=upload.query())).body)
    assert text_in(root, "ChecksumAlgorithm") is None
    assert text_in(root, "Part/ChecksumCRC64NVME") is None


async def test_an_aborted_upload_is_gone() -> None:
    """204, then NoSuchUpload for everything about it."""
    world = await make_world()
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    assert (await world.run(abort_multipart_upload, query=upload.query())).status == 204
    for handler in (abort_multipart_upload, list_parts):
        assert await refused_code(world.run(handler, query=upload.query())) == "NoSuchUpload"
    assert await refused_code(upload.put(1, SMALL)) == "NoSuchUpload"
    assert await refused_code(upload.complete(part(1, SMALL))) == "NoSuchUpload"
    assert not world.store.state.blobs


async def test_an_upload_belongs_to_its_key() -> None:
    """The id under another key is NoSuchUpload."""
    world = await make_world()
    upload = await Upload.start(world)
    query = upload.query(partNumber="1")
    code = await refused_code(world.run(upload_part, "other", query=query, body=b"x"))
    assert code == "NoSuchUpload"


async def test_a_part_of_no_upload_is_refused_before_its_body_is_read() -> None:
    """So a client that waits for 100-continue is spared 5 GiB."""
    world = await make_world()
    call = await world.call(query={"uploadId": "x", "partNumber": "1"}, body=b"hello")
    assert await refused_code(upload_part(call)) == "NoSuchUpload"
    assert call.request.body.received == 0  # type: ignore[attr-defined]


async def test_a_part_that_breaks_its_promise_leaves_the_earlier_one() -> None:
    """A part is replaced whole or not at all."""
    world = await make_world()
    upload = await Upload.start(world)
    await upload.put(1, SMALL)
    assert await refused_code(upload.put(1, b"new", content_md5="AAAA")) == "InvalidDigest"
    bad = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    assert await refused_code(upload.put(1, b"new", content_md5=bad)) == "BadDigest"
    assert (await upload.complete(part(1, SMALL))).status == 200


async def test_parts_are_copied_from_objects_and_ranges_of_them() -> None:
    """UploadPartCopy: the answer is XML, the checksum the upload's, bytes those of the range."""
    world = await make_world(TrioThreads())
    await world.run(put_object, "source", body=BIG)
    upload = await Upload.start(
        world, x_amz_checksum_algorithm="CRC32", x_amz_checksum_type="FULL_OBJECT"
    )
    source = {"x-amz-copy-source": "bucket/source"}
    whole = await world.run(upload_part_copy, query=upload.query(partNumber="1"), headers=source)
    root = xml_of(whole.body)
    assert root.tag.endswith("CopyPartResult")
    assert text_in(root, "ETag") == f'"{md5_hex(BIG)}"'
    assert text_in(root, "ChecksumCRC32") == value_of("CRC32", BIG)
    ranged = {**source, "x-amz-copy-source-range": "bytes=100-299"}
    await world.run(upload_part_copy, query=upload.query(partNumber="2"), headers=ranged)
    done = await upload.complete(part(1, BIG), part(2, BIG[100:300]))
    assert text_in(xml_of(done.body), "ChecksumCRC32") == value_of("CRC32", BIG + BIG[100:300])
    assert await body_of(await world.run(get_object)) == BIG + BIG[100:300]


async def test_a_copied_part_of_a_default_upload_shows_no_checksum() -> None:
    """CopyPartResult: only where the upload named an algorithm; the object has one all the same."""
    world = await make_world()
    await world.run(put_object, "source", body=SMALL)
    upload = await Upload.start(world)
    response = await world.run(
        upload_part_copy,
        query=upload.query(partNumber="1"),
        headers={"x-amz-copy-source": "bucket/source"},
    )
    assert text_in(xml_of(response.body), "ChecksumCRC64NVME") is None
    done = await upload.complete(part(1, SMALL))
    assert text_in(xml_of(done.body), "ChecksumCRC64NVME") == value_of("CRC64NVME", SMALL)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-copy-source-range": "bytes=0-5"}, "InvalidArgument"),
        ({"x-amz-copy-source-range": "bytes=0-"}, "InvalidArgument"),
        ({"x-amz-copy-source-if-match": '"x"'}, "PreconditionFailed"),
        ({"x-amz-copy-source": "bucket/none"}, "NoSuchKey"),
        ({"x-amz-copy-source": "theirs/key"}, "AccessDenied"),
    ],
)
async def test_a_part_that_may_not_be_copied_is_not(headers: dict[str, str], code: str) -> None:
    """Ranges outside, failed conditions, missing and foreign sources."""
    world = await make_world()
    await world.make_bucket("theirs", owner=STRANGER)
    await world.run(put_object, "source", body=b"hello")
    upload = await Upload.start(world)
    call = world.run(
        upload_part_copy,
        query=upload.query(partNumber="1"),
        headers={"x-amz-copy-source": "bucket/source", **headers},
    )
    assert await refused_code(call) == code
    root = xml_of((await world.run(list_parts, query=upload.query())).body)
    assert text_in(root, "Part/PartNumber") is None
