"""`rs3gwctl cluster status | nodes | groups | health | transfer-leader`: how a cluster is.

Exit status, for scripts: 0 healthy (or done), 1 degraded or worse (or refused), 2 a command line
that is not understood, or nobody who answers. `nodes` and `groups` only show, and end with 0 as
soon as somebody answers.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Final

import click

from rs3gwd.base.admin import ClusterTransfer
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    Finding,
    GroupPicture,
    Health,
    NodePicture,
    health_of,
)
from tools.rs3gwctl.cluster_amounts import as_ago, as_bytes, as_cell
from tools.rs3gwctl.cluster_asking import UNREACHABLE, ask, look
from tools.rs3gwctl.show import as_plain, show_table

DEGRADED: Final = 1
_NODE_HEAD: Final = (
    "NODE",
    "STATE",
    "ZONE",
    "VERSION",
    "NODES REACH IT AT",
    "CLIENTS AT",
    "CAPACITY",
    "FREE",
    "LOAD",
    "LEADS",
    "TO FETCH",
    "HEARD",
)
_GROUP_HEAD: Final = ("GROUP", "LEADER", "TERM", "COMMITTED", "VOTERS UP", "MEMBERS (LAG)")


@click.command("status")
@click.pass_context
def status(context: click.Context) -> None:
    """Show the health, the nodes and the groups of the cluster."""
    picture = look(context)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(picture)))
    else:
        _show_health(picture)
        click.echo()
        _show_nodes(picture.nodes)
        click.echo()
        _show_groups(picture.groups)
    context.exit(_exit_status(picture))


@click.command("nodes")
@click.pass_context
def nodes(context: click.Context) -> None:
    """Show the nodes: what is believed of them and what they say of themselves."""
    picture = look(context)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(picture.nodes)))
    else:
        _show_nodes(picture.nodes)


@click.command("groups")
@click.pass_context
def groups(context: click.Context) -> None:
    """Show the groups: who leads, who belongs to them and how far behind each is."""
    picture = look(context)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(picture.groups)))
    else:
        _show_groups(picture.groups)


@click.command("health")
@click.option("--watch", is_flag=True, help="Go on looking; say it when something changes.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, help="Seconds between looks (2)."
)
@click.pass_context
def health(context: click.Context, watch: bool, interval: float) -> None:
    """Say in words what is wrong and what that means for reads and writes."""
    if watch:
        _watch(context, interval)
        return
    picture = look(context)
    _print_health(context, picture)
    context.exit(_exit_status(picture))


@click.command("transfer-leader")
@click.argument("group", type=click.IntRange(0))
@click.argument("node", type=click.IntRange(1))
@click.pass_context
def transfer_leader(context: click.Context, group: int, node: int) -> None:
    """Have NODE lead GROUP; writes of the group pause for some milliseconds."""
    ask(context, ClusterTransfer(group=group, node=node))
    if context.obj["json"]:
        click.echo(json.dumps({"group": group, "leader": node}))
    else:
        click.echo(f"node {node} leads group {group}")


def _exit_status(picture: ClusterPicture) -> int:
    return 0 if picture.health is Health.HEALTHY else DEGRADED


def _watch(context: click.Context, interval: float) -> None:
    """Until Ctrl-C, whose exit status is that of the last look."""
    shown: object = None
    last = UNREACHABLE
    try:
        while True:
            try:
                picture = look(context)
            except click.ClickException as error:
                last = UNREACHABLE
                if shown != error.message:
                    shown = error.message
                    _print_silence(context, error.message)
            else:
                last = _exit_status(picture)
                seen = [(each.code, each.subject) for each in picture.findings]
                if shown != seen:
                    shown = seen
                    _print_health(context, picture)
            time.sleep(interval)
    except KeyboardInterrupt:
        context.exit(last)


def _print_silence(context: click.Context, message: str) -> None:
    if context.obj["json"]:
        click.echo(json.dumps({"error": message}))
    else:
        click.echo(f"nobody answers: {message}")


def _print_health(context: click.Context, picture: ClusterPicture) -> None:
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(health_of(picture))))
    else:
        _show_health(picture)


def _show_health(picture: ClusterPicture) -> None:
    at = datetime.fromtimestamp(picture.at_ms / 1000, UTC)
    click.echo(
        f"cluster {picture.cluster} is {picture.health.value}, as node {picture.seen_by} sees it "
        f"at {at:%Y-%m-%d %H:%M:%S} UTC"
    )
    click.echo(f"  reads   {picture.reads}")
    click.echo(f"  writes  {picture.writes}")
    for finding in picture.findings:
        _show_finding(finding)


def _show_finding(finding: Finding) -> None:
    click.echo(f"{finding.severity.value}: {finding.subject}: {finding.what}")
    click.echo(f"    {finding.meaning}")


def _show_nodes(found: list[NodePicture]) -> None:
    show_table(_NODE_HEAD, [_node_row(node) for node in found])


def _node_row(node: NodePicture) -> tuple[str, ...]:
    is_silent = node.state == "alive" and not node.answered
    return (
        str(node.node),
        "silent" if is_silent else node.state,
        node.zone or "-",
        node.version or "-",
        node.cluster_address or "-",
        node.s3_address or "-",
        as_bytes(node.capacity_bytes or None),
        as_bytes(node.free_bytes),
        f"{node.load_percent}%",
        as_cell(node.leads),
        as_cell(node.blobs_missing),
        as_ago(node.heard_ms_ago),
    )


def _show_groups(found: list[GroupPicture]) -> None:
    show_table(_GROUP_HEAD, [_group_row(group) for group in found])


def _group_row(group: GroupPicture) -> tuple[str, ...]:
    voters = sum(member.is_voter for member in group.members)
    members = ", ".join(
        f"{member.node}{'' if member.is_voter else ' learns'} "
        f"({as_cell(member.lag_entries) if member.is_up else 'down'})"
        for member in group.members
    )
    return (
        str(group.group),
        str(group.leader or "-"),
        str(group.term),
        str(group.commit_index),
        f"{group.voters_up}/{voters}" + ("" if group.has_quorum else " NO QUORUM"),
        members,
    )
