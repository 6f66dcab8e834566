"""What in a policy is probably a mistake, though it is a valid policy.

    error      a part of it can never have an effect
    warning    it gives more, or denies less, than most authors think
    notice     something is said twice

Each finding has a stable code, the statement it is about, what is wrong and what to do. Findings
are about the document alone: whether principals and buckets exist is not asked. Where it cannot be
told for certain, nothing is said.

Comparing patterns: one covers another when it matches it with every wildcard of the other replaced
by a text that only a wildcard matches. That finds most covers and never claims a false one.
"""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from rs3gwd.iam.policy.actions import (
    Action,
    ResourceType,
    is_s3_key,
    matching_actions,
    nearest_action,
)
from rs3gwd.iam.policy.conditions import Family, Qualifier
from rs3gwd.iam.policy.contradictions import contradictions_of
from rs3gwd.iam.policy.document import (
    VERSION_2008,
    Document,
    Effect,
    PolicyKind,
    Statement,
)
from rs3gwd.iam.policy.public import is_public_statement
from rs3gwd.iam.policy.resources import resource_types, types_of
from rs3gwd.iam.policy.wildcards import compile_arn, compile_text, split_wildcards

_RUN_MARK, _ONE_MARK = "\x00" * 64, "\x01"
"""What stands for the wildcards of a pattern that another is to cover: no text that is meant."""


