"""What the advisories of other stores were about, by class, tried here.

Most are one mistake: a new operation, a variant of an upload or an inner call that passed the check
by. The classes are those of the project's survey of about sixty advisories of MinIO, Ceph RGW,
SeaweedFS, RustFS, etcd and Garage. A class has tests elsewhere too; the one here bears its name and
does what the advisories describe.
"""

from __future__ import annotations

import base64
import hashlib

import pytest
from forging import ROWS, Cell, Signer, Variant, sign_cell
from msgspec import structs
from s3_world import ALICE, BOB, HOST, SECRET, Answer, S3World, make_request
from users import Caller, add_user, policy

LOCKED = {
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z",
}
BYPASS = {"x-amz-bypass-governance-retention": "true"}
ALL = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


async def make_world() -> S3World:
    """alice's `bucket` and `secret`, each with an object; bob's `bobs`."""
    world = S3World(presigned_v2_methods=frozenset({"GET", "HEAD", "POST"}))
    for name in ("bucket", "secret"):
        await world.call("PUT", f"/{name}")
        await world.call("PUT", f"/{name}/key", body=b"hello")
    await world.call("PUT", "/bobs", by=BOB)
    return world


def cell_of(name: str, variant: Variant, world: S3World, path: str = "/bucket/new") -> Cell:
    """An operation on a key, signed by alice."""
    row = next(row for row in ROWS if row.name == name)
    signer = Signer.now(world.key_id(ALICE), SECRET)
    return sign_cell(row, variant, signer, path=path, query={})


async def refused(world: S3World, cell: Cell, *, what: str) -> Answer:
    """Sends what must be refused and must change nothing."""
    before = world.snapshot()
    answer = await world.send(cell.request())
    assert answer.status in (400, 403), (what, answer.status, answer.body)
    assert world.snapshot() == before, what
    return answer


# Class A: a new auth or upload variant skips the signature check.


