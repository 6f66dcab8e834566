"""The policy of a browser form: what its signer lets a form say; pure.

    {"expiration": "2026-01-01T12:00:00.000Z",
     "conditions": [{"acl": "public-read"}, ["starts-with", "$key", "user/"],
                    ["content-length-range", 1, 1048576]]}

Every field of the form must be allowed by a condition, and every condition must hold. Field names
are compared without their case. `starts-with` of `Content-Type` holds when it does for each member
of a list. A condition about the bucket is met by the bucket that the form was sent to.

Source: "POST Policy" in the Amazon S3 API Reference.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.policy.strict_json import StrictJsonError, read_json
from rs3gwd.iam.policy.values import read_date

POLICY_BYTES_MAX = 20_000
"""Bytes of a policy in base64: all fields before the file have 20,000 together."""

CONDITIONS_MAX = 200
DIGITS_MAX = 15

_UNCHECKED = frozenset(
    {"awsaccesskeyid", "signature", "x-amz-signature", "file", "policy", "bucket"}
)
"""Fields that no condition need allow; nor those that begin with `x-ignore-`."""


class Condition(Struct, frozen=True):
    """One condition: `field` (in lower case) equals `value`, or begins with it (`is_prefix`)."""

    field: str
    value: str
    is_prefix: bool
    written: str


class PostPolicy(Struct, frozen=True):
    """A policy that was read. `minimum` and `maximum` bound the file in bytes, where given."""

    expires_ms: int
    conditions: tuple[Condition, ...]
    minimum: int | None = None
    maximum: int | None = None


def read_post_policy(encoded: str) -> PostPolicy:
    """Reads the base64 of a policy. Raises ApiError InvalidPolicyDocument."""
    try:
        text = base64.b64decode("".join(encoded.split()), validate=True).decode()
        fields = read_json(text)
    except (binascii.Error, UnicodeDecodeError, StrictJsonError) as error:
        raise _invalid("Invalid JSON.") from error
    if not isinstance(fields, dict) or fields.keys() - {"expiration", "conditions"}:
        raise _invalid("Unexpected: fields other than expiration and conditions.")
    expires_s = read_date(fields["expiration"]) if _is_text(fields.get("expiration")) else None
    if expires_s is None:
        raise _invalid("Policy missing expiration.")
    listed = fields.get("conditions")
    if not isinstance(listed, list):
        raise _invalid("Policy missing conditions.")
    if len(listed) > CONDITIONS_MAX:
        raise _invalid(f"More than {CONDITIONS_MAX} conditions.")
    conditions: list[Condition] = []
    bounds: tuple[int | None, int | None] = (None, None)
    for each in listed:
        if isinstance(each, list) and len(each) == 3 and each[0] == "content-length-range":
            bounds = _bounds(each)
        else:
            conditions += _read_condition(each)
    return PostPolicy(int(expires_s * 1000), tuple(conditions), *bounds)


def check_post_policy(policy: PostPolicy, fields: Mapping[str, str], *, now_ms: int) -> None:
    """That the form says what its signer allows. `fields` by lower-case name, `bucket` included.

    Raises ApiError AccessDenied, in the words of S3.
    """
    if policy.expires_ms <= now_ms:
        raise _denied("Policy expired.")
    allowed = set(_UNCHECKED)
    for condition in policy.conditions:
        value = fields.get(condition.field, "")
        if not _holds(condition, value):
            raise _denied(f"Policy Condition failed: {condition.written}")
        allowed.add(condition.field)
    extra = [name for name in fields if name not in allowed and not name.startswith("x-ignore-")]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(sorted(extra))}")


def _holds(condition: Condition, value: str) -> bool:
    if not condition.is_prefix:
        return value == condition.value
    if condition.field == "content-type":
        return all(part.strip().startswith(condition.value) for part in value.split(","))
    return value.startswith(condition.value)


def _read_condition(element: Any) -> list[Condition]:
    if isinstance(element, dict) and element:
        return [
            Condition(name.lower(), _text(value), False, json.dumps({name: str(value)}))
            for name, value in element.items()
        ]
    if not isinstance(element, list) or len(element) != 3:
        raise _invalid("Invalid condition.")
    operator, field, value = element
    if operator not in ("eq", "starts-with"):
        raise _invalid(f"Unknown operator {operator!r}.")
    if not _is_text(field) or not field.startswith("$") or len(field) < 2:
        raise _invalid("The field of a condition begins with $.")
    written = json.dumps([str(each) for each in element])
    return [Condition(field[1:].lower(), _text(value), operator == "starts-with", written)]


def _bounds(element: list[Any]) -> tuple[int, int]:
    numbers = []
    for each in element[1:]:
        digits = str(each)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX):
            raise _invalid("Invalid content-length-range.")
        numbers.append(int(digits))
    return numbers[0], numbers[1]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _text(value: Any) -> str:
    if not _is_text(value):
        raise _invalid("The value of a condition is a text.")
    return str(value)


def _invalid(detail: str) -> ApiError:
    return ApiError("InvalidPolicyDocument", f"Invalid Policy: {detail}")


def _denied(detail: str) -> ApiError:
    return ApiError("AccessDenied", f"Invalid according to Policy: {detail}")
