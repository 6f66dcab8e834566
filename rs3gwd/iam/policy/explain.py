"""Why a request was decided as it was: each statement's part in it, and what would change it.

The decision itself is `evaluate`'s, on the same compiled statements; this module only looks at them
one by one, without stopping at the first that decides. Slow, and never in the path of a request.

A statement has obstacles: the parts of it that do not fit the request. One with a single obstacle
is a near miss, and that obstacle is most often what the author got wrong.
"""

import json
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from rs3gwd.iam.policy.conditions import Condition
from rs3gwd.iam.policy.context import Access, CallerKind
from rs3gwd.iam.policy.evaluate import (
    Layer,
    Outcome,
    Policies,
    Reason,
    Verdict,
    evaluate,
)
from rs3gwd.iam.policy.statements import CompiledStatement

SHOWN_MAX = 5
"""Values of a list that an explanation shows before it says how many more there are."""


class Part(StrEnum):
    """The part of a statement that does not fit."""

    PRINCIPAL = "principal"
    ACTION = "action"
    RESOURCE = "resource"
    CONDITION = "condition"


class Obstacle(Struct, frozen=True):
    """Why a statement does not match: `detail` says it, `change` what would make it match."""

    part: Part
    detail: str
    change: str


class Examined(Struct, frozen=True):
    """One statement and the request. It matches when there are no obstacles."""

    layer: Layer
    policy: str
    statement: str
    index: int
    effect: str
    obstacles: tuple[Obstacle, ...]

    @property
    def matches(self) -> bool:
        """Whether the statement has its effect on this request."""
        return not self.obstacles


class Explanation(Struct, frozen=True):
    """The decision, every statement's part in it, and changes that would turn it."""

    verdict: Verdict
    statements: tuple[Examined, ...]
    changes: tuple[str, ...]


def explain(access: Access, policies: Policies) -> Explanation:
    """Decides as `evaluate` does, and says why."""
    verdict = evaluate(access, policies)
    examined = tuple(_examine_all(access, policies))
    return Explanation(verdict, examined, tuple(_changes(access, verdict, examined)))


def _examine_all(access: Access, policies: Policies) -> Iterator[Examined]:
    has_boundary = policies.boundary is not None
    for layer, policy in policies.layers():
        for compiled in policy.statements:
            yield Examined(
                layer=layer,
                policy=policy.name,
                statement=compiled.statement.label,
                index=compiled.statement.index,
                effect=compiled.statement.effect.value,
                obstacles=tuple(_obstacles(compiled, access, has_boundary=has_boundary)),
            )


def _obstacles(
    compiled: CompiledStatement, access: Access, *, has_boundary: bool
) -> Iterator[Obstacle]:
    statement = compiled.statement
    if not compiled.names_action(access.action.lower()):
        name = "NotAction" if statement.is_not_action else "Action"
        yield Obstacle(
            Part.ACTION,
            f"{name} is {_some(statement.actions)}; the request is {access.action}",
            _leave_out_or_add(access.action, name),
        )
    if not compiled.names_resource(access):
        name = "NotResource" if statement.is_not_resource else "Resource"
        written = tuple(template.text for template in statement.resources)
        yield Obstacle(
            Part.RESOURCE,
            f"{name} is {_some(written)}; the request is for {access.resource}",
            _leave_out_or_add(access.resource, name),
        )
    if not compiled.names_caller(access.caller, has_boundary=has_boundary and compiled.is_deny):
        name = "NotPrincipal" if statement.is_not_principal else "Principal"
        named = statement.principals.names() if statement.principals else []
        who = access.caller.arn or access.caller.kind.value
        yield Obstacle(
            Part.PRINCIPAL,
            f"{name} is {_some(tuple(named))}; the caller is {who}",
            _leave_out_or_add(who, name),
        )
    for condition in statement.conditions:
        if not condition.holds(access.lookup, is_deny=compiled.is_deny):
            yield _condition_obstacle(condition, access)


def _condition_obstacle(condition: Condition, access: Access) -> Obstacle:
    found = access.lookup(condition.key)
    has = "no such key" if found is None else _some(found)
    wanted = f"{condition.name} {condition.key} {_some(condition.values)}"
    return Obstacle(
        Part.CONDITION,
        f"{wanted} does not hold; the request has {has}",
        f"send a request for which {wanted} holds, or change the condition",
    )


def _leave_out_or_add(text: str, name: str) -> str:
    if name.startswith("Not"):
        return f"take what matches {text} out of {name}"
    return f"add {text} to {name}"


def _some(values: tuple[str, ...]) -> str:
    shown = ", ".join(values[:SHOWN_MAX]) or "empty"
    more = len(values) - SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _changes(access: Access, verdict: Verdict, examined: tuple[Examined, ...]) -> Iterator[str]:
    if verdict.outcome is Outcome.DENIED:
        for one in verdict.deciding:
            yield f"Remove {one.statement} of the {one.layer} {one.policy!r}, or narrow it."
        return
    if verdict.outcome is Outcome.ALLOWED:
        for one in verdict.deciding:
            yield f"Without {one.statement} of the {one.layer} {one.policy!r} it may be denied."
        yield "A statement with Effect Deny that matches would deny it."
        return
    layer = _missing_layer(access, verdict.reason)
    if layer is None:
        yield "Lift RestrictPublicBuckets, or make the bucket's policy one that is not public."
        return
    for each in examined:
        if each.layer is layer and each.effect == "Allow" and len(each.obstacles) == 1:
            change = each.obstacles[0].change
            where = f"{each.statement} of the {each.layer} {each.policy!r}"
            yield f"{where} nearly permits it: {change}."
    yield f"Add to the {layer}: {_wanted_statement(access, layer)}"


def _missing_layer(access: Access, reason: Reason) -> Layer | None:
    """The layer in which a permission is missing; None where the way is shut otherwise."""
    return {
        Reason.RESTRICTED: None,
        Reason.ANONYMOUS: Layer.RESOURCE,
        Reason.NO_RESOURCE: Layer.RESOURCE,
        Reason.NO_TRUST: Layer.RESOURCE,
        Reason.BOUNDARY: Layer.BOUNDARY,
        Reason.SESSION: Layer.SESSION,
    }.get(reason, Layer.IDENTITY)


def _wanted_statement(access: Access, layer: Layer) -> str:
    fields: dict[str, object] = {"Effect": "Allow"}
    if layer is Layer.RESOURCE:
        is_anonymous = access.caller.kind is CallerKind.ANONYMOUS
        fields["Principal"] = "*" if is_anonymous else {"AWS": access.caller.arn}
    return json.dumps({**fields, "Action": access.action, "Resource": access.resource})
