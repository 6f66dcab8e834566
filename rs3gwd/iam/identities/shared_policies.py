"""The managed policies that every account has, without making them: `arn:aws:iam::aws:policy/...`.

A few of AWS's own, those that speak of what this endpoint does. Their documents are those that AWS
publishes, without the actions of services that are not here.

Source: "AWS managed policies for Amazon S3" in the S3 User Guide, AWS Managed Policy Reference.
"""

import json

from rs3gwd.base.identities import SHARED_POLICY_ARN


def _document(*actions: str) -> bytes:
    listed: str | list[str] = actions[0] if len(actions) == 1 else list(actions)
    statement = {"Effect": "Allow", "Action": listed, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()


SHARED_POLICIES: dict[str, bytes] = {
    SHARED_POLICY_ARN + name: document
    for name, document in {
        "AdministratorAccess": _document("*"),
        "PowerUserAccess": _document("s3:*", "sts:*"),
        "ReadOnlyAccess": _document("iam:Get*", "iam:List*", "s3:Get*", "s3:List*", "sts:Get*"),
        "AmazonS3FullAccess": _document("s3:*"),
        "AmazonS3ReadOnlyAccess": _document("s3:Get*", "s3:List*", "s3:Describe*"),
        "IAMFullAccess": _document("iam:*"),
        "IAMReadOnlyAccess": _document("iam:Get*", "iam:List*"),
    }.items()
}
"""Documents by ARN."""
