"""The query API through boto3: identities, policies and keys, and what they then may do in S3."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from iam_endpoint import IamEndpoint

READ_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}],
}
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def endpoint() -> IamEndpoint:
    """A service in memory."""
    return IamEndpoint()


@pytest.fixture
def iam(endpoint: IamEndpoint) -> Any:
    """IAM for the root of alice's account."""
    return endpoint.client("iam")


def code_of(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call, `ok` for none."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def allow(*actions: str, resource: Any = "*", **more: Any) -> str:
    """A document of one statement that allows."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_user_is_made_shown_changed_and_removed(iam: Any) -> None:
    """What boto3 reads back is what was given."""
    made = iam.create_user(UserName="Bob", Path="/a/", Tags=[{"Key": "team", "Value": "x y"}])
    user = made["User"]
    assert user["Arn"].endswith(":user/a/Bob")
    assert user["UserId"].startswith("AIDA")
    assert iam.get_user(UserName="bob")["User"] == user
    assert [each["UserName"] for each in iam.list_users()["Users"]] == ["Bob"]
    assert iam.list_users(PathPrefix="/b/")["Users"] == []
    iam.update_user(UserName="Bob", NewPath="/b/")
    assert iam.get_user(UserName="Bob")["User"]["Path"] == "/b/"
    iam.tag_user(UserName="Bob", Tags=[{"Key": "Team", "Value": "z"}, {"Key": "n", "Value": ""}])
    iam.untag_user(UserName="Bob", TagKeys=["N"])
    assert iam.list_user_tags(UserName="Bob")["Tags"] == [{"Key": "Team", "Value": "z"}]
    iam.delete_user(UserName="Bob")
    assert code_of(iam.get_user, UserName="Bob") == "NoSuchEntity"


def test_inline_policies_are_kept_as_they_were_sent(iam: Any) -> None:
    """For users, groups and roles alike."""
    iam.create_user(UserName="u")
    iam.create_group(GroupName="g")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    for kind, name in (("user", "u"), ("group", "g"), ("role", "r")):
        who = {f"{kind.title()}Name": name}
        policy = {**who, "PolicyName": "own"}
        put = getattr(iam, f"put_{kind}_policy")
        put(**policy, PolicyDocument=json.dumps(READ_ALL))
        assert getattr(iam, f"get_{kind}_policy")(**policy)["PolicyDocument"] == READ_ALL
        assert getattr(iam, f"list_{kind}_policies")(**who)["PolicyNames"] == ["own"]
        assert code_of(put, **policy, PolicyDocument="{}") == "MalformedPolicyDocument"
        long = allow(*[f"s3:Get{number}" for number in range(1500)])
        assert code_of(put, **policy, PolicyDocument=long) == "LimitExceeded"
        assert code_of(getattr(iam, f"delete_{kind}"), **who) == "DeleteConflict"
        getattr(iam, f"delete_{kind}_policy")(**policy)
        assert code_of(getattr(iam, f"get_{kind}_policy"), **policy) == "NoSuchEntity"
        getattr(iam, f"delete_{kind}")(**who)


def test_managed_policies_have_versions(iam: Any) -> None:
    """Five at most, one in force, which stays."""
    policy = iam.create_policy(
        PolicyName="p", Path="/x/", PolicyDocument=json.dumps(READ_ALL), Description="d"
    )["Policy"]
    arn = policy["Arn"]
    assert arn.endswith(":policy/x/p")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["Description"] == "d"
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(EVERYTHING))
    document = json.dumps(EVERYTHING)
    full = code_of(iam.create_policy_version, PolicyArn=arn, PolicyDocument=document)
    assert full == "LimitExceeded"
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v3")
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    shown = [(each["VersionId"], each["IsDefaultVersion"]) for each in versions]
    assert shown == [("v5", False), ("v4", False), ("v3", True), ("v2", False), ("v1", False)]
    found = iam.get_policy_version(PolicyArn=arn, VersionId="v3")["PolicyVersion"]
    assert found["Document"] == EVERYTHING
    default = code_of(iam.delete_policy_version, PolicyArn=arn, VersionId="v3")
    assert default == "DeleteConflict"
    assert code_of(iam.delete_policy, PolicyArn=arn) == "DeleteConflict"
    for number in (1, 2, 4, 5):
        iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
    iam.delete_policy(PolicyArn=arn)
    assert code_of(iam.get_policy, PolicyArn=arn) == "NoSuchEntity"


def test_attached_policies_and_boundaries_are_listed_where_they_are(iam: Any) -> None:
    """An account's own policies and those that every account has."""
    arn = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(READ_ALL))["Policy"]["Arn"]
    iam.create_user(UserName="u", PermissionsBoundary=arn)
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_user_policy(UserName="u", PolicyArn=ADMINISTRATOR)
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    assert iam.list_attached_user_policies(UserName="u")["AttachedPolicies"] == [
        {"PolicyName": "AdministratorAccess", "PolicyArn": ADMINISTRATOR}
    ]
    shown = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (shown["AttachmentCount"], shown["PermissionsBoundaryUsageCount"]) == (1, 1)
    roles = iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]
    assert [each["RoleName"] for each in roles] == ["r"]
    boundary = iam.get_user(UserName="u")["User"]["PermissionsBoundary"]
    assert boundary["PermissionsBoundaryArn"] == arn
    scopes = [len(iam.list_policies(Scope=each)["Policies"]) for each in ("Local", "AWS", "All")]
    assert scopes[0] == 1
    assert scopes[2] == scopes[0] + scopes[1]
    unknown = "arn:aws:iam::aws:policy/NoSuchPolicyHere"
    assert code_of(iam.attach_user_policy, UserName="u", PolicyArn=unknown) == "NoSuchEntity"
    assert code_of(iam.delete_policy, PolicyArn=arn) == "DeleteConflict"
    iam.detach_role_policy(RoleName="r", PolicyArn=arn)
    iam.delete_user_permissions_boundary(UserName="u")
    iam.delete_policy(PolicyArn=arn)


