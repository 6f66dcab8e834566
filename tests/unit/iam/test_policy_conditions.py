"""Every operator of the Condition element, with its qualifiers and suffix."""

import pytest
from policy_world import OTHER, ROOT, access, bucket, identity, statement, user

from rs3gwd.iam.policy.conditions import OPERATORS, ConditionError, compile_condition
from rs3gwd.iam.policy.context import given_keys
from rs3gwd.iam.policy.evaluate import Policies, evaluate

Values = list[str] | None


def holds(operator: str, wanted: list[str] | str, values: Values, *, is_deny: bool = False) -> bool:
    """Whether a condition on `k` holds when the request has `values` for it."""
    listed = [wanted] if isinstance(wanted, str) else wanted
    condition = compile_condition(operator, "aws:k", tuple(listed), has_variables=True)
    keys = {} if values is None else {"aws:k": values}
    return condition.holds(given_keys({**keys, "aws:username": ["bob"]}), is_deny=is_deny)


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "${aws:username}", "bob", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringNotEqualsIgnoreCase", "a", "A", False),
        ("StringLike", "a*c?", "abbcd", True),
        ("StringLike", "${aws:username}/*", "bob/x", True),
        ("StringNotLike", "a*", "ba", True),
        ("NumericEquals", "10", "10.0", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "x", False),
        ("NumericGreaterThanEquals", "-1", "0", True),
        ("DateEquals", "2024-01-01T00:00:00Z", "1704067200", True),
        ("DateNotEquals", "2024-01-01", "2024-01-02", True),
        ("DateLessThan", "2024-01", "2023-12-31T23:59:59Z", True),
        ("DateLessThanEquals", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00Z", True),
        ("DateGreaterThan", "1704067199", "2024-01-01", True),
        ("DateGreaterThanEquals", "2024-01-01", "2023-01-01", False),
        ("Bool", "true", "TRUE", True),
        ("Bool", "false", "true", False),
        ("BinaryEquals", "YWI=", "ab", True),
        ("BinaryEquals", "YWI=", "YWI=", False),
        ("IpAddress", "10.0.0.0/8", "10.255.0.1", True),
        ("IpAddress", "10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("IpAddress", "::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("IpAddress", "2001:db8::/32", "2001:db8:1::5", True),
        ("IpAddress", "2001:db8::/32", "10.0.0.1", False),
        ("IpAddress", "192.0.2.7", "192.0.2.7", True),
        ("IpAddress", "0.0.0.0/0", "no address", False),
        ("NotIpAddress", "10.0.0.0/8", "11.0.0.1", True),
        ("ArnEquals", "arn:aws:iam::*:role/*", "arn:aws:iam::1:role/a:b", True),
        ("ArnLike", "arn:aws:iam::1:role/*", "arn:aws:iam::2:role/x", False),
        ("ArnNotEquals", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/x", False),
        ("ArnNotLike", "arn:aws:iam::1:*", "arn:aws:iam::2:role/x", True),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
        ("Null", "true", "", True),
    ],
)
def test_operators_compare(
    operator: str, wanted: list[str] | str, value: str, expected: bool
) -> None:
    """One value of the request against one or more of the policy."""
    assert holds(operator, wanted, [value]) is expected


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_a_missing_key_is_false_unless_negated(name: str) -> None:
    """AWS: a missing key does not match; for a negated operator that is true."""
    wanted = {"arn": "*", "number": "1", "date": "1", "bool": "true", "binary": "YQ=="}
    wanted |= {"address": "10.0.0.0/8", "null": "true", "string": "a"}
    found = OPERATORS[name]
    value = wanted[found.family]
    if name == "Null":
        assert holds(name, value, None)
        return
    assert holds(name, value, None) is found.is_negated
    assert holds(f"{name}IfExists", value, None)
    assert holds(f"ForAllValues:{name}", value, None)
    assert not holds(f"ForAnyValue:{name}", value, None)
    assert holds(f"ForAnyValue:{name}IfExists", value, None)


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAllValues:StringEquals", [], True),
        ("ForAllValues:StringEquals", [""], True),
        ("ForAnyValue:StringEquals", ["a", "c"], True),
        ("ForAnyValue:StringEquals", ["c", "d"], False),
        ("ForAnyValue:StringEquals", [""], False),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "d"], False),
        ("ForAnyValue:StringNotEquals", ["a", "d"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("StringEquals", ["c", "a"], True),
        ("StringNotEquals", ["c", "a"], False),
    ],
)
def test_several_values_in_the_request(operator: str, values: list[str], expected: bool) -> None:
    """All of them, any of them, and for a negated operator none of the policy's."""
    assert holds(operator, ["a", "b"], values) is expected


def test_an_unresolved_variable_never_permits() -> None:
    """A negated operator would hold for want of a fact; under Allow it does not."""
    wanted = "${aws:PrincipalTag/team}"
    assert not holds("StringEquals", wanted, ["x"])
    assert not holds("StringNotEquals", wanted, ["x"])
    assert holds("StringNotEquals", wanted, ["x"], is_deny=True)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("StringMatches", None),
        ("stringequals", None),
        ("NullIfExists", None),
        ("ForAllValues:Null", None),
        ("ForSomeValues:StringEquals", None),
        ("NumericEquals", "ten"),
        ("DateEquals", "yesterday"),
        ("DateEquals", "2024-13-01"),
        ("Bool", "yes"),
        ("IpAddress", "10.0.0.0/33"),
        ("IpAddress", "10.0.0"),
        ("BinaryEquals", "***"),
        ("ArnEquals", "bob"),
        ("Null", "maybe"),
    ],
)
def test_what_nobody_can_evaluate_is_refused(operator: str, value: str | None) -> None:
    """An operator that does not exist, or a value it does not take."""
    with pytest.raises(ConditionError) as refusal:
        compile_condition(operator, "aws:k", (value or "a",), has_variables=True)
    assert refusal.value.value == value


def test_all_keys_and_operators_must_hold() -> None:
    """AND over operators and keys, OR over the values of one key."""
    policy = identity(
        statement(
            Condition={
                "StringEquals": {"s3:prefix": ["a", "b"], "s3:delimiter": "/"},
                "Bool": {"aws:SecureTransport": True},
            }
        )
    )
    good = {"s3:prefix": ["b"], "s3:delimiter": ["/"], "aws:securetransport": ["true"]}
    asked = access(user("bob"), keys=good)
    assert evaluate(asked, Policies(identity=(policy,))).is_allowed
    for key in good:
        bad = access(user("bob"), keys={**good, key: ["z"]})
        assert not evaluate(bad, Policies(identity=(policy,))).is_allowed


def test_keys_are_not_computed_unless_a_condition_asks() -> None:
    """A plain request in a bucket without conditions looks nothing up."""

    def refuse(key: str) -> tuple[str, ...] | None:
        raise AssertionError(key)

    policy = bucket(statement(Action="s3:GetObject", Resource="arn:aws:s3:::b/*"))
    asked = type(access(ROOT))(
        caller=user("eve", OTHER),
        action="s3:GetObject",
        resource="arn:aws:s3:::b/k",
        resource_account_id=OTHER,
        lookup=refuse,
    )
    assert evaluate(asked, Policies(resource=policy)).is_allowed
