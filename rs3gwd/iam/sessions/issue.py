"""Making sessions: a new key for a time, and the token that goes with it.

Source: "Temporary security credentials in IAM" in the IAM User Guide.
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.base.ports import Random
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.accounts import SESSION_KEY_PREFIX, make_access_key_id, make_secret
from rs3gwd.iam.sessions.session import (
    CONTEXT,
    TOKEN_CHARACTERS_MAX,
    Session,
    SessionKind,
    pack_session,
    token_text,
)


def new_session(
    kind: SessionKind, canonical_id: str, *, seconds: int, now_ms: int, random: Random
) -> Session:
    """A session that begins now, with a key of its own and nothing else."""
    return Session(
        kind=kind,
        canonical_id=canonical_id,
        access_key_id=make_access_key_id(SESSION_KEY_PREFIX, random),
        secret=make_secret(random),
        issued_ms=now_ms,
        expires_ms=now_ms + seconds * 1000,
    )


async def issue_token(session: Session, secrets: SecretWrapper) -> str:
    """The token of a session.

    Raises ApiError PackedPolicyTooLarge, and as `SecretWrapper.wrap_secret`.
    """
    wrapped = await secrets.wrap_secret(pack_session(session), context=CONTEXT)
    token = token_text(wrapped)
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise ApiError(
            "PackedPolicyTooLarge",
            f"Packed size of session tags and policies consumes {packed_percent(token)}% of the "
            "allotted space.",
        )
    return token


def packed_percent(token: str) -> int:
    """How much of the room of a token is used."""
    return -(-100 * len(token) // TOKEN_CHARACTERS_MAX)
