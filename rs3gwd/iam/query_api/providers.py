"""OpenID Connect providers of an account: making, showing, changing and removing them.

A provider is named by its issuer without `https://`. Its thumbprints are kept and shown and decide
nothing: the certificate of a provider is verified like any other, by the system's authorities or
those that the operator names, as AWS does for providers with such certificates.

Source: CreateOpenIDConnectProvider and the actions beside it in the IAM API Reference; "Create an
OpenID Connect (OIDC) identity provider in IAM" in the IAM User Guide.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from rs3gwd.base.commands import DeleteIdentity, PutIdentity
from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.iam.identities.names import IDENTITIES_MAX, check_tags, invalid
from rs3gwd.iam.identities.permissions import merged_tags
from rs3gwd.iam.query_api.call import (
    QueryCall,
    Result,
    arn_of,
    replace_in,
    show_tags,
    show_time,
    without_tags,
)

URL_CHARACTERS_MAX = 255
CLIENTS_MAX = 100
CLIENT_CHARACTERS_MAX = 255
THUMBPRINTS_MAX = 5

ARN_PARAMETER = "OpenIDConnectProviderArn"

_PLACE = re.compile(r"[a-z0-9.-]{1,253}(:\d{1,5})?(/[\w.~/-]*)?", re.ASCII)
_THUMBPRINT = re.compile(r"[0-9a-fA-F]{40}", re.ASCII)


async def create(call: QueryCall) -> Result:
    """CreateOpenIDConnectProvider."""
    url = _check_url(call.form.text("Url"))
    existing = call.directory.identities(call.canonical_id, IdentityKind.PROVIDER)
    if len(existing) >= IDENTITIES_MAX[IdentityKind.PROVIDER]:
        raise ApiError(
            "LimitExceeded",
            "Cannot exceed quota for OpenIdConnectProvidersPerAccount: "
            f"{IDENTITIES_MAX[IdentityKind.PROVIDER]}",
        )
    name = name_of(url)
    record = IdentityRecord(
        canonical_id=call.canonical_id,
        kind=IdentityKind.PROVIDER,
        name=name,
        path="/",
        unique_id=name,
        created_ms=call.clock.now_ms(),
        tags=check_tags(call.form.tags()),
        url=url,
        clients=_check_clients(call.form.members("ClientIDList")),
        thumbprints=_check_thumbprints(call.form.members("ThumbprintList")),
    )
    made = await call.store.submit(PutIdentity(record, 0))
    assert isinstance(made, IdentityRecord)
    tags = show_tags(made.tags) if made.tags else None
    return {ARN_PARAMETER: arn_of(made), "Tags": tags}


async def get(call: QueryCall) -> Result:
    """GetOpenIDConnectProvider."""
    record = _find(call)
    return {
        "Url": name_of(record.url),
        "ClientIDList": record.clients,
        "ThumbprintList": record.thumbprints,
        "CreateDate": show_time(record.created_ms),
        "Tags": show_tags(record.tags) if record.tags else None,
    }


async def list_all(call: QueryCall) -> Result:
    """ListOpenIDConnectProviders."""
    found = call.directory.identities(call.canonical_id, IdentityKind.PROVIDER)
    return {"OpenIDConnectProviderList": [{"Arn": arn_of(each)} for each in found]}


async def delete(call: QueryCall) -> Result:
    """DeleteOpenIDConnectProvider; one that is not there is no error, as in AWS."""
    try:
        name = _find(call).name
    except ApiError:
        return None
    await call.store.submit(DeleteIdentity(call.canonical_id, IdentityKind.PROVIDER, name))
    return None


async def add_client(call: QueryCall) -> Result:
    """AddClientIDToOpenIDConnectProvider; being there already is no error."""
    client = call.form.text("ClientID")
    return await _change(
        call,
        lambda one: replace_in(
            one, clients=_check_clients([*(c for c in one.clients if c != client), client])
        ),
    )


async def remove_client(call: QueryCall) -> Result:
    """RemoveClientIDFromOpenIDConnectProvider; not being there is no error."""
    client = call.form.text("ClientID")
    return await _change(
        call, lambda one: replace_in(one, clients=[c for c in one.clients if c != client])
    )


async def update_thumbprints(call: QueryCall) -> Result:
    """UpdateOpenIDConnectProviderThumbprint."""
    thumbprints = _check_thumbprints(call.form.members("ThumbprintList"))
    return await _change(call, lambda one: replace_in(one, thumbprints=thumbprints))


async def tag(call: QueryCall) -> Result:
    """TagOpenIDConnectProvider."""
    new = check_tags(call.form.tags())
    return await _change(
        call, lambda one: replace_in(one, tags=check_tags(merged_tags(one.tags, new)))
    )


async def untag(call: QueryCall) -> Result:
    """UntagOpenIDConnectProvider."""
    keys = call.form.members("TagKeys")
    return await _change(call, lambda one: replace_in(one, tags=without_tags(one.tags, keys)))


async def list_tags(call: QueryCall) -> Result:
    """ListOpenIDConnectProviderTags."""
    return call.page("Tags", show_tags(_find(call).tags), lambda each: each)


def name_of(url: str) -> str:
    """The issuer without its scheme: what the provider's ARN and condition keys begin with."""
    return url.removeprefix("https://").rstrip("/")


def _find(call: QueryCall) -> IdentityRecord:
    """The provider that a request is about. Raises ApiError NoSuchEntity."""
    arn = call.form.text(ARN_PARAMETER)
    name = arn.partition(f":{IdentityKind.PROVIDER}/")[2]
    found = call.directory.identity(call.canonical_id, IdentityKind.PROVIDER, name)
    if not name or found is None or arn_of(found) != arn:
        raise ApiError("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn[:256]}")
    return found


async def _change(call: QueryCall, make: Callable[[IdentityRecord], IdentityRecord]) -> Result:
    await call.change(IdentityKind.PROVIDER, _find(call).name, make)
    return None


def _check_url(url: str) -> str:
    """An issuer. Raises ApiError ValidationError."""
    place = url.removeprefix("https://")
    parts = urlsplit(url)
    if len(url) > URL_CHARACTERS_MAX or parts.scheme != "https" or not _PLACE.fullmatch(place):
        raise invalid(
            "Invalid Open ID Connect Provider URL: it begins with https://, has a host in lower "
            "case, perhaps a port and a path, and neither a query nor a fragment."
        )
    return url


def _check_clients(clients: list[str]) -> list[str]:
    if len(clients) > CLIENTS_MAX:
        raise ApiError(
            "LimitExceeded",
            f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENTS_MAX}",
        )
    if not all(0 < len(client) <= CLIENT_CHARACTERS_MAX for client in clients):
        raise invalid(f"A client id has 1 to {CLIENT_CHARACTERS_MAX} characters.")
    return clients


def _check_thumbprints(thumbprints: list[str]) -> list[str]:
    if len(thumbprints) > THUMBPRINTS_MAX:
        raise invalid("Thumbprint list must contain fewer than 6 entries.")
    if not all(_THUMBPRINT.fullmatch(each) for each in thumbprints):
        raise invalid("A thumbprint is 40 hexadecimal digits.")
    return thumbprints
