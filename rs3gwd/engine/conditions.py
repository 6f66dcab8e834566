"""The preconditions of a write, decided against the version that is there at the apply.

What it is not: it does not read; the conditions of GET and HEAD, with dates and lists of ETags, are
the surface's. Pure. Since the apply is the only writer and decides here, of any number of racing
conditional writes exactly one wins.

Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes", "How to
perform conditional deletes"; RFC 9110 section 13.1 (order: If-Match before If-None-Match).
"""

from rs3gwd.base.commands import Conditions
from rs3gwd.base.errors import NoSuchKey, PreconditionFailed
from rs3gwd.base.records import VersionRecord


def check_conditions(conditions: Conditions, current: VersionRecord | None) -> None:
    """Passes when every condition holds for `current`, an object, or None where there is none.

    Time and size say which object may be deleted, not that there must be one: without an object
    they hold ("or if the object doesn't exist", DeleteObject). Raises NoSuchKey (If-Match where
    there is nothing), PreconditionFailed (names the header).
    """
    if current is None:
        if conditions.if_match is not None:
            raise NoSuchKey("The specified key does not exist.")
        return
    if conditions.if_match not in (None, "*", current.etag):
        raise PreconditionFailed("If-Match")
    if conditions.if_match_last_modified_s not in (None, current.last_modified_ms // 1000):
        raise PreconditionFailed("x-amz-if-match-last-modified-time")
    if conditions.if_match_size not in (None, current.size_bytes):
        raise PreconditionFailed("x-amz-if-match-size")
    if conditions.if_none_match in ("*", current.etag):
        raise PreconditionFailed("If-None-Match")
