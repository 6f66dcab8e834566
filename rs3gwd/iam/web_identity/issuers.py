"""The signing keys of identity providers, as they publish them; kept for an hour.

    issuer + "/.well-known/openid-configuration" -> jwks_uri -> keys, by their ids

Only issuers that an account has registered are ever asked. Who brings a token is a stranger, so
what strangers can make the node fetch is bounded: a key that is not known has the keys fetched anew
at most every half minute, a failure is remembered for ten seconds, and few fetches run at once.

A key may only be what a provider signs with: symmetric keys, which would turn everybody who can
verify into somebody who can sign, are left out.

Source: OpenID Connect Discovery 1.0, sections 4 and 4.3; RFC 7517, sections 4 and 5.
"""

from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.ports import Clock
from rs3gwd.base.web_documents import DocumentUnavailable, WebDocuments

KEPT_MS = 3_600_000
"""Milliseconds for which keys are used without asking. A key that a provider takes back is refused
after that at the latest."""

AGAIN_MS = 30_000
FAILED_MS = 10_000
ISSUERS_MAX = 256
KEYS_MAX = 100
FETCHES_MAX = 4

T = TypeVar("T")
Key = dict[str, Any]
"""A JSON Web Key."""


class _Kept(Struct):
    keys: tuple[Key, ...]
    fetched_ms: int
    failed_ms: int | None = None


class Issuers:
    """The keys of issuers, as one process knows them."""

    def __init__(self, documents: WebDocuments, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._fetching = 0

    async def find_key(self, issuer: str, key_id: str | None) -> Key:
        """The key with this id; without an id, the only one that there is.

        Raises ApiError IDPCommunicationError, InvalidIdentityToken (there is no such key).
        """
        now_ms = self._clock.now_ms()
        kept = self._kept.get(issuer)
        if kept is None or now_ms - kept.fetched_ms >= KEPT_MS:
            kept = await self._refresh(issuer)
        found = _choose(kept.keys, key_id)
        if found is None and now_ms - kept.fetched_ms >= AGAIN_MS:
            found = _choose((await self._refresh(issuer)).keys, key_id)
        if found is None:
            raise ApiError(
                "InvalidIdentityToken",
                "Couldn't retrieve verification key from your identity "
                "provider: it publishes none with the id that the token names",
            )
        return found

    async def _refresh(self, issuer: str) -> _Kept:
        now_ms = self._clock.now_ms()
        kept = self._kept.setdefault(issuer, _Kept((), now_ms - KEPT_MS))
        if kept.failed_ms is not None and now_ms - kept.failed_ms < FAILED_MS:
            raise _unreachable("it did not answer a moment ago")
        if self._fetching >= FETCHES_MAX:
            raise _unreachable("too many providers are being asked")
        self._fetching += 1
        try:
            kept.keys = await self._fetch(issuer)
        except DocumentUnavailable as error:
            kept.failed_ms = now_ms
            raise _unreachable(str(error)) from error
        finally:
            self._fetching -= 1
        kept.fetched_ms, kept.failed_ms = now_ms, None
        while len(self._kept) > ISSUERS_MAX:
            del self._kept[next(iter(self._kept))]
        return kept

    async def _fetch(self, issuer: str) -> tuple[Key, ...]:
        place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        configuration = _decode(await self._documents.fetch(place), _Configuration)
        if configuration.issuer != issuer:
            raise DocumentUnavailable("its configuration names another issuer")
        if urlsplit(configuration.jwks_uri).scheme != "https":
            raise DocumentUnavailable("its keys are not at an https address")
        published = _decode(await self._documents.fetch(configuration.jwks_uri), _KeySet)
        usable = [key for key in published.keys if _is_for_signatures(key)]
        return tuple(usable[:KEYS_MAX])


class _Configuration(Struct):
    issuer: str
    jwks_uri: str


class _KeySet(Struct):
    keys: list[Key]


def _decode(document: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(document, type=shape)
    except (msgspec.DecodeError, ValueError) as error:
        raise DocumentUnavailable("what it publishes cannot be read") from error


def _is_for_signatures(key: Key) -> bool:
    return key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"


def _choose(keys: tuple[Key, ...], key_id: str | None) -> Key | None:
    if key_id is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.get("kid") == key_id), None)


def _unreachable(why: str) -> ApiError:
    return ApiError("IDPCommunicationError", f"The identity provider cannot be asked: {why}.")
