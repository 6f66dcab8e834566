"""The default encryption of a bucket: what is shown is what is done."""

import pytest
from encryption_world import KMS, S3, customer
from encryption_world import make_encrypted_world as make_world
from object_world import World, headers_of, refused_code, text_in, xml_of
from upload_world import Upload

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import EncryptionKind
from rs3gwd.s3.bucket_encryption import (
    EncryptionRule,
    delete_bucket_encryption,
    get_bucket_encryption,
    parse_rule,
    put_bucket_encryption,
)
from rs3gwd.s3.objects import put_object

PREFIX = "x-amz-server-side-encryption"
NONE = "ServerSideEncryptionConfigurationNotFoundError"


def rule_xml(inside: str) -> bytes:
    return (
        f"<ServerSideEncryptionConfiguration><Rule>{inside}</Rule>"
        "</ServerSideEncryptionConfiguration>"
    ).encode()


def default_xml(algorithm: str, key_id: str = "") -> str:
    key = f"<KMSMasterKeyID>{key_id}</KMSMasterKeyID>" if key_id else ""
    return (
        "<ApplyServerSideEncryptionByDefault>"
        f"<SSEAlgorithm>{algorithm}</SSEAlgorithm>{key}</ApplyServerSideEncryptionByDefault>"
    )


async def put_shown(world: World, **headers: str) -> dict[str, str]:
    """The headers of encryption in the answer to a PUT."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = headers_of(await world.run(put_object, body=b"x", headers=named))
    return {name: value for name, value in answer.items() if name.startswith(PREFIX)}


async def shown_algorithm(world: World) -> str | None:
    answer = await world.run(get_bucket_encryption, method="GET")
    path = "Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm"
    return text_in(xml_of(answer.body), path)


@pytest.mark.proves("PutBucketEncryption", "GetBucketEncryption", "DeleteBucketEncryption")
async def test_the_rule_that_is_shown_is_the_rule_that_holds() -> None:
    """None, AES256, aws:kms with a bucket key, and none again."""
    world, keys = await make_world()
    keys.keys["k"] = b"k" * 32
    assert await refused_code(world.run(get_bucket_encryption, method="GET")) == NONE
    assert await put_shown(world) == {}
    await world.run(put_bucket_encryption, body=rule_xml(default_xml("AES256")))
    assert await shown_algorithm(world) == "AES256"
    assert await put_shown(world) == {PREFIX: "AES256"}
    inside = default_xml("aws:kms", "k") + "<BucketKeyEnabled>true</BucketKeyEnabled>"
    await world.run(put_bucket_encryption, body=rule_xml(inside))
    assert await shown_algorithm(world) == "aws:kms"
    assert await put_shown(world) == {
        PREFIX: "aws:kms",
        f"{PREFIX}-aws-kms-key-id": "k",
        f"{PREFIX}-bucket-key-enabled": "true",
    }
    assert (await world.run(delete_bucket_encryption, method="DELETE")).status == 204
    assert await refused_code(world.run(get_bucket_encryption, method="GET")) == NONE
    assert await put_shown(world) == {}


async def test_the_rule_of_the_node_holds_where_there_is_no_other() -> None:
    """It is shown, and goes for uploads too; a bucket's own stands before it."""
    world, _ = await make_world(default_encryption=EncryptionKind.SSE_S3)
    assert await shown_algorithm(world) == "AES256"
    assert await put_shown(world) == {PREFIX: "AES256"}
    upload = await Upload.start(world)
    assert (await upload.put(1, b"x"))[PREFIX] == "AES256"
    await world.run(put_bucket_encryption, body=rule_xml(default_xml("aws:kms")))
    assert (await put_shown(world))[PREFIX] == "aws:kms"


async def test_a_request_stands_before_the_rule() -> None:
    """And says by itself whether a bucket key is used; else the rule does."""
    world, _ = await make_world()
    inside = default_xml("aws:kms") + "<BucketKeyEnabled>true</BucketKeyEnabled>"
    await world.run(put_bucket_encryption, body=rule_xml(inside))
    assert await put_shown(world, **S3) == {PREFIX: "AES256"}
    assert f"{PREFIX}-bucket-key-enabled" in await put_shown(world, **KMS)
    off = {f"{PREFIX}-bucket-key-enabled": "false"}
    assert f"{PREFIX}-bucket-key-enabled" not in await put_shown(world, **off)
    assert f"{PREFIX}-customer-algorithm" in await put_shown(world, **customer())


async def test_customer_keys_can_be_kept_out() -> None:
    """Writes with SSE-C are refused, and the rule says so."""
    world, _ = await make_world()
    inside = (
        default_xml("AES256") + "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>"
        "</BlockedEncryptionTypes>"
    )
    await world.run(put_bucket_encryption, body=rule_xml(inside))
    answer = await world.run(get_bucket_encryption, method="GET")
    blocked = text_in(xml_of(answer.body), "Rule/BlockedEncryptionTypes/EncryptionType")
    assert blocked == "SSE-C"
    assert await refused_code(put_shown(world, **customer())) == "AccessDenied"
    assert await put_shown(world) == {PREFIX: "AES256"}


async def test_a_rule_that_cannot_be_kept_is_refused() -> None:
    """A node without keys takes no rule that its writes would all fail by."""
    world, _ = await make_world(keys=None)
    body = rule_xml(default_xml("AES256"))
    assert await refused_code(world.run(put_bucket_encryption, body=body)) == "NotImplemented"


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        (default_xml("aws:kms:dsse"), "NotImplemented"),
        (default_xml("rot13"), "MalformedXML"),
        (default_xml(""), "MalformedXML"),
        (default_xml("AES256", "k"), "InvalidArgument"),
        (default_xml("aws:kms", "k" * 3000), "MalformedXML"),
        (default_xml("AES256") + "<BucketKeyEnabled>maybe</BucketKeyEnabled>", "MalformedXML"),
        (default_xml("AES256") + "<Other/>", "MalformedXML"),
        (
            "<BlockedEncryptionTypes><EncryptionType>AES256</EncryptionType>"
            "</BlockedEncryptionTypes>",
            "MalformedXML",
        ),
    ],
)
def test_rules_that_say_nothing_known_are_refused(inside: str, code: str) -> None:
    """A document is read whole or not at all."""
    with pytest.raises(ApiError) as caught:
        parse_rule(rule_xml(inside))
    assert caught.value.api_code == code


def test_there_is_one_rule() -> None:
    """No rule and two are malformed; one that names nothing is AES256, as in AWS."""
    assert parse_rule(rule_xml("")) == EncryptionRule()
    for count in (0, 2):
        body = f"<ServerSideEncryptionConfiguration>{'<Rule/>' * count}"
        with pytest.raises(ApiError):
            parse_rule(f"{body}</ServerSideEncryptionConfiguration>".encode())
