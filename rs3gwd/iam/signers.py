"""Whom an access key and a session token stand for, and the secret to compare with.

    access key         -> key record -> secret (unwrapped once, then kept) -> account, user
    access key + token -> session (opened once, then kept) -> still good? -> account, user or role

A key that stands for nobody is given a secret that nobody has, so that the comparison is made all
the same and takes as long. Whatever is kept here is what was unwrapped; whether a key or session is
still good is looked up in the directory for each request, so a change holds from the next one on.

Unwrapping may have to wait (the keyring asks its provider for a key that it has not opened yet), so
`find` never does it: it raises NotOpened, whoever called it awaits `open`, and asks again.

What it is not: it verifies no signature, and reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from rs3gwd.base.errors import ApiError, DataCorrupt, FormatError, Rs3gwError
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.ports import Directory, KeyHolder
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.brake import NOBODY, Brake
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.refusal import token_expired, token_invalid, unknown_access_key
from rs3gwd.iam.sessions.session import (
    CONTEXT,
    Session,
    SessionKind,
    token_bytes,
    unpack_session,
)

SECRET_OF_NOBODY = "no account has this secret; it keeps the work for unknown keys the same"

SECRETS_KEPT = 8192
"""Secrets that a process keeps unwrapped, about 300 bytes each."""

SESSIONS_KEPT = 2048
"""Sessions that a process keeps open, about 2 KiB each; the largest have 20."""

OPENINGS_MAX = 3
"""How often one request may wait for an unwrapping: once, unless others push it out of memory."""

K = TypeVar("K")
V = TypeVar("V")


class Signer(Struct, frozen=True):
    """Who signs with a key: `refusal` is what a request with it is answered where `principal` is
    None, whatever its signature."""

    principal: Principal | None
    secret: str
    refusal: ApiError | None = None


class NotOpened(Exception):
    """A secret or a token has to be unwrapped first: await `Signers.open`, then ask again."""

    def __init__(self, *, key: AccessKeyRecord | None = None, token: str = "") -> None:
        super().__init__("not opened yet")
        self.key = key
        self.token = token


class Signers:
    """Finds signers; one per event loop. Without `secrets` there are no sessions and no wrapped
    secrets."""

    def __init__(
        self,
        directory: Directory,
        secrets: SecretWrapper | None = None,
        brake: Brake | None = None,
    ) -> None:
        self._directory = directory
        self._brake = brake or Brake()
        self._wrapper = secrets
        self._secrets: _Kept[bytes, str] = _Kept(SECRETS_KEPT)
        self._sessions: _Kept[str, Session] = _Kept(SESSIONS_KEPT)

    def find(self, access_key_id: str, token: str | None, now_ms: int, peer: str) -> Signer:
        """The signer of a request from `peer` that names this key, and a token where it has one.

        Raises NotOpened, and ApiError SlowDown after too many failures.
        """
        self._brake.check(access_key_id, peer, now_ms)
        if token is not None:
            if self._sessions.get(token) is None:
                self._brake.check(NOBODY, peer, now_ms)
            return self._find_session(access_key_id, token, now_ms)
        holder = self._directory.key_holder(access_key_id)
        principal = principal_of(holder)
        if holder is None or principal is None:
            self._brake.check(NOBODY, peer, now_ms)
            return Signer(None, SECRET_OF_NOBODY, unknown_access_key(access_key_id))
        return Signer(principal, holder.key.secret or self._secret_of(holder.key))

    def note_refusal(self, error: Rs3gwError, peer: str, now_ms: int) -> None:
        """A request was refused: whoever did not prove who they are is slowed, by and by."""
        self._brake.note(error, peer, now_ms)

    async def open(self, wanted: NotOpened) -> None:
        """Unwraps and keeps. Raises ApiError InvalidToken, and for a secret as
        `SecretWrapper.unwrap_secret`."""
        assert self._wrapper is not None, "nothing is wrapped"
        if wanted.key is not None:
            sealed = wanted.key.sealed
            context = key_context(wanted.key.access_key_id)
            secret = await self._wrapper.unwrap_secret(sealed, context=context)
            self._secrets.keep(sealed, secret.decode())
            return
        try:
            wrapped = token_bytes(wanted.token)
            plain = await self._wrapper.unwrap_secret(wrapped, context=CONTEXT)
            session = unpack_session(plain)
        except (DataCorrupt, FormatError) as error:
            raise token_invalid() from error
        except ApiError as error:
            # It names a key of the keyring that there is not: nobody here has made it.
            raise token_invalid() from error
        self._sessions.keep(wanted.token, session)

    async def when_opened(self, ask: Callable[[], V]) -> V:
        """What `ask` gives once all that it needs is unwrapped; it is called a few times."""
        for _ in range(OPENINGS_MAX):
            try:
                return ask()
            except NotOpened as wanted:
                await self.open(wanted)
        return ask()

    def _secret_of(self, record: AccessKeyRecord) -> str:
        secret = self._secrets.get(record.sealed)
        if secret is None:
            raise NotOpened(key=record)
        return secret

    def _find_session(self, access_key_id: str, token: str, now_ms: int) -> Signer:
        try:
            session = self._session_of(token)
        except Rs3gwError:
            return Signer(None, SECRET_OF_NOBODY, token_invalid())
        if session.access_key_id != access_key_id:
            return Signer(None, SECRET_OF_NOBODY, token_invalid())
        if now_ms >= session.expires_ms:
            return Signer(None, session.secret, token_expired())
        principal = self._principal_of_session(session)
        if principal is None:
            return Signer(None, session.secret, token_invalid())
        return Signer(principal, session.secret)

    def _session_of(self, token: str) -> Session:
        """Raises NotOpened, FormatError."""
        session = self._sessions.get(token)
        if session is not None:
            return session
        if self._wrapper is None:
            raise FormatError("there are no sessions here")
        token_bytes(token)
        raise NotOpened(token=token)

    def _principal_of_session(self, session: Session) -> Principal | None:
        """Whom a session stands for now; None for one that has been revoked."""
        account = self._directory.account(session.canonical_id)
        if account is None:
            return None
        if session.kind is SessionKind.ROLE:
            role = self._directory.identity(session.canonical_id, IdentityKind.ROLE, session.holder)
            if role is None or role.unique_id != session.holder_id:
                return None
            return Principal(
                account=account, access_key_id=session.access_key_id, role=role, session=session
            )
        maker = principal_of(self._directory.key_holder(session.made_with))
        if maker is None or maker.canonical_id != session.canonical_id:
            return None
        if (maker.user.unique_id if maker.user else "") != session.holder_id:
            return None
        return Principal(
            account=account, access_key_id=session.access_key_id, user=maker.user, session=session
        )


def principal_of(holder: KeyHolder | None) -> Principal | None:
    """Whom an access key stands for; None for one that is unknown, inactive or nobody's."""
    if holder is None or holder.account is None:
        return None
    key, user = holder.key, holder.user
    if key.status is not AccessKeyStatus.ACTIVE or (key.user_name and user is None):
        return None
    return Principal(account=holder.account, access_key_id=key.access_key_id, user=user)


def key_context(access_key_id: str) -> bytes:
    """What the secret of an access key is wrapped for."""
    return b"access key " + access_key_id.encode()


class _Kept(Generic[K, V]):
    """Values by key, the least recently used dropped first."""

    def __init__(self, count_max: int) -> None:
        self._values: OrderedDict[K, V] = OrderedDict()
        self._count_max = count_max

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        if len(self._values) >= self._count_max:
            self._values.popitem(last=False)
        self._values[key] = value
