"""What a bucket gets that is made without saying who may use it.

Source: "Default settings for new S3 buckets FAQ" in the Amazon S3 User Guide.
"""

from enum import StrEnum


class NewBuckets(StrEnum):
    """AWS_2023: access control lists are off and public access is blocked, as in AWS since April
    2023. CLASSIC: lists count and nothing is blocked, as before.
    """

    AWS_2023 = "aws-2023"
    CLASSIC = "classic"
