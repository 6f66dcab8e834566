"""What lint finds, and what it leaves alone."""

import re
from pathlib import Path
from typing import Any

import pytest
from policy_world import OTHER, read, statement

from rs3gwd.iam.policy.document import PolicyKind
from rs3gwd.iam.policy.lint import Severity, lint

OBJECTS, BUCKET = "arn:aws:s3:::b/*", "arn:aws:s3:::b"


def codes(
    *statements: dict[str, Any],
    kind: PolicyKind = PolicyKind.IDENTITY,
    version: str = "2012-10-17",
) -> list[str]:
    """The codes of the findings."""
    return [each.code for each in lint(read(*statements, kind=kind, version=version))]


def where(condition: Any, effect: str = "Allow", action: Any = "s3:GetObject") -> list[str]:
    """The codes for one statement with a condition."""
    return codes(statement(effect, Action=action, Resource=OBJECTS, Condition=condition))


def test_a_careful_policy_has_no_findings() -> None:
    """Nothing is said for the sake of saying something."""
    assert (
        codes(
            statement(Action="s3:ListBucket", Resource=BUCKET),
            statement(Action=["s3:GetObject", "s3:PutObject"], Resource=OBJECTS),
            statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}}),
        )
        == []
    )


def test_an_unknown_action_comes_with_the_nearest_name() -> None:
    """The author's typing mistake, put right."""
    document = read(statement(Action=["s3:GetObjects", "s3:Zzz", "ec2:Foo"], Resource="*"))
    found = lint(document)
    assert [each.code for each in found] == ["unknown-action", "unknown-action"]
    assert found[0].suggestion == "did you mean s3:GetObject?"
    assert all(each.severity is Severity.ERROR for each in found)


def test_actions_and_resources_that_do_not_meet_are_found() -> None:
    """ListBucket is done to the bucket, GetObject to what is in it."""
    assert codes(statement(Action="s3:ListBucket", Resource=OBJECTS)) == ["resource-mismatch"]
    assert codes(statement(Action="s3:GetObject", Resource=BUCKET)) == ["resource-mismatch"]
    both = statement(Action="s3:GetObject", Resource=[BUCKET, OBJECTS])
    assert codes(both) == ["unused-resource"]
    assert codes(statement(Action="s3:Get*", Resource=BUCKET)) == []
    assert codes(statement(Action="s3:ListAllMyBuckets", Resource="arn:aws:s3:::*")) == []


def test_keys_that_an_action_never_has_are_found() -> None:
    """s3:prefix says something about listings alone."""
    mixed = statement(
        Action=["s3:ListBucket", "s3:GetObject"],
        Resource=[BUCKET, OBJECTS],
        Condition={"StringLike": {"s3:prefix": "a/*"}},
    )
    (finding,) = lint(read(mixed))
    assert finding.code == "key-does-not-apply"
    assert "s3:GetObject" in finding.message
    assert where({"StringEquals": {"s3:nonsense": "a"}}) == ["unknown-key"]
    assert where({"StringEquals": {"s3:ExistingObjectTag/a": "a"}}) == []


def test_statements_for_everybody_are_found() -> None:
    """Principal *, and NotPrincipal in either effect."""
    everybody = statement(Principal="*", Action="s3:GetObject", Resource=OBJECTS)
    assert codes(everybody, kind=PolicyKind.BUCKET) == ["public"]
    rest = statement(NotPrincipal={"AWS": OTHER}, Action="s3:GetObject", Resource=OBJECTS)
    assert codes(rest, kind=PolicyKind.BUCKET) == ["not-principal"]
    denied = statement("Deny", NotPrincipal={"AWS": OTHER}, Resource=OBJECTS, Action="s3:GetObject")
    assert codes(denied, kind=PolicyKind.BUCKET) == ["not-principal"]


def test_permissions_by_exclusion_are_found() -> None:
    """Allow with NotAction or NotResource gives what nobody thought of; Deny with them is usual."""
    assert codes(statement(NotAction="s3:Delete*")) == ["allow-not-action"]
    assert codes(statement(NotResource=OBJECTS)) == ["allow-not-resource"]
    assert codes(statement("Deny", NotAction="s3:Get*")) == []
    assert codes(statement(Action="*")) == ["allow-everything"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, ["true-without-key"]),
        (
            {"ForAllValues:StringEquals": {"aws:TagKeys": "a"}, "Null": {"aws:TagKeys": "false"}},
            [],
        ),
        ({"StringEqualsIfExists": {"aws:Referer": "a"}}, ["true-without-key"]),
        ({"StringNotEquals": {"aws:Referer": "a"}}, ["true-without-key"]),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, []),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, []),
    ],
)
def test_conditions_that_hold_without_their_key_are_found(
    condition: Any, expected: list[str]
) -> None:
    """They permit to those of whom nothing is known; under Deny they are what is wanted."""
    assert where(condition) == expected
    assert where(condition, effect="Deny") == []


