"""A bucket policy of ten statements, and a user whom one of them lets in.

The requests are those of a user of the bucket's owner who has no policies of their own: what they
may is what the last statement says, and every other one has to be found not to matter. The
statements are of the kinds that people write: other principals, prefixes, addresses, times, agents,
lists, storage classes, and how old a signature is.
"""

import json
import urllib.parse
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from tools.rs3gw_bench.servers import Server, ServerError
from tools.rs3gw_bench.signing import sign, sign_form
from tools.rs3gw_bench.wire import Wire, WireError

_OTHER = {"AWS": "arn:aws:iam::111122223333:root"}


def ten_statements(bucket: str, user: str) -> bytes:
    """The policy as a document, which lets `user` (an ARN) read and write."""
    objects = f"arn:aws:s3:::{bucket}/*"
    conditions: list[dict[str, Any]] = [
        {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8", "::1/128"]}},
        {"StringLike": {"aws:UserAgent": ["evil*", "*scanner*"]}},
        {"DateGreaterThan": {"aws:CurrentTime": "2199-01-01T00:00:00Z"}},
        {"StringEquals": {"s3:x-amz-acl": ["public-read", "public-read-write"]}},
        {"StringEquals": {"s3:x-amz-storage-class": ["GLACIER", "DEEP_ARCHIVE"]}},
        {"NumericGreaterThan": {"s3:signatureAge": "900000"}},
    ]
    statements = [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": objects,
            "Condition": one,
        }
        for one in conditions
    ]
    statements += [
        {
            "Effect": "Allow",
            "Principal": _OTHER,
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": f"arn:aws:s3:::{bucket}/team-{number}/*",
        }
        for number in range(3)
    ]
    statements.append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": user},
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": objects,
        }
    )
    return json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()


def come_in_by_policy(server: Server) -> None:
    """From here on a new user is who asks the server, let in by the policy of its bucket alone.

    Raises ServerError.
    """
    target = server.target
    try:
        with Wire(server.endpoint) as wire:
            user = _text(_ask_iam(server, wire, "CreateUser"), "Arn")
            key = _ask_iam(server, wire, "CreateAccessKey")
            body = ten_statements(target.bucket, user)
            wire.ask(sign(target, "PUT", f"/{target.bucket}?policy", body), body, status=204)
    except WireError as error:
        raise ServerError(f"{server.name}: no policy: {error}") from error
    server.target = replace(
        target, access_key=_text(key, "AccessKeyId"), secret_key=_text(key, "SecretAccessKey")
    )


def _ask_iam(server: Server, wire: Wire, action: str) -> ElementTree.Element:
    """What IAM answers about the user."""
    form = {"Action": action, "Version": "2010-05-08", "UserName": "bench"}
    body = urllib.parse.urlencode(form).encode()
    return ElementTree.fromstring(wire.ask(sign_form(server.target, "iam", body), body).body)


def _text(answer: ElementTree.Element, name: str) -> str:
    found = answer.find(f".//{{*}}{name}")
    assert found is not None, f"IAM's answer has a {name}"
    return found.text or ""
