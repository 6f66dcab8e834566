"""How failure detection is set up. Times are in seconds; the names are those of the papers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimSettings:
    """Settings of one node; the defaults are for one data centre and up to some dozens of nodes.

    A crash is suspected within a probe interval or two, and believed 2.5 s later when others
    confirm it, 15 s later when nobody does.
    """

    probe_interval_s: float = 0.5
    """The protocol period T' of SWIM: one node is probed in each."""
    probe_timeout_s: float = 0.2
    """After it others are asked to probe, too (`indirect_probes`)."""
    indirect_probes: int = 3
    """k of SWIM: how many others are asked."""
    nack_ratio: float = 0.8
    """A helper without an answer says so after this share of the probe timeout (Lifeguard)."""

    health_max: int = 8
    """S of Lifeguard: times grow to at most `health_max + 1` times their length."""
    suspicion_multiplier: float = 5.0
    """alpha of Lifeguard: the shortest suspicion, in probe intervals times log10 of the nodes."""
    suspicion_max_ratio: float = 6.0
    """beta of Lifeguard: a suspicion that nobody confirms lasts so many times the shortest."""
    confirmations: int = 3
    """K of Lifeguard: so many others make a suspicion as short as it gets."""

    retransmit_multiplier: int = 8
    """lambda of SWIM: a claim goes out this times log10(nodes + 1) times, rounded up. With 4, as
    memberlist has it, one claim in some hundred misses one of six nodes until the next exchange."""
    gossip_interval_s: float = 0.2
    gossip_fanout: int = 3
    """So many nodes get claims that still wait, at each interval."""

    push_pull_interval_s: float = 30.0
    """Everything known is exchanged with one node so often; keys are renewed by it, too."""
    reconnect_interval_s: float = 2.0
    """So often one node that is not there, or was never heard of, is tried by such an exchange."""
    introduce_interval_s: float = 1.0
    """At most so often one node is asked for an exchange because its key is not known."""

    dead_kept_s: float = 24 * 3600.0
    """How long the dead and those who left are remembered."""
    members_max: int = 512
    """Beyond it unknown nodes are ignored, after the oldest dead ones were forgotten."""
    relays_max: int = 256
    """Indirect probes under way here for others; further ones are dropped."""
    payload_bytes_max: int = 1350
    """Plain bytes of a datagram: with its seal it stays within 1,400."""
    asleep_s: float = 2.0
    """A node whose last tick is longer ago was itself away: its deadlines move by the gap."""
