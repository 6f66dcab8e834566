"""A second policy evaluator, written from the AWS pages alone, to hold the real one against.

It works on JSON as it comes from `json.loads`, shares no code with `rs3gwd.iam.policy`, compiles
nothing, and is as slow as it is plain. Requests are dicts:

    caller: kind (anonymous, root, user, session, federated), account, arn, issuer, canonical, id
    action, resource, owner (account), keys: lower-case name -> list of texts

Where AWS leaves a choice, the choice of the project is made here again in its own words: what
cannot be resolved never permits, and NotPrincipal excepts as narrowly as the documentation lets it.
"""

import base64
import ipaddress
import re
from datetime import datetime, timezone
from typing import Any

Json = Any


def listed(value: Json) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]


# Patterns.


def substitute(text: str, keys: dict[str, list[str]], version: str, wild: bool) -> str | None:
    """A pattern as a regular expression, variables put in; None when one has no value."""
    out = ""
    position = 0
    while position < len(text):
        if version == "2012-10-17" and text.startswith("${", position):
            end = text.index("}", position)
            inner = text[position + 2 : end]
            position = end + 1
            if inner in ("*", "?", "$"):
                out += re.escape(inner)
                continue
            name, _, default = inner.partition(",")
            values = keys.get(name.strip().lower(), [])
            if len(values) == 1:
                out += re.escape(values[0])
            elif not values and default:
                out += re.escape(default.strip().strip("'"))
            else:
                return None
            continue
        character = text[position]
        position += 1
        if wild and character == "*":
            out += "(?:.|\n)*"
        elif wild and character == "?":
            out += "(?:.|\n)"
        else:
            out += re.escape(character)
    return out


def like(pattern: str, text: str) -> bool:
    """Whether a regular expression matches all of a text."""
    return re.fullmatch(pattern, text) is not None


def arn_like(pattern: str, text: str, keys: dict[str, list[str]], version: str) -> bool | None:
    """An ARN part by part; the last part of the pattern takes all the rest."""
    parts = split_outside_variables(pattern)
    texts = text.split(":", len(parts) - 1)
    if len(texts) != len(parts):
        matched = False
    else:
        matched = True
    for index, part in enumerate(parts):
        regex = substitute(part, keys, version, wild=True)
        if regex is None:
            return None
        if matched and not like(regex, texts[index]):
            matched = False
    return matched


def split_outside_variables(pattern: str) -> list[str]:
    """The pattern cut at its first five colons, those inside `${...}` not counted."""
    parts, depth = [""], 0
    for index, character in enumerate(pattern):
        if character == "{" and index and pattern[index - 1] == "$":
            depth = 1
        elif character == "}":
            depth = 0
        if character == ":" and not depth and len(parts) < 6:
            parts.append("")
        else:
            parts[-1] += character
    return parts


# Conditions.


def compare(base: str, value: str, wanted: str, keys: Any, version: str) -> bool | None:
    """Whether one value of the request matches one of the policy, negation left aside."""
    if base in ("StringEquals", "StringNotEquals"):
        regex = substitute(wanted, keys, version, wild=False)
        return None if regex is None else like(regex, value)
    if base in ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"):
        regex = substitute(wanted, keys, version, wild=False)
        return None if regex is None else re.fullmatch(regex, value, re.IGNORECASE) is not None
    if base in ("StringLike", "StringNotLike"):
        regex = substitute(wanted, keys, version, wild=True)
        return None if regex is None else like(regex, value)
    if base.startswith("Arn"):
        return arn_like(wanted, value, keys, version)
    if base == "Bool":
        return value.lower() == wanted.lower()
    if base == "BinaryEquals":
        return base64.b64decode(wanted) == value.encode()
    if base in ("IpAddress", "NotIpAddress"):
        return within(value, wanted)
    if base.startswith("Numeric"):
        return ordered(base.removeprefix("Numeric"), number(value), number(wanted))
    return ordered(base.removeprefix("Date"), seconds(value), seconds(wanted))


def number(text: str) -> float | None:
    """A number, or None."""
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d+)?", text) else None


def seconds(text: str) -> float | None:
    """Seconds since 1970, of a date or a number."""
    if number(text) is not None:
        return number(text)
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc).timestamp()  # noqa: UP017
        except ValueError:
            continue
    return None


def ordered(relation: str, left: float | None, right: float | None) -> bool:
    """left RELATION right; NotEquals is asked as Equals."""
    if left is None or right is None:
        return False
    return {
        "Equals": left == right,
        "NotEquals": left == right,
        "LessThan": left < right,
        "LessThanEquals": left <= right,
        "GreaterThan": left > right,
        "GreaterThanEquals": left >= right,
    }[relation]