@pytest.mark.parametrize(
    "extra",
    [
        {"x-amz-copy-source": "/secret/key"},
        {"x-amz-acl": "public-read"},
        {"x-amz-grant-read": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'},
        {"x-amz-tagging": "a=b"},
        {"x-amz-meta-a": "b"},
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-bypass-governance-retention": "true"},
    ],
    ids=lambda extra: next(iter(extra)),
)
@pytest.mark.parametrize("variant", [Variant.PRESIGNED, Variant.HEADER, Variant.CHUNKS])
async def test_class_a_a_signed_request_takes_no_header_that_was_not_signed(
    variant: Variant, extra: dict[str, str]
) -> None:
    """CVE-2026-54330: whoever holds a presigned PUT adds a source to copy, or a public list."""
    world = await make_world()
    cell = cell_of("PutObject", variant, world)
    await refused(world, structs.replace(cell, headers=cell.headers | extra), what=str(extra))


@pytest.mark.parametrize(
    "variant", [Variant.CHUNKS, Variant.SIGNED_TRAILER, Variant.UNSIGNED_TRAILER]
)
async def test_class_a_a_streamed_body_does_not_replace_a_signature(variant: Variant) -> None:
    """CVE-2025-31489, CVE-2026-40344, SeaweedFS #2180: a payload kind is named, and no signature,
    one of zeros, or one in the query is given."""
    world = await make_world()
    cell = cell_of("PutObject", variant, world)
    bare = {name: text for name, text in cell.headers.items() if name != "authorization"}
    await refused(world, structs.replace(cell, headers=bare), what="no signature")
    head, _, value = cell.headers["authorization"].rpartition("=")
    zeros = cell.headers | {"authorization": f"{head}={'0' * len(value)}"}
    await refused(world, structs.replace(cell, headers=zeros), what="zeros")
    presigned = cell_of("PutObject", Variant.PRESIGNED, world)
    # CVE-2026-41145: credentials in the query, and an unsigned trailer.
    moved = structs.replace(cell, headers=bare, query=presigned.query)
    await refused(world, moved, what="credentials in the query")
    both = structs.replace(cell, query=presigned.query)
    await refused(world, both, what="two credentials")


async def test_class_a_chunks_are_signed_one_by_one() -> None:
    """CVE-2021-21390: somebody in between alters the data of a chunk and leaves its signature."""
    world = await make_world()
    cell = cell_of("PutObject", Variant.CHUNKS, world)
    altered = cell.body.replace(b"<Broken/>", b"<Forged/>")
    assert altered != cell.body
    await refused(world, structs.replace(cell, body=altered), what="another body")


# Class B: authorization passed by, or its scope mixed up.


async def test_class_b_a_denied_bypass_is_denied() -> None:
    """CVE-2023-25812: a Deny of the bypass of a lock was ignored."""
    world = S3World()
    lock = {"x-amz-bucket-object-lock-enabled": "true"}
    assert (await world.call("PUT", "/locked", headers=lock)).status == 200
    digest = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    put = await world.call("PUT", "/locked/k", body=b"x", headers=LOCKED | {"content-md5": digest})
    target = f"/locked/k?versionId={put.headers['x-amz-version-id']}"
    deny = {"Effect": "Deny", "Action": "s3:BypassGovernanceRetention", "Resource": "*"}
    denied = Caller(world, await add_user(world, "dora", ALL, deny))
    assert (await denied.call("DELETE", target, headers=BYPASS)).code == "AccessDenied"
    assert (await denied.call("DELETE", target)).code == "AccessDenied"
    assert (await world.call("GET", target)).body == b"x"
    allowed = Caller(world, await add_user(world, "abel", ALL))
    assert (await allowed.call("DELETE", target, headers=BYPASS)).status == 204


async def test_class_b_a_prefix_ends_where_it_ends() -> None:
    """CVE-2026-72921: who may below /tenant1 may also below /tenant1234."""
    world = await make_world()
    for tenant in ("tenant1", "tenant1234", "tenant1.x"):
        await world.call("PUT", f"/bucket/{tenant}/a", body=b"a")
    statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/tenant1/*",
    }
    tenant = Caller(world, await add_user(world, "tina", statement))
    assert (await tenant.call("GET", "/bucket/tenant1/a")).status == 200
    for other in ("/bucket/tenant1234/a", "/bucket/tenant1.x/a", "/bucket/tenant1", "/bucket/key"):
        assert (await tenant.call("GET", other)).code == "AccessDenied", other


async def test_class_b_reading_is_not_writing_by_whatever_way() -> None:
    """CVE-2021-21362: who may only read writes by another kind of upload."""
    world = await make_world()
    upload = (await world.call("POST", "/bucket/key?uploads")).text("UploadId")
    statement = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    reader = Caller(world, await add_user(world, "rita", statement))
    assert (await reader.call("GET", "/bucket/key")).status == 200
    before = world.snapshot()
    copy = {"x-amz-copy-source": "/bucket/key"}
    for method, target, headers in (
        ("PUT", "/bucket/new", {}),
        ("PUT", "/bucket/new", copy),
        ("POST", "/bucket/new?uploads", {}),
        ("PUT", f"/bucket/key?partNumber=1&uploadId={upload}", {}),
        ("PUT", f"/bucket/key?partNumber=1&uploadId={upload}", copy),
        ("POST", f"/bucket/key?uploadId={upload}", {}),
        ("DELETE", f"/bucket/key?uploadId={upload}", {}),
        ("DELETE", "/bucket/key", {}),
        ("PUT", "/bucket/key?tagging", {}),
        ("PUT", "/bucket/key?acl", {"x-amz-acl": "public-read"}),
        ("PUT", "/bucket?policy", {}),
        ("PUT", "/bucket?acl", {"x-amz-acl": "public-read"}),
    ):
        answer = await reader.call(method, target, headers=headers)
        assert answer.code == "AccessDenied", (method, target, answer.body)
    assert world.snapshot() == before


async def test_class_b_who_writes_here_does_not_read_there() -> None:
    """The source of a copy is read: it needs the permission to read it (CVE-2016-7031, and the
    copies of CVE-2026-54330)."""
    world = await make_world()
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*"}
    writer = Caller(world, await add_user(world, "wilma", statement))
    copy = {"x-amz-copy-source": "/secret/key"}
    assert (await writer.call("PUT", "/bucket/mine", body=b"x")).status == 200
    assert (await writer.call("PUT", "/bucket/mine", headers=copy)).code == "AccessDenied"
    assert (await world.call("GET", "/bucket/mine")).body == b"x"


# Class C: a path or a bucket is left by a name.


@pytest.mark.parametrize(
    "key",
    [
        "../secret/key",
        "..%2Fsecret%2Fkey",
        "%2e%2e/secret/key",
        "..\\secret\\key",
        "..%5Csecret%5Ckey",
        "/secret/key",
        "a/../../secret/key",
        "%00/secret/key",
    ],
)
async def test_class_c_no_key_leads_out_of_its_bucket(key: str) -> None:
    """CVE-2023-28433 and -28434, CVE-2026-54917, CVE-2026-55874: in a path, a source, a form."""
    world = await make_world()
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::bucket/*"]}
    user = Caller(world, await add_user(world, "carl", statement))
    await user.call("PUT", f"/bucket/{key.replace(chr(92), '%5C')}", body=b"forged")
    copy = {"x-amz-copy-source": f"bucket/{key}"}
    answer = await user.call("PUT", "/bucket/copied", headers=copy)
    if answer.status == 200:
        # What was copied is what was put under that very name.
        assert (await world.call("GET", "/bucket/copied")).body == b"forged"
    assert (await world.call("GET", "/secret/key")).body == b"hello"
    assert (await world.call("GET", "/secret")).texts("Contents/Key") == ["key"]


# Class D: malformed input brings it down.


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete>" * 50_000,
        b'<!DOCTYPE d [<!ENTITY a "' + b"a" * 50_000 + b'">]><Delete>' + b"&a;" * 100,
        b"\xff\xfe\x00\x00" * 1000,
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        b"<Delete " + b" ".join(b"a%d='1'" % n for n in range(20_000)) + b"/>",
    ],
    ids=["nested", "entities", "no text", "too many", "attributes"],
)
async def test_class_d_a_document_cannot_bring_it_down(body: bytes) -> None:
    """CVE-2020-12059, CVE-2022-3854, CVE-2023-46159 and others: an error, and the next request is
    answered."""
    world = await make_world()
    headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    answer = await world.call("POST", "/bucket?delete", body=body, headers=headers)
    assert answer.code in ("MalformedXML", "EntityTooLarge"), answer.body[:300]
    assert (await world.call("GET", "/bucket/key")).body == b"hello"


# Class E: it is made to fetch from elsewhere.


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/latest/meta-data",
        "http%3A%2F%2F127.0.0.1%3A9000%2Fsecret%2Fkey",
        "//127.0.0.1/secret/key",
        "file:///etc/passwd",
        "@127.0.0.1/secret/key",
    ],
)
async def test_class_e_a_source_is_never_an_address(source: str) -> None:
    """CVE-2021-21287, CVE-2026-73080: what a request names is a bucket and a key, or refused."""
    world = await make_world()
    answer = await world.call("PUT", "/bucket/new", headers={"x-amz-copy-source": source})
    assert answer.code in ("InvalidArgument", "NoSuchBucket", "InvalidBucketName"), answer.body
    assert (await world.call("GET", "/bucket/new")).code == "NoSuchKey"


# Class F: headers and pages are injected into.


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "a%0d%0ax-evil:%201"])
async def test_class_f_no_answer_has_a_header_that_a_client_wrote(value: str) -> None:
    """CVE-2015-5245, CVE-2020-10753, CVE-2021-3524: by response-* parameters, metadata, CORS."""
    world = await make_world()
    for name in ("response-content-type", "response-content-disposition", "response-cache-control"):
        quoted = value.replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")
        answer = await world.call("GET", f"/bucket/key?{name}={quoted.replace(' ', '%20')}")
        for header, text in answer.response.headers:
            assert "evil" not in header.lower()
            assert not set(text) & set("\r\n\0"), (name, text)
    answer = await world.call("GET", "/bucket/key", headers={"origin": value.partition("\r")[0]})
    assert not any("access-control" in header.lower() for header, _ in answer.response.headers)


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-meta-x-amz-server-side-encryption",
        "x-rs3gw-encryption",
        "x-minio-internal-encryption",
    ],
)
async def test_class_f_no_client_writes_what_only_the_server_writes(name: str) -> None:
    """CVE-2026-34204: encryption metadata came in by headers, and the object could not be read."""
    world = await make_world()
    put = await world.call("PUT", "/bucket/new", body=b"data", headers={name: "SSE-KMS"})
    assert put.status == 200
    answer = await world.call("GET", "/bucket/new")
    assert answer.body == b"data"
    assert "x-amz-server-side-encryption" not in answer.headers


async def test_class_f_a_name_in_an_error_is_text() -> None:
    """CVE-2016-9579, CVE-2020-1760: what was asked for comes back as XML text, never as a page."""
    world = await make_world()
    path = "/bucket/%3Cscript%3Ealert%281%29%3C/script%3E"
    answer = await world.send(cell_of("GetObject", Variant.HEADER, world, path).request())
    assert answer.code == "NoSuchKey"
    assert b"<script" not in answer.body
    assert answer.headers["content-type"] == "application/xml"


# Class G: secrets leak, or what should be a secret tells.


async def test_class_g_no_refusal_tells_whether_a_key_exists() -> None:
    """CVE-2026-33419, CVE-2024-36107: an unknown key and a wrong secret are told apart by the
    error that S3 defines and by nothing else; no answer holds a secret or what it signed."""
    world = await make_world()
    known = cell_of("GetObject", Variant.HEADER, world, "/bucket/key")
    head, _, value = known.headers["authorization"].rpartition("=")
    wrong = known.headers | {"authorization": f"{head}={value[::-1]}"}
    answer = await refused(world, structs.replace(known, headers=wrong), what="wrong signature")
    assert answer.code == "SignatureDoesNotMatch"
    assert SECRET.encode() not in answer.body
    assert value.encode() not in answer.body
    unknown = Signer.now("AKIANOBODYNOBODY0000", SECRET)
    row = next(row for row in ROWS if row.name == "GetObject")
    cell = sign_cell(row, Variant.HEADER, unknown, path="/bucket/key", query={})
    answer = await refused(world, cell, what="unknown key")
    assert answer.code == "InvalidAccessKeyId"


async def test_class_g_conditions_are_answered_behind_permission() -> None:
    """CVE-2024-36107: who may not read learns by If-Match whether the object is there."""
    world = await make_world()
    answers = set()
    for key in ("key", "none"):
        for headers in ({}, {"if-match": "*"}, {"if-none-match": "*"}, {"range": "bytes=9-"}):
            answer = await world.call("GET", f"/bucket/{key}", headers=headers, by=BOB)
            answers.add((answer.status, answer.body.replace(key.encode(), b"K")))
    assert len(answers) == 1


# Class H: an inner door is trusted. The doors between nodes are in tests/unit/cluster/drivers.


async def test_class_h_no_path_of_the_data_port_leads_inside() -> None:
    """CVE-2023-28432, CVE-2026-42600, CVE-2026-72920: inner calls that answer whoever asks."""
    world = await make_world()
    for path in ("/minio/bootstrap/v1/verify", "/rs3gw/peer/blob.get", "/raft/append", "/admin/v3"):
        for method in ("GET", "POST", "PUT"):
            request = make_request(method, path, {"host": HOST}, b"")
            answer = await world.send(request)
            assert answer.code in ("AccessDenied", "NoSuchBucket", "MethodNotAllowed"), path


async def test_a_policy_of_the_bucket_is_not_read_by_whoever_reads_objects() -> None:
    """CVE-2026-50152: any reader gets the key store; here, the policy and what it names."""
    world = await make_world()
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    open_up = b"<PublicAccessBlockConfiguration/>"
    await world.call("PUT", "/bucket?publicAccessBlock", body=open_up)
    assert (await world.call("PUT", "/bucket?policy", body=policy(statement))).status == 204
    assert (await world.call("GET", "/bucket/key", by=BOB)).body == b"hello"
    for part in ("policy", "acl", "encryption", "ownershipControls", "publicAccessBlock", "cors"):
        assert (await world.call("GET", f"/bucket?{part}", by=BOB)).code == "AccessDenied", part