class Severity(StrEnum):
    """How bad it is; see the head."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Finding(Struct, frozen=True):
    """One thing to look at. `statement` is a Sid or a number, empty for the document as a whole."""

    severity: Severity
    code: str
    statement: str
    message: str
    suggestion: str


def lint(document: Document) -> list[Finding]:
    """All findings, in the order of the statements."""
    found: list[Finding] = []
    for statement in document.statements:
        for check in _CHECKS:
            found.extend(check(document, statement))
    return found


def _finding(
    statement: Statement, severity: Severity, code: str, message: str, suggestion: str
) -> Finding:
    return Finding(severity, code, statement.label, message, suggestion)


def _is_of_s3(pattern: str) -> bool:
    return pattern == "*" or pattern.lower().startswith("s3:")


def _unknown_actions(document: Document, statement: Statement) -> Iterator[Finding]:
    for pattern in statement.actions:
        if _is_of_s3(pattern) and not matching_actions(pattern):
            nearest = nearest_action(pattern)
            yield _finding(
                statement,
                Severity.ERROR,
                "unknown-action",
                f"there is no action {pattern}",
                f"did you mean {nearest}?" if nearest else "remove it",
            )


def _misplaced_actions(document: Document, statement: Statement) -> Iterator[Finding]:
    """Actions that none of the resources of the statement can be the object of."""
    if statement.is_not_action or statement.is_not_resource or not statement.resources:
        return
    types = resource_types(statement.resources)
    for pattern in statement.actions:
        known = matching_actions(pattern) if _is_of_s3(pattern) else []
        if known and not any(action.resources & types for action in known):
            wanted = sorted({kind for action in known for kind in action.resources})
            yield _finding(
                statement,
                Severity.ERROR,
                "resource-mismatch",
                f"{pattern} applies to none of the resources: it is done to {_list(wanted)}",
                _resource_advice(wanted),
            )


def _resource_advice(wanted: list[ResourceType]) -> str:
    forms = {
        ResourceType.BUCKET: "arn:aws:s3:::bucket",
        ResourceType.OBJECT: "arn:aws:s3:::bucket/*",
        ResourceType.ACCOUNT: "*",
    }
    named = [forms[kind] for kind in wanted if kind in forms]
    return f"add a resource of the form {' or '.join(named)}" if named else "remove the action"


def _useless_resources(document: Document, statement: Statement) -> Iterator[Finding]:
    """Resources that none of the actions of the statement can be done to."""
    if statement.is_not_action or statement.is_not_resource:
        return
    if not all(_is_of_s3(pattern) for pattern in statement.actions):
        return
    wanted = {kind for action in _actions_of(statement) for kind in action.resources}
    if not wanted or not resource_types(statement.resources) & wanted:
        return
    for template in statement.resources:
        if not types_of(template) & wanted:
            yield _finding(
                statement,
                Severity.NOTICE,
                "unused-resource",
                f"none of the actions is done to {template.text}",
                "remove it, or add the action that was meant",
            )


def _actions_of(statement: Statement) -> list[Action]:
    return [action for pattern in statement.actions for action in matching_actions(pattern)]


def _keys_that_do_not_apply(document: Document, statement: Statement) -> Iterator[Finding]:
    for condition in statement.conditions:
        if not condition.key.startswith("s3:"):
            continue
        if not is_s3_key(condition.key):
            yield _finding(
                statement,
                Severity.ERROR,
                "unknown-key",
                f"there is no condition key {condition.key}",
                "see the condition keys for Amazon S3",
            )
            continue
        if statement.is_not_action:
            continue
        without = [
            pattern
            for pattern in statement.actions
            if matching_actions(pattern)
            and not any(action.has_key(condition.key) for action in matching_actions(pattern))
        ]
        if without:
            outcome = "always true" if condition.operator.is_negated else "never true"
            yield _finding(
                statement,
                Severity.WARNING,
                "key-does-not-apply",
                f"requests for {_list(without)} never have {condition.key}: the condition is "
                f"{outcome} for them",
                "put those actions into a statement of their own",
            )


def _wide_principals(document: Document, statement: Statement) -> Iterator[Finding]:
    if document.kind is not PolicyKind.BUCKET:
        return
    if statement.is_not_principal:
        is_allow = statement.effect is Effect.ALLOW
        yield _finding(
            statement,
            Severity.WARNING,
            "not-principal",
            "NotPrincipal with Allow gives it to everybody else, without a signature too"
            if is_allow
            else "NotPrincipal with Deny spares a user only if the account is named as well, and "
            "nobody who has a permissions boundary",
            "name those who are meant in Principal"
            if is_allow
            else "use Principal * and a condition ArnNotEquals on aws:PrincipalArn",
        )
    elif is_public_statement(statement):
        yield _finding(
            statement,
            Severity.WARNING,
            "public",
            "the statement gives it to everybody, without a signature too",
            "name principals, or fix aws:PrincipalArn, aws:SourceIp or the like in a condition",
        )


def _wide_permissions(document: Document, statement: Statement) -> Iterator[Finding]:
    if statement.effect is Effect.DENY:
        return
    for is_not, name in (
        (statement.is_not_action, "NotAction"),
        (statement.is_not_resource, "NotResource"),
    ):
        if is_not:
            yield _finding(
                statement,
                Severity.WARNING,
                f"allow-{name.lower().replace('not', 'not-')}",
                f"Allow with {name} permits everything but what is listed, also what comes later",
                f"list what is meant in {name.removeprefix('Not')}",
            )
    if "*" in statement.actions and not statement.is_not_action and not statement.conditions:
        yield _finding(
            statement,
            Severity.WARNING,
            "allow-everything",
            "Action * permits every action of every service",
            "name the actions, or s3:* for all of S3",
        )


def _conditions_true_without_key(document: Document, statement: Statement) -> Iterator[Finding]:
    if statement.effect is Effect.DENY:
        return
    demanded = {
        condition.key for condition in statement.conditions if condition.null_wanted is False
    }
    for condition in statement.conditions:
        lenient = condition.qualifier is Qualifier.ALL or condition.if_exists
        if not lenient and not condition.operator.is_negated:
            continue
        if condition.key in demanded or _is_always_there(condition.key):
            continue
        yield _finding(
            statement,
            Severity.WARNING,
            "true-without-key",
            f"{condition.name} is true for requests that have no {condition.key}",
            f'add "Null": {{"{condition.key}": "false"}} if the key must be there',
        )


def _is_always_there(key: str) -> bool:
    return key in (
        "aws:sourceip",
        "aws:securetransport",
        "aws:currenttime",
        "aws:epochtime",
        "aws:principaltype",
        "aws:userid",
    )


def _variables_as_text(document: Document, statement: Statement) -> Iterator[Finding]:
    if document.version != VERSION_2008:
        return
    values = [template.text for template in statement.resources]
    values += [
        value
        for condition in statement.conditions
        if condition.operator.family in (Family.STRING, Family.ARN)
        for value in condition.values
    ]
    if any("${" in value for value in values):
        yield _finding(
            statement,
            Severity.ERROR,
            "variables-need-2012",
            "with Version 2008-10-17, or none, ${...} is plain text",
            f'set "Version": "2012-10-17" (now {document.version})',
        )


def _never_true(document: Document, statement: Statement) -> Iterator[Finding]:
    for message in contradictions_of(statement.conditions):
        yield _finding(
            statement,
            Severity.ERROR,
            "never-true",
            message,
            "conditions of one statement must all hold; put alternatives into two statements",
        )


def _covered(document: Document, statement: Statement) -> Iterator[Finding]:
    """Statements that another makes useless: a Deny of all of it, or the same more widely."""
    for other in document.statements:
        if other is statement or not _covers(other, statement):
            continue
        if other.effect is Effect.DENY and statement.effect is Effect.ALLOW:
            yield _finding(
                statement,
                Severity.ERROR,
                "denied-elsewhere",
                f"all that it permits is denied by {other.label}",
                "remove one of the two",
            )
        elif other.effect is statement.effect and (
            not _covers(statement, other) or other.index < statement.index
        ):
            yield _finding(
                statement,
                Severity.NOTICE,
                "redundant",
                f"{other.label} says the same or more",
                "remove it",
            )
            return


def _covers(wide: Statement, narrow: Statement) -> bool:
    """Whether `wide` matches every request that `narrow` does, as far as can be told."""
    if wide.conditions and _conditions_text(wide) != _conditions_text(narrow):
        return False
    if wide.is_not_action or narrow.is_not_action or wide.is_not_resource:
        return False
    if narrow.is_not_resource or wide.is_not_principal or narrow.is_not_principal:
        return False
    if not _covers_principals(wide, narrow):
        return False
    actions = [compile_text(split_wildcards(each.lower())) for each in wide.actions]
    if not all(any(one(_marked(each.lower())) for one in actions) for each in narrow.actions):
        return False
    resources = [
        compile_arn(pieces)
        for pieces in (template.fixed() for template in wide.resources)
        if pieces is not None
    ]
    written = {template.text for template in wide.resources}
    return all(
        template.text in written
        or (not template.variables and any(one(_marked(template.text)) for one in resources))
        for template in narrow.resources
    )


def _covers_principals(wide: Statement, narrow: Statement) -> bool:
    if wide.principals is None or narrow.principals is None or wide.principals.is_everyone:
        return True
    if narrow.principals.is_everyone:
        return False
    return set(narrow.principals.names()) <= set(wide.principals.names())


def _conditions_text(statement: Statement) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(each.name, each.key, each.values) for each in statement.conditions}


def _marked(pattern: str) -> str:
    return pattern.replace("*", _RUN_MARK).replace("?", _ONE_MARK)


def _list(names: list[str] | list[ResourceType]) -> str:
    return ", ".join(names)


_CHECKS = (
    _unknown_actions,
    _misplaced_actions,
    _useless_resources,
    _keys_that_do_not_apply,
    _wide_principals,
    _wide_permissions,
    _conditions_true_without_key,
    _variables_as_text,
    _never_true,
    _covered,
)
