"""AWS's signing test suite (aws-c-auth, `aws-signing-test-suite/v4`): 38 cases, header and query.

The cases are for a service other than S3, so paths are normalised here first; the rest is the
product's canonical forms. The suite is read from the folder named by RS3GW_CONFORMANCE, or from
`shared/conformance` beside the checkout; without it the tests are skipped.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest

from rs3gwd.iam.canonical import (
    canonical_headers,
    canonical_query_pairs,
    canonical_request,
    canonical_uri,
    decode_query_text,
    join_query,
)
from rs3gwd.iam.sigv4 import SigningKey, derive_signing_key, string_to_sign

_BESIDE = Path(__file__).resolve().parents[3].parent / "shared" / "conformance"
SUITE = Path(os.environ.get("RS3GW_CONFORMANCE", _BESIDE)) / "sigv4" / "v4"
CASES = sorted(folder.name for folder in SUITE.iterdir()) if SUITE.is_dir() else []

pytestmark = pytest.mark.skipif(
    not CASES, reason="AWS's signing test suite is not here; name its folder in RS3GW_CONFORMANCE"
)


def parse(text: str) -> tuple[str, str, str, list[tuple[str, str]], str]:
    """Method, path, query, headers (repeats joined, folded lines kept) and body of a request."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    method, _, rest = first.partition(" ")
    target = rest.rpartition(" ")[0]
    path, _, query = target.partition("?")
    headers: list[list[str]] = []
    for line in lines:
        if line.startswith(" "):
            headers[-1][1] += "\n" + line
        elif line:
            name, _, value = line.partition(":")
            headers.append([name.lower(), value.strip(" ")])
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return method, path, query, sorted(joined.items()), body


def normalise(path: str) -> str:
    """The path without empty and dot segments, as every service but S3 wants it."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return "/" + "/".join(kept) + end


def read(case: str, name: str) -> str:
    """A file of a case, its line ends made `\\n`."""
    return (SUITE / case / f"{name}.txt").read_text("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize("kind", ["header", "query"])
@pytest.mark.parametrize("case", CASES)
def test_suite_case_has_the_published_forms_and_signature(case: str, kind: str) -> None:
    """Canonical request, string to sign and signature are the suite's, byte for byte."""
    context = json.loads((SUITE / case / "context.json").read_text("utf-8"))
    method, path, raw_query, headers, body = parse(read(case, f"{kind}-signed-request"))
    query = canonical_query_pairs(raw_query)
    timestamp = "".join(c for c in context["timestamp"] if c not in "-:")
    if kind == "header":
        authorization = dict(headers)["authorization"]
        signed = authorization.partition("SignedHeaders=")[2].partition(",")[0]
        signature = authorization.partition("Signature=")[2]
    else:
        parameters = {name: decode_query_text(value) for name, value in query}
        signed, signature = parameters["X-Amz-SignedHeaders"], parameters["X-Amz-Signature"]
        left_out = {"X-Amz-Signature"}
        if context.get("omit_session_token"):
            left_out.add("X-Amz-Security-Token")
        query = [pair for pair in query if pair[0] not in left_out]
    canonical = canonical_request(
        method=method,
        uri=canonical_uri(normalise(path) if context["normalize"] else path),
        query=join_query(query),
        headers=canonical_headers([each for each in headers if each[0] in signed.split(";")]),
        signed_headers=signed,
        payload_hash=hashlib.sha256(body.encode()).hexdigest(),
    )
    assert canonical.decode("latin-1") == read(case, f"{kind}-canonical-request")
    date, region = timestamp[:8], context["region"]
    text = string_to_sign(
        timestamp=timestamp,
        scope=f"{date}/{region}/{context['service']}/aws4_request",
        request=canonical,
    )
    assert text.decode() == read(case, f"{kind}-string-to-sign")
    secret = context["credentials"]["secret_access_key"]
    key = derive_signing_key(secret, date=date, region=region, service=context["service"])
    assert SigningKey(key).sign(text) == signature == read(case, f"{kind}-signature")


def test_suite_is_whole() -> None:
    """All 38 cases of the suite are run."""
    assert len(CASES) == 38
