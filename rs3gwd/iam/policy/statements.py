"""Documents compiled for evaluation: what does not depend on a request is worked out once.

For an action, a policy knows the statements that name it: a dictionary look-up, in which one GET
finds the same rows as all others before it. What is left per request is one comparison for the
resource, a look into a set for the principal, and the conditions.

A statement that matches does so with a strength, which says how directly it names the caller:

    DIRECT    everybody, or the user or session itself
    ROLE      the role of a session, or the user behind a federated one
    ACCOUNT   the account, which then decides by its own policies

What cannot be resolved never permits: a resource with a variable that has no value matches nothing;
and where the element is NotResource, an Allow does not match at all, while a Deny takes the
resource as not excepted.

NotPrincipal names those who are excepted. A Deny spares a caller only when the caller and
everything above it (user, account; session, role, account) are named, and never one with a
permissions boundary; an Allow leaves out whoever is named at any level. The readings are the
narrower ones of what AWS documents.

Source: "AWS JSON policy elements: NotPrincipal" and "How AWS enforcement code logic evaluates
requests" in the IAM User Guide.
"""

from enum import IntEnum

from msgspec import Struct

from rs3gwd.iam.policy.context import Access, Caller, CallerKind
from rs3gwd.iam.policy.document import Document, Effect, Statement
from rs3gwd.iam.policy.principals import Principals
from rs3gwd.iam.policy.variables import Lookup
from rs3gwd.iam.policy.wildcards import (
    Matcher,
    compile_arn,
    compile_text,
    render,
    split_wildcards,
)

ACTIONS_KEPT = 512
"""Actions whose statements a policy keeps, more than S3 has; an entry is a few hundred bytes."""


class Strength(IntEnum):
    """How directly a statement of a resource's policy names the caller."""

    NONE = 0
    ACCOUNT = 1
    ROLE = 2
    DIRECT = 3


class CompiledStatement:
    """A statement with its patterns compiled. Immutable."""

    __slots__ = (
        "_fixed",
        "_only",
        "_open",
        "action_exact",
        "action_patterns",
        "conditions",
        "is_deny",
        "resources_text",
        "statement",
    )

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.is_deny = statement.effect is Effect.DENY
        self.conditions = statement.conditions
        lowered = [action.lower() for action in statement.actions]
        self.action_exact = frozenset(each for each in lowered if not _has_wildcard(each))
        self.action_patterns = tuple(
            compile_text(split_wildcards(each)) for each in lowered if _has_wildcard(each)
        )
        fixed = [template.fixed() for template in statement.resources]
        literal = frozenset(
            render(pieces)
            for pieces in fixed
            if pieces is not None and not _has_wildcard(render(pieces))
        )
        matchers: list[Matcher] = [
            compile_arn(pieces)
            for pieces in fixed
            if pieces is not None and _has_wildcard(render(pieces))
        ]
        if literal:
            matchers.insert(0, literal.__contains__)
        self._fixed = tuple(matchers)
        self._open = tuple(each for each in statement.resources if each.variables)
        is_plain = len(matchers) == 1 and not self._open and not statement.is_not_resource
        self._only: Matcher | None = matchers[0] if is_plain else None
        self.resources_text = tuple(sorted(each.text for each in statement.resources))

    @property
    def resource_keys(self) -> frozenset[str]:
        """The condition keys that variables in its resources stand for."""
        return frozenset(variable.key for each in self._open for variable in each.variables)

    def resource_test(self, lookup: Lookup) -> Matcher:
        """`names_resource` for all requests that agree with `lookup` in the `resource_keys`."""
        if self._only is not None:
            return self._only
        excepts = self.statement.is_not_resource
        opened = [template.resolve(lookup) for template in self._open]
        if not self.statement.resources:
            return lambda resource: True
        if None in opened and excepts and not self.is_deny:
            return lambda resource: False
        found = (*self._fixed, *(compile_arn(each) for each in opened if each is not None))
        return lambda resource: any(matches(resource) for matches in found) is not excepts

    def names_action(self, lowered: str) -> bool:
        """Whether Action, or what NotAction leaves, has an action in lower case."""
        is_named = lowered in self.action_exact or any(
            matches(lowered) for matches in self.action_patterns
        )
        return is_named is not self.statement.is_not_action

    def names_resource(self, access: Access) -> bool:
        """Whether Resource, or what NotResource leaves, has the resource; True without either."""
        resource = access.resource
        for matches in self._fixed:
            if matches(resource):
                return not self.statement.is_not_resource
        for template in self._open:
            pieces = template.resolve(access.lookup)
            if pieces is None:
                if self.statement.is_not_resource and not self.is_deny:
                    return False
            elif compile_arn(pieces)(resource):
                return not self.statement.is_not_resource
        return self.statement.is_not_resource or not self.statement.resources

    def names_caller(self, caller: Caller, *, has_boundary: bool) -> Strength:
        """How directly the statement names the caller; DIRECT where it has no principals."""
        principals = self.statement.principals
        if principals is None:
            return Strength.DIRECT
        if not self.statement.is_not_principal:
            return strength_of(principals, caller)
        if _is_excepted(principals, caller, is_deny=self.is_deny, has_boundary=has_boundary):
            return Strength.NONE
        return Strength.DIRECT

    def strength(self, access: Access, *, has_boundary: bool) -> Strength:
        """How the statement matches, its action aside: NONE where it does not."""
        # Most statements have one resource: one call finds most of those that do not match.
        if self._only is not None:
            if not self._only(access.resource):
                return Strength.NONE
        elif not self.names_resource(access):
            return Strength.NONE
        strength = self.names_caller(access.caller, has_boundary=has_boundary)
        if strength:
            for condition in self.conditions:
                if not condition.holds(access.lookup, is_deny=self.is_deny):
                    return Strength.NONE
        return strength


