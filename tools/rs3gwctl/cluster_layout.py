"""`rs3gwctl cluster layout show | plan | apply | retreat`: which nodes hold the copies of bodies.

Exit status as in `cluster_operators`: 0 done (`show`: somebody answered), 1 refused, 2 a command
line that is not understood, or nobody who answers.
"""

from __future__ import annotations

import json
import time
from typing import Final

import click

from rs3gwd.base.admin import (
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
)
from rs3gwd.base.cluster_admin import (
    LayoutBusy,
    LayoutChange,
    LayoutNode,
    LayoutPicture,
    LayoutPlan,
    LayoutPlanNode,
    RoleWanted,
)
from tools.rs3gwctl.cluster_amounts import as_bytes
from tools.rs3gwctl.cluster_asking import NobodyAnswers, Refused, ask, look_at_layout
from tools.rs3gwctl.cluster_changes import as_options, change_options, make_change
from tools.rs3gwctl.cluster_waiting import HOW_TO_LOOK, wait_for
from tools.rs3gwctl.show import as_plain, show_table

_HEAD: Final = (
    "NODE",
    "ZONE",
    "CAPACITY",
    "PARTITIONS",
    "BEFORE",
    "GOES BY",
    "HAS ALL OF",
    "TO FETCH",
    "WAITED FOR",
)
_PLAN_HEAD: Final = ("NODE", "ZONE", "CAPACITY", "PARTITIONS NOW", "THEN", "FETCHES", "DROPS")


@click.group("layout")
def layout() -> None:
    """Show and change which nodes hold the copies of bodies."""


@layout.command("show")
@click.option("--watch", is_flag=True, help="Go on looking; show it when something changes.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, help="Seconds between looks (2)."
)
@click.pass_context
def show(context: click.Context, watch: bool, interval: float) -> None:
    """Show who holds how much, and how far a change is."""
    if not watch:
        _print_layout(context, look_at_layout(context))
        return
    shown: LayoutPicture | str | None = None
    try:
        while True:
            seen = _look_or_say(context)
            if seen != shown:
                shown = seen
                _print_look(context, seen)
            time.sleep(interval)
    except KeyboardInterrupt:
        return  # that is how watching ends


@layout.command("plan")
@change_options
@click.pass_context
def plan(
    context: click.Context,
    nodes: tuple[RoleWanted, ...],
    copies: int | None,
    zone_copies_max: int | None,
) -> None:
    """Say what a change would do; nothing is done.

    Nodes that are members and were never in the layout come in with what they tell of themselves.
    """
    change = make_change(nodes, copies=copies, zone_copies_max=zone_copies_max)
    planned = plan_change(context, change)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(planned)))
        return
    _show_plan(planned)
    words = " ".join(["apply", as_options(change), f"--version {planned.version}"])
    click.echo(f"To do it: rs3gwctl cluster layout {' '.join(words.split())}")


@layout.command("apply")
@change_options
@click.option("--version", type=click.IntRange(1), help="The version of a plan that was shown.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Return when the nodes have moved.")
@click.pass_context
def apply(
    context: click.Context,
    nodes: tuple[RoleWanted, ...],
    copies: int | None,
    zone_copies_max: int | None,
    version: int | None,
    yes: bool,
    wait: bool,
) -> None:
    """Change the layout: as was planned (--version), or after showing the plan and asking.

    Reads and writes go on meanwhile. The nodes fetch what they are given; nothing is dropped before
    others have it. `layout retreat` goes back as long as they move.
    """
    change = make_change(nodes, copies=copies, zone_copies_max=zone_copies_max)
    if version is None:
        version = _agree_with_person(context, change, yes)
    ask(context, ClusterLayoutApply(change, version))
    if wait:
        wait_for_change(context, change, version)
    if context.obj["json"]:
        click.echo(json.dumps({"version": version, "done": wait}))
    elif wait:
        click.echo(f"version {version} of the layout is in force alone")
    else:
        click.echo(f"nodes move to version {version} of the layout; to look: {HOW_TO_LOOK}")


@layout.command("retreat")
@click.pass_context
def retreat(context: click.Context) -> None:
    """Go back from the change under way: the former sets are in force again at once."""
    ask(context, ClusterLayoutRetreat())
    if context.obj["json"]:
        click.echo(json.dumps({"retreated": True}))
    else:
        click.echo("the change is taken back")


def plan_change(context: click.Context, change: LayoutChange) -> LayoutPlan:
    """The plan of a change. Raises Refused, NobodyAnswers."""
    try:
        planned = ask(context, ClusterLayoutPlan(change)).layout_plan
    except Refused as error:
        if error.code == LayoutBusy.code:
            hint = f"(to look: {HOW_TO_LOOK}; to go back: rs3gwctl cluster layout retreat)"
            raise Refused(f"{error.message} {hint}", error.code) from error
        raise
    if planned is None:
        raise NobodyAnswers("the daemon is of a release that knows no layout")
    return planned


def begin_change(context: click.Context, change: LayoutChange) -> int:
    """Plans a change and begins it at once; the version. Raises Refused, NobodyAnswers."""
    version = plan_change(context, change).version
    ask(context, ClusterLayoutApply(change, version))
    return version


