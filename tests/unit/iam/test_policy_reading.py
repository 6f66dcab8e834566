"""Documents are refused as AWS refuses them, and accepted as records that do not change."""

import json
from typing import Any

import pytest
from policy_world import read, statement

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.policy.actions import s3_actions
from rs3gwd.iam.policy.document import Effect, PolicyKind
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.s3.operations import OPERATIONS

GOOD = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::b/*",
}


def refusal_of(document: Any, kind: PolicyKind = PolicyKind.BUCKET) -> tuple[str, str]:
    """The code and words with which a document is refused."""
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    with pytest.raises(ApiError) as refused:
        read_policy(text, kind, characters_max=20_480, bucket="b")
    return refused.value.api_code, refused.value.message


def without(*names: str, **more: Any) -> dict[str, Any]:
    """A document whose one statement lacks some elements and has others."""
    fields = {name: value for name, value in GOOD.items() if name not in names}
    return {"Version": "2012-10-17", "Statement": [{**fields, **more}]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "Policies must be valid JSON and the first byte must be '{'"),
        (" {}", "Policies must be valid JSON and the first byte must be '{'"),
        ('{"Version": }', "Policies must be valid JSON and the first byte must be '{'"),
        ('{"Statement": [], "Statement": []}', "Policies must be valid JSON"),
        (b"{\xff}", "Policies must be valid JSON"),
        ('{"a":' * 30 + "1" + "}" * 30, "Policies must be valid JSON"),
        ('{"a":' + "[" * 60_000, "Policies must be valid JSON"),
        ("{" + " " * 70_000 + "}", "Normalized policy document exceeds the maximum"),
        ({"Version": "2012-10-17"}, "Missing required field Statement"),
        ({"Statement": []}, "Could not parse the policy: Statement is empty!"),
        ({"Statement": "x"}, "Invalid policy syntax."),
        ({"Statement": [1]}, "Invalid policy syntax."),
        ({"Version": "2020-01-01", "Statement": [GOOD]}, "must contain a valid version string"),
        ({"Statement": [GOOD], "Extra": 1}, "Unknown field Extra"),
        ({"Id": 5, "Statement": [{}]}, "Missing required field"),
        (without(Extra=1), "Unknown field Extra"),
        (without("Effect"), "Missing required field Effect"),
        (without(Effect="allow"), "Invalid effect: allow"),
        (without("Principal"), "Missing required field Principal"),
        (without(Principal="bob"), "Invalid principal in policy"),
        (without(Principal={"AWS": []}), "Invalid principal in policy"),
        (without(Principal={"Aws": "*"}), "Invalid principal in policy"),
        (without(Principal={"AWS": "arn:aws:iam::1:user/x"}), "Invalid principal in policy"),
        (
            without(Principal={"AWS": "arn:aws:iam::111111111111:user/*"}),
            "Invalid principal in policy",
        ),
        (without(NotPrincipal="*"), "Invalid policy syntax."),
        (without("Action"), "Missing required field Action"),
        (without(Action=[]), "Policy has invalid action"),
        (without(Action="s3:Nonsense"), "Policy has invalid action"),
        (without(Action="ec2:RunInstances"), "Policy has invalid action"),
        (without(NotAction="s3:GetObject"), "Invalid policy syntax."),
        (without("Resource"), "Missing required field Resource"),
        (without(Resource="b/*"), "Policy has invalid resource"),
        (without(Resource="arn:aws:s3:::other/*"), "Policy has invalid resource"),
        (without(Resource="arn:aws:s3:::b2/*"), "Policy has invalid resource"),
        (without(Resource="arn:aws:s3:::b/${aws:username"), "Policy has invalid resource"),
        (
            without(Resource="arn:aws:s3:::b"),
            "Action does not apply to any resource(s) in statement",
        ),
        (
            without(Action="s3:ListBucket"),
            "Action does not apply to any resource(s) in statement",
        ),
        (without(Condition=[]), "Invalid policy syntax."),
        (without(Condition={"X": {"aws:k": "v"}}), "Invalid Condition type : X"),
        (without(Condition={"Bool": {"aws:k": "v"}}), "Invalid value in Conditions: v"),
        (
            without(Condition={"IpAddress": {"aws:SourceIp": "x"}}),
            "Invalid IP address in Conditions",
        ),
        (
            without(Condition={"StringEquals": {"s3:nonsense": "v"}}),
            "Policy has an invalid condition key",
        ),
        (
            without(Condition={"StringEquals": {"s3:prefix": "v"}}),
            "Conditions do not apply to combination of actions and resources in statement",
        ),
        ({"Statement": [{**GOOD, "Sid": "a"}] * 2}, "Statement IDs (SID) in a single policy"),
    ],
)
def test_bucket_policies_are_refused_in_the_words_of_s3(document: Any, message: str) -> None:
    """MalformedPolicy, and the sentence that S3 sends."""
    code, words = refusal_of(document)
    assert code == "MalformedPolicy"
    assert message in words


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("x", "Syntax errors in policy."),
        (without(), "Policy document should not specify a principal."),
        (without("Principal", "Action"), "Policy statement must contain actions."),
        (without("Principal", "Resource"), "Policy statement must contain resources."),
        (without("Principal", Action="GetObject"), "must be prefaced by a vendor"),
        (without("Principal", Resource="bucket"), 'Resource bucket must be in ARN format or "*".'),
        (without("Principal", Sid="not good"), "Statement IDs (SID) must be alpha-numeric."),
        (without("Principal", Condition={"StringEquals": {"prefix": "a"}}), "by a vendor"),
    ],
)
def test_identity_policies_are_refused_in_the_words_of_iam(document: Any, message: str) -> None:
    """MalformedPolicyDocument, and the sentence that IAM sends."""
    code, words = refusal_of(document, PolicyKind.IDENTITY)
    assert code == "MalformedPolicyDocument"
    assert message in words


def test_a_trust_policy_has_principals_and_no_resource() -> None:
    """Who may assume a role is said without a resource, which is the role."""
    trust = without("Resource", Action="sts:AssumeRole")
    document = read_policy(json.dumps(trust), PolicyKind.TRUST, characters_max=2_048)
    assert document.statements[0].resources == ()
    assert refusal_of(without(), PolicyKind.TRUST)[0] == "MalformedPolicyDocument"


def test_length_is_counted_without_blanks() -> None:
    """An indented document counts what it says, and one over the quota is refused."""
    indented = json.dumps(without("Principal"), indent=40)
    compact = len(json.dumps(without("Principal"), separators=(",", ":")))
    document = read_policy(indented, PolicyKind.IDENTITY, characters_max=compact)
    assert document.characters == compact
    with pytest.raises(ApiError) as refused:
        read_policy(indented, PolicyKind.IDENTITY, characters_max=compact - 1)
    assert refused.value.api_code == "LimitExceeded"


def test_identity_policies_may_name_other_services() -> None:
    """A policy brought along from elsewhere is taken whole."""
    document = read(statement(Action=["ec2:Run*", "s3:*"], Resource="arn:aws:ec2:eu::x"))
    assert document.statements[0].actions == ("ec2:Run*", "s3:*")


def test_numbers_and_booleans_are_values_of_conditions() -> None:
    """`10` and `true` mean what "10" and "true" mean."""
    document = read(
        statement(Condition={"NumericLessThan": {"s3:max-keys": 10}, "Bool": {"aws:x": [True]}})
    )
    assert [each.values for each in document.statements[0].conditions] == [("10",), ("true",)]


def test_a_single_statement_needs_no_list() -> None:
    """One statement may stand alone, and its elements too."""
    text = json.dumps({"Statement": GOOD})
    document = read_policy(text, PolicyKind.BUCKET, characters_max=20_480, bucket="b")
    assert [each.effect for each in document.statements] == [Effect.ALLOW]
    assert document.version == "2008-10-17"


def test_account_ids_and_their_arns_are_one_principal() -> None:
    """Twelve digits, with or without quotes, and the ARN of the root mean the account."""
    arn = "arn:aws:iam::111111111111:root"
    for written in ("111111111111", arn):
        document = read(statement(Principal={"AWS": written}), kind=PolicyKind.BUCKET)
        principals = document.statements[0].principals
        assert principals is not None
        assert principals.arns == {arn}


def test_every_action_of_the_operation_table_is_known() -> None:
    """No operation asks for an action that a policy could not name."""
    asked = {row.action for row in OPERATIONS} | {row.version_action for row in OPERATIONS}
    of_s3 = {action.lower() for action in asked if action.startswith("s3:")}
    assert of_s3 - set(s3_actions()) == set()
