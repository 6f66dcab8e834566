"""Each wrong request gets its own error, and nothing else happens."""

from xml.etree import ElementTree

import msgspec
import pytest
from malformed_case import Case
from malformed_cases import MALFORMED
from s3_world import BOB, S3World, make_request

CASES_MIN = 150
"""What the project promises; the table has more."""


async def _make_world() -> tuple[S3World, str]:
    """alice's `bucket` with `key` and an empty upload of `part-key`; bob's `bobs-bucket`."""
    world = S3World()
    for path, by in (("/bucket", None), ("/bobs-bucket", BOB)):
        answer = await (world.call("PUT", path, by=by) if by else world.call("PUT", path))
        assert answer.status == 200
    assert (await world.call("PUT", "/bucket/key", body=b"hello")).status == 200
    assert (await world.call("PUT", "/bobs-bucket/key", body=b"x", by=BOB)).status == 200
    answer = await world.call("POST", "/bucket/part-key?uploads")
    return world, answer.text("UploadId")


def test_the_table_holds_as_many_cases_as_promised() -> None:
    """Each with a name of its own."""
    assert len(MALFORMED) >= CASES_MIN
    assert len({case.name for case in MALFORMED}) == len(MALFORMED)


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)
async def test_a_malformed_request_gets_its_error(case: Case) -> None:
    """The exact status and code, in a document that parses, with the id of the request."""
    world, upload_id = await _make_world()
    before = msgspec.msgpack.encode(await world.store.list_versions("bucket"))
    answer = await world.send(case.request(world, upload_id))
    assert (answer.status, answer.response.error_code) == (case.status, case.code), answer.body
    root = ElementTree.fromstring(answer.body)
    assert (root.tag, root.findtext("Code")) == ("Error", case.code)
    assert root.findtext("RequestId") == "0123456789ABCDEF"
    assert root.findtext("Message")
    assert msgspec.msgpack.encode(await world.store.list_versions("bucket")) == before


@pytest.mark.parametrize("case", MALFORMED[::7], ids=lambda case: case.name)
async def test_the_same_request_by_nobody_tells_nothing(case: Case) -> None:
    """Without a signature there is never a success, and never a word about objects."""
    world, upload_id = await _make_world()
    signed = case.request(world, upload_id)
    target = signed.raw_path + (f"?{signed.raw_query}" if signed.raw_query else "")
    request = make_request(case.method, target, {"host": signed.host}, case.body)
    answer = await world.send(request)
    assert answer.status >= 400
    assert answer.response.error_code not in ("NoSuchKey", "NoSuchVersion", "NoSuchUpload")
