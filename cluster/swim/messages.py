"""What nodes tell each other, and its bytes: msgpack arrays, each with a length cap.

A claim is one belief about one node. Claims of one node are ordered by `order`: incarnation first,
then state; the greater one wins wherever two meet, in any order and however often, so that all who
have heard the same hold the same (a join semilattice). Only the node itself raises its incarnation.

Source: Das, Gupta, Motivala, SWIM (DSN 2002), section 4.2 (incarnations; the order here is that
of memberlist, in which a dead node may come back by a greater incarnation).

    Packet     [kind, number, target, claims]
    PushPull   [key id, key, claims]
    Claim      [node, incarnation, state, by, metadata or nil]
"""

from enum import IntEnum
from typing import Annotated, Final, TypeVar

import msgspec

from cluster.base.errors import BadFrame
from cluster.base.ids import NodeId
from cluster.base.ports import MemberState, NodeMetadata

INCARNATION_MAX: Final = 2**62
"""Greater ones are no incarnations: there must be room for an answer."""

METADATA_BYTES_MAX: Final = 512
"""Encoded metadata of a node: a claim with it fits into every datagram."""

KEY_BYTES: Final = 32
CLAIMS_MAX: Final = 1024

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Node = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Kind(IntEnum):
    """What a datagram is for."""

    PING = 1
    PING_REQ = 2
    ACK = 3
    NACK = 4
    GOSSIP = 5


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """That `node` is in `state`, as `by` found. `metadata` comes with ALIVE only."""

    node: Node
    incarnation: Annotated[int, msgspec.Meta(ge=0, le=INCARNATION_MAX)]
    state: MemberState
    by: Node
    metadata: NodeMetadata | None = None

    @property
    def order(self) -> tuple[int, int]:
        """The greater one wins."""
        return self.incarnation, self.state


class Packet(msgspec.Struct, array_like=True, frozen=True):
    """One datagram. `number` joins an answer to its question; `target` is who is probed."""

    kind: Kind
    number: Number
    target: Number
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=CLAIMS_MAX)] = ()


class PushPull(msgspec.Struct, array_like=True, frozen=True):
    """Everything that a node knows, and the key of the datagrams that it is going to send."""

    key_id: Number
    key: Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=CLAIMS_MAX)]

    def __repr__(self) -> str:
        return f"PushPull(key_id={self.key_id}, {len(self.claims)} claims)"


M = TypeVar("M", Packet, PushPull)
_ENCODER = msgspec.msgpack.Encoder()


def encode(message: Packet | PushPull | Claim) -> bytes:
    """The bytes of a message."""
    return _ENCODER.encode(message)


def decode(data: bytes, kind: type[M]) -> M:
    """The message in `data`. Raises BadFrame for anything else, and for oversized metadata."""
    try:
        message = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadFrame(f"no {kind.__name__}: {error}") from error
    for claim in message.claims:
        if claim.metadata is not None:
            check_metadata(claim.metadata)
        elif claim.state is MemberState.ALIVE:
            raise BadFrame(f"node {claim.node} is alive without metadata")
    return message


def check_metadata(metadata: NodeMetadata) -> None:
    """Raises BadFrame when it is longer than `METADATA_BYTES_MAX`."""
    size = len(_ENCODER.encode(metadata))
    if size > METADATA_BYTES_MAX:
        raise BadFrame(f"metadata of {size} bytes: at most {METADATA_BYTES_MAX}")


def own_claim(node: NodeId, incarnation: int, metadata: NodeMetadata) -> Claim:
    """What a node says of itself while it lives."""
    return Claim(node, incarnation, MemberState.ALIVE, node, metadata)
