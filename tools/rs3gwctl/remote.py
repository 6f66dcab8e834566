"""The commands about a cluster, carried out over the admin API of any node of it.

Requests are signed (SigV4) with the same canonical forms that the server checks. The secret comes
from a file or from the environment, never from the command line, which other users can read.
"""

from __future__ import annotations

import os
import re
import ssl
import time
import urllib.error
import urllib.request
from functools import partial
from hashlib import sha256
from hmac import digest
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from rs3gwd.admin.operations import (
    PREFIX,
    LayoutRetreated,
    LayoutSet,
    LayoutWanted,
    LeaderSet,
    LeaderWanted,
    NodeRemoved,
    RemovalWanted,
    RevocationWanted,
    RotationWanted,
)
from rs3gwd.admin.service import SERVICE
from rs3gwd.base.admin import (
    AdminAnswer,
    ClusterAuthorityRevoke,
    ClusterAuthorityRotate,
    ClusterAuthorityShow,
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
    ClusterLayoutShow,
    ClusterPictureShow,
    ClusterRemove,
    ClusterTransfer,
)
from rs3gwd.base.cluster_admin import ClusterPicture, LayoutPicture, LayoutPlan
from rs3gwd.base.cluster_authority import AuthorityPicture, Revoked
from rs3gwd.iam.canonical import canonical_headers, canonical_request
from rs3gwd.iam.sigv4 import derive_signing_key, string_to_sign
from tools.rs3gwctl.files import read_text
from tools.rs3gwctl.session import SessionError

ANSWER_SECONDS: Final = 60.0
"""As on the local socket: a node leaves many groups, each by some commits."""

ANSWER_BYTES_MAX: Final = 16 << 20
REGION_DEFAULT: Final = "us-east-1"

_UNFIT: Final = re.compile(r"[^!-~]")
"""What neither an address nor a key has, and what would end or garble a header."""


Answer = TypeVar("Answer", bound=Struct)

ClusterRequest = (
    ClusterPictureShow
    | ClusterTransfer
    | ClusterRemove
    | ClusterLayoutShow
    | ClusterLayoutPlan
    | ClusterLayoutApply
    | ClusterLayoutRetreat
    | ClusterAuthorityShow
    | ClusterAuthorityRotate
    | ClusterAuthorityRevoke
)
"""What can be asked of any node over the network."""


class Endpoint(Struct, frozen=True):
    """Where to ask, as whom. `authority` is a file of certificates to trust, None for those of the
    system."""

    url: str
    access_key: str
    secret: str
    token: str = ""
    region: str = REGION_DEFAULT
    authority: Path | None = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signature is for one address and goes to no other."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class _ErrorBody(Struct):
    code: str
    message: str


class _Refusal(Struct):
    error: _ErrorBody


