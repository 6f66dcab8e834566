"""The bounds of S3 that more than one package needs, each with its source.

Sources: "Amazon S3 multipart upload limits", "Naming Amazon S3 objects", "Bucket quotas,
limitations, and restrictions", "Categorizing your storage using tags" in the Amazon S3 User Guide.
"""

KEY_BYTES_MAX = 1024
"""Bytes of UTF-8 in an object key; the least is 1."""

PUT_BYTES_MAX = 5 * 1024**3
"""Bytes in one PutObject, UploadPart, CopyObject or UploadPartCopy."""

PART_BYTES_MIN = 5 * 1024**2
"""Bytes in any part but the last."""

PART_NUMBER_MAX = 10_000
"""Parts are numbered 1 to 10,000."""

OBJECT_BYTES_MAX = PART_NUMBER_MAX * PUT_BYTES_MAX
"""Bytes in one object: 48.8 TiB, which is 10,000 parts of 5 GiB."""

USER_METADATA_BYTES_MAX = 2048
"""Sum of the bytes of names (without x-amz-meta-) and values of user metadata."""

OBJECT_TAGS_MAX = 10
BUCKET_TAGS_MAX = 50
TAG_KEY_CHARACTERS_MAX = 128
TAG_VALUE_CHARACTERS_MAX = 256

LIST_KEYS_MAX = 1000
"""Entries in one page of any listing, and keys in one DeleteObjects."""

BUCKET_NAME_CHARACTERS_MIN = 3
BUCKET_NAME_CHARACTERS_MAX = 63
