"""The evaluator against a second one, over thousands of generated policies and requests."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_policy import decide

from rs3gwd.iam.policy.context import Access, Caller, CallerKind, given_keys
from rs3gwd.iam.policy.document import Document, PolicyKind
from rs3gwd.iam.policy.evaluate import Outcome, Policies, evaluate
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.statements import CompiledPolicy

A, B = "111111111111", "222222222222"
CANONICAL = {A: "a" * 64, B: "b" * 64}


def caller(kind: str, account: str, arn: str, issuer: str = "") -> dict[str, str]:
    """A caller as the second evaluator has it."""
    return {
        "kind": kind,
        "account": account,
        "arn": arn,
        "issuer": issuer,
        "canonical": CANONICAL.get(account, ""),
    }


CALLERS = [
    caller("anonymous", "", ""),
    *(
        each
        for account in (A, B)
        for each in (
            caller("root", account, f"arn:aws:iam::{account}:root"),
            caller("user", account, f"arn:aws:iam::{account}:user/bob"),
            caller("user", account, f"arn:aws:iam::{account}:user/eve"),
            caller(
                "session",
                account,
                f"arn:aws:sts::{account}:assumed-role/reader/one",
                f"arn:aws:iam::{account}:role/reader",
            ),
            caller(
                "federated",
                account,
                f"arn:aws:sts::{account}:federated-user/bob",
                f"arn:aws:iam::{account}:user/bob",
            ),
        )
    ),
]
KINDS = {
    "anonymous": CallerKind.ANONYMOUS,
    "root": CallerKind.ROOT,
    "user": CallerKind.USER,
    "session": CallerKind.ROLE_SESSION,
    "federated": CallerKind.FEDERATED,
}
ARNS = sorted({each["arn"] for each in CALLERS if each["arn"]} | {A, B})
ARNS += [each["issuer"] for each in CALLERS if each["issuer"]]

ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:GetObjectAcl", "s3:GetBucketPolicy", "s3:ListBucket"]
RESOURCES = [
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/a",
    "arn:aws:s3:::b/a/b",
    "arn:aws:s3:::b/a:b",
    "arn:aws:s3:::b/bob/x",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/\n[a]",
]
PATTERNS = [
    "*",
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b*",
    "arn:aws:s3:::b/a*b",
    "arn:aws:s3:::b/?",
    "arn:aws:s3:::b/${aws:username}/*",
    "arn:aws:s3:::b/${aws:username, 'a'}*",
    "arn:aws:s3:::b/${*}",
    "arn:*:s3:::b/a*",
    "arn:aws:s3:*",
    "arn:aws:s3:::b/[a]*",
]
TEXTS = ["", "a", "A", "bob", "a*", "*b", "home/", "home/bob", "${aws:username}", "?", "${*}"]
PLAIN = ["", "a", "A", "bob", "ab", "home/", "home/bob", "*", "a*"]
NUMBERS = ["0", "1", "10", "10.0", "-5"]
DATES = ["2024-01-01", "2024-01-01T00:00:00Z", "1704067200", "2025-06-01T12:00:00Z"]
ADDRESSES = ["10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:10.1.2.3"]
NETWORKS = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "0.0.0.0/0"]
ARN_VALUES = ["arn:aws:iam::1:role/x", "arn:aws:iam::1:role/a:b", "arn:aws:sns:eu:1:t", "x"]
ARN_PATTERNS = ["arn:aws:iam::*:role/*", "arn:aws:sns:*", "arn:aws:iam::1:role/?", "*"]

KEYS = {
    "aws:username": ["bob", "eve"],
    "s3:prefix": PLAIN,
    "aws:TagKeys": PLAIN,
    "aws:SourceIp": ADDRESSES,
    "s3:max-keys": [*NUMBERS, "x"],
    "aws:CurrentTime": DATES,
    "aws:SecureTransport": ["true", "false"],
    "aws:SourceArn": ARN_VALUES,
}
FAMILIES = [
    (
        [
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
        ],
        ["aws:username", "s3:prefix", "aws:TagKeys", "AWS:tagkeys"],
        TEXTS,
    ),
    (["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"], ["aws:SourceArn"], ARN_PATTERNS),
    (["IpAddress", "NotIpAddress"], ["aws:SourceIp"], NETWORKS),
    (["Bool"], ["aws:SecureTransport"], ["true", "false"]),
    (["BinaryEquals"], ["s3:prefix"], ["YQ==", "Ym9i"]),
    (
        [
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        ["s3:max-keys"],
        NUMBERS,
    ),
    (
        [
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
        ],
        ["aws:CurrentTime"],
        DATES,
    ),
]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, dict[str, list[str]]]:
    """A Condition element."""
    found: dict[str, dict[str, list[str]]] = {}
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.integers(0, 9)) == 0:
            key = draw(st.sampled_from(sorted(KEYS)))
            found.setdefault("Null", {})[key] = [draw(st.sampled_from(["true", "false"]))]
            continue
        operators, keys, values = draw(st.sampled_from(FAMILIES))
        operator = draw(st.sampled_from(["", "", "ForAllValues:", "ForAnyValue:"]))
        operator += draw(st.sampled_from(operators)) + draw(st.sampled_from(["", "", "IfExists"]))
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
        found.setdefault(operator, {})[draw(st.sampled_from(keys))] = chosen
    for tests in found.values():
        # One spelling of a key to an operator, or the document is refused.
        if len({key.lower() for key in tests}) != len(tests):
            tests.pop("AWS:tagkeys")
    return found


@st.composite
def statements(draw: st.DrawFn, *, has_principal: bool) -> dict[str, Any]:
    """A statement."""
    statement: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    actions = st.sampled_from([*ACTIONS, "*", "s3:Get*", "S3:get?bject", "s3:*"])
    statement[draw(st.sampled_from(["Action", "Action", "NotAction"]))] = draw(
        st.lists(actions, min_size=1, max_size=2)
    )
    statement[draw(st.sampled_from(["Resource", "Resource", "NotResource"]))] = draw(
        st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)
    )
    if has_principal:
        named = draw(st.lists(st.sampled_from(ARNS), min_size=1, max_size=3))
        element: Any = draw(
            st.sampled_from(["*", {"AWS": named}, {"AWS": "*"}, {"CanonicalUser": CANONICAL[A]}])
        )
        statement[draw(st.sampled_from(["Principal", "Principal", "NotPrincipal"]))] = element
    condition = draw(conditions())
    if condition:
        statement["Condition"] = condition
    return statement


@st.composite
def documents(draw: st.DrawFn, *, has_principal: bool = False) -> dict[str, Any]:
    """A policy."""
    return {
        "Version": draw(st.sampled_from(["2012-10-17", "2012-10-17", "2008-10-17"])),
        "Statement": draw(
            st.lists(statements(has_principal=has_principal), min_size=1, max_size=3)
        ),
    }


@st.composite
def plain_documents(draw: st.DrawFn, *, has_principal: bool = False) -> dict[str, Any]:
    """A policy that most requests match: whom it names decides, and the layer it is in."""
    found = []
    for _ in range(draw(st.integers(1, 2))):
        statement: dict[str, Any] = {
            "Effect": draw(st.sampled_from(["Allow", "Allow", "Allow", "Deny"])),
            "Action": draw(st.sampled_from(["*", "*", "s3:GetObject"])),
            "Resource": "*",
        }
        if has_principal:
            field = draw(st.sampled_from(["Principal", "Principal", "Principal", "NotPrincipal"]))
            own = st.sampled_from([arn for arn in ARNS if A in arn])
            statement[field] = {"AWS": draw(st.lists(own | st.sampled_from(ARNS), min_size=1))}
        found.append(statement)
    return {"Version": "2012-10-17", "Statement": found}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request."""
    keys = {
        name.lower(): draw(st.lists(st.sampled_from(values), max_size=2))
        for name, values in KEYS.items()
        if draw(st.booleans())
    }
    return {
        "caller": draw(st.sampled_from(CALLERS)),
        "action": draw(st.sampled_from(ACTIONS)),
        "resource": draw(st.sampled_from(RESOURCES)),
        "owner": A,
        "keys": {name: values for name, values in keys.items() if values},
    }


