"""The actions that policies can name: the resources they apply to, and their condition keys.

Actions of S3 are here all, those included that this store has no operation for: a policy brought
from elsewhere must be taken as AWS takes it. Of other services only those of this endpoint, `iam`
and `sts`, are known; a policy may name any.

Names compare without case. A condition key that every action has (COMMON_KEYS) or that is global
(`aws:...`) is not repeated in the rows.

Source: "Actions, resources, and condition keys for Amazon S3" in the Service Authorization
Reference, 2026.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from functools import cache

from msgspec import Struct

from rs3gwd.iam.policy.wildcards import compile_text, split_wildcards


class ResourceType(StrEnum):
    """What an action is done to. ACCOUNT: the account as a whole, `*` as a resource.

    OTHER: what this store does not have (access points, jobs, grants, lenses).
    """

    BUCKET = "bucket"
    OBJECT = "object"
    ACCOUNT = "account"
    OTHER = "other"


class Action(Struct, frozen=True):
    """A row. `keys` are normal condition keys; one that ends in `/` is any key beginning so."""

    name: str
    resources: frozenset[ResourceType]
    keys: frozenset[str]

    def has_key(self, key: str) -> bool:
        """Whether a request for the action can have this condition key (normal spelling)."""
        if key.startswith("aws:") or key in COMMON_KEYS or key in self.keys:
            return True
        head, slash, _ = key.partition("/")
        return bool(slash) and (head + "/" in self.keys or head + "/" in COMMON_KEYS)


COMMON_KEYS = frozenset(
    {
        "s3:authtype",
        "s3:resourceaccount",
        "s3:signatureage",
        "s3:signatureversion",
        "s3:tlsversion",
        "s3:x-amz-content-sha256",
        "s3:accessgrantsinstancearn",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:accesspointnetworkorigin",
        "s3:accesspointtag/",
        "s3:buckettag/",
    }
)
"""Keys of every action of S3; those of access points and tags where the resource has them."""

_GRANTS = (
    "s3:x-amz-acl s3:x-amz-grant-full-control s3:x-amz-grant-read s3:x-amz-grant-read-acp "
    "s3:x-amz-grant-write s3:x-amz-grant-write-acp"
)
_LOCK = (
    "s3:object-lock-mode s3:object-lock-retain-until-date s3:object-lock-remaining-retention-days"
)
_NEW_TAGS = "s3:requestobjecttag/ s3:requestobjecttagkeys"
_OLD_TAGS = "s3:existingobjecttag/"
_ENCRYPTION = (
    "s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id "
    "s3:x-amz-server-side-encryption-customer-algorithm"
)
_WRITE = (
    f"{_GRANTS} {_NEW_TAGS} {_ENCRYPTION} s3:x-amz-copy-source s3:x-amz-metadata-directive "
    "s3:x-amz-storage-class s3:x-amz-website-redirect-location"
)
_LISTING = "s3:delimiter s3:max-keys s3:prefix"
_JOB = "s3:existingjobpriority s3:existingjoboperation s3:jobsuspendedcause"
_VERSION = "s3:versionid"

_OBJECT_ROWS = (
    ("AbortMultipartUpload ListMultipartUploadParts GetObjectLegalHold GetObjectRetention", ""),
    ("GetObjectTorrent GetObjectVersionForReplication ObjectOwnerOverrideToBucketOwner", ""),
    ("InitiateReplication ReplicateDelete ReplicateTags RestoreObject", ""),
    ("UpdateObjectEncryption", ""),
    ("ReplicateObject", _ENCRYPTION),
    ("BypassGovernanceRetention", f"{_WRITE} {_LOCK} s3:object-lock-legal-hold"),
    ("DeleteObject", "s3:if-match"),
    ("DeleteObjectVersion GetObjectVersionTorrent", _VERSION),
    ("DeleteObjectTagging GetObject GetObjectAcl GetObjectAttributes GetObjectTagging", _OLD_TAGS),
    ("DeleteObjectAnnotation GetObjectAnnotation ListObjectAnnotations", _OLD_TAGS),
    ("PutObjectAnnotation", _OLD_TAGS),
    ("DeleteObjectVersionTagging GetObjectVersion GetObjectVersionAcl", f"{_OLD_TAGS} {_VERSION}"),
    ("GetObjectVersionAttributes GetObjectVersionTagging", f"{_OLD_TAGS} {_VERSION}"),
    ("DeleteObjectVersionAnnotation GetObjectVersionAnnotation", f"{_OLD_TAGS} {_VERSION}"),
    ("ListObjectVersionAnnotations PutObjectVersionAnnotation", f"{_OLD_TAGS} {_VERSION}"),
    (
        "PutObject",
        f"{_WRITE} {_LOCK} s3:object-lock-legal-hold s3:if-match s3:if-none-match "
        "s3:objectcreationoperation",
    ),
    ("PutObjectAcl", f"{_GRANTS} {_OLD_TAGS} s3:x-amz-storage-class"),
    ("PutObjectVersionAcl", f"{_GRANTS} {_OLD_TAGS} s3:x-amz-storage-class {_VERSION}"),
    ("PutObjectLegalHold", "s3:object-lock-legal-hold"),
    ("PutObjectRetention", _LOCK),
    ("PutObjectTagging", f"{_OLD_TAGS} {_NEW_TAGS}"),
    ("PutObjectVersionTagging", f"{_OLD_TAGS} {_NEW_TAGS} {_VERSION}"),
)

_BUCKET_ROWS = (
    ("CreateBucket", f"{_GRANTS} s3:locationconstraint s3:x-amz-object-ownership"),
    ("ListBucket ListBucketVersions", _LISTING),
    ("ListBucketMultipartUploads", ""),
    ("PutBucketAcl", _GRANTS),
    ("PutInventoryConfiguration", "s3:inventoryaccessibleoptionalfields"),
    ("PutReplicationConfiguration", "s3:isreplicationpauserequest"),
    ("PauseReplication", "s3:destinationregion"),
    ("DeleteBucket DeleteBucketPolicy DeleteBucketWebsite", ""),
    ("CreateBucketMetadataTableConfiguration DeleteBucketMetadataTableConfiguration", ""),
    ("GetBucketMetadataTableConfiguration UpdateBucketMetadataInventoryTableConfiguration", ""),
    ("UpdateBucketMetadataJournalTableConfiguration", ""),
    ("UpdateBucketMetadataAnnotationTableConfiguration", ""),
    ("GetAccelerateConfiguration PutAccelerateConfiguration", ""),
    ("GetAnalyticsConfiguration PutAnalyticsConfiguration GetBucketAbac PutBucketAbac", ""),
    ("GetBucketAcl GetBucketCORS PutBucketCORS GetBucketLocation GetBucketLogging", ""),
    ("PutBucketLogging GetBucketNotification PutBucketNotification", ""),
    ("GetBucketObjectLockConfiguration PutBucketObjectLockConfiguration", ""),
    ("GetBucketOwnershipControls PutBucketOwnershipControls GetBucketPolicy PutBucketPolicy", ""),
    ("GetBucketPolicyStatus GetBucketPublicAccessBlock PutBucketPublicAccessBlock", ""),
    ("GetBucketRequestPayment PutBucketRequestPayment GetBucketTagging PutBucketTagging", ""),
    ("GetBucketVersioning PutBucketVersioning GetBucketWebsite PutBucketWebsite", ""),
    ("GetEncryptionConfiguration PutEncryptionConfiguration GetInventoryConfiguration", ""),
    ("GetIntelligentTieringConfiguration PutIntelligentTieringConfiguration", ""),
    ("GetLifecycleConfiguration PutLifecycleConfiguration GetMetricsConfiguration", ""),
    ("PutMetricsConfiguration GetReplicationConfiguration", ""),
    ("ListTagsForResource TagResource UntagResource", ""),
)

_ACCOUNT_ROWS = (
    ("ListAllMyBuckets GetAccountPublicAccessBlock PutAccountPublicAccessBlock", ""),
    ("ListAccessPoints ListAccessPointsForObjectLambda ListJobs ListMultiRegionAccessPoints", ""),
    ("ListStorageLensConfigurations ListStorageLensGroups ListAccessGrantsInstances", ""),
    ("CreateStorageLensGroup PutStorageLensConfiguration PutAccessPointPublicAccessBlock", ""),
    ("GetAccessPoint", ""),
    ("CreateJob", "s3:requestjobpriority s3:requestjoboperation"),
)

_OTHER_ROWS = (
    ("AssociateAccessGrantsIdentityCenter DissociateAccessGrantsIdentityCenter", ""),
    ("CreateAccessGrant DeleteAccessGrant GetAccessGrant", "s3:accessgrantscope"),
    ("CreateAccessGrantsInstance DeleteAccessGrantsInstance GetAccessGrantsInstance", ""),
    ("CreateAccessGrantsLocation DeleteAccessGrantsLocation", "s3:accessgrantslocationscope"),
    ("GetAccessGrantsLocation UpdateAccessGrantsLocation", "s3:accessgrantslocationscope"),
    ("DeleteAccessGrantsInstanceResourcePolicy GetAccessGrantsInstanceForPrefix", ""),
    ("GetAccessGrantsInstanceResourcePolicy PutAccessGrantsInstanceResourcePolicy", ""),
    ("GetDataAccess ListAccessGrants ListAccessGrantsLocations ListCallerAccessGrants", ""),
    ("CreateAccessPoint", "s3:locationconstraint s3:x-amz-acl"),
    ("CreateAccessPointForObjectLambda CreateMultiRegionAccessPoint DeleteAccessPoint", ""),
    ("DeleteAccessPointForObjectLambda DeleteAccessPointPolicy", ""),
    ("DeleteAccessPointPolicyForObjectLambda DeleteMultiRegionAccessPoint", ""),
    ("DescribeMultiRegionAccessPointOperation GetAccessPointConfigurationForObjectLambda", ""),
    ("GetAccessPointForObjectLambda GetAccessPointPolicy", ""),
    ("GetAccessPointPolicyForObjectLambda GetAccessPointPolicyStatus", ""),
    ("GetAccessPointPolicyStatusForObjectLambda GetMultiRegionAccessPoint", ""),
    ("GetMultiRegionAccessPointPolicy GetMultiRegionAccessPointPolicyStatus", ""),
    ("GetMultiRegionAccessPointRoutes PutAccessPointConfigurationForObjectLambda", ""),
    ("PutAccessPointPolicy PutAccessPointPolicyForObjectLambda", ""),
    ("PutMultiRegionAccessPointPolicy SubmitMultiRegionAccessPointRoutes", ""),
    ("DeleteStorageLensConfiguration DeleteStorageLensConfigurationTagging", ""),
    ("DeleteStorageLensGroup GetStorageLensConfiguration GetStorageLensConfigurationTagging", ""),
    ("GetStorageLensDashboard GetStorageLensGroup PutStorageLensConfigurationTagging", ""),
    ("UpdateStorageLensGroup DescribeJob GetJobTagging", ""),
    ("DeleteJobTagging PutJobTagging UpdateJobPriority UpdateJobStatus", _JOB),
)

_TYPES_OF_ROWS = (
    (ResourceType.OBJECT, _OBJECT_ROWS),
    (ResourceType.BUCKET, _BUCKET_ROWS),
    (ResourceType.ACCOUNT, _ACCOUNT_ROWS),
    (ResourceType.OTHER, _OTHER_ROWS),
)


@cache
def s3_actions() -> dict[str, Action]:
    """All actions of S3 by lower-case name with `s3:`."""
    return {
        f"s3:{name}".lower(): Action(f"s3:{name}", frozenset({kind}), frozenset(keys.split()))
        for kind, rows in _TYPES_OF_ROWS
        for names, keys in rows
        for name in names.split()
    }


@cache
def s3_keys() -> frozenset[str]:
    """All condition keys of S3, in normal spelling; those that end in `/` take a tag behind it."""
    return COMMON_KEYS.union(*(action.keys for action in s3_actions().values()))


def is_s3_key(key: str) -> bool:
    """Whether S3 has this condition key (normal spelling)."""
    head, slash, tag = key.partition("/")
    return key in s3_keys() if not slash else bool(tag) and head + "/" in s3_keys()


def matching_actions(pattern: str) -> list[Action]:
    """The actions of S3 that an element of Action names."""
    lowered = pattern.lower()
    known = s3_actions()
    if "*" not in lowered and "?" not in lowered:
        return [known[lowered]] if lowered in known else []
    matches = compile_text(split_wildcards(lowered))
    return [action for name, action in known.items() if matches(name)]


def nearest_action(name: str, among: Iterable[str] | None = None) -> str:
    """The action of S3 whose name is most like `name`, with `s3:`; empty where none is."""
    names = {action.name.lower(): action.name for action in s3_actions().values()}
    candidates = names if among is None else {each.lower(): each for each in among}
    found = get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return candidates[found[0]] if found else ""
