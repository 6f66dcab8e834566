"""Conditions of one statement that cannot hold together.

Only what is certain is said: conditions on one key, without variables, qualifiers and IfExists.

    Null k true            with any condition that needs k
    equal to some          with not equal to all of those
    greater than a         with less than b, where nothing lies between
    within a range         with not within a range that holds it
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from rs3gwd.iam.policy.conditions import Condition, Family, Qualifier
from rs3gwd.iam.policy.values import read_date, read_network, read_number


def contradictions_of(conditions: Sequence[Condition]) -> Iterator[str]:
    """A sentence for each two conditions that exclude one another."""
    plain = [
        each
        for each in conditions
        if not each.open_values and not each.if_exists and each.qualifier is not Qualifier.ALL
    ]
    for index, first in enumerate(plain):
        for second in plain[index + 1 :]:
            if first.key == second.key and _exclude(first, second):
                yield f"{first.name} and {second.name} of {first.key} never hold together"


def _exclude(first: Condition, second: Condition) -> bool:
    return any(
        excludes(one, other)
        for excludes in (_missing_and_needed, _equal_and_not, _empty_window, _in_and_out)
        for one, other in ((first, second), (second, first))
    )


def _missing_and_needed(one: Condition, other: Condition) -> bool:
    if one.null_wanted is not True:
        return False
    return other.null_wanted is False or (
        other.null_wanted is None
        and (not other.operator.is_negated or other.qualifier is Qualifier.ANY)
    )


def _equal_and_not(one: Condition, other: Condition) -> bool:
    """All that `one` lets through is what `other` keeps out."""
    is_pair = one.name.endswith("Equals") and other.operator.is_negated
    same = one.operator.family is other.operator.family in (Family.STRING, Family.NUMBER)
    if not is_pair or not same or one.operator.is_negated or other.name.endswith("Case"):
        return False
    if one.qualifier or other.qualifier or one.name.endswith(("ThanEquals", "IgnoreCase")):
        return False
    return all(other.fixed(value) for value in one.values)


def _empty_window(one: Condition, other: Condition) -> bool:
    if one.operator.family is not other.operator.family or one.qualifier or other.qualifier:
        return False
    if one.operator.family not in (Family.NUMBER, Family.DATE):
        return False
    if "GreaterThan" not in one.name or "LessThan" not in other.name:
        return False
    # Values are alternatives: the least of the lower bounds and the greatest of the upper count.
    low, high = min(_bounds(one)), max(_bounds(other))
    touching = one.name.endswith("Equals") and other.name.endswith("Equals")
    return low > high or (low == high and not touching)


def _bounds(condition: Condition) -> list[Decimal]:
    read = read_number if condition.operator.family is Family.NUMBER else read_date
    return [bound for bound in map(read, condition.values) if bound is not None]


def _in_and_out(one: Condition, other: Condition) -> bool:
    if one.name != "IpAddress" or other.name != "NotIpAddress":
        return False
    outside = [network for network in map(read_network, other.values) if network is not None]
    return all(
        any(
            inner is not None and inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
            for outer in outside
        )
        for inner in map(read_network, one.values)
    )
