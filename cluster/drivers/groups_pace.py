"""How fast a node reaches a majority, and whether it should lead anything.

A committee whose chair sits behind a bad line takes a bad line's time for everything, though the
others hear each other well. Whoever leads a group is asked for each current read and writes for
all; so a node of which every message is late makes a share of all requests late, those through the
other nodes too, as long as it leads. Raft itself sees nothing wrong: heartbeats come late, but they
come.

Each node asks all others something empty every `pace_interval_s`, and so knows the round trip to
each. Its *pace* is the round trip within which a majority has answered, itself counted: what a
commit and a proof of leadership take it at the least. It tells its pace with each message. A node
whose pace is several times that of the others stands back: it hands over what it leads and says so,
as a node does that is about to stop (`groups_members`), until its pace is theirs again.

It judges by the best of its last few round trips when it is to stand back, and by the worst when it
is to lead again: a busy moment is no slow line, and one good answer no mended one. Nothing here
touches safety; all that can go wrong is that a group is led from the wrong place.

The clock is the caller's; the book itself sends nothing.
"""

import struct
from collections import deque
from collections.abc import Iterable
from typing import Final

import trio

from cluster.base.errors import BadFrame
from cluster.base.ids import NodeId
from cluster.drivers.groups_loop import Ports
from cluster.drivers.groups_members import Members

PACE_CHANNEL: Final = "groups.pace"

SAMPLES: Final = 4
"""So many round trips are kept of each node: at 0.4 s a slow line shows within two seconds."""

FRESH_S: Final = 3.0
"""What was heard longer ago is worth nothing: its node is down, or cut off."""

SLOW_FACTOR: Final = 3.0
SLOW_S: Final = 0.02
"""A pace is slow when it is both so many times that of the others and so much longer."""

_BACK_SHARE: Final = 0.5
"""At half of both it is slow no more."""

_MESSAGE: Final = struct.Struct("<BBQQ")
"""Version, whether it answers, the asker's clock in microseconds, the sender's pace in
microseconds (0: it knows none)."""
_VERSION: Final = 1


class PaceBook:
    """The round trips of one node, and what the others say of theirs. Pure."""

    def __init__(self) -> None:
        self._trips: dict[NodeId, deque[float]] = {}
        self._heard_s: dict[NodeId, float] = {}
        self._claims: dict[NodeId, float] = {}
        self.is_slow = False

    def note_trip(self, node: NodeId, seconds: float, now_s: float) -> None:
        """An answer of `node` came."""
        if now_s - self._heard_s.get(node, now_s) > FRESH_S:
            self._trips.pop(node, None)
        self._trips.setdefault(node, deque(maxlen=SAMPLES)).append(seconds)
        self._heard_s[node] = now_s

    def note_claim(self, node: NodeId, pace_s: float) -> None:
        """What `node` says of itself; 0 when it does not know."""
        self._claims[node] = pace_s

    def pace_s(self, members: Iterable[NodeId], now_s: float) -> float | None:
        """This node's pace among `members`, itself left out, by its best round trips; None when
        too few of them answer."""
        return self._pace(members, now_s, worst=False)

    def judge(self, members: Iterable[NodeId], now_s: float) -> bool:
        """Whether this node is slow, from now on also `is_slow`. Unknown is not slow."""
        members = list(members)
        pace = self._pace(members, now_s, worst=self.is_slow)
        claims = sorted(
            claim
            for node in members
            if (claim := self._claims.get(node)) and self._is_fresh(node, now_s)
        )
        if pace is None or not claims:
            self.is_slow = False
            return False
        usual = claims[(len(claims) - 1) // 2]
        share = _BACK_SHARE if self.is_slow else 1.0
        self.is_slow = pace > usual * SLOW_FACTOR * share and pace - usual > SLOW_S * share
        return self.is_slow

    def _pace(self, members: Iterable[NodeId], now_s: float, *, worst: bool) -> float | None:
        members = list(members)
        known = sorted(
            max(trips) if worst else min(trips)
            for node in members
            if (trips := self._trips.get(node)) is not None
            and len(trips) == SAMPLES
            and self._is_fresh(node, now_s)
        )
        needed = (len(members) + 1) // 2
        return known[needed - 1] if 0 < needed <= len(known) else None

    def _is_fresh(self, node: NodeId, now_s: float) -> bool:
        return now_s - self._heard_s.get(node, -FRESH_S - 1) <= FRESH_S


class Pace:
    """Asks, answers, and has this node stand back."""

    def __init__(self, ports: Ports, members: Members) -> None:
        self._ports = ports
        self._members = members
        self.book = PaceBook()

    async def run(self) -> None:
        """Until cancelled; for settings whose `pace_interval_s` is more than 0."""
        interval_s = self._ports.settings.pace_interval_s
        while True:
            for node in self._members.others():
                self._send(node, is_answer=False, stamp_us=_us(trio.current_time()))
            await trio.sleep(interval_s)
            is_slow = self.book.judge(self._members.others(), trio.current_time())
            self._members.stand_back(is_slow)

    def on_message(self, sender: NodeId, payload: bytes) -> None:
        """A question or an answer. Raises BadFrame."""
        if len(payload) != _MESSAGE.size:
            raise BadFrame("a message about pace has another length")
        version, is_answer, stamp_us, pace_us = _MESSAGE.unpack(payload)
        if version != _VERSION:
            raise BadFrame(f"version {version} of a message about pace")
        self.book.note_claim(sender, pace_us / 1e6)
        if not is_answer:
            self._send(sender, is_answer=True, stamp_us=stamp_us)
            return
        now_s = trio.current_time()
        # A stamp of before this node fell is of another clock.
        if 0 <= _us(now_s) - stamp_us <= _us(FRESH_S):
            self.book.note_trip(sender, now_s - stamp_us / 1e6, now_s)

    def _send(self, node: NodeId, *, is_answer: bool, stamp_us: int) -> None:
        pace = self.book.pace_s(self._members.others(), trio.current_time())
        pace_us = 0 if pace is None else max(_us(pace), 1)
        payload = _MESSAGE.pack(_VERSION, is_answer, stamp_us, pace_us)
        self._ports.peers.send(node, PACE_CHANNEL, payload)


def _us(seconds: float) -> int:
    return int(seconds * 1e6)
