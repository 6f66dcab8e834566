"""What a bucket says about who may use it: the documents of its configuration, read together.

    ownership             who owns what others write, and whether access control lists count
    public-access-block   four switches that overrule lists and policies that let the public in
    acl                   the bucket's own list
    policy                the bucket's policy, with principals
    request-payment       whether callers of other accounts must say that they pay

Each is a document of its own, so that two changes at one time do not undo each other. What they
come to is worked out once and kept until the bucket's record changes: a record carries a stamp for
each document, so nothing that is kept can outlive a change.

A bucket that has no document of a kind is as AWS's buckets were before 2023: lists count, nothing
is blocked, and the list is private. What a new bucket gets is the surface's matter.

Source: "Controlling ownership of objects and disabling ACLs for your bucket", "Blocking public
access to your Amazon S3 storage" and "Using Requester Pays buckets" in the Amazon S3 User Guide.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec import Struct, field

from rs3gwd.base.records import BucketRecord, Grant
from rs3gwd.iam.acl import private_acl
from rs3gwd.iam.identities.permissions import Permissions
from rs3gwd.iam.policy.document import BUCKET_CHARACTERS_MAX, PolicyKind
from rs3gwd.iam.policy.public import is_public_policy
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.remembered import Memory
from rs3gwd.iam.policy.statements import CompiledPolicy

KEPT_BUCKETS_MAX = 1024
"""Buckets whose access is kept, a few KiB each; when they are more, all are dropped."""


class Kind(StrEnum):
    """The kinds of document, as a bucket's configuration names them."""

    OWNERSHIP = "ownership"
    PUBLIC_ACCESS_BLOCK = "public-access-block"
    ACL = "acl"
    POLICY = "policy"
    REQUEST_PAYMENT = "request-payment"


class Ownership(StrEnum):
    """ENFORCED: the bucket's owner owns all and lists do not count. PREFERRED: who writes with the
    list `bucket-owner-full-control` gives the object away. WRITER: who writes owns.
    """

    ENFORCED = "BucketOwnerEnforced"
    PREFERRED = "BucketOwnerPreferred"
    WRITER = "ObjectWriter"


class PublicAccessBlock(Struct, frozen=True):
    """The four switches."""

    block_public_acls: bool = False
    ignore_public_acls: bool = False
    block_public_policy: bool = False
    restrict_public_buckets: bool = False


ALL_BLOCKED = PublicAccessBlock(
    block_public_acls=True,
    ignore_public_acls=True,
    block_public_policy=True,
    restrict_public_buckets=True,
)


class BucketAccess(Struct, frozen=True):
    """What the documents of a bucket come to, and what is remembered of whom that permitted."""

    name: str
    owner_id: str
    ownership: Ownership
    block: PublicAccessBlock
    acl: list[Grant]
    policy: CompiledPolicy | None
    policy_is_public: bool
    requester_pays: bool
    tags: list[tuple[str, str]]
    memory: Memory[Permissions] = field(default_factory=Memory)

    def __post_init__(self) -> None:
        # What is made from another by replacing a part remembers nothing of the other.
        msgspec.structs.force_setattr(self, "memory", Memory())

    @property
    def lists_count(self) -> bool:
        """Whether access control lists say anything here."""
        return self.ownership is not Ownership.ENFORCED


Reader = Callable[[BucketRecord, str], bytes | None]
"""How a document is looked up; see `rs3gwd.base.ports.Lookups.get_configuration`."""


class AccessCache:
    """The access of the buckets that were asked for lately. Belongs to the event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[BucketRecord, BucketAccess]] = {}

    def of(self, bucket: BucketRecord, read: Reader) -> BucketAccess:
        """What the documents of this bucket come to now.

        Raises ApiError when a stored policy cannot be read, which nothing that is stored should
        be; nobody gets in by it.
        """
        kept = self._kept.get(bucket.name)
        if kept is not None:
            record, access = kept
            if record is bucket or (
                record.bucket_id == bucket.bucket_id
                and record.configurations == bucket.configurations
                and record.tags == bucket.tags
            ):
                return access
        access = read_access(bucket, read)
        if len(self._kept) >= KEPT_BUCKETS_MAX:
            self._kept.clear()
        self._kept[bucket.name] = bucket, access
        return access


def read_access(bucket: BucketRecord, read: Reader) -> BucketAccess:
    """Reads the documents of a bucket."""
    ownership = read(bucket, Kind.OWNERSHIP)
    block = read(bucket, Kind.PUBLIC_ACCESS_BLOCK)
    acl = read(bucket, Kind.ACL)
    text = read(bucket, Kind.POLICY)
    policy = None if text is None else compile_bucket_policy(text, bucket.name)
    return BucketAccess(
        name=bucket.name,
        owner_id=bucket.owner_id,
        ownership=Ownership.WRITER if ownership is None else Ownership(ownership.decode()),
        block=PublicAccessBlock() if block is None else decode_block(block),
        acl=private_acl(bucket.owner_id) if acl is None else decode_acl(acl),
        policy=policy,
        policy_is_public=policy is not None and is_public_policy(policy.document),
        requester_pays=read(bucket, Kind.REQUEST_PAYMENT) is not None,
        tags=bucket.tags or [],
    )


def compile_bucket_policy(text: bytes, bucket: str) -> CompiledPolicy:
    """Reads a policy that is to be the one of `bucket`. Raises ApiError MalformedPolicy."""
    document = read_policy(
        text, PolicyKind.BUCKET, characters_max=BUCKET_CHARACTERS_MAX, bucket=bucket
    )
    return CompiledPolicy("bucket policy", document)


def encode_acl(acl: list[Grant]) -> bytes:
    """A list as a document."""
    return msgspec.json.encode(acl)


def decode_acl(document: bytes) -> list[Grant]:
    """The list in a document of ours."""
    return _acl_decoder.decode(document)


def encode_block(block: PublicAccessBlock) -> bytes:
    """The switches as a document."""
    return msgspec.json.encode(block)


def decode_block(document: bytes) -> PublicAccessBlock:
    """The switches in a document of ours."""
    return _block_decoder.decode(document)


_acl_decoder = msgspec.json.Decoder(list[Grant])
_block_decoder = msgspec.json.Decoder(PublicAccessBlock)
