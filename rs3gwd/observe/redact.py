"""Keeps secrets out of every log line.

Three nets, since a secret can come in three ways: under a telling name (`secret`, `authorization`),
as a value that this process knows to be secret (the root secret, the metrics token), or inside a
URL or header as an AWS signature or session token. What is masked reads `(hidden)`.

It is a net and not a licence: no code logs a secret on purpose. Access key ids are not secret and
stay readable, for they say who asked.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

MASK = "(hidden)"

KNOWN_SECRETS_MAX = 64
"""Secrets searched for in every line; each costs about 0.1 us per logged string."""

KNOWN_SECRET_CHARACTERS_MIN = 8
"""A shorter one would mask ordinary words."""

DEPTH_MAX = 6
"""Containers within containers of an event that are looked into; what is deeper is masked."""

_NAME = re.compile(
    r"secret|password|passwd|passphrase|token|authorization|signature|private_?key|credential",
    re.IGNORECASE,
)
_IN_TEXT = re.compile(
    r"((?:x-amz-signature|x-amz-security-token|signature)(?:=|%3d|:\s?))[^\s&,;\"']+",
    re.IGNORECASE,
)
_QUERY_SECRETS = frozenset({"x-amz-signature", "x-amz-security-token", "signature", "token"})


class Redactor:
    """A processor of structlog; also used by itself on a value."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def add_secret(self, secret: str) -> None:
        """From now on `secret` is masked wherever it stands in a text.

        Raises ValueError when it is shorter than KNOWN_SECRET_CHARACTERS_MIN, or when
        KNOWN_SECRETS_MAX are known already.
        """
        if len(secret) < KNOWN_SECRET_CHARACTERS_MIN:
            raise ValueError("a secret this short cannot be told from ordinary text")
        if len(self._secrets) >= KNOWN_SECRETS_MAX:
            raise ValueError(f"{KNOWN_SECRETS_MAX} secrets are known already")
        if secret not in self._secrets:
            self._secrets += (secret,)

    def __call__(self, logger: Any, method: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with its secrets masked, as structlog's processors have it."""
        return {name: self._redact_named(name, value, 0) for name, value in event.items()}

    def redact_text(self, text: str) -> str:
        """The text with known secrets and AWS signatures masked."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return _IN_TEXT.sub(rf"\1{MASK}", text)

    def _redact_named(self, name: object, value: Any, depth: int) -> Any:
        if isinstance(name, str) and _NAME.search(name):
            return MASK
        return self._redact(value, depth)

    def _redact(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.redact_text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= DEPTH_MAX:
            return MASK
        if isinstance(value, Mapping):
            return {
                str(name): self._redact_named(name, inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._redact(inner, depth + 1) for inner in value]
        return self.redact_text(repr(value))


def redact_target(target: str) -> str:
    """A request target with the secrets in its query masked.

    A presigned URL is as good as a password until it expires. A name in the query may be
    percent-encoded, and is compared as the server reads it.
    """
    path, mark, query = target.partition("?")
    if not mark or not query:
        return target
    return path + "?" + "&".join(_redact_parameter(pair) for pair in query.split("&"))


def _redact_parameter(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    plain = unquote(name) if "%" in name else name
    return f"{name}={MASK}" if equals and plain.lower() in _QUERY_SECRETS else pair
