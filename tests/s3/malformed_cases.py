"""Requests that are wrong in one way each, with the exact status and error code they must get.

The table is data: `test_malformed.py` sends each to the S3 surface, and a sample over a real
socket. In targets, headers and bodies `{upload}` stands for the id of an upload of `part-key` that
has no parts.

The expected codes are those of the "Error responses" page and of the pages of the operations in
the Amazon S3 API Reference.
"""

from malformed_case import Case
from malformed_documents import CONTENTS, DOCUMENTS, NEW_BUCKETS
from malformed_objects import BODIES, COPIES, READS
from malformed_signatures import SIGNATURES
from malformed_targets import ARGUMENTS, MISSING, TARGETS

MALFORMED: tuple[Case, ...] = (
    *TARGETS,
    *MISSING,
    *SIGNATURES,
    *ARGUMENTS,
    *NEW_BUCKETS,
    *DOCUMENTS,
    *CONTENTS,
    *BODIES,
    *READS,
    *COPIES,
)