def test_groups_have_members(iam: Any) -> None:
    """Adding twice and removing twice are no errors; a group with members stays."""
    iam.create_group(GroupName="g")
    iam.create_user(UserName="u")
    for _ in range(2):
        iam.add_user_to_group(GroupName="g", UserName="u")
    members = iam.get_group(GroupName="g")["Users"]
    assert [each["UserName"] for each in members] == ["u"]
    groups = iam.list_groups_for_user(UserName="u")["Groups"]
    assert [each["GroupName"] for each in groups] == ["g"]
    assert code_of(iam.delete_group, GroupName="g") == "DeleteConflict"
    for _ in range(2):
        iam.remove_user_from_group(GroupName="g", UserName="u")
    iam.delete_group(GroupName="g")
    assert iam.list_groups()["Groups"] == []


def test_roles_say_who_may_assume_them(iam: Any) -> None:
    """The trust policy comes back as it was; what a role cannot be is refused."""
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST
    assert role["MaxSessionDuration"] == 3600
    iam.update_role(RoleName="r", Description="d", MaxSessionDuration=7200)
    other = json.loads(json.dumps(TRUST))
    other["Statement"][0]["Principal"] = {"AWS": "111111111111"}
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(other))
    shown = iam.get_role(RoleName="r")["Role"]
    assert (shown["Description"], shown["MaxSessionDuration"]) == ("d", 7200)
    assert shown["AssumeRolePolicyDocument"] == other
    bad = {"RoleName": "s", "AssumeRolePolicyDocument": json.dumps(READ_ALL)}
    assert code_of(iam.create_role, **bad) == "MalformedPolicyDocument"


