"""How a history of layouts is stored: one version byte, then JSON in one canonical form.

JSON, as it is written once in a change and read by humans in a dump; 1,024 partitions of three
copies are about 10 KiB. Format 1: {"versions": [[version, replicas, zone copies, [[node, zone,
bytes]...], [set...]]...], "acknowledged": [[node, version]...], "synced": the same}. Damage of any
kind raises LayoutDamaged: the copy of the group's snapshot is then the one to go by.
"""

import json
from typing import Any, Final

from cluster.layout.errors import LayoutDamaged
from cluster.layout.layout import Layout, LayoutHistory, NodeRole

FORMAT: Final = 1
"""The first byte of what `encode` writes."""


def encode(history: LayoutHistory) -> bytes:
    """The bytes of a history: equal for equal histories."""
    value = {
        "acknowledged": sorted(history.acknowledged.items()),
        "synced": sorted(history.synced.items()),
        "versions": [_from_layout(layout) for layout in history.versions],
    }
    return bytes([FORMAT]) + json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def decode(data: bytes) -> LayoutHistory:
    """The history in `data`. Raises LayoutDamaged."""
    if not data or data[0] != FORMAT:
        raise LayoutDamaged("not a format known here")
    try:
        value = json.loads(data[1:])
        versions = tuple(_to_layout(*fields) for fields in value["versions"])
        history = LayoutHistory(versions, _marks(value["acknowledged"]), _marks(value["synced"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LayoutDamaged("not the fields of a layout") from error
    if not 1 <= len(versions) <= 2 or encode(history) != data:
        raise LayoutDamaged("not in the form that is written")
    for layout in versions:
        if any(node not in layout.roles for found in layout.sets for node in found):
            raise LayoutDamaged("a set names a node without a role")
    return history


def _from_layout(layout: Layout) -> list[Any]:
    roles = [[node, role.zone, role.capacity_bytes] for node, role in sorted(layout.roles.items())]
    return [layout.version, layout.replicas, layout.zone_copies_max, roles, layout.sets]


def _to_layout(
    version: int, replicas: int, zone_copies_max: int, roles: list[Any], sets: list[Any]
) -> Layout:
    return Layout(
        version,
        replicas,
        zone_copies_max,
        {node: NodeRole(zone, capacity) for node, zone, capacity in roles},
        tuple(tuple(found) for found in sets),
    )


def _marks(pairs: list[Any]) -> dict[int, int]:
    return dict(pairs)
