"""A bucket policy of ten statements, none of which decides what the benchmark does.

The requests are those of the bucket's owner, whom nothing here allows or denies anything; so every
statement has to be looked at for each of them. The statements are of the kinds that people write:
other principals, prefixes, addresses, times, tags, agents, transport.
"""

import json
from typing import Any

from tools.rs3gw_bench.servers import Server, ServerError
from tools.rs3gw_bench.signing import sign
from tools.rs3gw_bench.wire import Wire, WireError

_OTHER = {"AWS": "arn:aws:iam::111122223333:root"}


def ten_statements(bucket: str) -> bytes:
    """The policy as a document."""
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
        for number in range(4)
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()


def put_policy(server: Server) -> None:
    """Puts it in force on the server's bucket. Raises ServerError."""
    bucket = server.target.bucket
    body = ten_statements(bucket)
    try:
        with Wire(server.endpoint) as wire:
            wire.ask(sign(server.target, "PUT", f"/{bucket}?policy", body), body, status=204)
    except WireError as error:
        raise ServerError(f"{server.name}: no policy: {error}") from error
