"""The condition keys of a request to S3, worked out one by one when a policy asks for them.

A key is a row: its name, and a function from the facts of the request to its values. What a handler
or another service knows (the tags in a body, the time a token was issued) comes as `more` and wins
over the rows. A key that the request does not have is None, which is not the same as an empty text.

    RequestKeys(facts)("s3:prefix")  ->  ("home/",)  or None

Two keys have readings of their own. `s3:x-amz-copy-source` is given decoded, without the version,
with and without its leading slash, since AWS's own examples use both: a pattern may match either,
and a negated one must miss both. `s3:prefix` and its like are only there when the parameter is.

Source: "AWS global condition context keys" in the IAM User Guide; "Bucket policy examples using
condition keys" in the Amazon S3 User Guide; "Condition keys for Amazon S3" in the Service
Authorization Reference; "Amazon S3 Signature Version 4 Authentication Specific Policy Keys".
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from rs3gwd.iam.policy.context import Caller, CallerKind
from rs3gwd.iam.policy.values import read_date
from rs3gwd.iam.timestamps import format_extended

Tags = Sequence[tuple[str, str]]
Values = tuple[str, ...] | None

DAY_MS = 86_400_000


class SignatureFacts(Struct, frozen=True):
    """How a request was signed. `auth_type` is REST-HEADER, REST-QUERY-STRING or POST."""

    version: str
    auth_type: str
    signed_ms: int | None = None


class RequestFacts(Struct, frozen=True):
    """What is known of a request before its body is read.

    `headers` by lower-case name and `query` decoded, as in Request and Call. `peer` is the client's
    address. `signature` is None for an anonymous request. `existing_tags` and `bucket_tags` fetch
    the tags of the object as it is and of the bucket; None where there is no such thing. Whoever
    authorises fetches them beforehand when `Policies.keys_used` has a key that needs them.
    `creates_object` is whether the operation makes a version appear, None where it is about none.
    `object_tags` are the tags that the request gives an object where its body says so (or where its
    header does not count), None for those of the header.
    """

    caller: Caller
    headers: Mapping[str, str]
    query: Mapping[str, str]
    peer: str
    is_secure: bool
    now_ms: int
    region: str
    resource_account_id: str
    signature: SignatureFacts | None = None
    tls_version: str = ""
    existing_tags: Callable[[], Tags] | None = None
    bucket_tags: Callable[[], Tags] | None = None
    creates_object: bool | None = None
    object_tags: Tags | None = None


class RequestKeys:
    """Looks keys up, each worked out once. One per request."""

    def __init__(
        self, facts: RequestFacts, more: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        """`more` are keys in normal spelling that the facts do not tell."""
        self._facts = facts
        self._found: dict[str, Values] = dict(more or {})

    def __call__(self, key: str) -> Values:
        """The values of a key in normal spelling, None where the request lacks it."""
        if key not in self._found:
            self._found[key] = self._work_out(key)
        return self._found[key]

    def _work_out(self, key: str) -> Values:
        row = _ROWS.get(key)
        if row is not None:
            return row(self._facts)
        header = HEADER_OF_KEY.get(key)
        if header is not None:
            return _one(self._facts.headers.get(header))
        head, slash, name = key.partition("/")
        tagged = _TAG_ROWS.get(head) if slash else None
        return None if tagged is None else _tag(tagged(self._facts), name, head)


def needs_existing_tags(keys: frozenset[str]) -> bool:
    """Whether policies that use these keys ask for the tags of the object as it is."""
    return any(key.startswith("s3:existingobjecttag/") for key in keys)


def needs_bucket_tags(keys: frozenset[str]) -> bool:
    """Whether policies that use these keys ask for the tags of the bucket."""
    return any(key.startswith(("aws:resourcetag/", "s3:buckettag/")) for key in keys)


def resource_tag_keys(tags: Tags) -> dict[str, tuple[str, ...]]:
    """The keys that tags for a bucket, user or role in the request give, for `more`."""
    keys: dict[str, tuple[str, ...]] = {
        f"aws:requesttag/{name.lower()}": (value,) for name, value in tags
    }
    if tags:
        keys["aws:tagkeys"] = tuple(name for name, _ in tags)
    return keys


def _one(value: str | None) -> Values:
    return None if value is None else (value,)


def _flag(value: bool) -> Values:
    return ("true" if value else "false",)


def _text(value: str) -> Values:
    """A text that is empty where there is none."""
    return (value,) if value else None


def _tag(tags: Tags | None, name: str, head: str) -> Values:
    """The value of a tag; tags of objects count case in their names, others do not."""
    for key, value in tags or ():
        if (key if head.startswith("s3:") else key.lower()) == name:
            return (value,)
    return None


def _object_tags(facts: RequestFacts) -> Tags:
    """The tags that the body or x-amz-tagging gives an object."""
    if facts.object_tags is not None:
        return facts.object_tags
    return parse_qsl(facts.headers.get("x-amz-tagging", ""), keep_blank_values=True)


def _tag_names(facts: RequestFacts) -> Values:
    return tuple(name for name, _ in _object_tags(facts)) or None


def _current_time(facts: RequestFacts) -> Values:
    instant = datetime.fromtimestamp(facts.now_ms // 1000, UTC)
    return (instant.strftime("%Y-%m-%dT%H:%M:%SZ"),)


def _auth_type(facts: RequestFacts) -> Values:
    return None if facts.signature is None else (facts.signature.auth_type,)


def _signature_version(facts: RequestFacts) -> Values:
    return None if facts.signature is None else (facts.signature.version,)


def _signature_age(facts: RequestFacts) -> Values:
    if facts.signature is None or facts.signature.signed_ms is None:
        return None
    # Signatures are dated to the second, and so is their age, in the milliseconds that AWS has.
    now_ms = facts.now_ms // 1000 * 1000
    return (str(max(now_ms - facts.signature.signed_ms, 0)),)


def _remaining_days(facts: RequestFacts) -> Values:
    """Whole days until the retention that a request asks for ends."""
    until = read_date(facts.headers.get("x-amz-object-lock-retain-until-date", ""))
    if until is None:
        return None
    return (str(int((until * 1000 - facts.now_ms) // DAY_MS)),)


def _copy_source(facts: RequestFacts) -> Values:
    source = facts.headers.get("x-amz-copy-source")
    if source is None:
        return None
    path = unquote(source.partition("?")[0]).removeprefix("/")
    return (path, f"/{path}")


def _token_issue_time(facts: RequestFacts) -> Values:
    issued_ms = facts.caller.token_issued_ms
    return None if issued_ms is None else (format_extended(issued_ms),)


def _multi_factor(facts: RequestFacts) -> Values:
    """There is no second factor here, and the key is only there for sessions."""
    return None if facts.caller.token_issued_ms is None else ("false",)


def _user_name(facts: RequestFacts) -> Values:
    return _text(facts.caller.name) if facts.caller.kind is CallerKind.USER else None


def _principal_type(facts: RequestFacts) -> Values:
    return (facts.caller.kind.value,)


_ROWS: dict[str, Callable[[RequestFacts], Values]] = {
    "aws:currenttime": _current_time,
    "aws:epochtime": lambda facts: (str(facts.now_ms // 1000),),
    "aws:federatedprovider": lambda facts: _text(facts.caller.vouched_by or facts.caller.provider),
    "aws:multifactorauthpresent": _multi_factor,
    "aws:principalaccount": lambda facts: _text(facts.caller.account_id),
    "aws:principalarn": lambda facts: _text(facts.caller.principal_arn),
    "aws:principalisawsservice": lambda facts: _flag(facts.caller.kind is CallerKind.SERVICE),
    "aws:principaltype": _principal_type,
    "aws:referer": lambda facts: _one(facts.headers.get("referer")),
    "aws:requestedregion": lambda facts: _text(facts.region),
    "aws:resourceaccount": lambda facts: _text(facts.resource_account_id),
    "aws:securetransport": lambda facts: _flag(facts.is_secure),
    "aws:sourceidentity": lambda facts: _text(facts.caller.source_identity),
    "aws:sourceip": lambda facts: _text(facts.peer),
    "aws:tokenissuetime": _token_issue_time,
    "aws:useragent": lambda facts: _one(facts.headers.get("user-agent")),
    "aws:userid": lambda facts: _text(facts.caller.user_id or "anonymous"),
    "aws:username": _user_name,
    "s3:authtype": _auth_type,
    "s3:delimiter": lambda facts: _one(facts.query.get("delimiter")),
    "s3:max-keys": lambda facts: _one(facts.query.get("max-keys")),
    "s3:objectcreationoperation": lambda facts: (
        None if facts.creates_object is None else _flag(facts.creates_object)
    ),
    "s3:object-lock-remaining-retention-days": _remaining_days,
    "s3:prefix": lambda facts: _one(facts.query.get("prefix")),
    "s3:requestobjecttagkeys": _tag_names,
    "s3:resourceaccount": lambda facts: _text(facts.resource_account_id),
    "s3:signatureage": _signature_age,
    "s3:signatureversion": _signature_version,
    "s3:tlsversion": lambda facts: _text(facts.tls_version),
    "s3:versionid": lambda facts: _one(facts.query.get("versionId")),
    "s3:x-amz-copy-source": _copy_source,
}
"""Keys that are worked out."""

HEADER_OF_KEY = {
    **{
        f"s3:{header}": header
        for header in (
            "x-amz-acl",
            "x-amz-content-sha256",
            "x-amz-grant-full-control",
            "x-amz-grant-read",
            "x-amz-grant-read-acp",
            "x-amz-grant-write",
            "x-amz-grant-write-acp",
            "x-amz-metadata-directive",
            "x-amz-object-ownership",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-server-side-encryption-customer-algorithm",
            "x-amz-storage-class",
            "x-amz-website-redirect-location",
            "if-match",
            "if-none-match",
        )
    },
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
}
"""Keys whose value is that of a header."""

_TAG_ROWS: dict[str, Callable[[RequestFacts], Tags | None]] = {
    "aws:principaltag": lambda facts: facts.caller.tags,
    "aws:resourcetag": lambda facts: facts.bucket_tags and facts.bucket_tags(),
    "s3:buckettag": lambda facts: facts.bucket_tags and facts.bucket_tags(),
    "s3:existingobjecttag": lambda facts: facts.existing_tags and facts.existing_tags(),
    "s3:requestobjecttag": _object_tags,
}
"""Keys that end in the name of a tag."""
