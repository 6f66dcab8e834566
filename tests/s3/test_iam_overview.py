"""All of an account through boto3: everything at once, counts and quotas, who has a policy."""

import json
from typing import Any

import pytest
from iam_endpoint import IamEndpoint
from test_iam_clients import ADMINISTRATOR, TRUST, allow, code_of

READ = allow("s3:Get*")


class Scene:
    """bob, who has all that there is; a group and a role with one of each; a policy."""

    def __init__(self) -> None:
        self.endpoint = IamEndpoint()
        iam = self.iam = self.endpoint.client("iam")
        made = iam.create_policy(
            PolicyName="limit", Path="/p/", PolicyDocument=READ, Description="no more"
        )
        self.limit = made["Policy"]["Arn"]
        iam.create_user(
            UserName="bob",
            Path="/a/",
            PermissionsBoundary=self.limit,
            Tags=[{"Key": "team", "Value": "x"}],
        )
        iam.create_user(UserName="carol")
        iam.create_group(GroupName="staff")
        iam.create_role(RoleName="ci", AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.add_user_to_group(GroupName="staff", UserName="bob")
        iam.put_user_policy(UserName="bob", PolicyName="own", PolicyDocument=READ)
        iam.put_group_policy(GroupName="staff", PolicyName="own", PolicyDocument=READ)
        iam.put_role_policy(RoleName="ci", PolicyName="own", PolicyDocument=READ)
        iam.attach_user_policy(UserName="bob", PolicyArn=ADMINISTRATOR)
        iam.attach_group_policy(GroupName="staff", PolicyArn=self.limit)
        iam.attach_role_policy(RoleName="ci", PolicyArn=self.limit)


@pytest.fixture
def scene() -> Scene:
    """A new one."""
    return Scene()


def test_everything_at_once_is_what_the_single_questions_tell(scene: Scene) -> None:
    """Users, groups, roles and policies, with all that hangs on them."""
    found = scene.iam.get_account_authorization_details()
    bob, carol = found["UserDetailList"]
    own = [{"PolicyName": "own", "PolicyDocument": json.loads(READ)}]
    limit = {"PolicyName": "limit", "PolicyArn": scene.limit}
    assert (carol["UserName"], carol["UserPolicyList"], carol["GroupList"]) == ("carol", [], [])
    told = scene.iam.get_user(UserName="bob")["User"]
    assert {name: bob[name] for name in told} == told
    assert bob["PermissionsBoundary"]["PermissionsBoundaryArn"] == scene.limit
    assert (bob["UserPolicyList"], bob["GroupList"]) == (own, ["staff"])
    assert bob["AttachedManagedPolicies"] == [
        {"PolicyName": "AdministratorAccess", "PolicyArn": ADMINISTRATOR}
    ]
    (staff,) = found["GroupDetailList"]
    assert (staff["GroupPolicyList"], staff["AttachedManagedPolicies"]) == (own, [limit])
    (role,) = found["RoleDetailList"]
    assert role["AssumeRolePolicyDocument"] == TRUST
    assert (role["RolePolicyList"], role["AttachedManagedPolicies"]) == (own, [limit])
    assert role["InstanceProfileList"] == []
    policies = {each["Arn"]: each for each in found["Policies"]}
    told = scene.iam.get_policy(PolicyArn=scene.limit)["Policy"]
    assert {name: policies[scene.limit][name] for name in told} == told
    (version,) = policies[scene.limit]["PolicyVersionList"]
    assert (version["Document"], version["IsDefaultVersion"]) == (json.loads(READ), True)
    assert policies[ADMINISTRATOR]["AttachmentCount"] == 1


def test_everything_comes_filtered_and_in_pages(scene: Scene) -> None:
    """A page runs over the lists; all pages together are everything, once."""
    whole = scene.iam.get_account_authorization_details()
    lists = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
    pages = scene.iam.get_paginator("get_account_authorization_details").paginate(
        PaginationConfig={"PageSize": 3}
    )
    collected: dict[str, list[Any]] = {name: [] for name in lists}
    for page in pages:
        assert sum(len(page[name]) for name in lists) <= 3
        for name in lists:
            collected[name] += page[name]
    assert collected == {name: whole[name] for name in lists}
    roles = scene.iam.get_account_authorization_details(Filter=["Role", "LocalManagedPolicy"])
    assert [len(roles[name]) for name in lists] == [0, 0, 1, 1]
    # botocore lets any word pass.
    assert code_of(scene.iam.get_account_authorization_details, Filter=["Rol"]) == "ValidationError"


def test_counts_and_quotas(scene: Scene) -> None:
    """What there is, what there may be, and 0 for what there cannot be."""
    scene.iam.create_access_key(UserName="bob")
    told = scene.iam.get_account_summary()["SummaryMap"]
    assert {name: told[name] for name in ("Users", "Groups", "Roles", "Policies")} == {
        "Users": 2,
        "Groups": 1,
        "Roles": 1,
        "Policies": 1,
    }
    assert (told["UsersQuota"], told["AccessKeysPerUserQuota"], told["MFADevices"]) == (5000, 2, 0)
    assert told["AccountAccessKeysPresent"] == 1


def test_who_has_a_policy_is_asked_by_kind_use_and_path(scene: Scene) -> None:
    """Attached or as a boundary, of one kind, below a path, in pages."""

    def names(**asked: Any) -> list[str]:
        found = scene.iam.list_entities_for_policy(PolicyArn=scene.limit, **asked)
        return [
            each[f"{kind}Name"]
            for kind in ("User", "Group", "Role")
            for each in found[f"Policy{kind}s"]
        ]

    assert names() == ["bob", "staff", "ci"]
    assert names(PolicyUsageFilter="PermissionsBoundary") == ["bob"]
    assert names(PolicyUsageFilter="PermissionsPolicy") == ["staff", "ci"]
    assert names(EntityFilter="Role") == ["ci"]
    assert names(EntityFilter="LocalManagedPolicy") == []
    assert names(PathPrefix="/a/") == ["bob"]
    pages = scene.iam.get_paginator("list_entities_for_policy").paginate(
        PolicyArn=scene.limit, PaginationConfig={"PageSize": 1}
    )
    assert len(list(pages)) == 3
    for wrong in ({"EntityFilter": "Rol"}, {"PolicyUsageFilter": "Boundary"}):
        asked = {"PolicyArn": scene.limit, **wrong}
        assert code_of(scene.iam.list_entities_for_policy, **asked) == "ValidationError"


def test_policies_are_listed_by_use_and_attached_ones_by_path(scene: Scene) -> None:
    """PolicyUsageFilter of ListPolicies, PathPrefix of the lists of attached policies."""

    def names(**asked: Any) -> list[str]:
        return [each["PolicyName"] for each in scene.iam.list_policies(**asked)["Policies"]]

    assert names(PolicyUsageFilter="PermissionsBoundary") == ["limit"]
    assert names(PolicyUsageFilter="PermissionsPolicy") == ["limit", "AdministratorAccess"]
    assert names(OnlyAttached=True, Scope="AWS") == ["AdministratorAccess"]
    for prefix, count in (("/", 1), ("/p/", 1), ("/q/", 0)):
        found = scene.iam.list_attached_role_policies(RoleName="ci", PathPrefix=prefix)
        assert len(found["AttachedPolicies"]) == count


def test_a_shared_policy_has_all_that_ones_own_has(scene: Scene) -> None:
    """An id, dates, one version with a document, no tags; and it cannot be changed."""
    shown = scene.iam.get_policy(PolicyArn=ADMINISTRATOR)["Policy"]
    assert shown["PolicyId"].startswith("ANPA")
    assert len(shown["PolicyId"]) == 20
    assert shown["CreateDate"] == shown["UpdateDate"]
    (version,) = scene.iam.list_policy_versions(PolicyArn=ADMINISTRATOR)["Versions"]
    assert version["VersionId"] == shown["DefaultVersionId"] == "v1"
    told = scene.iam.get_policy_version(PolicyArn=ADMINISTRATOR, VersionId="v1")["PolicyVersion"]
    assert told["Document"]["Statement"][0]["Action"] == "*"
    asked = {"PolicyArn": ADMINISTRATOR, "VersionId": "v2"}
    assert code_of(scene.iam.get_policy_version, **asked) == "NoSuchEntity"
    assert scene.iam.list_policy_tags(PolicyArn=ADMINISTRATOR)["Tags"] == []
    asked = {"PolicyArn": ADMINISTRATOR, "PolicyDocument": READ}
    assert code_of(scene.iam.create_policy_version, **asked) == "NoSuchEntity"


def test_what_no_account_has_is_an_empty_list(scene: Scene) -> None:
    """And a password policy that is not there; a role's description can be changed by itself."""
    iam = scene.iam
    assert iam.list_account_aliases()["AccountAliases"] == []
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
    assert iam.list_server_certificates()["ServerCertificateMetadataList"] == []
    assert iam.list_saml_providers()["SAMLProviderList"] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    assert code_of(iam.get_account_password_policy) == "NoSuchEntity"
    changed = iam.update_role_description(RoleName="ci", Description="builds")["Role"]
    assert changed["Description"] == "builds"
    assert iam.get_role(RoleName="ci")["Role"] == changed
