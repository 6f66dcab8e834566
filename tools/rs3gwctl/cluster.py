"""`rs3gwctl cluster ...`: a cluster's first node, its certificates, how it is, and who holds what.

`init`, `invite` and `join` work on the data directory and need no daemon; the rest asks the running
one.
"""

from typing import ClassVar

import click

from tools.rs3gwctl.lazy_group import LazyGroup

_ANYWHERE = frozenset(
    {
        "status",
        "nodes",
        "groups",
        "health",
        "transfer-leader",
        "layout",
        "drain",
        "remove",
        "replace",
        "authority",
    }
)
"""What `--endpoint` is for; a command that is not here must not be taken to work elsewhere."""


class ClusterCommands(LazyGroup):
    """Where the commands are."""

    places: ClassVar = {
        "init": ("tools.rs3gwctl.cluster_making", "init"),
        "invite": ("tools.rs3gwctl.cluster_making", "invite_node"),
        "join": ("tools.rs3gwctl.cluster_making", "join"),
        "authority": ("tools.rs3gwctl.cluster_authority", "authority"),
        "status": ("tools.rs3gwctl.cluster_operators", "status"),
        "nodes": ("tools.rs3gwctl.cluster_operators", "nodes"),
        "groups": ("tools.rs3gwctl.cluster_operators", "groups"),
        "health": ("tools.rs3gwctl.cluster_operators", "health"),
        "transfer-leader": ("tools.rs3gwctl.cluster_operators", "transfer_leader"),
        "layout": ("tools.rs3gwctl.cluster_layout", "layout"),
        "drain": ("tools.rs3gwctl.cluster_moves", "drain"),
        "remove": ("tools.rs3gwctl.cluster_moves", "remove"),
        "replace": ("tools.rs3gwctl.cluster_moves", "replace"),
    }


@click.group(cls=ClusterCommands)
@click.pass_context
def cluster(context: click.Context) -> None:
    """Make a cluster, let nodes in, see how it is, say who holds the copies."""
    if context.obj["endpoint"] is not None and context.invoked_subcommand not in _ANYWHERE:
        raise click.UsageError(f"{context.invoked_subcommand} works on this machine alone")
