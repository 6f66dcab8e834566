"""The Principal element: whom a statement of a bucket or trust policy speaks of.

    "*"                        everybody, anonymous callers included
    AWS: "*"                   the same
    AWS: 12 digits, or ARN     an account (`...:root`), a user, a role, a session of a role, a
                               federated user; or the unique id of a user or role
    CanonicalUser: 64 digits   an account, by the id that access control lists use
    Federated, Service         the provider behind a web identity; a service

There are no wildcards inside an ARN here. An account that is named hands the decision to that
account: inside it, its own policies decide (see `rs3gwd.iam.policy.evaluate`).

Source: "AWS JSON policy elements: Principal" in the IAM User Guide.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

EVERYONE = "*"

_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_ARN = re.compile(
    r"arn:aws:(?:iam::\d{12}:(?:root|(?:user|role)/[\x21-\x7e]{1,576})"
    r"|sts::\d{12}:(?:assumed-role/[\w+=,.@-]{1,64}/[\w+=,.@-]{2,64}"
    r"|federated-user/[\w+=,.@-]{2,32}))",
    re.ASCII,
)
_UNIQUE_ID = re.compile(r"A[A-Z]{3}[A-Z0-9]{12,124}", re.ASCII)
_CANONICAL_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9.-]{1,128}\.amazonaws\.com", re.ASCII)
_FEDERATED = re.compile(
    r"[a-z0-9./:_-]{1,255}|arn:aws:iam::\d{12}:(?:oidc|saml)-provider/\S{1,255}", re.ASCII
)


class PrincipalError(ValueError):
    """A principal that is none, or an element that has no principals."""


class Principals(Struct, frozen=True):
    """Those whom a statement names. `arns` holds accounts as their `...:root`, and unique ids."""

    is_everyone: bool = False
    arns: frozenset[str] = frozenset()
    canonical_ids: frozenset[str] = frozenset()
    federated: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """All of them as a person reads them, sorted."""
        everyone = [EVERYONE] if self.is_everyone else []
        named = self.arns | self.canonical_ids | self.federated | self.services
        return [*everyone, *sorted(named)]


def account_arn(account_id: str) -> str:
    """The ARN that stands for an account."""
    return f"arn:aws:iam::{account_id}:root"


def read_principals(element: Any) -> Principals:
    """Reads the value of Principal or NotPrincipal. Raises PrincipalError."""
    if element == EVERYONE:
        return Principals(is_everyone=True)
    if not isinstance(element, Mapping) or not element:
        raise PrincipalError("neither * nor an object")
    found: dict[str, set[str]] = {kind: set() for kind in _READERS}
    for kind, values in element.items():
        if kind not in _READERS:
            raise PrincipalError(kind)
        for value in _texts(values):
            found[kind].add(_READERS[kind](value))
    named = found["AWS"]
    return Principals(
        is_everyone=EVERYONE in named,
        arns=frozenset(named - {EVERYONE}),
        canonical_ids=frozenset(found["CanonicalUser"]),
        federated=frozenset(found["Federated"]),
        services=frozenset(found["Service"]),
    )


def _texts(values: Any) -> Iterator[str]:
    listed = values if isinstance(values, list) else [values]
    if not listed:
        raise PrincipalError("nobody")
    for value in listed:
        # A number is a NumberText: an account id without its quotes is an account id.
        if not isinstance(value, str):
            raise PrincipalError(str(value))
        yield str(value)


def _read_aws(value: str) -> str:
    if _ACCOUNT.fullmatch(value):
        return account_arn(value)
    is_known = value == EVERYONE or _UNIQUE_ID.fullmatch(value) or _ARN.fullmatch(value)
    if not is_known or (value != EVERYONE and ("*" in value or "?" in value)):
        raise PrincipalError(value)
    return value


def _matching(expression: re.Pattern[str]) -> Any:
    def read(value: str) -> str:
        if not expression.fullmatch(value):
            raise PrincipalError(value)
        return value

    return read


_READERS = {
    "AWS": _read_aws,
    "CanonicalUser": _matching(_CANONICAL_ID),
    "Federated": _matching(_FEDERATED),
    "Service": _matching(_SERVICE),
}
