"""Join tokens: what an operator carries from a cluster to a new node.

A token names the cluster, says where its members are, pins the authority by the SHA-256 of its
certificate, and holds a secret of 32 bytes, which is never sent: the joining node proves that it
knows it. The cluster keeps only a key derived from the secret, with how often it may be used yet
and until when. `TokenBook` is that ledger as a value; who replicates it makes each admission one
step of a replicated log, so that a single use is single in the whole cluster.

    token       "rs3gw-join-1." + base64url, without padding, of msgpack
                [cluster, id, authority's SHA-256, secret, [[host, port], ...]]

Invariant: an admission spends a use and gives a node id in one step, or does neither.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final, NamedTuple

import msgspec

from cluster.base.errors import JoinRefused
from cluster.base.ids import NodeId
from cluster.base.ports import Random

PREFIX: Final = "rs3gw-join-1."
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 8
_TOKEN_CHARACTERS_MAX: Final = 8192
_MEMBERS_MAX: Final = 64

TOKENS_MAX: Final = 1000
"""Live tokens of a cluster; expired ones are dropped when another is made."""


class JoinToken(msgspec.Struct, array_like=True, frozen=True):
    """What is in a token's text. `authority` and `secret` are 32 bytes."""

    cluster: str
    id: bytes
    authority: bytes
    secret: bytes
    members: tuple[tuple[str, int], ...]

    def text(self) -> str:
        """For the operator. Secret."""
        return PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"JoinToken(cluster={self.cluster!r}, id={self.id.hex()})"


class TokenRecord(msgspec.Struct, array_like=True, frozen=True):
    """What the cluster keeps of a token: enough to check a proof, not enough to make the token."""

    id: bytes
    key: bytes
    expires_ms: int
    uses_left: int


class TokenBook(msgspec.Struct, array_like=True, frozen=True):
    """All live tokens and the highest node id that was ever given."""

    tokens: tuple[TokenRecord, ...] = ()
    node_highest: NodeId = 0

    def with_token(
        self, token: JoinToken, *, uses: int, expires_ms: int, now_ms: int
    ) -> "TokenBook":
        """With one more. Raises JoinRefused when there are TOKENS_MAX, ValueError for no use."""
        if uses < 1 or expires_ms <= now_ms:
            raise ValueError("a token that can never be used")
        live = tuple(record for record in self.tokens if record.expires_ms > now_ms)
        if len(live) >= TOKENS_MAX:
            raise JoinRefused("too many tokens are live; revoke some")
        record = TokenRecord(token.id, token_key(token.secret), expires_ms, uses)
        return TokenBook((*live, record), self.node_highest)

    def without_token(self, token_id: bytes) -> "TokenBook":
        """With that one revoked; no error when it is gone already."""
        left = tuple(record for record in self.tokens if record.id != token_id)
        return TokenBook(left, self.node_highest)

    def find(self, token_id: bytes, *, now_ms: int) -> TokenRecord:
        """A token that may be used. Raises JoinRefused."""
        for record in self.tokens:
            if record.id == token_id:
                if record.expires_ms <= now_ms:
                    raise JoinRefused("the token has expired")
                if record.uses_left < 1:
                    raise JoinRefused("the token is used up")
                return record
        raise JoinRefused("the token is not known here")

    def admit(self, token_id: bytes, *, now_ms: int) -> "Admission":
        """Spends one use and gives an id that no node ever had. Raises JoinRefused."""
        record = self.find(token_id, now_ms=now_ms)
        spent = msgspec.structs.replace(record, uses_left=record.uses_left - 1)
        tokens = tuple(spent if known.id == token_id else known for known in self.tokens)
        node = self.node_highest + 1
        return Admission(TokenBook(tokens, node), node)

    def encode(self) -> bytes:
        """For storage; secret, as the keys in it are."""
        return msgspec.msgpack.encode((1, self))

    @classmethod
    def decode(cls, data: bytes) -> "TokenBook":
        """What `encode` gave. Raises JoinRefused for anything else."""
        try:
            version, book = msgspec.msgpack.decode(data, type=tuple[int, TokenBook])
        except msgspec.DecodeError as error:
            raise JoinRefused(f"the book of tokens cannot be read: {error}") from error
        if version != 1:
            raise JoinRefused(f"a book of tokens of version {version} is not known here")
        return book


class Admission(NamedTuple):
    """A book after one node was let in, and that node's id."""

    book: TokenBook
    node: NodeId


def new_token(
    cluster: str, authority: bytes, members: tuple[tuple[str, int], ...], random: Random
) -> JoinToken:
    """A token for a cluster; `authority` is the fingerprint of its root."""
    secret, token_id = random.token_bytes(_SECRET_BYTES), random.token_bytes(_ID_BYTES)
    return JoinToken(cluster, token_id, authority, secret, members)


def read_token(text: str) -> JoinToken:
    """What a token says. Raises JoinRefused; the message never quotes the token."""
    text = text.strip()
    if not text.startswith(PREFIX) or len(text) > _TOKEN_CHARACTERS_MAX:
        raise JoinRefused(f"a join token begins with {PREFIX}")
    data = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True)
        token = msgspec.msgpack.decode(raw, type=JoinToken)
    except (binascii.Error, ValueError) as error:
        raise JoinRefused("the join token is damaged: copy all of it") from error
    if (len(token.id), len(token.authority), len(token.secret)) != (
        _ID_BYTES,
        32,
        _SECRET_BYTES,
    ) or not 0 < len(token.members) <= _MEMBERS_MAX:
        raise JoinRefused("the join token is damaged: copy all of it")
    return token


def token_key(secret: bytes) -> bytes:
    """The key that proofs are made with; the secret cannot be found from it."""
    return hmac.digest(secret, b"rs3gw join key 1", hashlib.sha256)
