"""A token of an OpenID Connect provider: its signature, its time, and for whom it was made. Pure.

The algorithm is the one that the key is for, never what the token asks for: a token that names
another is refused, and the symmetric ones and `none` are in no list.

Source: OpenID Connect Core 1.0, sections 2 and 3.1.3.7; RFC 7519, section 4.1; RFC 8725, section 3;
AssumeRoleWithWebIdentity in the AWS STS API Reference; "Configuring a role for OIDC federation" in
the IAM User Guide.
"""

from base64 import urlsafe_b64decode
from typing import TypeVar

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from msgspec import Struct, field

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.web_identity.issuers import Key

TOKEN_CHARACTERS_MIN, TOKEN_CHARACTERS_MAX = 4, 20_000
SKEW_S = 300
"""Seconds by which the clock of a provider may be ahead of this node's."""

RSA_BITS_MIN = 2048

T = TypeVar("T")

_RSA: tuple[str, ...] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class WebClaims(Struct, frozen=True):
    """What a verified token says. `clients` are whom it was made for, `tags` and `transitive` what
    its provider gives the session along."""

    issuer: str
    subject: str
    clients: tuple[str, ...]
    party: str = ""
    """The `azp` claim: to whom it was given; where there is one, policies see it as the `aud`."""
    methods: tuple[str, ...] = ()
    email: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    transitive: tuple[str, ...] = ()
    source_identity: str = ""

    @property
    def audience(self) -> tuple[str, ...]:
        """What must be a client of the provider, and what policies ask for as `aud`."""
        return (self.party,) if self.party else self.clients


class _Head(Struct):
    alg: str
    kid: str | None = None
    crit: list[str] | None = None


class _Issuer(Struct):
    iss: str


class _Tags(Struct):
    principal_tags: dict[str, list[str]] = {}
    transitive_tag_keys: list[str] = []


class _Claims(Struct):
    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nbf: float = 0
    azp: str = ""
    amr: list[str] = []
    email: str = ""
    tags: _Tags = field(default_factory=_Tags, name="https://aws.amazon.com/tags")
    source_identity: str = field(default="", name="https://aws.amazon.com/source_identity")


class UnverifiedToken(Struct, frozen=True):
    """What a token says of itself: enough to find the key that may have signed it, no more."""

    text: str
    issuer: str
    algorithm: str
    key_id: str | None


def read_token(text: str) -> UnverifiedToken:
    """Raises ApiError InvalidIdentityToken: that is no signed token."""
    if not TOKEN_CHARACTERS_MIN <= len(text) <= TOKEN_CHARACTERS_MAX or text.count(".") != 2:
        raise invalid_token("it is not a signed JSON Web Token")
    head_text, claims_text, _ = text.split(".")
    head = _decode_part(head_text, _Head)
    if head.crit is not None:
        raise invalid_token("it has critical parts that are not understood")
    issuer = _decode_part(claims_text, _Issuer).iss
    return UnverifiedToken(text, issuer, head.alg, head.kid)


def verify_token(token: UnverifiedToken, key: Key, *, now_s: float) -> WebClaims:
    """What the token says, signed by `key`, in its time.

    Raises ApiError InvalidIdentityToken, ExpiredTokenException.
    """
    try:
        imported, algorithms = _import(key)
        if token.algorithm not in algorithms:
            raise invalid_token(f"it is not signed as {' or '.join(algorithms)}")
        verified = jwt.decode(token.text, imported, algorithms=list(algorithms))
        claims = msgspec.convert(verified.claims, _Claims, strict=True)
    except (JoseError, ValueError, msgspec.ValidationError) as error:
        raise invalid_token("its signature or its claims are not right") from error
    if now_s >= claims.exp:
        raise ApiError("ExpiredTokenException", "Token expired")
    if max(claims.nbf, claims.iat) > now_s + SKEW_S:
        raise invalid_token("it is of the future")
    if not claims.sub or claims.iss != token.issuer:
        raise invalid_token("it says for nobody whom it is about")
    return WebClaims(
        issuer=claims.iss,
        subject=claims.sub,
        clients=(claims.aud,) if isinstance(claims.aud, str) else tuple(claims.aud),
        party=claims.azp,
        methods=tuple(claims.amr),
        email=claims.email,
        tags=_tags(claims.tags.principal_tags),
        transitive=tuple(claims.tags.transitive_tag_keys),
        source_identity=claims.source_identity,
    )


def invalid_token(why: str) -> ApiError:
    """InvalidIdentityToken, which says as much as helps whoever has a token to mend."""
    return ApiError("InvalidIdentityToken", f"The web identity token cannot be taken: {why}.")


def _import(key: Key) -> tuple[RSAKey | ECKey, tuple[str, ...]]:
    """The key, and the algorithms that it is for. Raises ValueError, JoseError."""
    wanted = key.get("alg")
    if key["kty"] == "RSA":
        imported: RSAKey | ECKey = RSAKey.import_key(key)
        algorithms = _RSA
        if imported.raw_value.key_size < RSA_BITS_MIN:
            raise invalid_token(f"its key has fewer than {RSA_BITS_MIN} bits")
    else:
        curve = _CURVES.get(str(key.get("crv")))
        if curve is None:
            raise invalid_token("its key is on a curve that is not known")
        imported, algorithms = ECKey.import_key(key), (curve,)
    if wanted is not None:
        algorithms = tuple(each for each in algorithms if each == wanted)
        if not algorithms:
            raise invalid_token("its key is not for an algorithm that is taken")
    return imported, algorithms


def _tags(given: dict[str, list[str]]) -> tuple[tuple[str, str], ...]:
    if any(len(values) != 1 for values in given.values()):
        raise invalid_token("a tag in it has not exactly one value")
    return tuple((key, values[0]) for key, values in given.items())


def _decode_part(text: str, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=shape)
    except (msgspec.DecodeError, ValueError) as error:
        raise invalid_token("a part of it cannot be read") from error
