"""What the headers of a write need beside s3:PutObject.

Source: "PutObject", Permissions, in the Amazon S3 API Reference.
"""

from rs3gwd.s3.acl_document import ACL_HEADER, GRANT_HEADERS

OBJECT_HEADER_ACTIONS = (
    *((name, "s3:PutObjectAcl") for name in (ACL_HEADER, *GRANT_HEADERS)),
    ("x-amz-tagging", "s3:PutObjectTagging"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
)
"""A header, and the action that who sends it must be allowed."""
