"""From the bytes of a policy to a Document, or to the refusal that AWS would send.

A bucket policy is refused with MalformedPolicy and S3's words, every other with
MalformedPolicyDocument and IAM's. The first fault found is the answer.

Source: see `rs3gwd.iam.policy.document`; the words are those of the services.
"""

import json
import re
from enum import Enum
from typing import Any, NoReturn

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.policy.actions import is_s3_key, matching_actions
from rs3gwd.iam.policy.conditions import (
    OPERATORS,
    Condition,
    ConditionError,
    Family,
    compile_condition,
    split_operator,
)
from rs3gwd.iam.policy.document import (
    DOCUMENT_BYTES_MAX,
    VERSION_2008,
    VERSION_2012,
    Document,
    Effect,
    PolicyKind,
    Statement,
)
from rs3gwd.iam.policy.principals import PrincipalError, Principals, read_principals
from rs3gwd.iam.policy.resources import names_bucket, resource_types
from rs3gwd.iam.policy.strict_json import NumberText, StrictJsonError, read_json
from rs3gwd.iam.policy.variables import (
    Template,
    VariableSyntaxError,
    normalize_key,
    parse_template,
)


class Fault(Enum):
    """What can be wrong: the words of S3 and of IAM; `{}` is the detail."""

    JSON = (
        "Policies must be valid JSON and the first byte must be '{{'",
        "Syntax errors in policy.",
    )
    SIZE = (
        "Normalized policy document exceeds the maximum allowed size of {} bytes",
        "Cannot exceed quota for PolicySize: {}",
    )
    SYNTAX = ("Invalid policy syntax.", "Syntax errors in policy.")
    FIELD = ("Unknown field {}", "Syntax errors in policy.")
    VERSION = (
        "The policy must contain a valid version string",
        "The policy must contain a valid version string",
    )
    NO_STATEMENT = ("Missing required field Statement", "Syntax errors in policy.")
    EMPTY = ("Could not parse the policy: Statement is empty!", "Syntax errors in policy.")
    SID = ("Invalid policy syntax.", "Statement IDs (SID) must be alpha-numeric.")
    SID_TWICE = (
        "Statement IDs (SID) in a single policy must be unique.",
        "Statement IDs (SID) in a single policy must be unique.",
    )
    NO_EFFECT = ("Missing required field Effect", "Syntax errors in policy.")
    EFFECT = ("Invalid effect: {}", "Syntax errors in policy.")
    NO_PRINCIPAL = ("Missing required field Principal", "Missing required field Principal")
    PRINCIPAL = ("Invalid principal in policy", "Invalid principal in policy")
    WITH_PRINCIPAL = (
        "Policy document should not specify a principal.",
        "Policy document should not specify a principal.",
    )
    NO_ACTION = ("Missing required field Action", "Policy statement must contain actions.")
    ACTION = (
        "Policy has invalid action",
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
    )
    NO_RESOURCE = ("Missing required field Resource", "Policy statement must contain resources.")
    WITH_RESOURCE = ("Invalid policy syntax.", "Has prohibited field Resource")
    RESOURCE = ("Policy has invalid resource", 'Resource {} must be in ARN format or "*".')
    NOT_APPLICABLE = (
        "Action does not apply to any resource(s) in statement",
        "Action does not apply to any resource(s) in statement",
    )
    OPERATOR = ("Invalid Condition type : {}", "Invalid Condition type : {}.")
    CONDITION_KEY = (
        "Policy has an invalid condition key",
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
    )
    CONDITION_VALUE = ("Invalid value in Conditions: {}", "Syntax errors in policy.")
    ADDRESS = ("Invalid IP address in Conditions", "Invalid IP address in Conditions")
    CONDITION_NOT_APPLICABLE = (
        "Conditions do not apply to combination of actions and resources in statement",
        "Conditions do not apply to combination of actions and resources in statement",
    )


_DOCUMENT_FIELDS = frozenset({"Version", "Id", "Statement"})
_STATEMENT_FIELDS = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_SID = re.compile(r"[A-Za-z0-9]*", re.ASCII)
_ACTION = re.compile(r"[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+", re.ASCII)
_CONDITION_KEY = re.compile(r"[^\s:]+:\S.*", re.DOTALL)


def read_policy(
    text: bytes | str, kind: PolicyKind, *, characters_max: int, bucket: str = ""
) -> Document:
    """Reads and checks a document; `bucket` is the name that a bucket policy must speak of.

    `characters_max` bounds the document without its blanks. Raises ApiError: MalformedPolicy for a
    bucket policy, else MalformedPolicyDocument; LimitExceeded for one of IAM that is too long.
    """
    return _Reader(kind, bucket).read(text, characters_max)


