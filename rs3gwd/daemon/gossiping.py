"""Gossip of a node of a cluster: made from the configuration, described, and measured.

What it is not: it decides nothing; it is told to the reads of bytes, which try living nodes first,
and to operators.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from cluster.base.ports import Handlers, MemberState, NodeMetadata, Peers
from cluster.drivers.gossip import Address, Gossip
from cluster.drivers.gossip_udp import UdpSocket
from cluster.raft.identity import NodeIdentity
from cluster.swim.core import Swim
from cluster.swim.endpoint import GossipEndpoint
from cluster.swim.settings import SwimSettings
from rs3gwd import __version__
from rs3gwd.base.ports import Clock, Random
from rs3gwd.config import Config
from rs3gwd.observe.families import MetricKind
from rs3gwd.observe.metrics import Metrics

PROBE_TIMEOUT_SHARE: Final = 0.4
"""Of the probe interval: helpers must have time to answer within it."""

LOAD_STEP_PERCENT: Final = 20
"""Load is told in steps, so that it is news only when it matters."""

_COUNTERS: Final[dict[str, str]] = {
    "probes": "Nodes probed",
    "probes_failed": "Probes that neither the node nor a helper answered",
    "suspicions": "Times that a node was suspected, by anybody",
    "deaths": "Times that a node was held dead",
    "refutations": "Times that this node objected to what others said of it",
}


@asynccontextmanager
async def open_gossip(
    config: Config,
    *,
    identity: NodeIdentity,
    own: Address,
    address_of: Callable[[int], Address | None],
    peers: Peers,
    handlers: Handlers,
    clock: Clock,
    random: Random,
) -> AsyncIterator[Gossip]:
    """Gossip of node `identity.node`, over UDP at its address `own`; before the transport runs.
    Whom to look for it is told later (`Gossip.look_for`).

    Raises OSError when the port is taken.
    """
    socket = await UdpSocket.open(own)
    describe = _describer(config, own)
    swim = Swim(
        identity.node,
        describe(),
        incarnation=max(0, clock.now_ms()),
        random=random,
        now_s=clock.monotonic(),
        settings=_settings(config),
    )
    try:
        yield Gossip(
            GossipEndpoint(swim, identity.cluster, random),
            socket=socket,
            peers=peers,
            handlers=handlers,
            clock=clock,
            address_of=address_of,
            describe=describe,
        )
    finally:
        socket.close()


def register_gossip(metrics: Metrics, gossip: Gossip) -> None:
    """What this node believes of the others, and what gossip does."""

    def add(name: str, text: str, read: Callable[[], float | dict[str, float]], label: str) -> None:
        kind = MetricKind.COUNTER if name.endswith("_total") else MetricKind.GAUGE
        metrics.add_source(name, text, kind, read, label=label)

    def swim_figure(field: str) -> Callable[[], float]:
        return lambda: float(getattr(gossip.statistics().swim, field))

    def figure(field: str) -> Callable[[], float]:
        return lambda: float(getattr(gossip.statistics(), field))

    add(
        "rs3gw_gossip_members",
        "Nodes by what is believed of them",
        lambda: _states(gossip),
        "state",
    )
    for field, text in _COUNTERS.items():
        add(f"rs3gw_gossip_{field}_total", text, swim_figure(field), "")
    add("rs3gw_gossip_health", "Doubt of this node in itself, 0 to 8", figure("health"), "")
    for field, text in (
        ("datagrams_sent", "Datagrams sent"),
        ("datagrams_received", "Datagrams received, whoever sent them"),
        ("sends_failed", "Datagrams that the system refused to send"),
        ("exchanges", "Exchanges of everything known begun with other nodes"),
        ("exchanges_failed", "Those without an answer"),
    ):
        add(f"rs3gw_gossip_{field}_total", text, figure(field), "")
    add(
        "rs3gw_gossip_datagrams_dropped_total",
        "Datagrams not sent or not taken, by reason",
        lambda: {reason: float(count) for reason, count in gossip.statistics().dropped.items()},
        "reason",
    )


def _states(gossip: Gossip) -> dict[str, float]:
    found = Counter(view.state for view in gossip.members())
    return {state.name.lower(): float(found[state]) for state in MemberState}


def _settings(config: Config) -> SwimSettings:
    interval_s = config.cluster_probe_interval_ms / 1000
    return SwimSettings(
        probe_interval_s=interval_s, probe_timeout_s=interval_s * PROBE_TIMEOUT_SHARE
    )


def _describer(config: Config, address: Address) -> Callable[[], NodeMetadata]:
    host, port = address
    disk = os.statvfs(config.storage_root)
    cores = os.cpu_count() or 1

    def describe() -> NodeMetadata:
        load = os.getloadavg()[0] / cores * 100
        return NodeMetadata(
            cluster_address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            s3_address=config.bind_addr[0],
            zone=config.cluster_zone,
            version=__version__,
            capacity_bytes=disk.f_blocks * disk.f_frsize,
            load_percent=round(load / LOAD_STEP_PERCENT) * LOAD_STEP_PERCENT,
        )

    return describe