class Rows(Struct, frozen=True):
    """The statements of a policy that name one action."""

    denies: tuple[CompiledStatement, ...]
    allows: tuple[CompiledStatement, ...]


class CompiledPolicy:
    """A document ready for evaluation; `name` is what explanations call it. For one event loop."""

    def __init__(self, name: str, document: Document) -> None:
        self.name = name
        self.document = document
        self.statements = tuple(CompiledStatement(each) for each in document.statements)
        self.keys_used = _keys_used(document)
        self._rows: dict[str, Rows] = {}

    def rows(self, action: str) -> Rows:
        """The statements that name an action, denials apart from permissions."""
        found = self._rows.get(action)
        if found is None:
            lowered = action.lower()
            named = [each for each in self.statements if each.names_action(lowered)]
            found = Rows(
                denies=tuple(each for each in named if each.is_deny),
                allows=tuple(each for each in named if not each.is_deny),
            )
            if len(self._rows) < ACTIONS_KEPT:
                self._rows[action] = found
        return found

    def denial(self, access: Access, *, has_boundary: bool) -> CompiledStatement | None:
        """The first statement that denies."""
        for statement in self.rows(access.action).denies:
            if statement.strength(access, has_boundary=has_boundary):
                return statement
        return None

    def grant(self, access: Access) -> tuple[CompiledStatement | None, Strength]:
        """The statement that permits most directly, and how directly; (None, NONE) without one."""
        best: CompiledStatement | None = None
        strength = Strength.NONE
        for statement in self.rows(access.action).allows:
            found = statement.strength(access, has_boundary=False)
            if found > strength:
                best, strength = statement, found
                if found is Strength.DIRECT:
                    break
        return best, strength


def strength_of(principals: Principals, caller: Caller) -> Strength:
    """How directly the principals name a caller."""
    if principals.is_everyone:
        return Strength.DIRECT
    if caller.kind is CallerKind.ANONYMOUS:
        return Strength.NONE
    if caller.arn in principals.arns or caller.service in principals.services:
        return Strength.DIRECT
    if caller.provider in principals.federated:
        return Strength.DIRECT
    if caller.unique_id in principals.arns:
        is_session = caller.kind in (CallerKind.ROLE_SESSION, CallerKind.FEDERATED)
        return Strength.ROLE if is_session else Strength.DIRECT
    if caller.issuer_arn in principals.arns:
        return Strength.ROLE
    if caller.account_arn in principals.arns or caller.canonical_id in principals.canonical_ids:
        return Strength.ACCOUNT
    return Strength.NONE


def _is_excepted(
    principals: Principals, caller: Caller, *, is_deny: bool, has_boundary: bool
) -> bool:
    """Whether NotPrincipal leaves the caller out."""
    if principals.is_everyone:
        return True
    if not is_deny:
        return strength_of(principals, caller) is not Strength.NONE
    if has_boundary or caller.kind is CallerKind.ANONYMOUS:
        return False
    if caller.service:
        return caller.service in principals.services
    levels = {caller.arn, caller.account_arn}
    if caller.kind is CallerKind.ROLE_SESSION:
        levels.add(caller.issuer_arn)
    return levels <= principals.arns


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _keys_used(document: Document) -> frozenset[str]:
    """Every condition key that evaluating the document may look up."""
    keys: set[str] = set()
    for statement in document.statements:
        for condition in statement.conditions:
            keys |= condition.keys_used
        for template in statement.resources:
            keys |= {variable.key for variable in template.variables}
    return frozenset(keys)