class _Reader:
    """Reads one document."""

    def __init__(self, kind: PolicyKind, bucket: str) -> None:
        self._kind = kind
        self._bucket = bucket
        self._has_variables = False

    def read(self, text: bytes | str, characters_max: int) -> Document:
        fields = self._parse(text, characters_max)
        characters = len(json.dumps(fields, separators=(",", ":"), ensure_ascii=False))
        if characters > characters_max:
            self._fail(Fault.SIZE, str(characters_max))
        for name in fields:
            if name not in _DOCUMENT_FIELDS:
                self._fail(Fault.FIELD, name)
        version = fields.get("Version", VERSION_2008)
        if version not in (VERSION_2008, VERSION_2012):
            self._fail(Fault.VERSION)
        self._has_variables = version == VERSION_2012
        policy_id = fields.get("Id", "")
        if not isinstance(policy_id, str):
            self._fail(Fault.SYNTAX)
        return Document(
            kind=self._kind,
            version=version,
            policy_id=policy_id,
            statements=self._statements(fields),
            characters=characters,
        )

    def _parse(self, text: bytes | str, characters_max: int) -> dict[str, Any]:
        if len(text) > DOCUMENT_BYTES_MAX:
            self._fail(Fault.SIZE, str(characters_max))
        try:
            decoded = text if isinstance(text, str) else text.decode("utf-8")
            if not decoded.startswith("{"):
                self._fail(Fault.JSON)
            fields: dict[str, Any] = read_json(decoded)
        except (UnicodeDecodeError, StrictJsonError) as error:
            raise self._error(Fault.JSON, "") from error
        return fields

    def _statements(self, fields: dict[str, Any]) -> tuple[Statement, ...]:
        if "Statement" not in fields:
            self._fail(Fault.NO_STATEMENT)
        listed = fields["Statement"]
        if isinstance(listed, dict):
            listed = [listed]
        if not isinstance(listed, list):
            self._fail(Fault.SYNTAX)
        if not listed:
            self._fail(Fault.EMPTY)
        statements = tuple(self._statement(index, each) for index, each in enumerate(listed))
        sids = [statement.sid for statement in statements if statement.sid]
        if len(set(sids)) != len(sids):
            self._fail(Fault.SID_TWICE)
        return statements

    def _statement(self, index: int, fields: Any) -> Statement:
        if not isinstance(fields, dict):
            self._fail(Fault.SYNTAX)
        for name in fields:
            if name not in _STATEMENT_FIELDS:
                self._fail(Fault.FIELD, name)
        principals, is_not_principal = self._principals(fields)
        actions, is_not_action = self._actions(fields)
        resources, is_not_resource = self._resources(fields)
        statement = Statement(
            index=index,
            sid=self._sid(fields),
            effect=self._effect(fields),
            principals=principals,
            is_not_principal=is_not_principal,
            actions=actions,
            is_not_action=is_not_action,
            resources=resources,
            is_not_resource=is_not_resource,
            conditions=self._conditions(fields.get("Condition", {})),
        )
        if self._kind is PolicyKind.BUCKET:
            self._check_together(statement)
        return statement

    def _sid(self, fields: dict[str, Any]) -> str:
        sid = fields.get("Sid", "")
        if not isinstance(sid, str) or isinstance(sid, NumberText):
            self._fail(Fault.SID)
        # S3 takes any text as the Sid of a bucket policy.
        if self._kind is not PolicyKind.BUCKET and not _SID.fullmatch(sid):
            self._fail(Fault.SID)
        return sid

    def _effect(self, fields: dict[str, Any]) -> Effect:
        if "Effect" not in fields:
            self._fail(Fault.NO_EFFECT)
        effect = fields["Effect"]
        if effect not in (Effect.ALLOW, Effect.DENY):
            self._fail(Fault.EFFECT, str(effect))
        return Effect(effect)

    def _one_of(self, fields: dict[str, Any], name: str) -> tuple[Any, bool]:
        """The value of `name` or of its opposite, which of them it is; None for neither."""
        opposite = f"Not{name}"
        if name in fields and opposite in fields:
            self._fail(Fault.SYNTAX)
        is_not = opposite in fields
        return fields.get(opposite if is_not else name), is_not

    def _texts(self, value: Any, fault: Fault) -> tuple[str, ...]:
        listed = value if isinstance(value, list) else [value]
        if not listed:
            self._fail(fault, "")
        for text in listed:
            if not isinstance(text, str) or isinstance(text, NumberText):
                self._fail(fault, str(text))
        return tuple(listed)

    def _principals(self, fields: dict[str, Any]) -> tuple[Principals | None, bool]:
        element, is_not = self._one_of(fields, "Principal")
        if self._kind is PolicyKind.IDENTITY:
            if element is not None:
                self._fail(Fault.WITH_PRINCIPAL)
            return None, False
        if element is None:
            self._fail(Fault.NO_PRINCIPAL)
        try:
            return read_principals(element), is_not
        except PrincipalError as error:
            raise self._error(Fault.PRINCIPAL, "") from error

    def _actions(self, fields: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
        element, is_not = self._one_of(fields, "Action")
        if element is None:
            self._fail(Fault.NO_ACTION)
        actions = self._texts(element, Fault.ACTION)
        for action in actions:
            is_known = action == "*" or _ACTION.fullmatch(action) is not None
            if self._kind is PolicyKind.BUCKET:
                is_known = is_known and bool(matching_actions(action))
            if not is_known:
                self._fail(Fault.ACTION)
        return actions, is_not

    def _resources(self, fields: dict[str, Any]) -> tuple[tuple[Template, ...], bool]:
        element, is_not = self._one_of(fields, "Resource")
        if self._kind is PolicyKind.TRUST:
            if element is not None:
                self._fail(Fault.WITH_RESOURCE)
            return (), False
        if element is None:
            self._fail(Fault.NO_RESOURCE)
        return tuple(self._resource(text) for text in self._texts(element, Fault.RESOURCE)), is_not

    def _resource(self, text: str) -> Template:
        try:
            template = parse_template(text, has_variables=self._has_variables)
        except VariableSyntaxError as error:
            raise self._error(Fault.RESOURCE, text) from error
        is_arn = text == "*" or text.startswith(("arn:", "arn*"))
        if self._kind is PolicyKind.BUCKET:
            is_arn = is_arn and names_bucket(template, self._bucket)
        if not is_arn:
            self._fail(Fault.RESOURCE, text)
        return template

    def _conditions(self, element: Any) -> tuple[Condition, ...]:
        if not isinstance(element, dict):
            self._fail(Fault.SYNTAX)
        found: list[Condition] = []
        for operator, keys in element.items():
            if not isinstance(keys, dict):
                self._fail(Fault.SYNTAX)
            if len({normalize_key(key) for key in keys}) != len(keys):
                self._fail(Fault.SYNTAX)
            found.extend(self._condition(operator, key, value) for key, value in keys.items())
        return tuple(found)

    def _condition(self, operator: str, key: str, value: Any) -> Condition:
        listed = value if isinstance(value, list) else [value]
        texts = [str(one).lower() if isinstance(one, bool) else one for one in listed]
        if not all(isinstance(text, str) for text in texts) or not texts:
            self._fail(Fault.CONDITION_VALUE, key)
        try:
            condition = compile_condition(
                operator, key, tuple(map(str, texts)), has_variables=self._has_variables
            )
        except ConditionError as error:
            raise self._condition_error(error) from error
        self._check_key(key)
        return condition

    def _condition_error(self, error: ConditionError) -> ApiError:
        if error.value is None:
            return self._error(Fault.OPERATOR, error.operator)
        _, base, _ = split_operator(error.operator)
        if OPERATORS[base].family is Family.ADDRESS:
            return self._error(Fault.ADDRESS, "")
        return self._error(Fault.CONDITION_VALUE, error.value)

    def _check_key(self, key: str) -> None:
        normal = normalize_key(key)
        if self._kind is PolicyKind.BUCKET:
            is_known = (normal.startswith("aws:") and len(normal) > 4) or is_s3_key(normal)
        else:
            is_known = _CONDITION_KEY.fullmatch(key) is not None
        if not is_known:
            self._fail(Fault.CONDITION_KEY)

    def _check_together(self, statement: Statement) -> None:
        """Actions must be possible on the resources, and conditions for the actions."""
        if not statement.is_not_action and not statement.is_not_resource:
            types = resource_types(statement.resources)
            for pattern in statement.actions:
                if not any(action.resources & types for action in matching_actions(pattern)):
                    self._fail(Fault.NOT_APPLICABLE)
        if not statement.is_not_action:
            actions = [each for pattern in statement.actions for each in matching_actions(pattern)]
            for condition in statement.conditions:
                if not any(action.has_key(condition.key) for action in actions):
                    self._fail(Fault.CONDITION_NOT_APPLICABLE)

    def _fail(self, fault: Fault, detail: str = "") -> NoReturn:
        raise self._error(fault, detail)

    def _error(self, fault: Fault, detail: str) -> ApiError:
        for_bucket, for_identity = fault.value
        if self._kind is PolicyKind.BUCKET:
            return ApiError("MalformedPolicy", for_bucket.format(detail))
        code = "LimitExceeded" if fault is Fault.SIZE else "MalformedPolicyDocument"
        return ApiError(code, for_identity.format(detail))