def test_variables_in_a_document_of_2008_are_found() -> None:
    """They are text there, and match nothing that was meant."""
    own = statement(Action="s3:GetObject", Resource="arn:aws:s3:::b/${aws:username}/*")
    assert codes(own, version="2008-10-17") == ["variables-need-2012"]
    assert codes(own) == []


@pytest.mark.parametrize(
    ("condition", "is_found"),
    [
        ({"Null": {"aws:k": "true"}, "StringEquals": {"aws:k": "a"}}, True),
        ({"Null": {"aws:k": "true"}, "StringNotEquals": {"aws:k": "a"}}, False),
        ({"StringEquals": {"aws:k": "a"}, "StringNotEquals": {"aws:k": ["a", "b"]}}, True),
        ({"StringEquals": {"aws:k": ["a", "c"]}, "StringNotEquals": {"aws:k": ["a", "b"]}}, False),
        ({"StringEquals": {"aws:k": "ab"}, "StringNotLike": {"aws:k": "a*"}}, True),
        (
            {
                "DateGreaterThan": {"aws:CurrentTime": "2025-01-01"},
                "DateLessThan": {"aws:CurrentTime": "2024-01-01"},
            },
            True,
        ),
        (
            {
                "DateGreaterThan": {"aws:CurrentTime": "2024-01-01"},
                "DateLessThan": {"aws:CurrentTime": "2025-01-01"},
            },
            False,
        ),
        (
            {
                "NumericGreaterThanEquals": {"s3:signatureAge": 5},
                "NumericLessThanEquals": {"s3:signatureAge": 5},
            },
            False,
        ),
        (
            {
                "NumericGreaterThan": {"s3:signatureAge": 5},
                "NumericLessThanEquals": {"s3:signatureAge": 5},
            },
            True,
        ),
        (
            {
                "IpAddress": {"aws:SourceIp": "10.1.0.0/16"},
                "NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"},
            },
            True,
        ),
        (
            {
                "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "NotIpAddress": {"aws:SourceIp": "10.1.0.0/16"},
            },
            False,
        ),
    ],
)
def test_conditions_that_never_hold_together_are_found(condition: Any, is_found: bool) -> None:
    """A statement with them has no effect at all."""
    assert ("never-true" in where(condition, effect="Deny")) is is_found


def test_statements_that_others_make_useless_are_found() -> None:
    """Denied elsewhere, or said already."""
    read_one = statement(Action="s3:GetObject", Resource="arn:aws:s3:::b/a/*")
    assert codes(read_one, statement("Deny", Action="s3:Get*", Resource=OBJECTS)) == [
        "denied-elsewhere"
    ]
    assert codes(read_one, statement(Action="s3:*")) == ["redundant"]
    assert codes(read_one, read_one) == ["redundant"]
    narrow = statement("Deny", Action="s3:GetObject", Resource="arn:aws:s3:::b/a/b/*")
    assert codes(read_one, narrow) == []
    some = statement(
        "Deny", Action="s3:Get*", Resource="*", Condition={"Bool": {"aws:SecureTransport": False}}
    )
    assert codes(read_one, some) == []
    assert codes(statement(Action="s3:Get????ct", Resource=OBJECTS), read_one) == ["redundant"]
    assert codes(statement(Action="s3:Get*", Resource=OBJECTS), statement(Resource=OBJECTS)) == [
        "redundant"
    ]


def test_every_code_is_documented() -> None:
    """The page for users says what each code means."""
    root = Path(__file__).resolve().parents[3]
    source = (root / "rs3gwd" / "iam" / "policy" / "lint.py").read_text()
    page = (root / "docs" / "understand" / "policies.md").read_text()
    codes_there = re.findall(r'Severity\.\w+,\n\s+"([a-z0-9-]+)",', source)
    assert len(codes_there) >= 10
    assert [code for code in codes_there if f"`{code}`" not in page] == []
