"""STS through boto3: whose a session is, what it may, how long it lives, and what ends it."""

import json
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from iam_endpoint import IamEndpoint
from s3_world import ALICE, BOB, SECRET
from test_iam_clients import allow, code_of

from rs3gwd.iam.identities.arns import account_id_of

ACCOUNT = account_id_of(ALICE.canonical_id)
OTHER = account_id_of(BOB.canonical_id)
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


class Cast:
    """Alice's bucket with an object; worker, who may assume reader; reader, which may read."""

    def __init__(self) -> None:
        self.endpoint = IamEndpoint()
        self.iam = self.endpoint.client("iam")
        self.s3 = self.endpoint.client("s3")
        self.s3.create_bucket(Bucket="bucket")
        for key in ("a/x", "b/x"):
            self.s3.put_object(Bucket="bucket", Key=key, Body=b"1")
        self.iam.create_user(UserName="worker")
        self.iam.put_user_policy(
            UserName="worker", PolicyName="p", PolicyDocument=allow("sts:AssumeRole")
        )
        self.sts = self.endpoint.user_client("sts", "worker")
        self.trust()
        self.iam.attach_role_policy(RoleName="reader", PolicyArn=READ_ONLY)

    def trust(self, name: str = "reader", principal: Any = ACCOUNT, **more: Any) -> str:
        """Makes a role, or changes whom it trusts; its ARN."""
        actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        statement = {
            "Effect": "Allow",
            "Principal": principal if isinstance(principal, dict) else {"AWS": principal},
            "Action": actions,
            **more,
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        try:
            made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
            return str(made["Role"]["Arn"])
        except self.iam.exceptions.EntityAlreadyExistsException:
            self.iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
            return str(self.iam.get_role(RoleName=name)["Role"]["Arn"])

    def assume(self, sts: Any = None, role: str = "reader", **more: Any) -> dict[str, Any]:
        """What AssumeRole answers."""
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        given = {"RoleArn": arn, "RoleSessionName": "job", **more}
        answer: dict[str, Any] = (sts or self.sts).assume_role(**given)
        return answer

    def session(self, service: str, answer: dict[str, Any]) -> Any:
        """A client with the credentials of an answer."""
        return self.endpoint.session_client(service, answer["Credentials"])

    def read(self, answer: dict[str, Any], key: str = "a/x") -> str:
        """The code of reading an object with the credentials of an answer."""
        s3 = self.session("s3", answer)
        return code_of(s3.get_object, Bucket="bucket", Key=key)

    def pass_seconds(self, seconds: int) -> None:
        """Time passes for the node, not for who signs: at most a quarter of an hour."""
        self.endpoint.world.clock.advance(seconds * 1000)


@pytest.fixture
def cast() -> Cast:
    """Everybody."""
    return Cast()


def test_a_role_is_assumed_and_may_what_the_role_may(cast: Cast) -> None:
    """The session has the role's name and policies, and not those of the one who assumed it."""
    answer = cast.assume()
    who = answer["AssumedRoleUser"]
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/job"
    role_id = cast.iam.get_role(RoleName="reader")["Role"]["RoleId"]
    assert who["AssumedRoleId"] == f"{role_id}:job"
    identity = cast.session("sts", answer).get_caller_identity()
    assert (identity["Arn"], identity["UserId"]) == (who["Arn"], who["AssumedRoleId"])
    assert identity["Account"] == ACCOUNT
    assert cast.read(answer) == "ok"
    s3 = cast.session("s3", answer)
    assert code_of(s3.put_object, Bucket="bucket", Key="n", Body=b"") == "AccessDenied"
    assert code_of(s3.delete_object, Bucket="bucket", Key="a/x") == "AccessDenied"


def test_only_whom_the_trust_policy_names_gets_a_session(cast: Cast) -> None:
    """A user without permission, another trust, no such role, the root: all are refused alike."""
    assert code_of(cast.assume) == "ok"
    cast.iam.create_user(UserName="idle")
    idle = cast.endpoint.user_client("sts", "idle")
    assert code_of(cast.assume, sts=idle) == "AccessDenied"
    assert code_of(cast.assume, role="nobody") == "AccessDenied"
    assert code_of(cast.assume, sts=cast.endpoint.client("sts")) == "AccessDenied"
    cast.trust(principal=OTHER)
    assert code_of(cast.assume) == "AccessDenied"
    cast.trust(principal=f"arn:aws:iam::{ACCOUNT}:user/idle")
    assert code_of(cast.assume) == "AccessDenied"
    assert code_of(cast.assume, sts=idle) == "ok"


def test_another_account_needs_the_external_id_and_a_policy_of_its_own(cast: Cast) -> None:
    """The confused deputy: without the id that the trust policy asks for nobody comes in."""
    condition = {"StringEquals": {"sts:ExternalId": "secret-7"}}
    cast.trust(principal=OTHER, Condition=condition)
    bobs = cast.endpoint.client("iam", cast.endpoint.world.key_id(BOB), SECRET)
    bobs.create_user(UserName="carol")
    key = bobs.create_access_key(UserName="carol")["AccessKey"]
    carol = cast.endpoint.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert code_of(cast.assume, sts=carol, ExternalId="secret-7") == "AccessDenied"
    bobs.put_user_policy(UserName="carol", PolicyName="p", PolicyDocument=allow("sts:AssumeRole"))
    assert code_of(cast.assume, sts=carol) == "AccessDenied"
    assert code_of(cast.assume, sts=carol, ExternalId="secret-8") == "AccessDenied"
    answer = cast.assume(carol, ExternalId="secret-7")
    assert cast.read(answer) == "ok"


def test_session_policies_take_away_and_give_nothing(cast: Cast) -> None:
    """Inline and managed ones: the session may what both the role and one of them permit."""
    only_a = allow("s3:*", resource="arn:aws:s3:::bucket/a/*")
    answer = cast.assume(Policy=only_a)
    assert 0 < answer["PackedPolicySize"] <= 100
    assert cast.read(answer) == "ok"
    assert cast.read(answer, "b/x") == "AccessDenied"
    s3 = cast.session("s3", answer)
    assert code_of(s3.put_object, Bucket="bucket", Key="a/n", Body=b"") == "AccessDenied"
    made = cast.iam.create_policy(PolicyName="only-a", PolicyDocument=only_a)["Policy"]["Arn"]
    answer = cast.assume(PolicyArns=[{"arn": made}])
    assert (cast.read(answer), cast.read(answer, "b/x")) == ("ok", "AccessDenied")
    version = allow("s3:*", resource="arn:aws:s3:::bucket/b/*")
    cast.iam.create_policy_version(PolicyArn=made, PolicyDocument=version, SetAsDefault=True)
    assert (cast.read(answer), cast.read(answer, "b/x")) == ("AccessDenied", "ok")
    assert code_of(cast.assume, PolicyArns=[{"arn": f"{made}x"}]) == "ValidationError"
    assert code_of(cast.assume, Policy="{}") == "MalformedPolicyDocument"


def test_durations_are_bounded_by_the_role_and_by_chaining(cast: Cast) -> None:
    """At most what the role says; an hour when a session assumes a role."""
    for seconds, code in ((900, "ok"), (3601, "ValidationError")):
        assert code_of(cast.assume, DurationSeconds=seconds) == code
    cast.iam.update_role(RoleName="reader", MaxSessionDuration=7200)
    assert code_of(cast.assume, DurationSeconds=7200) == "ok"
    cast.iam.put_role_policy(
        RoleName="reader", PolicyName="p", PolicyDocument=allow("sts:AssumeRole")
    )
    chained = cast.session("sts", cast.assume())
    assert code_of(cast.assume, sts=chained, DurationSeconds=3600) == "ok"
    assert code_of(cast.assume, sts=chained, DurationSeconds=3601) == "ValidationError"


def test_a_session_ends_when_its_time_is_over(cast: Cast) -> None:
    """To the millisecond, in S3 and in the query API."""
    answer = cast.assume(DurationSeconds=900)
    cast.pass_seconds(899)
    assert cast.read(answer) == "ok"
    cast.pass_seconds(1)
    assert cast.read(answer) == "ExpiredToken"
    assert code_of(cast.session("sts", answer).get_caller_identity) == "ExpiredToken"


def test_tags_of_a_session_are_tags_of_its_principal(cast: Cast) -> None:
    """They win over the role's, need sts:TagSession, and transitive ones go on to the next role."""
    cast.iam.tag_role(RoleName="reader", Tags=[{"Key": "dir", "Value": "b"}])
    cast.iam.detach_role_policy(RoleName="reader", PolicyArn=READ_ONLY)
    own = allow("s3:GetObject", resource="arn:aws:s3:::bucket/${aws:PrincipalTag/dir}/*")
    cast.iam.put_role_policy(RoleName="reader", PolicyName="own", PolicyDocument=own)
    assert (cast.read(cast.assume(), "a/x"), cast.read(cast.assume(), "b/x")) == (
        "AccessDenied",
        "ok",
    )
    tags = [{"Key": "Dir", "Value": "a"}, {"Key": "other", "Value": "1"}]
    assert code_of(cast.assume, Tags=tags) == "AccessDenied"
    may = allow("sts:AssumeRole", "sts:TagSession")
    cast.iam.put_user_policy(UserName="worker", PolicyName="p", PolicyDocument=may)
    answer = cast.assume(Tags=tags, TransitiveTagKeys=["Dir"])
    assert (cast.read(answer, "a/x"), cast.read(answer, "b/x")) == ("ok", "AccessDenied")
    assert code_of(cast.assume, Tags=tags, TransitiveTagKeys=["none"]) == "ValidationError"
    cast.iam.put_role_policy(RoleName="reader", PolicyName="chain", PolicyDocument=may)
    cast.trust("second")
    cast.iam.put_role_policy(RoleName="second", PolicyName="own", PolicyDocument=own)
    chained = cast.session("sts", answer)
    passed_on = cast.assume(chained, "second")
    assert (cast.read(passed_on, "a/x"), cast.read(passed_on, "b/x")) == ("ok", "AccessDenied")
    again = [{"Key": "dir", "Value": "b"}]
    assert code_of(cast.assume, sts=chained, role="second", Tags=again) == "ValidationError"


def test_the_source_identity_is_kept_through_a_chain(cast: Cast) -> None:
    """It is a condition key of the session, and nobody can change it later."""
    may = allow("sts:AssumeRole", "sts:SetSourceIdentity")
    cast.iam.put_user_policy(UserName="worker", PolicyName="p", PolicyDocument=may)
    cast.iam.put_role_policy(RoleName="reader", PolicyName="chain", PolicyDocument=may)
    answer = cast.assume(SourceIdentity="erika")
    assert answer["SourceIdentity"] == "erika"
    condition = {"StringEquals": {"aws:SourceIdentity": "erika"}}
    cast.trust("second")
    cast.iam.put_role_policy(
        RoleName="second", PolicyName="own", PolicyDocument=allow("s3:Get*", Condition=condition)
    )
    chained = cast.session("sts", answer)
    assert cast.read(cast.assume(chained, "second")) == "ok"
    assert cast.read(cast.assume(role="second")) == "AccessDenied"
    assert code_of(cast.assume, sts=chained, role="second", SourceIdentity="max") == "AccessDenied"


def test_older_sessions_of_a_role_are_revoked_by_a_policy(cast: Cast) -> None:
    """AWSRevokeOlderSessions: those made before an instant are denied, later ones are not."""
    old = cast.assume()
    cast.pass_seconds(60)
    instant = cast.assume()["Credentials"]["Expiration"] - timedelta(hours=1)
    document = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {
                "DateLessThan": {"aws:TokenIssueTime": instant.strftime("%Y-%m-%dT%H:%M:%SZ")}
            },
        },
    }
    cast.iam.put_role_policy(
        RoleName="reader",
        PolicyName="AWSRevokeOlderSessions",
        PolicyDocument=json.dumps(document),
    )
    assert cast.read(old) == "AccessDenied"
    assert cast.read(cast.assume()) == "ok"