def test_keys_belong_to_users_and_are_shown_once(iam: Any, endpoint: IamEndpoint) -> None:
    """Two for a user; one that is inactive or removed opens nothing any more."""
    iam.create_user(UserName="u")
    keys = [iam.create_access_key(UserName="u")["AccessKey"] for _ in range(2)]
    assert code_of(iam.create_access_key, UserName="u") == "LimitExceeded"
    listed = iam.list_access_keys(UserName="u")["AccessKeyMetadata"]
    assert {each["AccessKeyId"] for each in listed} == {each["AccessKeyId"] for each in keys}
    assert "SecretAccessKey" not in listed[0]
    first = {"UserName": "u", "AccessKeyId": keys[0]["AccessKeyId"]}
    sts = endpoint.client("sts", keys[0]["AccessKeyId"], keys[0]["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"].endswith(":user/u")
    iam.update_access_key(**first, Status="Inactive")
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    iam.update_access_key(**first, Status="Active")
    assert code_of(sts.get_caller_identity) == "ok"
    assert code_of(iam.delete_user, UserName="u") == "DeleteConflict"
    iam.delete_access_key(**first)
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    stranger = {"UserName": "u", "AccessKeyId": "AKIATESTAAAAAAAAAAAA"}
    assert code_of(iam.delete_access_key, **stranger) == "NoSuchEntity"


def test_what_nobody_has_is_an_empty_list(iam: Any) -> None:
    """Tools ask for it before they remove a user or role; who is not there is still an error."""
    iam.create_user(UserName="u")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    assert iam.list_mfa_devices(UserName="u")["MFADevices"] == []
    assert iam.list_ssh_public_keys(UserName="u")["SSHPublicKeys"] == []
    assert iam.list_signing_certificates(UserName="u")["Certificates"] == []
    credentials = iam.list_service_specific_credentials(UserName="u")
    assert credentials["ServiceSpecificCredentials"] == []
    assert iam.list_instance_profiles_for_role(RoleName="r")["InstanceProfiles"] == []
    assert code_of(iam.list_mfa_devices, UserName="x") == "NoSuchEntity"
    assert code_of(iam.get_login_profile, UserName="u") == "NoSuchEntity"


def test_long_lists_come_in_pages(iam: Any) -> None:
    """The paginator of boto3 finds everything once."""
    names = [f"u{number}" for number in range(7)]
    for name in names:
        iam.create_user(UserName=name)
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Users"]) for page in pages] == [3, 3, 1]
    assert [each["UserName"] for page in pages for each in page["Users"]] == names


@pytest.mark.parametrize(
    ("call", "arguments", "code"),
    [
        ("create_user", {"UserName": "a b"}, "ValidationError"),
        ("create_user", {"UserName": "u" * 65}, "ParamValidationError"),
        ("create_user", {"UserName": "u", "Path": "x"}, "ValidationError"),
        (
            "create_user",
            {"UserName": "u", "Tags": [{"Key": "a&b", "Value": ""}]},
            "ValidationError",
        ),
        (
            "create_user",
            {"UserName": "u", "Tags": [{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}]},
            "InvalidInput",
        ),
        ("list_users", {"MaxItems": 1, "Marker": "x"}, "ValidationError"),
        ("get_user", {}, "ValidationError"),
        ("get_credential_report", {}, "NotImplemented"),
    ],
)
def test_what_makes_no_sense_is_refused(
    iam: Any, call: str, arguments: dict[str, Any], code: str
) -> None:
    """With the codes of IAM; what botocore itself refuses never arrives."""
    if code == "ParamValidationError":
        code = "ValidationError"
    assert code_of(getattr(iam, call), **arguments) == code


def test_a_user_may_in_s3_what_policies_say(iam: Any, endpoint: IamEndpoint) -> None:
    """Nothing at first; then what inline, attached and group policies give, within the boundary."""
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="bob/x", Body=b"1")
    iam.create_user(UserName="bob")
    bob = endpoint.user_client("s3", "bob")
    read = {"Bucket": "bucket", "Key": "bob/x"}
    assert code_of(bob.get_object, **read) == "AccessDenied"
    assert code_of(bob.list_buckets) == "AccessDenied"
    assert code_of(bob.create_bucket, Bucket="another") == "AccessDenied"
    own = allow("s3:GetObject", resource="arn:aws:s3:::bucket/${aws:username}/*")
    iam.put_user_policy(UserName="bob", PolicyName="own", PolicyDocument=own)
    assert bob.get_object(**read)["Body"].read() == b"1"
    assert code_of(bob.get_object, Bucket="bucket", Key="eve/x") == "AccessDenied"
    iam.create_group(GroupName="staff")
    iam.attach_group_policy(GroupName="staff", PolicyArn=ADMINISTRATOR)
    assert code_of(bob.delete_object, **read) == "AccessDenied"
    iam.add_user_to_group(GroupName="staff", UserName="bob")
    assert code_of(bob.list_buckets) == "ok"
    assert code_of(bob.put_object, **read, Body=b"2") == "ok"
    iam.put_user_permissions_boundary(UserName="bob", PermissionsBoundary=READ_ONLY)
    assert code_of(bob.put_object, **read, Body=b"3") == "AccessDenied"
    assert code_of(bob.get_object, **read) == "ok"
    iam.remove_user_from_group(GroupName="staff", UserName="bob")
    iam.delete_user_policy(UserName="bob", PolicyName="own")
    assert code_of(bob.get_object, **read) == "AccessDenied"


