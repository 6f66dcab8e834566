"""The table of operations: one row per operation of S3, and the only place that lists them.

A row says how a request is recognised (method, level, query names, header), what it needs
permission for, and which handler does it. A row without a handler is an operation that S3 has and
this store has not yet: it is routed, authenticated and authorised like any other and then answers
501 NotImplemented. `rs3gwd.s3.route` makes its index from the table, and `rs3gwd.s3.matrix` the
capability matrix; a test compares the table with botocore's model of S3.

`query` names sub-resources: parameters that change what the request means. A row with more of them
wins over one with fewer, a row with a header over one without. Every other parameter is an argument
that the handler reads, or is ignored.

What two names share a request on the wire (GetBucketLifecycle is the old name of
GetBucketLifecycleConfiguration) has one row that is routed and one with `alias_of`.

Source: "Amazon S3 API operations" in the API Reference; "Actions, resources, and condition keys for
Amazon S3" in the Service Authorization Reference.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum

from msgspec import Struct

from rs3gwd.base.http import Response
from rs3gwd.base.ports import Lookups
from rs3gwd.s3.access_settings import (
    delete_bucket_ownership_controls,
    delete_public_access_block,
    get_bucket_ownership_controls,
    get_bucket_request_payment,
    get_public_access_block,
    put_bucket_ownership_controls,
    put_bucket_request_payment,
    put_public_access_block,
)
from rs3gwd.s3.acls import get_bucket_acl, get_object_acl, put_bucket_acl, put_object_acl
from rs3gwd.s3.attributes import get_object_attributes
from rs3gwd.s3.bucket_cors import delete_bucket_cors, get_bucket_cors, put_bucket_cors
from rs3gwd.s3.bucket_encryption import (
    delete_bucket_encryption,
    get_bucket_encryption,
    put_bucket_encryption,
)
from rs3gwd.s3.bucket_policy import (
    delete_bucket_policy,
    get_bucket_policy,
    get_bucket_policy_status,
    put_bucket_policy,
)
from rs3gwd.s3.bucket_tagging import (
    delete_bucket_tagging,
    get_bucket_tagging,
    put_bucket_tagging,
)
from rs3gwd.s3.bucket_versioning import get_bucket_versioning, put_bucket_versioning
from rs3gwd.s3.bucket_website import (
    delete_bucket_website,
    get_bucket_website,
    put_bucket_website,
)
from rs3gwd.s3.buckets import (
    create_bucket,
    delete_bucket,
    get_bucket_location,
    head_bucket,
    list_buckets,
)
from rs3gwd.s3.call import Call
from rs3gwd.s3.complete_upload import complete_multipart_upload
from rs3gwd.s3.copy import copy_object
from rs3gwd.s3.delete import delete_object, delete_objects
from rs3gwd.s3.header_actions import OBJECT_HEADER_ACTIONS
from rs3gwd.s3.list_parts import list_parts
from rs3gwd.s3.list_uploads import list_multipart_uploads
from rs3gwd.s3.list_versions import list_object_versions
from rs3gwd.s3.listing import list_objects, list_objects_v2
from rs3gwd.s3.multipart import (
    abort_multipart_upload,
    create_multipart_upload,
    upload_part,
    upload_part_copy,
)
from rs3gwd.s3.object_lock import (
    get_object_legal_hold,
    get_object_lock_configuration,
    get_object_retention,
    put_object_legal_hold,
    put_object_lock_configuration,
    put_object_retention,
)
from rs3gwd.s3.object_reads import (
    get_object,
    get_object_at_once,
    head_object,
    head_object_at_once,
)
from rs3gwd.s3.object_tagging import (
    delete_object_tagging,
    get_object_tagging,
    put_object_tagging,
)
from rs3gwd.s3.objects import put_object

Handler = Callable[[Call], Awaitable[Response]]

AtOnce = Callable[[Call, Lookups], Response | None]
"""A handler that waits for nothing, and gives None where it would have to."""


class Level(StrEnum):
    """What the path of a request names."""

    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


class Operation(Struct, frozen=True):
    """One row.

    `action` is what the caller must be allowed to do, `version_action` the same when `versionId`
    is given. `query` are the parameters that must be there, `header` one that must be (lower case).
    `alias_of` is the row that answers in place of this one. `partial` says what is missing from
    what the handler does. `in_model` is False for a request that AWS takes and its SDKs do not know.
    `at_once` is tried before the handler. `is_of_many` rows ask for each of the keys in their body,
    `tags_in_body` rows once the tags in their body are known.
    `header_actions` are headers that need a permission of their own. `creates` says whether the
    operation makes a version appear (condition key s3:ObjectCreationOperation).
    """

    name: str
    method: str
    level: Level
    action: str
    query: tuple[str, ...] = ()
    header: str = ""
    version_action: str = ""
    handler: Handler | None = None
    alias_of: str = ""
    partial: str = ""
    in_model: bool = True
    is_of_many: bool = False
    tags_in_body: bool = False
    header_actions: tuple[tuple[str, str], ...] = ()
    creates: bool | None = None
    at_once: AtOnce | None = None


_LEVELS = {"/": Level.SERVICE, "/Bucket": Level.BUCKET, "/Bucket/Key": Level.OBJECT}


def _row(
    name: str,
    target: str,
    action: str,
    handler: Handler | None = None,
    *,
    header: str = "",
    version_action: str = "",
    alias_of: str = "",
    partial: str = "",
    in_model: bool = True,
    is_of_many: bool = False,
    tags_in_body: bool = False,
    header_actions: tuple[tuple[str, str], ...] = (),
    creates: bool | None = None,
    at_once: AtOnce | None = None,
) -> Operation:
    """A row; `target` is the method and the target as the API reference writes them."""
    method, _, uri = target.partition(" ")
    path, _, query = uri.partition("?")
    return Operation(
        name=name,
        method=method,
        level=_LEVELS[path],
        action=action,
        query=tuple(query.split("&")) if query else (),
        header=header,
        version_action=version_action,
        handler=handler,
        alias_of=alias_of,
        partial=partial,
        in_model=in_model,
        is_of_many=is_of_many,
        tags_in_body=tags_in_body,
        header_actions=header_actions,
        creates=creates,
        at_once=at_once,
    )


_NO_DSSE = "no aws:kms:dsse"
_NO_OBJECT_EXTRAS = f"{_NO_DSSE}; no appends"

OPERATIONS: tuple[Operation, ...] = (
    # The service.
    _row("ListBuckets", "GET /", "s3:ListAllMyBuckets", list_buckets),
    _row(
        "ListDirectoryBuckets", "GET /?max-directory-buckets", "s3express:ListAllMyDirectoryBuckets"
    ),
    _row(
        "WriteGetObjectResponse",
        "POST /",
        "s3-object-lambda:WriteGetObjectResponse",
        header="x-amz-request-route",
    ),
    # Buckets.
    _row(
        "CreateBucket",
        "PUT /Bucket",
        "s3:CreateBucket",
        create_bucket,
        partial="no directory buckets",
    ),
    _row("DeleteBucket", "DELETE /Bucket", "s3:DeleteBucket", delete_bucket),
    _row("HeadBucket", "HEAD /Bucket", "s3:ListBucket", head_bucket),
    _row("CreateSession", "GET /Bucket?session", "s3express:CreateSession"),
    _row("GetBucketLocation", "GET /Bucket?location", "s3:GetBucketLocation", get_bucket_location),
    # What is in a bucket.
    _row("ListObjects", "GET /Bucket", "s3:ListBucket", list_objects),
    _row("ListObjectsV2", "GET /Bucket?list-type", "s3:ListBucket", list_objects_v2),
    _row(
        "ListObjectVersions", "GET /Bucket?versions", "s3:ListBucketVersions", list_object_versions
    ),
    _row(
        "ListMultipartUploads",
        "GET /Bucket?uploads",
        "s3:ListBucketMultipartUploads",
        list_multipart_uploads,
    ),
    _row(
        "DeleteObjects", "POST /Bucket?delete", "s3:DeleteObject", delete_objects, is_of_many=True
    ),
    # The configuration of a bucket.
    _row(
        "GetBucketVersioning",
        "GET /Bucket?versioning",
        "s3:GetBucketVersioning",
        get_bucket_versioning,
    ),
    _row(
        "PutBucketVersioning",
        "PUT /Bucket?versioning",
        "s3:PutBucketVersioning",
        put_bucket_versioning,
        partial="no MFA delete",
    ),
    _row("GetBucketTagging", "GET /Bucket?tagging", "s3:GetBucketTagging", get_bucket_tagging),
    _row("PutBucketTagging", "PUT /Bucket?tagging", "s3:PutBucketTagging", put_bucket_tagging),
    _row(
        "DeleteBucketTagging",
        "DELETE /Bucket?tagging",
        "s3:PutBucketTagging",
        delete_bucket_tagging,
    ),
    _row("GetBucketAbac", "GET /Bucket?abac", "s3:GetBucketAbac"),
    _row("PutBucketAbac", "PUT /Bucket?abac", "s3:PutBucketAbac"),
    _row(
        "GetBucketAccelerateConfiguration",
        "GET /Bucket?accelerate",
        "s3:GetAccelerateConfiguration",
    ),
    _row(
        "PutBucketAccelerateConfiguration",
        "PUT /Bucket?accelerate",
        "s3:PutAccelerateConfiguration",
    ),
    _row("GetBucketAcl", "GET /Bucket?acl", "s3:GetBucketAcl", get_bucket_acl),
    _row("PutBucketAcl", "PUT /Bucket?acl", "s3:PutBucketAcl", put_bucket_acl),
    _row(
        "GetBucketAnalyticsConfiguration",
        "GET /Bucket?analytics&id",
        "s3:GetAnalyticsConfiguration",
    ),
    _row(
        "ListBucketAnalyticsConfigurations", "GET /Bucket?analytics", "s3:GetAnalyticsConfiguration"
    ),
    _row(
        "PutBucketAnalyticsConfiguration", "PUT /Bucket?analytics", "s3:PutAnalyticsConfiguration"
    ),
    _row(
        "DeleteBucketAnalyticsConfiguration",
        "DELETE /Bucket?analytics",
        "s3:PutAnalyticsConfiguration",
    ),
    _row("GetBucketCors", "GET /Bucket?cors", "s3:GetBucketCORS", get_bucket_cors),
    _row("PutBucketCors", "PUT /Bucket?cors", "s3:PutBucketCORS", put_bucket_cors),
    _row("DeleteBucketCors", "DELETE /Bucket?cors", "s3:PutBucketCORS", delete_bucket_cors),
    _row(
        "GetBucketEncryption",
        "GET /Bucket?encryption",
        "s3:GetEncryptionConfiguration",
        get_bucket_encryption,
    ),
    _row(
        "PutBucketEncryption",
        "PUT /Bucket?encryption",
        "s3:PutEncryptionConfiguration",
        put_bucket_encryption,
        partial=_NO_DSSE,
    ),
    _row(
        "DeleteBucketEncryption",
        "DELETE /Bucket?encryption",
        "s3:PutEncryptionConfiguration",
        delete_bucket_encryption,
    ),
    _row(
        "GetBucketIntelligentTieringConfiguration",
        "GET /Bucket?intelligent-tiering&id",
        "s3:GetIntelligentTieringConfiguration",
    ),
    _row(
        "ListBucketIntelligentTieringConfigurations",
        "GET /Bucket?intelligent-tiering",
        "s3:GetIntelligentTieringConfiguration",
    ),
    _row(
        "PutBucketIntelligentTieringConfiguration",
        "PUT /Bucket?intelligent-tiering",
        "s3:PutIntelligentTieringConfiguration",
    ),
    _row(
        "DeleteBucketIntelligentTieringConfiguration",
        "DELETE /Bucket?intelligent-tiering",
        "s3:PutIntelligentTieringConfiguration",
    ),
    _row(
        "GetBucketInventoryConfiguration",
        "GET /Bucket?inventory&id",
        "s3:GetInventoryConfiguration",
    ),
    _row(
        "ListBucketInventoryConfigurations", "GET /Bucket?inventory", "s3:GetInventoryConfiguration"
    ),
    _row(
        "PutBucketInventoryConfiguration", "PUT /Bucket?inventory", "s3:PutInventoryConfiguration"
    ),
    _row(
        "DeleteBucketInventoryConfiguration",
        "DELETE /Bucket?inventory",
        "s3:PutInventoryConfiguration",
    ),
    _row(
        "GetBucketLifecycleConfiguration", "GET /Bucket?lifecycle", "s3:GetLifecycleConfiguration"
    ),
    _row(
        "GetBucketLifecycle",
        "GET /Bucket?lifecycle",
        "s3:GetLifecycleConfiguration",
        alias_of="GetBucketLifecycleConfiguration",
    ),
    _row(
        "PutBucketLifecycleConfiguration", "PUT /Bucket?lifecycle", "s3:PutLifecycleConfiguration"
    ),
    _row(
        "PutBucketLifecycle",
        "PUT /Bucket?lifecycle",
        "s3:PutLifecycleConfiguration",
        alias_of="PutBucketLifecycleConfiguration",
    ),
    _row("DeleteBucketLifecycle", "DELETE /Bucket?lifecycle", "s3:PutLifecycleConfiguration"),
    _row("GetBucketLogging", "GET /Bucket?logging", "s3:GetBucketLogging"),
    _row("PutBucketLogging", "PUT /Bucket?logging", "s3:PutBucketLogging"),
    _row(
        "GetBucketMetadataConfiguration",
        "GET /Bucket?metadataConfiguration",
        "s3:GetBucketMetadataTableConfiguration",
    ),
    _row(
        "CreateBucketMetadataConfiguration",
        "POST /Bucket?metadataConfiguration",
        "s3:CreateBucketMetadataTableConfiguration",
    ),
    _row(
        "DeleteBucketMetadataConfiguration",
        "DELETE /Bucket?metadataConfiguration",
        "s3:DeleteBucketMetadataTableConfiguration",
    ),
    _row(
        "GetBucketMetadataTableConfiguration",
        "GET /Bucket?metadataTable",
        "s3:GetBucketMetadataTableConfiguration",
    ),
    _row(
        "CreateBucketMetadataTableConfiguration",
        "POST /Bucket?metadataTable",
        "s3:CreateBucketMetadataTableConfiguration",
    ),
    _row(
        "DeleteBucketMetadataTableConfiguration",
        "DELETE /Bucket?metadataTable",
        "s3:DeleteBucketMetadataTableConfiguration",
    ),
    _row(
        "UpdateBucketMetadataAnnotationTableConfiguration",
        "PUT /Bucket?metadataAnnotationTable",
        "s3:UpdateBucketMetadataAnnotationTableConfiguration",
    ),
    _row(
        "UpdateBucketMetadataInventoryTableConfiguration",
        "PUT /Bucket?metadataInventoryTable",
        "s3:UpdateBucketMetadataInventoryTableConfiguration",
    ),
    _row(
        "UpdateBucketMetadataJournalTableConfiguration",
        "PUT /Bucket?metadataJournalTable",
        "s3:UpdateBucketMetadataJournalTableConfiguration",
    ),
    _row("GetBucketMetricsConfiguration", "GET /Bucket?metrics&id", "s3:GetMetricsConfiguration"),
    _row("ListBucketMetricsConfigurations", "GET /Bucket?metrics", "s3:GetMetricsConfiguration"),
    _row("PutBucketMetricsConfiguration", "PUT /Bucket?metrics", "s3:PutMetricsConfiguration"),
    _row(
        "DeleteBucketMetricsConfiguration", "DELETE /Bucket?metrics", "s3:PutMetricsConfiguration"
    ),
    _row(
        "GetBucketNotificationConfiguration", "GET /Bucket?notification", "s3:GetBucketNotification"
    ),
    _row(
        "GetBucketNotification",
        "GET /Bucket?notification",
        "s3:GetBucketNotification",
        alias_of="GetBucketNotificationConfiguration",
    ),
    _row(
        "PutBucketNotificationConfiguration", "PUT /Bucket?notification", "s3:PutBucketNotification"
    ),
    _row(
        "PutBucketNotification",
        "PUT /Bucket?notification",
        "s3:PutBucketNotification",
        alias_of="PutBucketNotificationConfiguration",
    ),
    _row(
        "GetBucketOwnershipControls",
        "GET /Bucket?ownershipControls",
        "s3:GetBucketOwnershipControls",
        get_bucket_ownership_controls,
    ),
    _row(
        "PutBucketOwnershipControls",
        "PUT /Bucket?ownershipControls",
        "s3:PutBucketOwnershipControls",
        put_bucket_ownership_controls,
    ),
    _row(
        "DeleteBucketOwnershipControls",
        "DELETE /Bucket?ownershipControls",
        "s3:PutBucketOwnershipControls",
        delete_bucket_ownership_controls,
    ),
    _row("GetBucketPolicy", "GET /Bucket?policy", "s3:GetBucketPolicy", get_bucket_policy),
    _row("PutBucketPolicy", "PUT /Bucket?policy", "s3:PutBucketPolicy", put_bucket_policy),
    _row(
        "DeleteBucketPolicy", "DELETE /Bucket?policy", "s3:DeleteBucketPolicy", delete_bucket_policy
    ),
    _row(
        "GetBucketPolicyStatus",
        "GET /Bucket?policyStatus",
        "s3:GetBucketPolicyStatus",
        get_bucket_policy_status,
    ),
    _row("GetBucketReplication", "GET /Bucket?replication", "s3:GetReplicationConfiguration"),
    _row("PutBucketReplication", "PUT /Bucket?replication", "s3:PutReplicationConfiguration"),
    _row("DeleteBucketReplication", "DELETE /Bucket?replication", "s3:PutReplicationConfiguration"),
    _row(
        "GetBucketRequestPayment",
        "GET /Bucket?requestPayment",
        "s3:GetBucketRequestPayment",
        get_bucket_request_payment,
    ),
    _row(
        "PutBucketRequestPayment",
        "PUT /Bucket?requestPayment",
        "s3:PutBucketRequestPayment",
        put_bucket_request_payment,
    ),
    _row("GetBucketWebsite", "GET /Bucket?website", "s3:GetBucketWebsite", get_bucket_website),
    _row("PutBucketWebsite", "PUT /Bucket?website", "s3:PutBucketWebsite", put_bucket_website),
    _row(
        "DeleteBucketWebsite",
        "DELETE /Bucket?website",
        "s3:DeleteBucketWebsite",
        delete_bucket_website,
    ),
    _row(
        "GetObjectLockConfiguration",
        "GET /Bucket?object-lock",
        "s3:GetBucketObjectLockConfiguration",
        get_object_lock_configuration,
    ),
    _row(
        "PutObjectLockConfiguration",
        "PUT /Bucket?object-lock",
        "s3:PutBucketObjectLockConfiguration",
        put_object_lock_configuration,
    ),
    _row(
        "GetPublicAccessBlock",
        "GET /Bucket?publicAccessBlock",
        "s3:GetBucketPublicAccessBlock",
        get_public_access_block,
    ),
    _row(
        "PutPublicAccessBlock",
        "PUT /Bucket?publicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
        put_public_access_block,
    ),
    _row(
        "DeletePublicAccessBlock",
        "DELETE /Bucket?publicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
        delete_public_access_block,
    ),
    # Objects.
    _row(
        "GetObject",
        "GET /Bucket/Key",
        "s3:GetObject",
        get_object,
        version_action="s3:GetObjectVersion",
        at_once=get_object_at_once,
    ),
    _row(
        "HeadObject",
        "HEAD /Bucket/Key",
        "s3:GetObject",
        head_object,
        version_action="s3:GetObjectVersion",
        at_once=head_object_at_once,
    ),
    _row(
        "PutObject",
        "PUT /Bucket/Key",
        "s3:PutObject",
        put_object,
        partial=_NO_OBJECT_EXTRAS,
        header_actions=OBJECT_HEADER_ACTIONS,
        creates=True,
    ),
    _row(
        "CopyObject",
        "PUT /Bucket/Key",
        "s3:PutObject",
        copy_object,
        header="x-amz-copy-source",
        partial=_NO_OBJECT_EXTRAS,
        header_actions=OBJECT_HEADER_ACTIONS,
        creates=True,
    ),
    _row(
        "DeleteObject",
        "DELETE /Bucket/Key",
        "s3:DeleteObject",
        delete_object,
        version_action="s3:DeleteObjectVersion",
    ),
    _row(
        "GetObjectAttributes",
        "GET /Bucket/Key?attributes",
        "s3:GetObject",
        get_object_attributes,
        version_action="s3:GetObjectVersion",
    ),
    _row("RenameObject", "PUT /Bucket/Key?renameObject", "s3express:RenameObject"),
    _row(
        "GetObjectTagging",
        "GET /Bucket/Key?tagging",
        "s3:GetObjectTagging",
        get_object_tagging,
        version_action="s3:GetObjectVersionTagging",
    ),
    _row(
        "PutObjectTagging",
        "PUT /Bucket/Key?tagging",
        "s3:PutObjectTagging",
        put_object_tagging,
        version_action="s3:PutObjectVersionTagging",
        tags_in_body=True,
    ),
    _row(
        "DeleteObjectTagging",
        "DELETE /Bucket/Key?tagging",
        "s3:DeleteObjectTagging",
        delete_object_tagging,
        version_action="s3:DeleteObjectVersionTagging",
    ),
    _row(
        "GetObjectAcl",
        "GET /Bucket/Key?acl",
        "s3:GetObjectAcl",
        get_object_acl,
        version_action="s3:GetObjectVersionAcl",
    ),
    _row(
        "PutObjectAcl",
        "PUT /Bucket/Key?acl",
        "s3:PutObjectAcl",
        put_object_acl,
        version_action="s3:PutObjectVersionAcl",
    ),
    _row(
        "GetObjectAnnotation",
        "GET /Bucket/Key?annotation&annotationName",
        "s3:GetObjectAnnotation",
        version_action="s3:GetObjectVersionAnnotation",
    ),
    _row(
        "ListObjectAnnotations",
        "GET /Bucket/Key?annotation",
        "s3:ListObjectAnnotations",
        version_action="s3:ListObjectVersionAnnotations",
    ),
    _row(
        "PutObjectAnnotation",
        "PUT /Bucket/Key?annotation",
        "s3:PutObjectAnnotation",
        version_action="s3:PutObjectVersionAnnotation",
    ),
    _row(
        "DeleteObjectAnnotation",
        "DELETE /Bucket/Key?annotation",
        "s3:DeleteObjectAnnotation",
        version_action="s3:DeleteObjectVersionAnnotation",
    ),
    _row("UpdateObjectEncryption", "PUT /Bucket/Key?encryption", "s3:UpdateObjectEncryption"),
    _row(
        "GetObjectLegalHold",
        "GET /Bucket/Key?legal-hold",
        "s3:GetObjectLegalHold",
        get_object_legal_hold,
    ),
    _row(
        "PutObjectLegalHold",
        "PUT /Bucket/Key?legal-hold",
        "s3:PutObjectLegalHold",
        put_object_legal_hold,
    ),
    _row(
        "GetObjectRetention",
        "GET /Bucket/Key?retention",
        "s3:GetObjectRetention",
        get_object_retention,
    ),
    _row(
        "PutObjectRetention",
        "PUT /Bucket/Key?retention",
        "s3:PutObjectRetention",
        put_object_retention,
    ),
    _row("GetObjectTorrent", "GET /Bucket/Key?torrent", "s3:GetObjectTorrent"),
    _row("RestoreObject", "POST /Bucket/Key?restore", "s3:RestoreObject"),
    _row("SelectObjectContent", "POST /Bucket/Key?select", "s3:GetObject"),
    # Multipart uploads.
    _row(
        "CreateMultipartUpload",
        "POST /Bucket/Key?uploads",
        "s3:PutObject",
        create_multipart_upload,
        partial=_NO_OBJECT_EXTRAS,
        header_actions=OBJECT_HEADER_ACTIONS,
        creates=False,
    ),
    _row("UploadPart", "PUT /Bucket/Key?uploadId&partNumber", "s3:PutObject", upload_part),
    _row(
        "UploadPartCopy",
        "PUT /Bucket/Key?uploadId&partNumber",
        "s3:PutObject",
        upload_part_copy,
        header="x-amz-copy-source",
    ),
    _row(
        "CompleteMultipartUpload",
        "POST /Bucket/Key?uploadId",
        "s3:PutObject",
        complete_multipart_upload,
    ),
    _row(
        "AbortMultipartUpload",
        "DELETE /Bucket/Key?uploadId",
        "s3:AbortMultipartUpload",
        abort_multipart_upload,
    ),
    _row("ListParts", "GET /Bucket/Key?uploadId", "s3:ListMultipartUploadParts", list_parts),
    # The browser form, whose signature is a field of the form.
    _row("PostObject", "POST /Bucket", "s3:PutObject", put_object, in_model=False, creates=True),
)
"""All operations of S3, those without a handler included."""