def within(value: str, wanted: str) -> bool:
    """Whether an address lies in a range."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address) in ipaddress.ip_network(wanted, strict=False)


def condition_holds(
    operator: str, key: str, wanted: list[str], request: Json, version: str, effect: str
) -> bool:
    """One key under one operator."""
    keys = request["keys"]
    values = keys.get(key.lower())
    if operator == "Null":
        missing = values is None or values in ([], [""])
        return str(wanted[0]).lower() == ("true" if missing else "false")
    quantifier, _, rest = operator.rpartition(":")
    base = rest[: -len("IfExists")] if rest.endswith("IfExists") else rest
    negated = "Not" in base
    if not values:
        if rest.endswith("IfExists") or quantifier == "ForAllValues":
            return True
        return negated and quantifier != "ForAnyValue"
    if values == [""] and quantifier:
        return quantifier == "ForAllValues"
    results = []
    for value in values:
        matched = [compare(base, value, each, keys, version) for each in wanted]
        if negated and None in matched and effect == "Allow":
            return False
        results.append(True in matched)
    if quantifier == "ForAllValues":
        return all(result != negated for result in results)
    if quantifier == "ForAnyValue":
        return any(result != negated for result in results)
    return not any(results) if negated else any(results)


# Statements.


def action_matches(statement: Json, action: str) -> bool:
    """Action, or NotAction."""
    field = "Action" if "Action" in statement else "NotAction"
    named = any(
        like(re.escape(each).replace(r"\*", ".*").replace(r"\?", ".").lower(), action.lower())
        for each in listed(statement[field])
    )
    return named == (field == "Action")


def resource_matches(statement: Json, request: Json, version: str) -> bool:
    """Resource, or NotResource."""
    field = "Resource" if "Resource" in statement else "NotResource"
    results = [
        arn_like(each, request["resource"], request["keys"], version)
        for each in listed(statement[field])
    ]
    if field == "Resource":
        return True in results
    if None in results and statement["Effect"] == "Allow":
        return False
    return True not in results


def named_as(element: Json, caller: Json) -> str:
    """How a Principal element names the caller: everyone, itself, issuer, account, or nothing."""
    if element == "*" or "*" in listed(element.get("AWS", [])):
        return "itself"
    if caller["kind"] == "anonymous":
        return ""
    names = []
    for each in listed(element.get("AWS", [])):
        names.append(f"arn:aws:iam::{each}:root" if re.fullmatch(r"\d{12}", each) else each)
    if caller["arn"] in names:
        return "itself"
    if caller["issuer"] and caller["issuer"] in names:
        return "issuer"
    if f"arn:aws:iam::{caller['account']}:root" in names:
        return "account"
    if caller["canonical"] in listed(element.get("CanonicalUser", [])):
        return "account"
    return ""


def principal_matches(statement: Json, caller: Json, boundary: bool) -> str:
    """How a statement names the caller; identity policies name their owner."""
    if "Principal" in statement:
        return named_as(statement["Principal"], caller)
    if "NotPrincipal" not in statement:
        return "itself"
    element = statement["NotPrincipal"]
    if element == "*" or "*" in listed(element.get("AWS", [])):
        return ""
    if statement["Effect"] == "Allow":
        return "" if named_as(element, caller) else "itself"
    if boundary or caller["kind"] == "anonymous":
        return "itself"
    chain = [caller["arn"], f"arn:aws:iam::{caller['account']}:root"]
    if caller["kind"] == "session":
        chain.append(caller["issuer"])
    names = [
        f"arn:aws:iam::{each}:root" if re.fullmatch(r"\d{12}", each) else each
        for each in listed(element.get("AWS", []))
    ]
    return "" if all(each in names for each in chain) else "itself"


def matches(statement: Json, request: Json, version: str, boundary: bool) -> str:
    """How a statement matches a request, empty when it does not."""
    if not action_matches(statement, request["action"]):
        return ""
    if not resource_matches(statement, request, version):
        return ""
    for operator, tests in statement.get("Condition", {}).items():
        for key, wanted in tests.items():
            if not condition_holds(
                operator, key, listed(wanted), request, version, statement["Effect"]
            ):
                return ""
    return principal_matches(statement, request["caller"], boundary)


# Decisions.


def statements_of(policies: list[Json], effect: str) -> list[tuple[Json, str]]:
    """All statements of one effect, with the version of their document."""
    return [
        (statement, policy.get("Version", "2008-10-17"))
        for policy in policies
        for statement in listed(policy["Statement"])
        if statement["Effect"] == effect
    ]


def allows(policies: list[Json], request: Json) -> bool:
    """Whether some statement of some of the policies allows."""
    return any(
        matches(statement, request, version, False)
        for statement, version in statements_of(policies, "Allow")
    )


def decide(
    request: Json,
    identity: list[Json],
    boundary: Json | None,
    session: list[Json] | None,
    resource: Json | None,
) -> str:
    """allow, deny (by a statement) or implicit."""
    caller = request["caller"]
    own = caller["kind"] != "anonymous" and caller["account"] == request["owner"]
    root = own and caller["kind"] == "root"
    if root and request["action"] in (
        "s3:GetBucketPolicy",
        "s3:PutBucketPolicy",
        "s3:DeleteBucketPolicy",
    ):
        return "allow"
    every = [*identity, *(session or [])]
    every += [policy for policy in (boundary, resource) if policy is not None]
    for statement, version in statements_of(every, "Deny"):
        if matches(statement, request, version, boundary is not None):
            return "deny"
    if root:
        return "allow"
    names = {
        matches(statement, request, version, False)
        for statement, version in statements_of([resource] if resource else [], "Allow")
    }
    limits = (boundary is None or allows([boundary], request)) and (
        caller["kind"] != "federated" if session is None else allows(session, request)
    )
    by_identity = allows(identity, request) and limits
    if caller["kind"] == "anonymous":
        return "allow" if "itself" in names else "implicit"
    if own:
        allowed = "itself" in names or ("issuer" in names and limits) or by_identity
    else:
        allowed = names - {""} != set() and (caller["kind"] == "root" or by_identity)
    return "allow" if allowed else "implicit"