def test_a_bucket_policy_can_name_a_user(iam: Any, endpoint: IamEndpoint) -> None:
    """By ARN, without any policy of the user's own; and deny one by tag."""
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"1")
    arn = iam.create_user(UserName="bob")["User"]["Arn"]
    iam.create_user(UserName="eve")
    bob, eve = (endpoint.user_client("s3", name) for name in ("bob", "eve"))
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": arn},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    deny = {
        **statement,
        "Effect": "Deny",
        "Principal": "*",
        "Condition": {"StringEquals": {"aws:PrincipalTag/team": "out"}},
    }
    document = {"Version": "2012-10-17", "Statement": [statement, deny]}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps(document))
    read = {"Bucket": "bucket", "Key": "k"}
    assert code_of(bob.get_object, **read) == "ok"
    assert code_of(eve.get_object, **read) == "AccessDenied"
    iam.tag_user(UserName="bob", Tags=[{"Key": "team", "Value": "out"}])
    assert code_of(bob.get_object, **read) == "AccessDenied"


def test_a_policy_of_a_new_version_holds_from_the_next_request(
    iam: Any, endpoint: IamEndpoint
) -> None:
    """Nothing that is kept outlives a change of what it was made of."""
    arn = iam.create_policy(PolicyName="p", PolicyDocument=allow("s3:List*"))["Policy"]["Arn"]
    iam.create_user(UserName="bob")
    iam.attach_user_policy(UserName="bob", PolicyArn=arn)
    bob = endpoint.user_client("s3", "bob")
    for action, expected in (("s3:Get*", "AccessDenied"), ("s3:ListAllMyBuckets", "ok")):
        assert code_of(bob.list_buckets) == ("ok" if expected == "AccessDenied" else "AccessDenied")
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow(action), SetAsDefault=True)
        assert code_of(bob.list_buckets) == expected


def test_nobody_gives_themselves_more(iam: Any, endpoint: IamEndpoint) -> None:
    """CVE-2021-43858, CVE-2023-27589, CVE-2024-24747: a user changes no policy, makes no key for
    another and none for the account, and what a new key may is what its user may."""
    iam.create_user(UserName="bob")
    iam.create_user(UserName="eve")
    bob = endpoint.user_client("iam", "bob")
    document = json.dumps(EVERYTHING)
    attempts = {
        "put_user_policy": {"UserName": "bob", "PolicyName": "p", "PolicyDocument": document},
        "attach_user_policy": {"UserName": "bob", "PolicyArn": ADMINISTRATOR},
        "create_user": {"UserName": "zed"},
        "create_access_key": {"UserName": "eve"},
        "delete_user_permissions_boundary": {"UserName": "bob"},
    }
    for call, arguments in attempts.items():
        assert code_of(getattr(bob, call), **arguments) == "AccessDenied", call
    own = allow("iam:*AccessKey*", resource="arn:aws:iam::*:user/${aws:username}")
    iam.put_user_policy(UserName="bob", PolicyName="keys", PolicyDocument=own)
    assert code_of(bob.create_access_key, UserName="eve") == "AccessDenied"
    made = bob.create_access_key()["AccessKey"]
    assert made["UserName"] == "bob"
    second = endpoint.client("iam", made["AccessKeyId"], made["SecretAccessKey"])
    assert code_of(second.list_users) == "AccessDenied"
    assert code_of(second.list_access_keys, UserName="bob") == "ok"


