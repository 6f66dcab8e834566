"""The default encryption of a bucket: how objects are encrypted whose writer does not say.

A bucket has one rule. It names SSE-S3 or SSE-KMS (with a key, or the default one), says whether a
key of the bucket stands between the objects and the key management, and may keep SSE-C out. Without
a rule of its own a bucket has that of the node, the option `encryption.default`: `none`, and
GetBucketEncryption answers ServerSideEncryptionConfigurationNotFoundError as AWS did until 2023, or
`AES256`, and it shows the rule that AWS gives to every bucket since. So what is shown is what is
done.

A rule holds for what is written after it. Like AWS, PutBucketEncryption does not ask whether the
key exists: a write that cannot be encrypted is refused.

Sources: PutBucketEncryption, GetBucketEncryption and DeleteBucketEncryption in the Amazon S3 API
Reference; "Setting default server-side encryption behavior for Amazon S3 buckets", "Blocking or
unblocking SSE-C for a general purpose bucket" in the User Guide.
"""

import msgspec
from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.base.ports import ObjectStore
from rs3gwd.base.records import BucketRecord, EncryptionKind
from rs3gwd.s3.body import read_body
from rs3gwd.s3.bucket_configuration import put_document
from rs3gwd.s3.call import Call
from rs3gwd.s3.encryption_headers import DSSE, KEY_ID_CHARACTERS_MAX
from rs3gwd.s3.object_arguments import bucket_of
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX, Element, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, optional_element

KIND = "encryption"

_BLOCKABLE = EncryptionKind.SSE_C.value
_BLOCKS_NOTHING = "NONE"
_FLAGS = {"true": True, "false": False}


class EncryptionRule(Struct, frozen=True, omit_defaults=True):
    """The rule of a bucket. `key_id` is that of SSE_KMS, empty for the default key."""

    kind: EncryptionKind = EncryptionKind.SSE_S3
    key_id: str = ""
    bucket_key: bool = False
    blocks_customer_keys: bool = False


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(EncryptionRule)


async def get_bucket_encryption(call: Call) -> Response:
    """The rule that holds. Raises ApiError ServerSideEncryptionConfigurationNotFoundError."""
    rule = await encryption_rule(call)
    if rule is None:
        raise ApiError(
            "ServerSideEncryptionConfigurationNotFoundError", fields={"BucketName": call.bucket}
        )
    return Response(
        200, [CONTENT_TYPE], document("ServerSideEncryptionConfiguration", _rule_xml(rule))
    )


async def put_bucket_encryption(call: Call) -> Response:
    """Sets the rule. Raises ApiError MalformedXML, InvalidArgument, NotImplemented."""
    if call.services.keys is None:
        raise ApiError("NotImplemented", "This server has no keys to encrypt with")
    rule = parse_rule(await read_body(call, CONFIGURATION_BYTES_MAX))
    await put_document(call, KIND, _encoder.encode(rule))
    return Response(200, [])


async def delete_bucket_encryption(call: Call) -> Response:
    """Back to the rule of the node; no error where there is nothing to remove."""
    await put_document(call, KIND, None)
    return Response(204, [])


async def encryption_rule(call: Call) -> EncryptionRule | None:
    """The rule for what is written to the bucket of a call now; None for none."""
    own = await _own_rule(call.services.store, bucket_of(call))
    if own is not None:
        return own
    kind = call.services.default_encryption
    return None if kind is None else EncryptionRule(kind)


def parse_rule(body: bytes) -> EncryptionRule:
    """The rule of a `<ServerSideEncryptionConfiguration>`.

    Raises ApiError MalformedXML, InvalidArgument (a key for SSE-S3), NotImplemented (two layers).
    """
    root = parse_xml(body, "ServerSideEncryptionConfiguration")
    root.require_children("Rule")
    if len(root.children) != 1:
        raise malformed()
    rule = root.children[0]
    rule.require_children(
        "ApplyServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes"
    )
    kind, key_id = _parse_default(rule.find("ApplyServerSideEncryptionByDefault"))
    bucket_key = _FLAGS.get((rule.text_of("BucketKeyEnabled") or "false").strip().lower())
    if bucket_key is None:
        raise malformed()
    return EncryptionRule(
        kind=kind,
        key_id=key_id,
        bucket_key=bucket_key,
        blocks_customer_keys=_parse_blocked(rule.find("BlockedEncryptionTypes")),
    )


async def _own_rule(store: ObjectStore, bucket: BucketRecord) -> EncryptionRule | None:
    if KIND not in bucket.configurations:
        return None
    found = await store.get_configuration(bucket, KIND)
    return None if found is None else _decoder.decode(found)


def _parse_default(found: Element | None) -> tuple[EncryptionKind, str]:
    if found is None:
        return EncryptionKind.SSE_S3, ""
    found.require_children("SSEAlgorithm", "KMSMasterKeyID")
    algorithm = (found.text_of("SSEAlgorithm") or "").strip()
    key_id = (found.text_of("KMSMasterKeyID") or "").strip()
    if algorithm == DSSE:
        raise ApiError("NotImplemented", "Dual-layer encryption (aws:kms:dsse) is not implemented")
    if algorithm not in (EncryptionKind.SSE_S3, EncryptionKind.SSE_KMS):
        raise malformed()
    if key_id and algorithm == EncryptionKind.SSE_S3:
        raise ApiError(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or "
            "aws:kms:dsse",
            fields={"ArgumentName": "ApplyServerSideEncryptionByDefault"},
        )
    if len(key_id) > KEY_ID_CHARACTERS_MAX or not key_id.isascii():
        raise malformed()
    return EncryptionKind(algorithm), key_id


def _parse_blocked(found: Element | None) -> bool:
    if found is None:
        return False
    found.require_children("EncryptionType")
    types = {child.text.strip() for child in found.children}
    if not types <= {_BLOCKABLE, _BLOCKS_NOTHING} or len(types) > 1:
        raise malformed()
    return _BLOCKABLE in types


def _rule_xml(rule: EncryptionRule) -> str:
    default = element("SSEAlgorithm", rule.kind.value) + optional_element(
        "KMSMasterKeyID", rule.key_id
    )
    blocked = ""
    if rule.blocks_customer_keys:
        blocked = (
            f"<BlockedEncryptionTypes>{element('EncryptionType', _BLOCKABLE)}"
            "</BlockedEncryptionTypes>"
        )
    return (
        f"<Rule><ApplyServerSideEncryptionByDefault>{default}"
        f"</ApplyServerSideEncryptionByDefault>"
        f"{element('BucketKeyEnabled', 'true' if rule.bucket_key else 'false')}{blocked}</Rule>"
    )
