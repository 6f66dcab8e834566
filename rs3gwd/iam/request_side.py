"""What a request tells policies, besides who asks: gathered once, read only when a policy asks.

Source: see `rs3gwd.iam.policy.request_keys`.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from rs3gwd.base.http import Request
from rs3gwd.iam.policy.context import Caller
from rs3gwd.iam.policy.request_keys import RequestFacts, RequestKeys, SignatureFacts, Tags
from rs3gwd.iam.policy.variables import Lookup
from rs3gwd.iam.timestamps import parse_basic

REQUEST_PAYER = "x-amz-request-payer"

_V4, _V2 = "AWS4-HMAC-SHA256", "AWS"
_HEADER, _QUERY = "REST-HEADER", "REST-QUERY-STRING"


class RequestSide(Struct, frozen=True):
    """One request; `query` is decoded, `creates_object` says whether it makes a version appear.

    `object_tags` are those that it gives an object, None where its header says so.
    """

    request: Request
    query: Mapping[str, str]
    now_ms: int
    region: str
    creates_object: bool | None = None
    object_tags: Tags | None = None

    @property
    def pays(self) -> bool:
        """Whether the caller declares to pay (User Guide, "Using Requester Pays buckets")."""
        declared = self.request.headers.get(REQUEST_PAYER) or self.query.get(REQUEST_PAYER, "")
        return declared.lower() == "requester"

    def keys(
        self,
        caller: Caller,
        *,
        resource_account_id: str,
        existing_tags: Callable[[], Tags] | None,
        bucket_tags: Callable[[], Tags],
    ) -> Lookup:
        """The condition keys of the request for one caller and resource."""
        request = self.request
        return RequestKeys(
            RequestFacts(
                caller=caller,
                headers=request.headers,
                query=self.query,
                peer=request.peer,
                is_secure=request.secure,
                tls_version=request.tls_version,
                now_ms=self.now_ms,
                region=self.region,
                resource_account_id=resource_account_id,
                signature=_signature(request.headers, self.query),
                existing_tags=existing_tags,
                bucket_tags=bucket_tags,
                creates_object=self.creates_object,
                object_tags=self.object_tags,
            )
        )


def _signature(headers: Mapping[str, str], query: Mapping[str, str]) -> SignatureFacts | None:
    """How the request is signed; that the signature is right was proved before."""
    authorization = headers.get("authorization", "")
    if authorization.startswith(_V4):
        return SignatureFacts(_V4, _HEADER, parse_basic(headers.get("x-amz-date", "")))
    if "X-Amz-Signature" in query:
        return SignatureFacts(_V4, _QUERY, parse_basic(query.get("X-Amz-Date", "")))
    if "Signature" in query and "AWSAccessKeyId" in query:
        return SignatureFacts(_V2, _QUERY)
    return None