def test_a_session_ends_with_its_role_even_if_one_of_that_name_comes(cast: Cast) -> None:
    """The unique id counts, not the name."""
    answer = cast.assume()
    cast.iam.detach_role_policy(RoleName="reader", PolicyArn=READ_ONLY)
    cast.iam.delete_role(RoleName="reader")
    assert cast.read(answer) == "InvalidToken"
    cast.trust()
    cast.iam.attach_role_policy(RoleName="reader", PolicyArn=READ_ONLY)
    assert cast.read(answer) == "InvalidToken"
    assert cast.read(cast.assume()) == "ok"


def test_a_users_session_may_what_the_user_may_and_ends_with_the_key(cast: Cast) -> None:
    """GetSessionToken: no IAM, no further sessions but of roles; the key decides on its end."""
    cast.iam.attach_user_policy(UserName="worker", PolicyArn=READ_ONLY)
    key = cast.iam.create_access_key(UserName="worker")["AccessKey"]
    keys = (key["AccessKeyId"], key["SecretAccessKey"])
    answer = cast.endpoint.client("sts", *keys).get_session_token()
    assert cast.read(answer) == "ok"
    sts = cast.session("sts", answer)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/worker"
    assert code_of(cast.assume, sts=sts) == "ok"
    assert code_of(sts.get_session_token) == "AccessDenied"
    assert code_of(cast.session("iam", answer).list_users) == "AccessDenied"
    status = {"UserName": "worker", "AccessKeyId": keys[0]}
    cast.iam.update_access_key(**status, Status="Inactive")
    assert cast.read(answer) == "InvalidToken"
    cast.iam.update_access_key(**status, Status="Active")
    assert cast.read(answer) == "ok"
    cast.iam.delete_access_key(**status)
    assert cast.read(answer) == "InvalidToken"


