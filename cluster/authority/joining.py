"""What is said when a node joins, as messages and two small machines; no socket, no time.

The joining node has a token and nothing else. TLS gives it a server that it does not know yet; the
server's authority comes in its first message and counts only if its hash is the one in the token
and it issued the very certificate that the TLS handshake proved. Then the node proves the token's
secret by an HMAC over everything that must not be exchanged by somebody in between: both nonces,
the server's certificate, the request, and the token of its own disk.

    node    -> hello      [1, token id, nonce]
    cluster -> challenge  [1, nonce, roots]             the authority's certificates, DER
    node    -> proof      [1, HMAC, request, disk token]
    cluster -> granted    [1, cluster, node, certificate, roots] or refused [code, text]

Each is a frame of 4 bytes length and one byte kind; unknown kinds and more than 64 KiB are refused.
Invariant: until the server has shown that it is the pinned authority's, the node sends nothing
but the public id of its token; the secret itself is never sent.
"""

import hashlib
import hmac
from typing import Final, NamedTuple, TypeVar

import msgspec

from cluster.authority.certificates import Trust, fingerprint, read_certificate
from cluster.authority.tokens import JoinToken, TokenRecord, token_key
from cluster.base.errors import BadFrame, IdentityError, JoinRefused
from cluster.base.ids import NodeId

VERSION: Final = 1
BYTES_MAX: Final = 64 * 1024
NONCE_BYTES: Final = 32
HEAD_BYTES: Final = 5

M = TypeVar("M", bound=msgspec.Struct)


class JoinHello(msgspec.Struct, array_like=True, frozen=True):
    """The node's first words."""

    version: int
    token_id: bytes
    nonce: bytes


class Challenge(msgspec.Struct, array_like=True, frozen=True):
    """The cluster's answer; `roots` are DER, newest first."""

    version: int
    nonce: bytes
    roots: tuple[bytes, ...]


class Proof(msgspec.Struct, array_like=True, frozen=True):
    """The node knows the secret, and wants a certificate on `request`."""

    version: int
    proof: bytes
    request: bytes
    disk_token: bytes


class Granted(msgspec.Struct, array_like=True, frozen=True):
    """The node is in."""

    version: int
    cluster: str
    node: NodeId
    certificate: bytes
    roots: tuple[bytes, ...]


class Refused(msgspec.Struct, array_like=True, frozen=True):
    """The node is not in."""

    code: str
    text: str


_KINDS: Final[dict[type[msgspec.Struct], int]] = {
    JoinHello: 1,
    Challenge: 2,
    Proof: 3,
    Granted: 4,
    Refused: 5,
}


class JoiningNode:
    """The node's side."""

    def __init__(self, token: JoinToken, nonce: bytes) -> None:
        self._token = token
        self._nonce = nonce

    def hello(self) -> bytes:
        """What to send first."""
        return encode(JoinHello(VERSION, self._token.id, self._nonce))

    def prove(
        self, challenge: Challenge, *, server: bytes, request: bytes, disk_token: bytes, now_ms: int
    ) -> bytes:
        """The proof, for a server that proved `server` (DER) in TLS. Raises IdentityError, and
        then nothing may be sent."""
        pinned = [root for root in challenge.roots if fingerprint(root) == self._token.authority]
        if not pinned:
            raise IdentityError("the server's authority is not the one that the token names")
        said = Trust(tuple(pinned)).check(server, now_ms=now_ms)
        if said.cluster != self._token.cluster:
            raise IdentityError(f"the server is of cluster {said.cluster}")
        proof = _proof(
            token_key(self._token.secret),
            Exchange(self._token.id, self._nonce, challenge.nonce, server),
            request,
            disk_token,
        )
        return encode(Proof(VERSION, proof, request, disk_token))

    def accept(self, answer: Granted | Refused) -> Granted:
        """What was granted. Raises JoinRefused, IdentityError for what cannot be meant for us."""
        if isinstance(answer, Refused):
            raise JoinRefused(f"{answer.code}: {answer.text}")
        said = read_certificate(answer.certificate)
        if (said.cluster, said.node) != (self._token.cluster, answer.node):
            raise IdentityError("the certificate that was granted is another node's")
        return answer


class Exchange(NamedTuple):
    """What both sides know of one attempt to join."""

    token_id: bytes
    node_nonce: bytes
    cluster_nonce: bytes
    server: bytes
    """DER of the certificate that the server showed in TLS."""


def check_hello(hello: JoinHello) -> None:
    """Raises JoinRefused for a version or a nonce that is not ours."""
    if hello.version != VERSION:
        raise JoinRefused(f"joining in version {hello.version} is not known here")
    if len(hello.nonce) != NONCE_BYTES:
        raise JoinRefused(f"a nonce is {NONCE_BYTES} bytes")


def check_proof(record: TokenRecord, exchange: Exchange, proof: Proof) -> None:
    """Whether the node knows the secret. Raises JoinRefused."""
    if not 16 <= len(proof.disk_token) <= 64:
        raise JoinRefused("the token of a disk is 16 to 64 bytes")
    wanted = _proof(record.key, exchange, proof.request, proof.disk_token)
    if not hmac.compare_digest(wanted, proof.proof):
        raise JoinRefused("the token is not known here")


def encode(message: msgspec.Struct) -> bytes:
    """One message with its head."""
    body = msgspec.msgpack.encode(message)
    assert len(body) <= BYTES_MAX
    return len(body).to_bytes(4) + bytes((_KINDS[type(message)],)) + body


def body_length(head: bytes) -> int:
    """Bytes that follow a head of HEAD_BYTES. Raises BadFrame."""
    length = int.from_bytes(head[:4])
    if len(head) != HEAD_BYTES or length > BYTES_MAX:
        raise BadFrame("a message of joining is 64 KiB at most")
    return length


def decode(head: bytes, body: bytes, kind: type[M]) -> M:
    """A message that must be of that kind. Raises BadFrame; JoinRefused for a refusal."""
    if head[4] == _KINDS[Refused] and kind is not Refused:
        refused = decode(head, body, Refused)
        raise JoinRefused(f"{refused.code}: {refused.text}")
    if head[4] != _KINDS[kind]:
        raise BadFrame(f"expected {kind.__name__} of a node that joins")
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise BadFrame(f"a {kind.__name__} that cannot be read: {error}") from error


def _proof(key: bytes, exchange: Exchange, request: bytes, disk_token: bytes) -> bytes:
    """Parts of any length are hashed, so that none can run into the next."""
    digest = hashlib.sha256(b"rs3gw join proof 1")
    for part in (*exchange, request, disk_token):
        digest.update(hashlib.sha256(part).digest())
    return hmac.digest(key, digest.digest(), hashlib.sha256)