def compiled(document: dict[str, Any], kind: PolicyKind) -> CompiledPolicy:
    """The real one, read without the checks that belong to PutBucketPolicy alone."""
    text = json.dumps(document)
    if kind is PolicyKind.IDENTITY:
        return CompiledPolicy("p", read_policy(text, kind, characters_max=20_000))
    bare = {**document, "Statement": [strip_principal(each) for each in document["Statement"]]}
    read = read_policy(json.dumps(bare), PolicyKind.IDENTITY, characters_max=20_000)
    named = [principals_of(each) for each in document["Statement"]]
    statements = tuple(
        type(each)(
            **{
                **{field: getattr(each, field) for field in each.__struct_fields__},
                "principals": principals,
                "is_not_principal": is_not,
            }
        )
        for each, (principals, is_not) in zip(read.statements, named, strict=True)
    )
    return CompiledPolicy(
        "p", Document(kind, read.version, read.policy_id, statements, read.characters)
    )


def strip_principal(statement: dict[str, Any]) -> dict[str, Any]:
    """A statement as an identity policy would have it."""
    return {k: v for k, v in statement.items() if not k.endswith("Principal")}


def principals_of(statement: dict[str, Any]) -> tuple[Any, bool]:
    """What the reader makes of a statement's principals."""
    text = json.dumps(
        {
            "Statement": {
                "Effect": "Allow",
                "Action": "s3:*",
                "Resource": "*",
                **{k: v for k, v in statement.items() if k.endswith("Principal")},
            }
        }
    )
    read = read_policy(text, PolicyKind.BUCKET, characters_max=20_000, bucket="b").statements[0]
    return read.principals, read.is_not_principal


