"""The versioning state of a bucket.

Sources: GetBucketVersioning and PutBucketVersioning in the Amazon S3 API Reference; "How S3
Versioning works" in the User Guide.
"""

from rs3gwd.base.commands import PutBucketVersioning
from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.base.records import Versioning
from rs3gwd.s3.body import read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.object_arguments import bucket_of
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element

_STATES = {"Enabled": Versioning.ENABLED, "Suspended": Versioning.SUSPENDED}


async def get_bucket_versioning(call: Call) -> Response:
    """An empty document where versioning was never set."""
    state = bucket_of(call).versioning
    inside = "" if state is Versioning.UNVERSIONED else element("Status", str(state))
    return Response(200, [CONTENT_TYPE], document("VersioningConfiguration", inside))


async def put_bucket_versioning(call: Call) -> Response:
    """Enables or suspends. Raises ApiError MalformedXML, NotImplemented (MFA delete),
    IllegalVersioningConfigurationException (no Status).
    """
    state = _parse(await read_body(call, CONFIGURATION_BYTES_MAX))
    await call.services.store.submit(PutBucketVersioning(name=call.bucket, versioning=state))
    return Response(200, [])


def _parse(body: bytes) -> Versioning:
    root = parse_xml(body, "VersioningConfiguration")
    root.require_children("Status", "MfaDelete", "MFADelete")
    for name in ("MfaDelete", "MFADelete"):
        mfa_delete = root.text_of(name)
        if mfa_delete == "Enabled":
            raise ApiError("NotImplemented", "MFA delete is not implemented")
        if mfa_delete not in (None, "Disabled"):
            raise malformed()
    status = root.text_of("Status")
    if status is None:
        raise ApiError("IllegalVersioningConfigurationException")
    state = _STATES.get(status)
    if state is None:
        raise malformed()
    return state
