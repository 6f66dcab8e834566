"""Who may do what, through the whole surface: policies, lists, ownership and switches."""

import base64
import json
import zlib

import pytest
from s3_world import ALICE, BOB, Answer, S3World

from rs3gwd.base.new_buckets import NewBuckets
from rs3gwd.base.records import AccountRecord
from rs3gwd.iam.acl import ALL_USERS
from rs3gwd.iam.identities.arns import account_id_of

pytestmark = pytest.mark.proves(
    "GetBucketAcl",
    "PutBucketAcl",
    "GetObjectAcl",
    "PutObjectAcl",
    "GetBucketOwnershipControls",
    "PutBucketOwnershipControls",
    "DeleteBucketOwnershipControls",
    "GetPublicAccessBlock",
    "PutPublicAccessBlock",
    "DeletePublicAccessBlock",
    "GetBucketRequestPayment",
    "PutBucketRequestPayment",
    "GetBucketPolicy",
    "PutBucketPolicy",
    "DeleteBucketPolicy",
    "GetBucketPolicyStatus",
)

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@pytest.fixture
async def world() -> S3World:
    """Alice's buckets: `new` as it is made today, `open` with lists and nothing blocked."""
    made = S3World()
    assert (await made.call("PUT", "/new-bucket")).status == 200
    headers = {"x-amz-object-ownership": "ObjectWriter"}
    assert (await made.call("PUT", "/open-bucket", headers=headers)).status == 200
    assert (await made.call("DELETE", "/open-bucket?publicAccessBlock")).status == 204
    for bucket in ("new-bucket", "open-bucket"):
        assert (await made.call("PUT", f"/{bucket}/key", body=b"bytes")).status == 200
    return made


def policy(
    bucket: str, *, who: object = "*", action: object = "s3:GetObject", **more: object
) -> bytes:
    """A policy of one statement about the bucket and what is in it."""
    resource = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    if isinstance(action, str) and "Object" in action:
        resource = resource[1:]
    statement = {"Effect": "Allow", "Principal": who, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | more]}).encode()


def principal(account: AccountRecord) -> dict[str, str]:
    """How a policy names an account."""
    return {"AWS": account_id_of(account.canonical_id)}


async def put_policy(world: S3World, bucket: str, body: bytes) -> Answer:
    """PutBucketPolicy, as alice."""
    return await world.call("PUT", f"/{bucket}?policy", body=body)


async def test_a_new_bucket_has_lists_off_and_the_public_blocked(world: S3World) -> None:
    """As AWS makes them since April 2023."""
    shown = await world.call("GET", "/new-bucket?ownershipControls")
    assert shown.text("Rule/ObjectOwnership") == "BucketOwnerEnforced"
    shown = await world.call("GET", "/new-bucket?publicAccessBlock")
    assert [each.text for each in shown.xml] == ["true"] * 4
    answer = await world.call("PUT", "/new-bucket?acl", headers={"x-amz-acl": "public-read"})
    assert answer.code == "AccessControlListNotSupported"
    answer = await world.call(
        "PUT", "/new-bucket/k", body=b"x", headers={"x-amz-acl": "public-read"}
    )
    assert answer.code == "AccessControlListNotSupported"
    assert (await put_policy(world, "new-bucket", policy("new-bucket"))).code == "AccessDenied"
    shown = await world.call("GET", "/new-bucket?acl")
    assert shown.text("AccessControlList/Grant/Permission") == "FULL_CONTROL"


async def test_a_bucket_cannot_be_made_with_a_list_that_would_not_count(world: S3World) -> None:
    """InvalidBucketAclWithObjectOwnership; with ObjectWriter the block still refuses the public."""
    headers = {"x-amz-acl": "public-read"}
    answer = await world.call("PUT", "/third-bucket", headers=headers)
    assert answer.code == "InvalidBucketAclWithObjectOwnership"
    headers["x-amz-object-ownership"] = "ObjectWriter"
    assert (await world.call("PUT", "/third-bucket", headers=headers)).code == "AccessDenied"
    headers["x-amz-object-ownership"] = "Nobody"
    assert (await world.call("PUT", "/third-bucket", headers=headers)).code == "InvalidArgument"
    assert (await world.call("HEAD", "/third-bucket")).status == 404


