"""The Condition element: every operator of AWS, compiled to one test per key.

    "ForAllValues:StringNotLikeIfExists": {"aws:TagKeys": ["a*", "b*"]}
     qualifier    operator      suffix      key            values

All tests of a statement must hold (AND); the values of one key are alternatives (OR), and for a
negated operator none of them may match (NOR). With H = "this value of the request matches some
value of the policy":

    what the request has     plain     negated      ForAllValues      ForAnyValue
    no such key              false     true         true              false
    values                   some H    no H         all H (not H)     some H (not H)
    one empty text           as above  as above     true              false

`IfExists` makes a missing key true, whatever the rest. `Null` asks whether the key is missing or
empty, and knows no suffix. That a missing key makes a negated operator true and ForAllValues too is
what surprises most people; `rs3gwd.iam.policy.lint` says so where it matters.

A value with a variable that cannot be resolved matches nothing. Under a negated operator that would
hold, and so an Allow would be given for want of a fact: there the test fails instead. A Deny keeps
to the letter and denies.

A value of the request that is not what the operator compares (a number that is none) matches
nothing.

Source: "IAM JSON policy elements: Condition operators", "Conditions with multiple context keys or
values" and "Single-valued vs. multivalued context keys" in the IAM User Guide.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import Struct

from rs3gwd.iam.policy.values import (
    read_address,
    read_base64,
    read_date,
    read_network,
    read_number,
)
from rs3gwd.iam.policy.variables import (
    Lookup,
    Template,
    VariableSyntaxError,
    normalize_key,
    parse_template,
)
from rs3gwd.iam.policy.wildcards import Matcher, Piece, compile_arn, compile_text, render


class Qualifier(StrEnum):
    """How an operator deals with several values in the request."""

    NONE = ""
    ALL = "ForAllValues"
    ANY = "ForAnyValue"


class Family(StrEnum):
    """What an operator compares; it decides what values are taken and whether variables are."""

    STRING = "string"
    ARN = "arn"
    NUMBER = "number"
    DATE = "date"
    BOOL = "bool"
    BINARY = "binary"
    ADDRESS = "address"
    NULL = "null"


class Operator(Struct, frozen=True):
    """An operator without qualifier and suffix. `compile` makes a matcher from a value's pieces.

    It gives None for a value that the operator does not take.
    """

    family: Family
    compile: Callable[[Sequence[Piece]], Matcher | None]
    is_negated: bool = False

    @property
    def has_variables(self) -> bool:
        """Whether variables may stand in its values, as the table of operators says."""
        return self.family in (Family.STRING, Family.ARN, Family.BOOL)


class ConditionError(ValueError):
    """A condition that nobody can evaluate; `value` is what is wrong, `operator` where."""

    def __init__(self, operator: str, value: str | None = None) -> None:
        super().__init__(f"{operator}: {value}" if value is not None else operator)
        self.operator = operator
        self.value = value


class Condition(Struct, frozen=True):
    """One key under one operator. `name` is the operator as written, `key` in normal spelling.

    `fixed` matches a value of the request against the values without variables; `open_values` are
    those with some.
    """

    name: str
    key: str
    values: tuple[str, ...]
    operator: Operator
    qualifier: Qualifier
    if_exists: bool
    fixed: Matcher
    open_values: tuple[Template, ...]
    keys_used: frozenset[str]
    null_wanted: bool | None = None

    def holds(self, lookup: Lookup, *, is_deny: bool) -> bool:
        """Whether the request meets it; `is_deny` is the effect of its statement."""
        values = lookup(self.key)
        if self.null_wanted is not None:
            return (not values or values == ("",)) is self.null_wanted
        if not values:
            return self._holds_without_value()
        if self.qualifier is not Qualifier.NONE and values == ("",):
            return self.qualifier is Qualifier.ALL
        hit = self.fixed
        if self.open_values:
            resolved = self._resolve(lookup)
            if None in resolved and self.operator.is_negated and not is_deny:
                return False
            hit = _any_of([matcher for matcher in (hit, *resolved) if matcher is not None])
        hits = map(hit, values)
        if self.qualifier is Qualifier.NONE:
            return any(hits) is not self.operator.is_negated
        wanted = (one is not self.operator.is_negated for one in hits)
        return all(wanted) if self.qualifier is Qualifier.ALL else any(wanted)

    def _holds_without_value(self) -> bool:
        if self.if_exists or self.qualifier is Qualifier.ALL:
            return True
        return self.qualifier is Qualifier.NONE and self.operator.is_negated

    def _resolve(self, lookup: Lookup) -> list[Matcher | None]:
        resolved = (template.resolve(lookup) for template in self.open_values)
        return [None if pieces is None else self.operator.compile(pieces) for pieces in resolved]


def compile_condition(
    name: str, key: str, values: tuple[str, ...], *, has_variables: bool
) -> Condition:
    """Makes a test; `name` is the operator as written, `has_variables` for Version 2012-10-17.

    Raises ConditionError: `value` None for an operator that does not exist, else the value that it
    does not take.
    """
    qualifier, base, if_exists = split_operator(name)
    found = OPERATORS.get(base)
    if found is None or (found.family is Family.NULL and (if_exists or qualifier)):
        raise ConditionError(name)
    if found.family is Family.NULL:
        return _null_condition(name, key, values, found)
    matchers, open_values = [], []
    for value in values:
        try:
            template = parse_template(value, has_variables=has_variables and found.has_variables)
        except VariableSyntaxError as error:
            raise ConditionError(name, value) from error
        pieces = template.fixed()
        matcher = None if pieces is None else found.compile(pieces)
        if matcher is not None:
            matchers.append((template, matcher))
        elif pieces is None:
            open_values.append(template)
        else:
            raise ConditionError(name, value)
    normal = normalize_key(key)
    variables = [variable.key for each in open_values for variable in each.variables]
    return Condition(
        name=name,
        key=normal,
        values=values,
        operator=found,
        qualifier=Qualifier(qualifier),
        if_exists=if_exists,
        fixed=_one_of(base, [template for template, _ in matchers], [each for _, each in matchers]),
        open_values=tuple(open_values),
        keys_used=frozenset((normal, *variables)),
    )


def split_operator(name: str) -> tuple[str, str, bool]:
    """The qualifier (or empty), the operator itself, and whether it ends in IfExists."""
    qualifier, colon, base = name.partition(":")
    if not colon or qualifier not in (Qualifier.ALL, Qualifier.ANY):
        qualifier, base = "", name
    bare = base.removesuffix("IfExists")
    return qualifier, bare, bare != base


def _null_condition(name: str, key: str, values: tuple[str, ...], found: Operator) -> Condition:
    wanted = {value.lower() for value in values}
    if len(wanted) != 1 or not wanted <= {"true", "false"}:
        raise ConditionError(name, ", ".join(values))
    normal = normalize_key(key)
    return Condition(
        name=name,
        key=normal,
        values=values,
        operator=found,
        qualifier=Qualifier.NONE,
        if_exists=False,
        fixed=_never,
        open_values=(),
        keys_used=frozenset((normal,)),
        null_wanted=wanted == {"true"},
    )


def _one_of(base: str, templates: list[Template], matchers: list[Matcher]) -> Matcher:
    """The matcher of alternatives; for plain equality one look into a set."""
    if base in ("StringEquals", "StringNotEquals"):
        return frozenset(render(template.fixed() or ()) for template in templates).__contains__
    return _any_of(matchers)


def _any_of(matchers: list[Matcher]) -> Matcher:
    if not matchers:
        return _never
    if len(matchers) == 1:
        return matchers[0]
    return lambda text: any(matcher(text) for matcher in matchers)


def _never(text: str) -> bool:
    return False


def _equals(pieces: Sequence[Piece]) -> Matcher:
    return render(pieces).__eq__


def _equals_any_case(pieces: Sequence[Piece]) -> Matcher:
    wanted = render(pieces).lower()
    return lambda text: text.lower() == wanted


def _bool(pieces: Sequence[Piece]) -> Matcher | None:
    wanted = render(pieces).lower()
    if wanted not in ("true", "false"):
        return None
    return lambda text: text.lower() == wanted


def _arn(pieces: Sequence[Piece]) -> Matcher | None:
    text = render(pieces)
    if text != "*" and not text.startswith("arn:") and not text.startswith("arn*"):
        return None
    return compile_arn(pieces)


def _binary(pieces: Sequence[Piece]) -> Matcher | None:
    wanted = read_base64(render(pieces))
    if wanted is None:
        return None
    return lambda text: text.encode() == wanted


def _address(pieces: Sequence[Piece]) -> Matcher | None:
    network = read_network(render(pieces))
    if network is None:
        return None

    def matches(text: str) -> bool:
        address = read_address(text)
        return address is not None and address in network

    return matches


def _ordered(
    read: Callable[[str], Decimal | None], compare: Callable[[Decimal, Decimal], Any]
) -> Callable[[Sequence[Piece]], Matcher | None]:
    def compile_value(pieces: Sequence[Piece]) -> Matcher | None:
        bound = read(render(pieces))
        if bound is None:
            return None

        def matches(text: str) -> bool:
            value = read(text)
            return value is not None and bool(compare(value, bound))

        return matches

    return compile_value


_ORDERS: tuple[tuple[str, Callable[[Decimal, Decimal], Any], bool], ...] = (
    ("Equals", operator.eq, False),
    ("NotEquals", operator.eq, True),
    ("LessThan", operator.lt, False),
    ("LessThanEquals", operator.le, False),
    ("GreaterThan", operator.gt, False),
    ("GreaterThanEquals", operator.ge, False),
)


def _ordered_operators(
    prefix: str, family: Family, read: Callable[[str], Decimal | None]
) -> Iterable[tuple[str, Operator]]:
    for name, compare, is_negated in _ORDERS:
        yield prefix + name, Operator(family, _ordered(read, compare), is_negated)


OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(Family.STRING, _equals),
    "StringNotEquals": Operator(Family.STRING, _equals, is_negated=True),
    "StringEqualsIgnoreCase": Operator(Family.STRING, _equals_any_case),
    "StringNotEqualsIgnoreCase": Operator(Family.STRING, _equals_any_case, is_negated=True),
    "StringLike": Operator(Family.STRING, compile_text),
    "StringNotLike": Operator(Family.STRING, compile_text, is_negated=True),
    **dict(_ordered_operators("Numeric", Family.NUMBER, read_number)),
    **dict(_ordered_operators("Date", Family.DATE, read_date)),
    "Bool": Operator(Family.BOOL, _bool),
    "BinaryEquals": Operator(Family.BINARY, _binary),
    "IpAddress": Operator(Family.ADDRESS, _address),
    "NotIpAddress": Operator(Family.ADDRESS, _address, is_negated=True),
    "ArnEquals": Operator(Family.ARN, _arn),
    "ArnLike": Operator(Family.ARN, _arn),
    "ArnNotEquals": Operator(Family.ARN, _arn, is_negated=True),
    "ArnNotLike": Operator(Family.ARN, _arn, is_negated=True),
    "Null": Operator(Family.NULL, lambda pieces: None),
}
"""All operators, without qualifier and suffix."""
