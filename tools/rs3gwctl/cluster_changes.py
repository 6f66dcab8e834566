"""A change of the layout as people write it: `--node 4,zone=b,capacity=2TB --copies 3`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
from msgspec import structs

from rs3gwd.base.cluster_admin import CAPACITY_BYTES_MAX, LayoutChange, RoleWanted
from tools.rs3gwctl.cluster_amounts import parse_bytes

COPIES_MAX: Final = 9
"""As in `LayoutChange`."""

_NODE: Final = re.compile("[1-9][0-9]{0,8}")
_ZONE: Final = re.compile("[A-Za-z0-9._-]{0,64}")
"""As in `cluster.zone`."""

Command = TypeVar("Command", bound=Callable[..., Any])


class _NodeWanted(click.ParamType[RoleWanted]):
    """A node with what is to change of it."""

    name = "node"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> RoleWanted:
        if isinstance(value, RoleWanted):
            return value
        try:
            return parse_node(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


NODE_WANTED: Final = _NodeWanted()


def parse_node(text: str) -> RoleWanted:
    """A node of `4`, `4,zone=b`, `4,capacity=2TB` or both. Raises ValueError."""
    number, *settings = text.split(",")
    if _NODE.fullmatch(number) is None:
        raise ValueError(f"{number[:50]!r} is not the number of a node")
    wanted = RoleWanted(int(number))
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name == "zone" and equals and wanted.zone is None:
            wanted = structs.replace(wanted, zone=_zone(value))
        elif name == "capacity" and equals and wanted.capacity_bytes is None:
            wanted = structs.replace(wanted, capacity_bytes=_capacity(value))
        else:
            raise ValueError(f"{setting[:50]!r} is neither zone=NAME nor capacity=SIZE, once each")
    return wanted


def _zone(text: str) -> str:
    if _ZONE.fullmatch(text) is None:
        raise ValueError(f"zone {text[:50]!r}: up to 64 letters, digits, dots, dashes, underscores")
    return text


def _capacity(text: str) -> int:
    capacity = parse_bytes(text)
    if capacity > CAPACITY_BYTES_MAX:
        raise ValueError(f"a capacity of {text[:50]} is beyond any node")
    return capacity


copies_option: Final = click.option(
    "--copies", type=click.IntRange(1, COPIES_MAX), help="Copies of each body (as many as now)."
)

_OPTIONS: Final = (
    click.option(
        "--node",
        "nodes",
        type=NODE_WANTED,
        multiple=True,
        metavar="N[,zone=Z][,capacity=SIZE]",
        help="A node that is to come in, or to change; capacity=0: it is to hold no copies. "
        "What is not said stays as it is, or is as the node itself tells.",
    ),
    copies_option,
    click.option(
        "--zone-copies-max",
        type=click.IntRange(1, COPIES_MAX),
        help="Most copies of a body in one zone (as few as the zones allow).",
    ),
)


def change_options(command: Command) -> Command:
    """Gives a command the options that `make_change` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_change(
    nodes: Sequence[RoleWanted], *, copies: int | None, zone_copies_max: int | None
) -> LayoutChange:
    """The change. Raises click.UsageError for a node that is named twice."""
    numbers = [wanted.node for wanted in nodes]
    for number in numbers:
        if numbers.count(number) > 1:
            raise click.UsageError(f"node {number} is named twice; say all of it in one --node")
    return LayoutChange(list(nodes), copies, zone_copies_max)


def as_options(change: LayoutChange) -> str:
    """The change as options again, to be said to another command."""
    words = []
    for wanted in change.nodes:
        zone = "" if wanted.zone is None else f",zone={wanted.zone}"
        size = "" if wanted.capacity_bytes is None else f",capacity={wanted.capacity_bytes}"
        words.append(f"--node {wanted.node}{zone}{size}")
    if change.copies is not None:
        words.append(f"--copies {change.copies}")
    if change.zone_copies_max is not None:
        words.append(f"--zone-copies-max {change.zone_copies_max}")
    return " ".join(words)