async def test_a_policy_lets_another_account_in_and_only_as_far_as_it_says(world: S3World) -> None:
    """Reading, not writing; and again out when the policy is gone."""
    body = policy("new-bucket", who=principal(BOB))
    assert (await put_policy(world, "new-bucket", body)).status == 204
    shown = await world.call("GET", "/new-bucket?policy")
    assert shown.body == body
    assert (await world.call("GET", "/new-bucket/key", by=BOB)).body == b"bytes"
    assert (await world.call("PUT", "/new-bucket/key", body=b"x", by=BOB)).code == "AccessDenied"
    assert (await world.call("GET", "/new-bucket/key", by=None)).code == "AccessDenied"
    status = await world.call("GET", "/new-bucket?policyStatus")
    assert status.text("IsPublic") == "false"
    assert (await world.call("DELETE", "/new-bucket?policy")).status == 204
    assert (await world.call("GET", "/new-bucket/key", by=BOB)).code == "AccessDenied"
    assert (await world.call("GET", "/new-bucket?policy")).code == "NoSuchBucketPolicy"
    assert (await world.call("GET", "/new-bucket?policyStatus")).code == "NoSuchBucketPolicy"


async def test_what_is_missing_is_told_to_those_who_may_list(world: S3World) -> None:
    """404 with s3:ListBucket, 403 without."""
    await put_policy(world, "open-bucket", policy("open-bucket"))
    assert (await world.call("GET", "/open-bucket/none", by=None)).code == "AccessDenied"
    more = policy("open-bucket", action=["s3:GetObject", "s3:ListBucket"])
    await put_policy(world, "open-bucket", more)
    assert (await world.call("GET", "/open-bucket/none", by=None)).code == "NoSuchKey"


async def test_a_public_policy_says_so_and_can_be_restricted(world: S3World) -> None:
    """RestrictPublicBuckets keeps it in place and everybody else out."""
    await put_policy(world, "open-bucket", policy("open-bucket"))
    assert (await world.call("GET", "/open-bucket/key", by=None)).status == 200
    shown = await world.call("GET", "/open-bucket?policyStatus")
    assert shown.text("IsPublic") == "true"
    block = (
        b"<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>"
        b"</PublicAccessBlockConfiguration>"
    )
    assert (await world.call("PUT", "/open-bucket?publicAccessBlock", body=block)).status == 200
    assert (await world.call("GET", "/open-bucket/key", by=None)).code == "AccessDenied"
    assert (await world.call("GET", "/open-bucket/key", by=BOB)).code == "AccessDenied"
    assert (await world.call("GET", "/open-bucket/key")).status == 200


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"not json", "MalformedPolicy"),
        (b'{"Statement": []}', "MalformedPolicy"),
        (policy("other-bucket"), "MalformedPolicy"),
        (policy("new-bucket", action="s3:Nonsense*"), "MalformedPolicy"),
        (policy("new-bucket", who={"AWS": "nobody"}), "MalformedPolicy"),
    ],
)
async def test_a_policy_that_means_nothing_is_refused(
    world: S3World, text: bytes, code: str
) -> None:
    """And the one that was there stays."""
    kept = policy("new-bucket", who=principal(BOB))
    await put_policy(world, "new-bucket", kept)
    assert (await put_policy(world, "new-bucket", text)).code == code
    assert (await world.call("GET", "/new-bucket?policy")).body == kept


async def test_lists_let_the_public_in_where_they_count(world: S3World) -> None:
    """A public object can be read by anybody, its neighbour not; the bucket's list lists."""
    headers = {"x-amz-acl": "public-read"}
    assert (await world.call("PUT", "/open-bucket/shown", body=b"x", headers=headers)).status == 200
    assert (await world.call("GET", "/open-bucket/shown", by=None)).status == 200
    assert (await world.call("GET", "/open-bucket/key", by=None)).code == "AccessDenied"
    assert (await world.call("GET", "/open-bucket", by=None)).code == "AccessDenied"
    assert (await world.call("PUT", "/open-bucket?acl", headers=headers)).status == 200
    assert (await world.call("GET", "/open-bucket", by=None)).status == 200
    shown = await world.call("GET", "/open-bucket?acl")
    assert shown.texts("AccessControlList/Grant/Grantee/URI") == [ALL_USERS]