def real_decision(
    request: dict[str, Any],
    identity: list[Any],
    boundary: Any,
    session: list[Any] | None,
    resource: Any,
) -> str:
    """What `evaluate` says, in the words of the second evaluator."""
    who = request["caller"]
    verdict = evaluate(
        Access(
            caller=Caller(
                kind=KINDS[who["kind"]],
                account_id=who["account"],
                canonical_id=who["canonical"],
                arn=who["arn"],
                issuer_arn=who["issuer"],
            ),
            action=request["action"],
            resource=request["resource"],
            resource_account_id=request["owner"],
            lookup=given_keys(request["keys"]),
        ),
        Policies(
            identity=tuple(compiled(each, PolicyKind.IDENTITY) for each in identity),
            boundary=None if boundary is None else compiled(boundary, PolicyKind.IDENTITY),
            session=None
            if session is None
            else tuple(compiled(each, PolicyKind.IDENTITY) for each in session),
            resource=None if resource is None else compiled(resource, PolicyKind.BUCKET),
        ),
    )
    return {Outcome.ALLOWED: "allow", Outcome.DENIED: "deny", Outcome.NOT_ALLOWED: "implicit"}[
        verdict.outcome
    ]


QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
LAYERS = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))

FULL_CASE = {
    "request": requests(),
    "identity": st.lists(documents(), max_size=2),
    "boundary": st.none() | documents(),
    "session": st.none() | st.lists(documents(), min_size=1, max_size=2),
    "resource": st.none() | documents(has_principal=True),
}
SMALL_CASE = {
    "request": requests(),
    "identity": st.lists(documents(), min_size=1, max_size=1),
    "boundary": st.none(),
    "session": st.none(),
    "resource": documents(has_principal=True),
}

LAYERS_CASE = {
    "request": requests(),
    "identity": st.lists(plain_documents(), max_size=1),
    "boundary": st.none() | plain_documents(),
    "session": st.none() | st.lists(plain_documents(), min_size=1, max_size=1),
    "resource": st.none() | plain_documents(has_principal=True),
}


def check(**case: Any) -> None:
    """Both evaluators say the same of one case."""
    assert real_decision(**case) == decide(**case)


def test_two_evaluators_decide_alike() -> None:
    """Requests with policies of every layer get the same decision from both."""
    QUICK(given(**FULL_CASE)(check))()


def test_two_evaluators_decide_alike_on_few_policies() -> None:
    """With few policies most decisions turn on one statement; both find the same."""
    QUICK(given(**SMALL_CASE)(check))()


def test_two_evaluators_decide_alike_on_layers() -> None:
    """With statements that match nearly everything, layers and principals decide; both the same."""
    LAYERS(given(**LAYERS_CASE)(check))()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_evaluators_decide_alike_on_thousands() -> None:
    """The same over thousands of cases of both sizes."""
    THOROUGH(given(**FULL_CASE)(check))()
    THOROUGH(given(**SMALL_CASE)(check))()
    THOROUGH(given(**LAYERS_CASE)(check))()


def test_generated_cases_reach_every_decision() -> None:
    """The generator is no use if everything is denied: all three decisions turn up often."""
    seen: Counter[str] = Counter()

    def count(**case: Any) -> None:
        seen[decide(**case)] += 1

    QUICK(given(**SMALL_CASE)(count))()
    assert all(seen[each] >= 10 for each in ("allow", "deny", "implicit")), seen
