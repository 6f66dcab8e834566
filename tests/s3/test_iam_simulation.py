"""The simulator through boto3: it says beforehand what S3 says afterwards."""

import json
from typing import Any

import pytest
from iam_endpoint import IamEndpoint
from test_iam_clients import ADMINISTRATOR, TRUST, allow, code_of

FROM_HOME = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
DATA = "arn:aws:s3:::data/"


def deny(*actions: str, resource: str = "*") -> str:
    """A document of one statement that denies."""
    statement = {"Effect": "Deny", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Scene:
    """bob of the group staff; both may something, and a policy of bob's takes some of it."""

    def __init__(self) -> None:
        self.endpoint = IamEndpoint()
        iam = self.iam = self.endpoint.client("iam")
        self.bob = iam.create_user(UserName="bob", Path="/a/")["User"]["Arn"]
        iam.create_group(GroupName="staff")
        iam.add_user_to_group(GroupName="staff", UserName="bob")
        may = allow("s3:GetObject", "s3:PutObject", resource=f"{DATA}*")
        iam.put_group_policy(GroupName="staff", PolicyName="may", PolicyDocument=may)
        iam.put_user_policy(
            UserName="bob",
            PolicyName="own",
            PolicyDocument=deny("s3:PutObject", resource=f"{DATA}fixed/*"),
        )

    def ask(self, *actions: str, **more: Any) -> dict[tuple[str, str], str]:
        """The decisions about bob, by action and resource."""
        found = self.iam.simulate_principal_policy(
            PolicySourceArn=self.bob, ActionNames=list(actions), **more
        )
        return {
            (each["EvalActionName"], each["EvalResourceName"]): each["EvalDecision"]
            for each in found["EvaluationResults"]
        }


@pytest.fixture
def scene() -> Scene:
    """A new one."""
    return Scene()


def test_what_is_simulated_is_what_happens(scene: Scene) -> None:
    """Each action on each resource; then bob tries."""
    root = scene.endpoint.client("s3")
    root.create_bucket(Bucket="data")
    keys = ("open/k", "fixed/k")
    for key in keys:
        root.put_object(Bucket="data", Key=key, Body=b"1")
    told = scene.ask(
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", ResourceArns=[DATA + key for key in keys]
    )
    assert told["s3:PutObject", f"{DATA}open/k"] == "allowed"
    assert told["s3:PutObject", f"{DATA}fixed/k"] == "explicitDeny"
    assert told["s3:DeleteObject", f"{DATA}open/k"] == "implicitDeny"
    s3 = scene.endpoint.user_client("s3", "bob")
    for (action, resource), decision in told.items():
        key = resource.removeprefix(DATA)
        asked = {"Bucket": "data", "Key": key}
        call = {"GetObject": s3.get_object, "PutObject": s3.put_object}.get(
            action.removeprefix("s3:"), s3.delete_object
        )
        expected = "ok" if decision == "allowed" else "AccessDenied"
        assert code_of(call, **asked) == expected, (action, resource)


def test_the_statements_that_decided_are_named(scene: Scene) -> None:
    """By their policy and where it comes from."""

    def matched(action: str, **more: Any) -> list[tuple[str, str]]:
        found = scene.iam.simulate_principal_policy(
            PolicySourceArn=scene.bob, ActionNames=[action], **more
        )
        (one,) = found["EvaluationResults"]
        return [
            (each["SourcePolicyId"], each["SourcePolicyType"]) for each in one["MatchedStatements"]
        ]

    key = {"ResourceArns": [f"{DATA}fixed/k"]}
    assert matched("s3:GetObject", **key) == [("may of group staff", "group")]
    assert matched("s3:PutObject", **key) == [("own of user bob", "user")]
    assert matched("s3:DeleteObject", **key) == []
    scene.iam.attach_user_policy(UserName="bob", PolicyArn=ADMINISTRATOR)
    assert matched("iam:ListUsers") == [(ADMINISTRATOR, "aws-managed")]


def test_more_policies_a_boundary_and_a_bucket_policy_can_be_tried(scene: Scene) -> None:
    """What bob would be allowed if; nothing is stored."""
    key = f"{DATA}open/k"
    more = scene.ask(
        "s3:DeleteObject", ResourceArns=[key], PolicyInputList=[allow("s3:DeleteObject")]
    )
    assert set(more.values()) == {"allowed"}
    bound = {"PermissionsBoundaryPolicyInputList": [allow("s3:GetObject")]}
    told = scene.ask("s3:GetObject", "s3:PutObject", ResourceArns=[key], **bound)
    assert list(told.values()) == ["allowed", "implicitDeny"]
    found = scene.iam.simulate_principal_policy(
        PolicySourceArn=scene.bob, ActionNames=["s3:PutObject"], ResourceArns=[key], **bound
    )
    detail = found["EvaluationResults"][0]["PermissionsBoundaryDecisionDetail"]
    assert detail == {"AllowedByPermissionsBoundary": False}
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"{DATA}*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    told = scene.ask("s3:GetObject", ResourceArns=[key], ResourcePolicy=policy)
    assert set(told.values()) == {"explicitDeny"}
    assert set(scene.ask("s3:DeleteObject", ResourceArns=[key]).values()) == {"implicitDeny"}


def test_condition_keys_are_given_or_named_as_missing(scene: Scene) -> None:
    """What follows from the user and the clock is known; an address is not."""
    document = allow("s3:GetObject", resource=DATA + "${aws:username}/*", Condition=FROM_HOME)
    asked = {
        "PolicyInputList": [document],
        "ActionNames": ["s3:GetObject"],
        "ResourceArns": [f"{DATA}bob/k"],
        "CallerArn": scene.bob,
    }

    def ask(*entries: Any) -> tuple[str, list[str]]:
        found = scene.iam.simulate_custom_policy(**asked, ContextEntries=list(entries))
        (one,) = found["EvaluationResults"]
        return one["EvalDecision"], one["MissingContextValues"]

    def source(address: str) -> dict[str, Any]:
        return {
            "ContextKeyName": "aws:SourceIp",
            "ContextKeyValues": [address],
            "ContextKeyType": "ip",
        }

    assert ask() == ("implicitDeny", ["aws:sourceip"])
    assert ask(source("127.0.0.1")) == ("allowed", [])
    assert ask(source("10.0.0.1")) == ("implicitDeny", [])
    names = scene.iam.get_context_keys_for_custom_policy(PolicyInputList=[document])
    assert names["ContextKeyNames"] == ["aws:sourceip", "aws:username"]
    names = scene.iam.get_context_keys_for_principal_policy(PolicySourceArn=scene.bob)
    assert names["ContextKeyNames"] == []


def test_groups_and_roles_are_asked_alike(scene: Scene) -> None:
    """By their ARNs; answers come in pages."""
    iam = scene.iam
    role = iam.create_role(RoleName="ci", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.attach_role_policy(RoleName="ci", PolicyArn=ADMINISTRATOR)
    group = iam.get_group(GroupName="staff")["Group"]["Arn"]
    for arn, decision in ((role, "allowed"), (group, "implicitDeny")):
        found = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject"])
        assert found["EvaluationResults"][0]["EvalDecision"] == decision
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        PolicySourceArn=role,
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=[f"{DATA}{number}" for number in range(3)],
        PaginationConfig={"PageSize": 4},
    )
    assert [len(page["EvaluationResults"]) for page in pages] == [4, 2]


def test_who_may_simulate_is_asked_for_that_identity(scene: Scene) -> None:
    """bob may ask about bob and about nobody else; another spelling of an ARN is nobody's."""
    scene.iam.create_user(UserName="carol")
    carol = scene.iam.get_user(UserName="carol")["User"]["Arn"]
    may = allow("iam:SimulatePrincipalPolicy", resource=scene.bob)
    scene.iam.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=may)
    by_bob = scene.endpoint.user_client("iam", "bob")
    for arn, code in (
        (scene.bob, "ok"),
        (carol, "AccessDenied"),
        (scene.bob.replace("/a/", "/b/"), "AccessDenied"),
    ):
        asked = {"PolicySourceArn": arn, "ActionNames": ["s3:GetObject"]}
        assert code_of(by_bob.simulate_principal_policy, **asked) == code
    asked = {"PolicyInputList": [allow("s3:*")], "ActionNames": ["s3:GetObject"]}
    assert code_of(by_bob.simulate_custom_policy, **asked) == "AccessDenied"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"PolicySourceArn": "arn:aws:iam::111111111111:user/none"}, "NoSuchEntity"),
        ({"PolicySourceArn": "arn:aws:iam::111111111111:root"}, "InvalidInput"),
        ({"ActionNames": ["GetObject"]}, "InvalidInput"),
        ({"ActionNames": ["s3:*"]}, "InvalidInput"),
        ({"PolicyInputList": ["{"]}, "InvalidInput"),
        ({"ResourcePolicy": "{}"}, "InvalidInput"),
        ({"CallerArn": "arn:aws:iam::111111111111:role/x"}, "InvalidInput"),
        ({"ResourceOwner": "somebody"}, "InvalidInput"),
        ({"PermissionsBoundaryPolicyInputList": [allow("s3:*")] * 2}, "InvalidInput"),
        ({"ActionNames": ["s3:GetObject"] * 101, "ResourceArns": ["*"] * 10}, "InvalidInput"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_questions_that_make_no_sense_are_refused(
    scene: Scene, change: dict[str, Any], code: str
) -> None:
    """With AWS's codes."""
    asked = {"PolicySourceArn": scene.bob, "ActionNames": ["s3:GetObject"], **change}
    assert code_of(scene.iam.simulate_principal_policy, **asked) == code
