"""Bounds and intervals of the transport, and what it counts."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Lane(IntEnum):
    """What a connection is for. A blob on BULK never stands in front of a heartbeat on URGENT."""

    URGENT = 1
    """Messages and calls."""
    BULK = 2
    """Streams."""


class TransportSettings(NamedTuple):
    """Seconds, bytes and counts; the defaults fit a cluster in one region."""

    connect_s: float = 3.0
    """From dialling to both hellos."""
    backoff_s_min: float = 0.05
    backoff_s_max: float = 1.0
    """Waits between dials double up to here; each is drawn from half to all of it."""
    ping_s: float = 1.0
    """A connection on which nothing came for so long is asked for a sign of life."""
    dead_s: float = 4.0
    """... and given up after so long without one."""
    stall_s: float = 10.0
    """A peer that takes none of one write for so long is given up, and its queue freed."""
    queue_bytes_max: int = 16 * 1024 * 1024
    """What may wait to be written on one connection."""
    batch_bytes: int = 256 * 1024
    """Frames that wait are written together up to about this."""
    data_bytes: int = 128 * 1024
    """Body of one DATA frame: streams of a connection take turns at this grain."""
    stream_window: int = 1024 * 1024
    """Bytes that a stream's receiver holds at most, unread."""
    connection_window: int = 16 * 1024 * 1024
    """... and all streams of a connection together."""
    calls_max: int = 1024
    """Calls that run or wait on one connection; more are refused, surely not run."""
    calls_bytes_max: int = 64 * 1024 * 1024
    """... and hold so much in their requests."""
    streams_max: int = 128
    """Streams that are open on one connection; more are refused."""
    handshakes_max: int = 64
    """Connections that have not yet said who they are; more are closed at once."""
    give_way_s: float = 0.2
    """A connection whose peer dials anew is closed after so long, unless the peer said on it that
    it goes away: what is under way may end then."""
    drain_s: float = 5.0
    """What is being answered at a stop may take so long."""


@dataclass
class TransportCounters:
    """Counts since the start, for whoever publishes them."""

    links_opened: int = 0
    links_closed: int = 0
    dials_failed: int = 0
    handshakes_refused: int = 0
    frames_bad: int = 0
    messages_sent: int = 0
    messages_dropped: int = 0
    messages_received: int = 0
    messages_unknown: int = 0
    calls_sent: int = 0
    calls_received: int = 0
    calls_refused: int = 0
    streams_opened: int = 0
    streams_accepted: int = 0
    streams_reset: int = 0
    writes: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