async def test_a_list_of_a_version_is_put_as_xml_and_read_back(world: S3World) -> None:
    """Bob may read the object and its list after it names him."""
    grants = "".join(
        f'<Grant><Grantee {XSI} xsi:type="CanonicalUser"><ID>{BOB.canonical_id}</ID></Grantee>'
        f"<Permission>{permission}</Permission></Grant>"
        for permission in ("READ", "READ_ACP")
    )
    body = (
        f"<AccessControlPolicy><Owner><ID>{ALICE.canonical_id}</ID></Owner>"
        f"<AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    ).encode()
    assert (await world.call("PUT", "/open-bucket/key?acl", body=body)).status == 200
    assert (await world.call("GET", "/open-bucket/key", by=BOB)).status == 200
    shown = await world.call("GET", "/open-bucket/key?acl", by=BOB)
    assert shown.texts("AccessControlList/Grant/Permission") == ["READ", "READ_ACP"]
    assert (
        await world.call("PUT", "/open-bucket/key?acl", body=body, by=BOB)
    ).code == "AccessDenied"
    both = await world.call(
        "PUT", "/open-bucket/key?acl", body=body, headers={"x-amz-acl": "private"}
    )
    assert both.code == "UnexpectedContent"
    assert (await world.call("PUT", "/open-bucket/key?acl")).code == "MissingSecurityHeader"


async def test_who_writes_owns_unless_it_is_given_away(world: S3World) -> None:
    """Bob's object in alice's bucket is bob's; with BucketOwnerPreferred he can give it to her."""
    await put_policy(
        world, "open-bucket", policy("open-bucket", who=principal(BOB), action="s3:Put*")
    )
    assert (await world.call("PUT", "/open-bucket/bobs", body=b"b", by=BOB)).status == 200
    assert (await world.call("GET", "/open-bucket/bobs", by=BOB)).status == 200
    assert (await world.call("GET", "/open-bucket/bobs")).code == "AccessDenied"
    controls = (
        b"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership></Rule>"
        b"</OwnershipControls>"
    )
    assert (await world.call("PUT", "/open-bucket?ownershipControls", body=controls)).status == 200
    given = {"x-amz-acl": "bucket-owner-full-control"}
    await world.call("PUT", "/open-bucket/given", body=b"g", headers=given, by=BOB)
    assert (await world.call("GET", "/open-bucket/given")).body == b"g"
    # With ownership enforced everything is alice's.
    controls = controls.replace(b"BucketOwnerPreferred", b"BucketOwnerEnforced")
    assert (await world.call("PUT", "/open-bucket?ownershipControls", body=controls)).status == 200
    assert (await world.call("GET", "/open-bucket/bobs")).status == 200
    assert (await world.call("GET", "/open-bucket/bobs", by=BOB)).code == "AccessDenied"


async def test_lists_cannot_be_switched_off_over_one_that_lets_others_in(world: S3World) -> None:
    """InvalidBucketAclWithObjectOwnership until the list is private again."""
    await world.call("PUT", "/open-bucket?acl", headers={"x-amz-acl": "public-read"})
    controls = (
        b"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"
        b"</OwnershipControls>"
    )
    answer = await world.call("PUT", "/open-bucket?ownershipControls", body=controls)
    assert answer.code == "InvalidBucketAclWithObjectOwnership"
    await world.call("PUT", "/open-bucket?acl", headers={"x-amz-acl": "private"})
    assert (await world.call("PUT", "/open-bucket?ownershipControls", body=controls)).status == 200
    assert (await world.call("DELETE", "/open-bucket?ownershipControls")).status == 204
    answer = await world.call("GET", "/open-bucket?ownershipControls")
    assert answer.code == "OwnershipControlsNotFoundError"


async def test_headers_that_ask_for_more_need_permission_for_it(world: S3World) -> None:
    """s3:PutObject alone sets no tags and no list."""
    who = principal(BOB)
    await put_policy(world, "open-bucket", policy("open-bucket", who=who, action="s3:PutObject"))
    for headers in ({"x-amz-tagging": "a=1"}, {"x-amz-acl": "public-read"}):
        answer = await world.call("PUT", "/open-bucket/k", body=b"x", headers=headers, by=BOB)
        assert answer.code == "AccessDenied"
    both = policy("open-bucket", who=who, action=["s3:PutObject", "s3:PutObjectTagging"])
    await put_policy(world, "open-bucket", both)
    answer = await world.call(
        "PUT", "/open-bucket/k", body=b"x", headers={"x-amz-tagging": "a=1"}, by=BOB
    )
    assert answer.status == 200


async def test_a_batch_of_deletes_is_decided_key_by_key(world: S3World) -> None:
    """Bob may delete under his prefix and learns of the rest that he may not."""
    body = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": principal(BOB),
                    "Action": "s3:DeleteObject",
                    "Resource": "arn:aws:s3:::new-bucket/bob/*",
                }
            ],
        }
    ).encode()
    await put_policy(world, "new-bucket", body)
    await world.call("PUT", "/new-bucket/bob/1", body=b"x")
    document = b"<Delete><Object><Key>bob/1</Key></Object><Object><Key>key</Key></Object></Delete>"
    headers = {"x-amz-checksum-crc32": _crc32(document)}
    answer = await world.call("POST", "/new-bucket?delete", body=document, headers=headers, by=BOB)
    assert answer.texts("Deleted/Key") == ["bob/1"]
    assert answer.texts("Error/Code") == ["AccessDenied"]
    assert (await world.call("HEAD", "/new-bucket/key")).status == 200
    assert (await world.call("HEAD", "/new-bucket/bob/1")).status == 404