def test_the_roots_session_is_the_root_for_an_hour(cast: Cast) -> None:
    """Whatever it asks for, within AWS's bounds; it has no second factor."""
    sts = cast.endpoint.client("sts")
    answer = sts.get_session_token(DurationSeconds=129_600)
    assert cast.read(answer) == "ok"
    cast.s3.put_bucket_policy(
        Bucket="bucket",
        Policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:GetObject",
                    "Resource": "arn:aws:s3:::bucket/*",
                    "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}},
                },
            }
        ),
    )
    assert cast.read(answer) == "AccessDenied"
    assert cast.s3.get_object(Bucket="bucket", Key="a/x")["Body"].read() == b"1"
    ends_ms = answer["Credentials"]["Expiration"].timestamp() * 1000
    assert 0 <= ends_ms - cast.endpoint.world.clock.now_ms() <= 3_600_000


def test_a_federated_user_may_what_maker_and_policy_both_permit(cast: Cast) -> None:
    """Nothing without a policy; no IAM and no further sessions with one."""
    cast.iam.attach_user_policy(UserName="worker", PolicyArn=READ_ONLY)
    assert code_of(cast.sts.get_federation_token, Name="guest") == "AccessDenied"
    may = allow("sts:GetFederationToken", resource=f"arn:aws:sts::{ACCOUNT}:federated-user/guest")
    cast.iam.put_user_policy(UserName="worker", PolicyName="f", PolicyDocument=may)
    assert code_of(cast.sts.get_federation_token, Name="other") == "AccessDenied"
    assert cast.read(cast.sts.get_federation_token(Name="guest")) == "AccessDenied"
    answer = cast.sts.get_federation_token(Name="guest", Policy=allow("s3:*", "iam:*"))
    assert answer["FederatedUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:federated-user/guest"
    assert cast.read(answer) == "ok"
    s3 = cast.session("s3", answer)
    assert code_of(s3.put_object, Bucket="bucket", Key="n", Body=b"") == "AccessDenied"
    assert code_of(cast.session("iam", answer).list_users) == "AccessDenied"
    sts = cast.session("sts", answer)
    assert sts.get_caller_identity()["UserId"] == f"{ACCOUNT}:guest"
    assert code_of(cast.assume, sts=sts) == "AccessDenied"


def test_the_root_federates_whom_it_likes(cast: Cast) -> None:
    """Such a user may what the session's policy says, and is not the root."""
    sts = cast.endpoint.client("sts")
    answer = sts.get_federation_token(Name="guest", Policy=allow("s3:GetObject"))
    assert cast.read(answer) == "ok"
    s3 = cast.session("s3", answer)
    assert code_of(s3.delete_object, Bucket="bucket", Key="a/x") == "AccessDenied"
    assert code_of(s3.create_bucket, Bucket="another") == "AccessDenied"
    bare = sts.get_federation_token(Name="guest")
    assert cast.read(bare) == "AccessDenied"


def test_a_role_never_gets_the_accounts_own_keys(cast: Cast) -> None:
    """With every permission of IAM a role's session must say which user a key is for."""
    everything = allow("iam:*", "sts:*")
    cast.iam.put_role_policy(RoleName="reader", PolicyName="iam", PolicyDocument=everything)
    iam = cast.session("iam", cast.assume())
    assert code_of(iam.create_access_key) == "ValidationError"
    assert code_of(iam.list_access_keys) == "ValidationError"
    root_key = cast.endpoint.world.key_id(ALICE)
    assert code_of(iam.delete_access_key, AccessKeyId=root_key) == "ValidationError"
    assert code_of(iam.get_user) == "ValidationError"
    assert code_of(iam.create_access_key, UserName="worker") == "ok"


def test_a_bucket_policy_names_a_role_or_one_session(cast: Cast) -> None:
    """The role is bounded by the session's policy, a session that is named itself is not."""
    cast.iam.detach_role_policy(RoleName="reader", PolicyArn=READ_ONLY)
    role = f"arn:aws:iam::{ACCOUNT}:role/reader"
    for principal, bounded in (
        (role, "AccessDenied"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/job", "ok"),
    ):
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": principal},
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/*",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        cast.s3.put_bucket_policy(Bucket="bucket", Policy=document)
        assert cast.read(cast.assume()) == "ok"
        assert cast.read(cast.assume(Policy=allow("s3:ListBucket"))) == bounded
        other = cast.assume(RoleSessionName="other")
        assert cast.read(other) == ("ok" if principal == role else "AccessDenied")


def test_what_is_not_there_says_so(cast: Cast) -> None:
    """A second factor is not implemented, a session that is too large has a code of its own."""
    factor = {"SerialNumber": "arn:aws:iam::111111111111:mfa/x", "TokenCode": "123456"}
    assert code_of(cast.assume, **factor) == "NotImplemented"
    assert code_of(cast.sts.get_session_token, **factor) == "NotImplemented"
    cast.iam.put_user_policy(UserName="worker", PolicyName="p", PolicyDocument=allow("sts:*"))
    random = Random(1)
    tags = [{"Key": random.randbytes(64).hex(), "Value": "x"} for _ in range(50)]
    for tag in tags:
        tag["Value"] = random.randbytes(128).hex()
    assert code_of(cast.assume, Tags=tags) == "PackedPolicyTooLarge"
    info = cast.sts.get_access_key_info(AccessKeyId=cast.endpoint.world.key_id(BOB))
    assert info["Account"] == OTHER