def endpoint_of(
    url: str, *, access_key: str | None, secret_file: Path | None, authority: Path | None
) -> Endpoint:
    """An endpoint with what options leave out taken from the variables that AWS tools read.

    Raises SessionError for an address or key that is not there.
    """
    origin = _origin_of(url)
    variables = os.environ
    key = access_key or variables.get("AWS_ACCESS_KEY_ID", "")
    secret = variables.get("AWS_SECRET_ACCESS_KEY", "")
    if secret_file is not None:
        secret = read_text(secret_file).strip()
    if not key or not secret:
        raise SessionError(
            "--endpoint needs a key: --access-key and --secret-key-file, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    # A session's token belongs to the key beside it.
    token = "" if access_key else variables.get("AWS_SESSION_TOKEN", "")
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or REGION_DEFAULT
    given = {"access key": key, "secret": secret, "session token": token, "region": region}
    for name, text in given.items():
        if _UNFIT.search(text):
            raise SessionError(f"the {name} has characters that none has")
    bundle = variables.get("AWS_CA_BUNDLE")
    return Endpoint(
        url=origin,
        access_key=key,
        secret=secret,
        token=token,
        region=region,
        authority=authority or (Path(bundle) if bundle else None),
    )


def _origin_of(url: str) -> str:
    """Scheme, host and port of an address. Raises SessionError for what is none or has more."""
    try:
        parts = urlsplit(url)
        is_origin = (
            not _UNFIT.search(url)
            and parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        )
    except ValueError:
        is_origin = False
    if not is_origin:
        raise SessionError(f"--endpoint {url[:200]}: it is like https://node:9000")
    return f"{parts.scheme}://{parts.netloc}"


def ask_remote(endpoint: Endpoint, request: ClusterRequest) -> AdminAnswer:
    """Carries out one request. Raises SessionError."""
    ask = partial(_ask, endpoint)
    match request:
        case ClusterPictureShow():
            return AdminAnswer(cluster=ask("GET", "cluster", ClusterPicture))
        case ClusterTransfer():
            path = f"cluster/groups/{request.group}/leader"
            ask("PUT", path, LeaderSet, LeaderWanted(request.node))
        case ClusterLayoutShow():
            return AdminAnswer(layout=ask("GET", "cluster/layout", LayoutPicture))
        case ClusterLayoutPlan():
            plan = ask("POST", "cluster/layout/plan", LayoutPlan, request.change)
            return AdminAnswer(layout_plan=plan)
        case ClusterLayoutApply():
            wanted = LayoutWanted(request.change, request.version)
            ask("PUT", "cluster/layout", LayoutSet, wanted)
        case ClusterLayoutRetreat():
            ask("DELETE", "cluster/layout/change", LayoutRetreated)
        case ClusterAuthorityShow():
            return AdminAnswer(authority=ask("GET", "cluster/authority", AuthorityPicture))
        case ClusterAuthorityRotate():
            rotation = RotationWanted(request.here, request.without)
            picture = ask("POST", "cluster/authority/rotation", AuthorityPicture, rotation)
            return AdminAnswer(authority=picture)
        case ClusterAuthorityRevoke():
            revocation = RevocationWanted(request.what)
            revoked = ask("POST", "cluster/authority/revocations", Revoked, revocation)
            return AdminAnswer(revoked=revoked)
        case ClusterRemove():
            path = f"cluster/nodes/{request.node}"
            ask("DELETE", path, NodeRemoved, RemovalWanted(request.is_lost))
    return AdminAnswer()


def _ask(
    endpoint: Endpoint, method: str, path: str, kind: type[Answer], wanted: Struct | None = None
) -> Answer:
    body = b"" if wanted is None else msgspec.json.encode(wanted)
    answer = _send(endpoint, method, path, body)
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SessionError(f"{endpoint.url}: not an answer of rs3gwd: {error}") from error


def _send(endpoint: Endpoint, method: str, path: str, body: bytes) -> bytes:
    target = PREFIX + path
    request = urllib.request.Request(
        endpoint.url + target,
        data=body or None,
        headers=_signed(endpoint, method, target, body, int(time.time())),
        method=method,
    )
    try:
        context = ssl.create_default_context(cafile=endpoint.authority)
        opener = urllib.request.build_opener(
            _NoRedirect, urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=ANSWER_SECONDS) as response:
            data: bytes = response.read(ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        raise _refused(endpoint, error) from error
    except (OSError, HTTPException, UnicodeError) as error:
        raise SessionError(f"{endpoint.url}: {getattr(error, 'reason', error)}") from error
    return data


def _refused(endpoint: Endpoint, error: urllib.error.HTTPError) -> SessionError:
    try:
        said = msgspec.json.decode(error.read(ANSWER_BYTES_MAX), type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError, OSError, HTTPException):
        return SessionError(f"{endpoint.url}: {error.code} {error.reason}: no admin API there")
    return SessionError(f"{said.code}: {said.message}", code=said.code)


def _signed(
    endpoint: Endpoint, method: str, target: str, body: bytes, now_s: int
) -> dict[str, str]:
    """The headers of a request, its signature among them."""
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    headers = {"host": urlsplit(endpoint.url).netloc, "x-amz-date": timestamp}
    if endpoint.token:
        headers["x-amz-security-token"] = endpoint.token
    names = ";".join(sorted(headers))
    canonical = canonical_request(
        method=method,
        uri=target,
        query="",
        headers=canonical_headers(sorted(headers.items())),
        signed_headers=names,
        payload_hash=sha256(body).hexdigest(),
    )
    date = timestamp[:8]
    scope = f"{date}/{endpoint.region}/{SERVICE}/aws4_request"
    key = derive_signing_key(endpoint.secret, date=date, region=endpoint.region, service=SERVICE)
    text = string_to_sign(timestamp=timestamp, scope=scope, request=canonical)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={endpoint.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={digest(key, text, 'sha256').hex()}"
    )
    if body:
        headers["content-type"] = "application/json"
    return headers
