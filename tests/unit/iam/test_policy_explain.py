"""Explanations: every statement's part in a decision, and what would change it."""

from policy_world import OWNER, access, bucket, identity, session, statement, user

from rs3gwd.iam.policy.context import ANONYMOUS
from rs3gwd.iam.policy.evaluate import Outcome, Policies
from rs3gwd.iam.policy.explain import Part, explain

BOB = user("bob")


def parts(*statements: dict[str, object], **more: object) -> list[list[Part]]:
    """The parts of each statement that do not fit, for bob reading b/key."""
    policies = Policies(identity=(identity(*statements),), **more)  # type: ignore[arg-type]
    found = explain(access(BOB), policies)
    return [[each.part for each in one.obstacles] for one in found.statements]


def test_each_part_that_does_not_fit_is_named() -> None:
    """Action, resource and condition, all of them and not the first alone."""
    assert parts(
        statement(),
        statement(Action="s3:PutObject"),
        statement(NotAction="s3:Get*"),
        statement(Resource="arn:aws:s3:::c/*"),
        statement(
            Action="s3:PutObject",
            Resource="arn:aws:s3:::c/*",
            Condition={"Bool": {"aws:SecureTransport": "true"}},
        ),
    ) == [
        [],
        [Part.ACTION],
        [Part.ACTION],
        [Part.RESOURCE],
        [Part.ACTION, Part.RESOURCE, Part.CONDITION],
    ]


def test_a_principal_that_does_not_fit_is_named_with_the_caller() -> None:
    """Whom the statement means, and who asks."""
    policy = bucket(statement(Principal={"AWS": user("eve").arn}))
    found = explain(access(BOB), Policies(resource=policy))
    (obstacle,) = found.statements[0].obstacles
    assert obstacle.part is Part.PRINCIPAL
    assert user("eve").arn in obstacle.detail
    assert BOB.arn in obstacle.detail


def test_a_condition_shows_what_the_request_has() -> None:
    """The values of the request beside those of the policy, or that there are none."""
    policy = identity(statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    asked = access(BOB, keys={"aws:SourceIp": ["192.0.2.1"]})
    (one,) = explain(asked, Policies(identity=(policy,))).statements
    assert "10.0.0.0/8" in one.obstacles[0].detail
    assert "192.0.2.1" in one.obstacles[0].detail
    (one,) = explain(access(BOB), Policies(identity=(policy,))).statements
    assert "no such key" in one.obstacles[0].detail


def test_a_near_miss_and_a_new_statement_are_proposed() -> None:
    """The statement with one obstacle first, then one that would do."""
    policy = identity(statement(Sid="almost", Resource="arn:aws:s3:::c/*"))
    found = explain(access(BOB), Policies(identity=(policy,)))
    assert found.verdict.outcome is Outcome.NOT_ALLOWED
    assert "almost" in found.changes[0]
    assert "add arn:aws:s3:::b/key to Resource" in found.changes[0]
    assert '"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/key"' in found.changes[1]


def test_the_layer_that_lacks_a_permission_is_the_one_to_change() -> None:
    """Bucket policy for strangers, boundary or session where those are the limit."""
    allow, nothing = identity(statement()), identity(statement(Action="ec2:*"))

    def last_change(asked: object, **policies: object) -> str:
        return explain(asked, Policies(**policies)).changes[-1]  # type: ignore[arg-type]

    assert last_change(access(ANONYMOUS)).startswith("Add to the resource policy")
    assert '"Principal": "*"' in last_change(access(ANONYMOUS))
    limited = {"identity": (allow,), "boundary": nothing}
    assert last_change(access(BOB), **limited).startswith("Add to the permissions boundary")
    reader = session("reader", "one")
    limited = {"identity": (allow,), "session": (nothing,)}
    assert last_change(access(reader), **limited).startswith("Add to the session policy")
    public = {"resource": bucket(statement()), "public_restricted": True}
    assert "RestrictPublicBuckets" in last_change(access(ANONYMOUS), **public)


def test_a_denial_names_the_statement_to_remove() -> None:
    """And an allowed request the one that it hangs on."""
    policy = identity(statement(Sid="yes"), statement("Deny", Sid="no", Action="s3:GetObject"))
    found = explain(access(BOB), Policies(identity=(policy,)))
    assert found.changes == ("Remove no of the identity policy 'identity', or narrow it.",)
    found = explain(access(BOB, "s3:PutObject"), Policies(identity=(policy,)))
    assert "Without yes" in found.changes[0]


def test_not_principal_is_examined_as_it_is_evaluated() -> None:
    """A Deny that spares the caller does not match, unless a boundary keeps it from sparing."""
    policy = bucket(statement("Deny", NotPrincipal={"AWS": [BOB.arn, OWNER]}))
    (one,) = explain(access(BOB), Policies(resource=policy)).statements
    assert [each.part for each in one.obstacles] == [Part.PRINCIPAL]
    bounded = Policies(resource=policy, boundary=identity(statement()))
    assert explain(access(BOB), bounded).statements[0].matches