def wait_for_change(
    context: click.Context, change: LayoutChange, version: int, *, goes_on: str = ""
) -> None:
    """Until the nodes have moved to a version. Raises Refused when it was taken back.

    A later change of somebody else is not waited for: it begins only where this one is done.
    """
    seen: list[LayoutPicture] = []

    def is_done(picture: LayoutPicture) -> bool:
        if picture.version == version:
            seen[:] = [picture]
        if picture.version <= version:
            return picture.version == version and not picture.is_changing
        return version in picture.versions or not picture.is_changing

    picture = wait_for(
        context,
        is_done,
        label=f"nodes move to version {version} of the layout",
        goes_on=goes_on or "the change goes on without this command",
        version=version,
    )
    if version in picture.versions:
        return
    says_nothing = change == LayoutChange()
    went_back = bool(seen) and _is_as_before(picture, seen[0])
    if went_back or says_nothing or not is_as_wanted(picture, change):
        raise Refused(f"version {version} was taken back: version {picture.version} is in force")


def _is_as_before(picture: LayoutPicture, change: LayoutPicture) -> bool:
    """Whether each node holds as much as before a change that was seen under way, and the change
    would have had it otherwise."""
    before = {node.node: node.partitions_before for node in change.nodes if node.partitions_before}
    wanted = {node.node: node.partitions for node in change.nodes if node.partitions}
    now = {node.node: node.partitions for node in picture.nodes if node.partitions}
    return now == before != wanted


def is_as_wanted(picture: LayoutPicture, change: LayoutChange) -> bool:
    """Whether the newest version has what a change asks for."""
    found = {node.node: node for node in picture.nodes}
    if change.copies not in (None, picture.copies):
        return False
    if change.zone_copies_max not in (None, picture.zone_copies_max):
        return False
    return all(
        wanted.node in found and _fits(found[wanted.node], wanted) for wanted in change.nodes
    )


def _fits(node: LayoutNode, wanted: RoleWanted) -> bool:
    if wanted.zone is not None and wanted.zone != node.zone:
        return False
    if wanted.capacity_bytes is None:
        return node.capacity_bytes > 0
    return wanted.capacity_bytes == node.capacity_bytes


def _agree_with_person(context: click.Context, change: LayoutChange, yes: bool) -> int:
    """The version to apply, after the plan was shown and somebody said yes."""
    if context.obj["json"] and not yes:
        raise click.UsageError("--json asks nobody: say --yes, or --version with that of a plan")
    planned = plan_change(context, change)
    if not context.obj["json"]:
        _show_plan(planned)
    if not yes:
        click.confirm("Change the layout so?", abort=True)
    return planned.version


def _look_or_say(context: click.Context) -> LayoutPicture | str:
    """The layout, or why nobody told it."""
    try:
        return look_at_layout(context)
    except NobodyAnswers as error:
        return error.message


def _print_look(context: click.Context, seen: LayoutPicture | str) -> None:
    if not isinstance(seen, str):
        _print_layout(context, seen)
    elif context.obj["json"]:
        click.echo(json.dumps({"error": seen}))
    else:
        click.echo(f"nobody answers: {seen}")


def _print_layout(context: click.Context, picture: LayoutPicture) -> None:
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(picture)))
    elif picture.version == 0:
        click.echo("there is no layout yet: the nodes have yet to find each other")
    else:
        _show_layout(picture)


def _show_layout(picture: LayoutPicture) -> None:
    click.echo(
        f"layout version {picture.version}: {_copies(picture)}; "
        f"room for {as_bytes(picture.usable_bytes)} of bodies"
    )
    if picture.is_changing:
        former = ", ".join(map(str, picture.versions[:-1]))
        waited = ", ".join(str(node.node) for node in picture.nodes if node.is_waited_for)
        click.echo(
            f"nodes move from version {former} to {picture.version}, and both are obeyed"
            + (f"; waited for: {waited}" if waited else "")
        )
    show_table(_HEAD, [_row(node) for node in picture.nodes])


def _copies(picture: LayoutPicture | LayoutPlan) -> str:
    noun = "copy" if picture.copies == 1 else "copies"
    return (
        f"{picture.copies} {noun} of each body, at most {picture.zone_copies_max} of them in a zone"
    )


def _row(node: LayoutNode) -> tuple[str, ...]:
    return (
        str(node.node),
        node.zone or "-",
        as_bytes(node.capacity_bytes) if node.capacity_bytes else "none",
        str(node.partitions),
        str(node.partitions_before),
        str(node.obeys_version),
        str(node.synced_version),
        "comparing" if node.is_compared is False else as_bytes(node.bytes_lacking),
        "yes" if node.is_waited_for else "no",
    )


def _show_plan(planned: LayoutPlan) -> None:
    click.echo(f"layout version {planned.version} would have {_copies(planned)}")
    show_table(_PLAN_HEAD, [_plan_row(node) for node in planned.nodes])
    in_all = planned.partitions * planned.copies
    click.echo(
        f"{planned.copies_moved} of {in_all} copies of partitions would be fetched; "
        f"room for {as_bytes(planned.usable_bytes)} of bodies instead of "
        f"{as_bytes(planned.usable_bytes_before)}"
    )


def _plan_row(node: LayoutPlanNode) -> tuple[str, ...]:
    return (
        str(node.node),
        node.zone or "-",
        as_bytes(node.capacity_bytes) if node.capacity_bytes else "none",
        str(node.partitions_before),
        str(node.partitions_after),
        str(node.gains),
        str(node.loses),
    )