async def test_a_copy_needs_the_source_too(world: S3World) -> None:
    """Bob may write into open-bucket and not read new-bucket; a public source he may copy."""
    await put_policy(
        world, "open-bucket", policy("open-bucket", who=principal(BOB), action="s3:Put*")
    )
    headers = {"x-amz-copy-source": "/new-bucket/key"}
    answer = await world.call("PUT", "/open-bucket/copy", headers=headers, by=BOB)
    assert answer.code == "AccessDenied"
    missing = {"x-amz-copy-source": "/new-bucket/none"}
    answer = await world.call("PUT", "/open-bucket/copy", headers=missing, by=BOB)
    assert answer.code == "AccessDenied"
    await put_policy(world, "new-bucket", policy("new-bucket", who=principal(BOB)))
    answer = await world.call("PUT", "/open-bucket/copy", headers=headers, by=BOB)
    assert answer.status == 200
    answer = await world.call("PUT", "/open-bucket/copy", headers=missing, by=BOB)
    assert answer.code == "AccessDenied"


async def test_a_requester_pays_bucket_asks_others_to_pay(world: S3World) -> None:
    """Without the declaration it is 403; with it the answer says who is charged."""
    await put_policy(world, "new-bucket", policy("new-bucket", who=principal(BOB)))
    payment = b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"
    assert (await world.call("PUT", "/new-bucket?requestPayment", body=payment)).status == 200
    shown = await world.call("GET", "/new-bucket?requestPayment")
    assert shown.text("Payer") == "Requester"
    assert "x-amz-request-charged" not in shown.headers
    assert (await world.call("GET", "/new-bucket/key", by=BOB)).code == "AccessDenied"
    paying = {"x-amz-request-payer": "requester"}
    answer = await world.call("GET", "/new-bucket/key", headers=paying, by=BOB)
    assert (answer.status, answer.headers["x-amz-request-charged"]) == (200, "requester")
    back = payment.replace(b"Requester<", b"BucketOwner<")
    await world.call("PUT", "/new-bucket?requestPayment", body=back)
    assert (await world.call("GET", "/new-bucket/key", by=BOB)).status == 200


@pytest.mark.parametrize(
    ("target", "root", "inside"),
    [
        ("?ownershipControls", "OwnershipControls", ""),
        (
            "?ownershipControls",
            "OwnershipControls",
            "<Rule><ObjectOwnership>Me</ObjectOwnership></Rule>",
        ),
        ("?publicAccessBlock", "PublicAccessBlockConfiguration", "<Other>true</Other>"),
        (
            "?publicAccessBlock",
            "PublicAccessBlockConfiguration",
            "<BlockPublicAcls>maybe</BlockPublicAcls>",
        ),
        ("?requestPayment", "RequestPaymentConfiguration", "<Payer>Me</Payer>"),
    ],
)
async def test_a_setting_that_says_nothing_is_malformed(
    world: S3World, target: str, root: str, inside: str
) -> None:
    """Nothing is changed by it."""
    body = f"<{root}>{inside}</{root}>".encode()
    assert (await world.call("PUT", f"/new-bucket{target}", body=body)).code == "MalformedXML"


async def test_the_public_access_block_can_be_taken_away(world: S3World) -> None:
    """Then there is none to show."""
    answer = await world.call("GET", "/open-bucket?publicAccessBlock")
    assert answer.code == "NoSuchPublicAccessBlockConfiguration"


def _crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


async def test_classic_buckets_are_open_to_lists_from_the_start() -> None:
    """As before 2023: a public list is taken when the bucket is made, and nothing is blocked."""
    world = S3World(new_buckets=NewBuckets.CLASSIC)
    headers = {"x-amz-acl": "public-read"}
    assert (await world.call("PUT", "/classic", headers=headers)).status == 200
    assert (await world.call("GET", "/classic", by=None)).status == 200
    answer = await world.call("GET", "/classic?publicAccessBlock")
    assert answer.code == "NoSuchPublicAccessBlockConfiguration"
    answer = await world.call("GET", "/classic?ownershipControls")
    assert answer.code == "OwnershipControlsNotFoundError"
