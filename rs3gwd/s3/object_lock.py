"""Object Lock: the configuration of a bucket, and the retention and legal hold of a version.

What it is not: it decides nothing about what may go; the apply does, in every command that deletes
(`rs3gwd.engine.locks`). Here documents and headers become records and records become answers.

To pass a retention in GOVERNANCE mode a caller must say so in a header and be allowed to
(`s3:BypassGovernanceRetention`); the header of one who is not allowed is refused, not overlooked.

Sources: PutObjectLockConfiguration, PutObjectRetention, PutObjectLegalHold and their Get
counterparts in the Amazon S3 API Reference; "Locking objects with Object Lock" in the User Guide.
"""

from __future__ import annotations

from rs3gwd.base.commands import PutBucketLock, PutObjectLegalHold, PutObjectRetention
from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.base.records import (
    DefaultRetention,
    LockMode,
    Retention,
    VersionRecord,
)
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.body import read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.lock_headers import HOLDS, retention_until
from rs3gwd.s3.object_arguments import (
    access_of,
    bucket_of,
    requested_version,
    version_headers,
)
from rs3gwd.s3.permission import object_arn
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX, Element, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element

BYPASS_HEADER = "x-amz-bypass-governance-retention"

BYPASS_ACTION = "s3:BypassGovernanceRetention"

DAYS_MAX = 36_500
YEARS_MAX = 100
"""A century, AWS's bound on a default retention."""


async def get_object_lock_configuration(call: Call) -> Response:
    """Raises ApiError ObjectLockConfigurationNotFoundError where versions cannot be locked."""
    bucket = bucket_of(call)
    if not bucket.object_lock:
        raise ApiError("ObjectLockConfigurationNotFoundError", fields={"BucketName": call.bucket})
    inside = element("ObjectLockEnabled", "Enabled")
    default = bucket.default_retention
    if default is not None:
        period = (
            element("Days", str(default.days))
            if default.days is not None
            else element("Years", str(default.years))
        )
        inside += (
            "<Rule><DefaultRetention>"
            f"{element('Mode', str(default.mode))}{period}"
            "</DefaultRetention></Rule>"
        )
    return Response(200, [CONTENT_TYPE], document("ObjectLockConfiguration", inside))


async def put_object_lock_configuration(call: Call) -> Response:
    """Lets versions be locked, with a default retention or none.

    Raises ApiError MalformedXML, InvalidArgument (a period of no days), InvalidBucketState.
    """
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    default = parse_configuration(body)
    await call.services.store.submit(PutBucketLock(name=call.bucket, default_retention=default))
    return Response(200, [])


def parse_configuration(body: bytes) -> DefaultRetention | None:
    """The default retention of an ObjectLockConfiguration document, or None without a rule.

    Raises ApiError MalformedXML, InvalidArgument.
    """
    root = parse_xml(body, "ObjectLockConfiguration")
    root.require_children("ObjectLockEnabled", "Rule")
    if root.text_of("ObjectLockEnabled") != "Enabled":
        raise malformed()
    rule = root.find("Rule")
    if rule is None:
        return None
    rule.require_children("DefaultRetention")
    retention = rule.find("DefaultRetention")
    if retention is None or len(root.find_all("Rule")) != 1:
        raise malformed()
    retention.require_children("Mode", "Days", "Years")
    mode = _mode(retention)
    days, years = retention.text_of("Days"), retention.text_of("Years")
    if (days is None) == (years is None):
        raise malformed()
    if days is not None:
        return DefaultRetention(mode, days=_period(days, "Days", DAYS_MAX))
    return DefaultRetention(mode, years=_period(years or "", "Years", YEARS_MAX))


async def get_object_retention(call: Call) -> Response:
    """Raises ApiError NoSuchObjectLockConfiguration where a version has no retention."""
    version = await _find_version(call)
    retention = version.attributes.lock.retention if version.attributes.lock else None
    if retention is None:
        raise ApiError("NoSuchObjectLockConfiguration")
    inside = element("Mode", str(retention.mode)) + element(
        "RetainUntilDate", iso_time(retention.until_ms)
    )
    return Response(200, [CONTENT_TYPE], document("Retention", inside))


async def put_object_retention(call: Call) -> Response:
    """Sets a retention; an empty document takes it away where the rules let it.

    Raises ApiError MalformedXML, InvalidArgument (a date that is over), InvalidRequest;
    ObjectLocked.
    """
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    now_ms = call.services.clock.now_ms()
    version = await call.services.store.submit(
        PutObjectRetention(
            bucket=call.bucket,
            key=call.key,
            version_id=requested_version(call.query),
            retention=parse_retention(body, now_ms=now_ms),
            now_ms=now_ms,
            bypass_governance=bypasses_governance(call, call.key),
        )
    )
    assert isinstance(version, VersionRecord)
    return Response(200, version_headers(bucket_of(call), version.version_id))


def parse_retention(body: bytes, *, now_ms: int) -> Retention | None:
    """The retention that a document asks for; None for an empty one."""
    root = parse_xml(body, "Retention")
    root.require_children("Mode", "RetainUntilDate")
    if not root.children:
        return None
    mode = _mode(root)
    return retention_until(mode, root.text_of("RetainUntilDate") or "", now_ms=now_ms)


async def get_object_legal_hold(call: Call) -> Response:
    """Raises ApiError NoSuchObjectLockConfiguration where nobody ever set or lifted a hold."""
    version = await _find_version(call)
    lock = version.attributes.lock
    if lock is None or lock.legal_hold is None:
        raise ApiError("NoSuchObjectLockConfiguration")
    inside = element("Status", "ON" if lock.legal_hold else "OFF")
    return Response(200, [CONTENT_TYPE], document("LegalHold", inside))


async def put_object_legal_hold(call: Call) -> Response:
    """Sets or lifts the hold. Raises ApiError MalformedXML, InvalidRequest."""
    root = parse_xml(await read_body(call, CONFIGURATION_BYTES_MAX), "LegalHold")
    root.require_children("Status")
    hold = HOLDS.get(root.text_of("Status") or "")
    if hold is None:
        raise malformed()
    version = await call.services.store.submit(
        PutObjectLegalHold(
            bucket=call.bucket,
            key=call.key,
            version_id=requested_version(call.query),
            legal_hold=hold,
        )
    )
    assert isinstance(version, VersionRecord)
    return Response(200, version_headers(bucket_of(call), version.version_id))


def bypasses_governance(call: Call, key: bytes) -> bool:
    """Whether the caller asks to pass a retention of `key` in GOVERNANCE mode, and may.

    Raises ApiError AccessDenied for one who asks and may not.
    """
    if call.request.headers.get(BYPASS_HEADER, "").lower() != "true":
        return False
    call.gate.require(BYPASS_ACTION, object_arn(call.bucket, key), access_of(call))
    return True


async def _find_version(call: Call) -> VersionRecord:
    if not bucket_of(call).object_lock:
        raise ApiError("InvalidRequest", "Bucket is missing Object Lock Configuration")
    return await call.services.store.get_version(
        call.bucket, call.key, requested_version(call.query)
    )


def _mode(parent: Element) -> LockMode:
    text = parent.text_of("Mode") or ""
    if text not in LockMode.__members__:
        raise malformed()
    return LockMode[text]


def _period(text: str, name: str, maximum: int) -> int:
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) <= 10):
        raise malformed()
    number = int(text)
    if number <= 0:
        raise argument_error(
            name, text, "Default retention period must be a positive integer value."
        )
    if number > maximum:
        raise argument_error(
            name, text, f"Default retention period too large: at most {maximum} {name.lower()}."
        )
    return number