def test_a_delegated_administrator_stays_within_a_boundary(iam: Any, endpoint: IamEndpoint) -> None:
    """The example of AWS: users may be made only with the boundary, and it may not be taken off."""
    limit = iam.create_policy(PolicyName="limit", PolicyDocument=allow("s3:*"))["Policy"]["Arn"]
    needed = {"StringEquals": {"iam:PermissionsBoundary": limit}}
    document = allow("iam:CreateUser", "iam:AttachUserPolicy", Condition=needed)
    iam.create_user(UserName="admin")
    iam.put_user_policy(UserName="admin", PolicyName="p", PolicyDocument=document)
    admin = endpoint.user_client("iam", "admin")
    assert code_of(admin.create_user, UserName="free") == "AccessDenied"
    bounded = {"UserName": "bounded", "PermissionsBoundary": limit}
    assert code_of(admin.create_user, **bounded) == "ok"
    attach = {"PolicyArn": ADMINISTRATOR}
    assert code_of(admin.attach_user_policy, UserName="bounded", **attach) == "ok"
    assert code_of(admin.attach_user_policy, UserName="admin", **attach) == "AccessDenied"
    taken = code_of(admin.delete_user_permissions_boundary, UserName="bounded")
    assert taken == "AccessDenied"
    bounded_iam = endpoint.user_client("iam", "bounded")
    assert code_of(bounded_iam.list_users) == "AccessDenied"


def test_a_user_is_renamed_with_keys_groups_and_policies(iam: Any) -> None:
    """Under the new name and path everything is as before, and the old name is free."""
    iam.create_user(UserName="old")
    iam.create_group(GroupName="staff")
    iam.add_user_to_group(GroupName="staff", UserName="old")
    iam.put_user_policy(UserName="old", PolicyName="p", PolicyDocument=allow("s3:GetObject"))
    key = iam.create_access_key(UserName="old")["AccessKey"]["AccessKeyId"]
    iam.update_user(UserName="old", NewUserName="new", NewPath="/team/")
    iam.update_group(GroupName="staff", NewGroupName="crew")
    assert iam.get_user(UserName="new")["User"]["Arn"].endswith(":user/team/new")
    keys = iam.list_access_keys(UserName="new")["AccessKeyMetadata"]
    assert [each["AccessKeyId"] for each in keys] == [key]
    assert iam.list_user_policies(UserName="new")["PolicyNames"] == ["p"]
    groups = iam.list_groups_for_user(UserName="new")["Groups"]
    assert [each["GroupName"] for each in groups] == ["crew"]
    assert code_of(iam.get_user, UserName="old") == "NoSuchEntity"
    iam.create_user(UserName="old")
    assert code_of(iam.update_user, UserName="old", NewUserName="NEW") == "EntityAlreadyExists"


def test_renaming_asks_for_the_old_and_for_the_new_name(endpoint: IamEndpoint, iam: Any) -> None:
    """Who may change one user cannot make another one of it."""
    account = endpoint.client("sts").get_caller_identity()["Account"]
    iam.create_user(UserName="own")
    own = allow("iam:UpdateUser", resource=f"arn:aws:iam::{account}:user/own*")
    iam.put_user_policy(UserName="own", PolicyName="p", PolicyDocument=own)
    by_user = endpoint.user_client("iam", "own")
    refused = code_of(by_user.update_user, UserName="own", NewUserName="admin")
    assert refused == "AccessDenied"
    by_user.update_user(UserName="own", NewUserName="own2")
    assert iam.get_user(UserName="own2")["User"]["UserName"] == "own2"
