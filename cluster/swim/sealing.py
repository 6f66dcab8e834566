"""Datagrams sealed with AES-256-GCM under keys that each sender gives to each receiver.

Nobody shares a key with everybody: with each exchange of everything known (`PushPull`, over the
mutual TLS of the transport, so that both are who they say) the sender hands out a fresh key for
what it sends to that one node. So a key is as good as a certificate, no node can speak
for another, removal ends it, and rotation happens all the time. A receiver takes the two newest
keys of a sender: datagrams under the old one may still be on their way.

    0   1  version, 1
    1   4  cluster: the first bytes of SHA-256 of its id
    5   8  sender
    13  4  key id, the sender's number of the key
    17  8  counter under that key, from 1
    25  .. AES-256-GCM of the payload, with its tag of 16 bytes; nonce: 4 zero bytes, counter;
           bytes 0 to 25, the cluster's id and the receiver are authenticated, too

Source: NIST SP 800-38D section 8.2.1 (deterministic nonces), RFC 4303 section 3.4.3 (the replay
window). Invariants: no counter twice under a key; a datagram is opened at most once, also by a
node that was started anew (it gets fresh keys); counters older than the window are refused.
"""

import hashlib
import struct
from enum import StrEnum
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.base.ids import NodeId
from cluster.base.ports import Random
from cluster.swim.messages import KEY_BYTES

VERSION: Final = 1
_HEAD: Final = struct.Struct(">B4sQIQ")
OVERHEAD_BYTES: Final = _HEAD.size + 16
DATAGRAM_BYTES_MAX: Final = 1400
"""Fits every path without fragments: IPv6 promises 1,280, Ethernet with tunnels about 1,420."""

WINDOW: Final = 1024
"""Counters behind the highest seen that may still come, each once."""

KEYS_KEPT: Final = 2
PEERS_MAX: Final = 1024


class Reason(StrEnum):
    """Why a datagram was not opened."""

    MALFORMED = "malformed"
    FOREIGN = "foreign"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"
    REPLAYED = "replayed"


class Refusal(NamedTuple):
    """`sender` is what the datagram says, which is proved by nothing; 0 when it says nothing."""

    reason: Reason
    sender: NodeId


class Opened(NamedTuple):
    """A datagram from who it says it is from."""

    sender: NodeId
    payload: bytes


class Offer(NamedTuple):
    """A key for one receiver, not yet in use."""

    key_id: int
    key: bytes

    def __repr__(self) -> str:
        return f"Offer({self.key_id})"


class ReplayWindow:
    """Which counters came already."""

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0

    def accept(self, counter: int) -> bool:
        """Whether a counter comes for the first time; then it has come."""
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = ((self._seen << min(ahead, WINDOW)) | 1) & ((1 << WINDOW) - 1)
            self._highest = counter
            return True
        bit = 1 << -ahead
        if counter < 1 or -ahead >= WINDOW or self._seen & bit:
            return False
        self._seen |= bit
        return True


class _Sending:
    def __init__(self, offer: Offer) -> None:
        self.key_id = offer.key_id
        self.cipher = AESGCM(offer.key)
        self.counter = 0


class _Receiving:
    def __init__(self, key_id: int, key: bytes) -> None:
        self.key_id = key_id
        self.cipher = AESGCM(key)
        self.window = ReplayWindow()


class Sealer:
    """The keys of one node: one to each other node, two from each."""

    def __init__(self, cluster: str, own: NodeId, random: Random) -> None:
        self._own = own
        self._cluster = hashlib.sha256(cluster.encode()).digest()
        self._random = random
        # A later life must not begin with the numbers of an earlier one.
        self._offers = int.from_bytes(random.token_bytes(3), "big")
        self._sending: dict[NodeId, _Sending] = {}
        self._receiving: dict[NodeId, list[_Receiving]] = {}

    def offer(self) -> Offer:
        """A fresh key; number and key go to the receiver over mutual TLS, and to nobody else."""
        self._offers += 1
        return Offer(self._offers, self._random.token_bytes(KEY_BYTES))

    def use(self, to: NodeId, offer: Offer) -> None:
        """The receiver has the key. One that was overtaken by a newer one is let be."""
        current = self._sending.get(to)
        if current is None or offer.key_id > current.key_id:
            self._bound(self._sending, to)
            self._sending[to] = _Sending(offer)

    def accept(self, sender: NodeId, offer: Offer) -> None:
        """A key that `sender` is going to use; the two newest hold."""
        keys = self._receiving.pop(sender, [])
        self._bound(self._receiving, sender)
        self._receiving[sender] = [*keys, _Receiving(*offer)][-KEYS_KEPT:]

    def forget(self, node: NodeId) -> None:
        """Neither sends to a node nor takes anything from it, until keys are exchanged anew."""
        self._sending.pop(node, None)
        self._receiving.pop(node, None)

    def seal(self, to: NodeId, payload: bytes) -> bytes | None:
        """The datagram; None while the receiver has no key."""
        sending = self._sending.get(to)
        if sending is None:
            return None
        sending.counter += 1
        head = _HEAD.pack(VERSION, self._cluster[:4], self._own, sending.key_id, sending.counter)
        nonce = sending.counter.to_bytes(12, "big")
        sealed = sending.cipher.encrypt(nonce, payload, self._associated(head, to))
        datagram = head + sealed
        assert len(datagram) <= DATAGRAM_BYTES_MAX, "the core keeps to its budget"
        return datagram

    def open(self, datagram: bytes) -> Opened | Refusal:
        """What is in a datagram that came from anywhere."""
        if not OVERHEAD_BYTES <= len(datagram) <= DATAGRAM_BYTES_MAX:
            return Refusal(Reason.MALFORMED, 0)
        head = datagram[: _HEAD.size]
        version, cluster, sender, key_id, counter = _HEAD.unpack(head)
        if version != VERSION:
            return Refusal(Reason.MALFORMED, 0)
        if cluster != self._cluster[:4]:
            return Refusal(Reason.FOREIGN, 0)
        for key in reversed(self._receiving.get(sender, ())):
            if key.key_id == key_id:
                return self._open(key, sender, head, counter, datagram[_HEAD.size :])
        return Refusal(Reason.UNKNOWN_KEY, sender)

    def _open(
        self, key: _Receiving, sender: NodeId, head: bytes, counter: int, sealed: bytes
    ) -> Opened | Refusal:
        nonce = counter.to_bytes(12, "big")
        try:
            payload = key.cipher.decrypt(nonce, sealed, self._associated(head, self._own))
        except InvalidTag:
            return Refusal(Reason.FORGED, sender)
        # Only what is proved may move the window.
        if not key.window.accept(counter):
            return Refusal(Reason.REPLAYED, sender)
        return Opened(sender, payload)

    def _associated(self, head: bytes, to: NodeId) -> bytes:
        return head + self._cluster + to.to_bytes(8, "big")

    @staticmethod
    def _bound(keys: dict[NodeId, _Sending] | dict[NodeId, list[_Receiving]], node: NodeId) -> None:
        """Room for `node`, by the oldest, who is asked anew when he is needed."""
        while node not in keys and len(keys) >= PEERS_MAX:
            del keys[next(iter(keys))]
