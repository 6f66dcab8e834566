"""`rs3gwctl cluster drain | replace | remove`: nodes give their copies to others, and go.

Each is a change of the layout and at most a removal, in an order in which no body has fewer copies
on its way than at both ends. All of it may be said again: what is under way is waited for, what is
done is not done twice. With `--no-wait` a command returns when there is nothing to do but to wait;
`replace` and `remove` then end with 1 until the node is gone, so that a script can say them until
they do not.

Exit status as in `cluster_operators`; a wait that Ctrl-C ends, and a removal that is yet to come,
end with 1.
"""

from __future__ import annotations

import json
import time
from typing import Final

import click

from rs3gwd.base.admin import ClusterRemove
from rs3gwd.base.cluster_admin import (
    LayoutChange,
    LayoutNode,
    LayoutPicture,
    LayoutRefused,
    NodeHoldsCopies,
    RoleWanted,
)
from tools.rs3gwctl.cluster_asking import Refused, ask, look, look_at_layout
from tools.rs3gwctl.cluster_changes import copies_option
from tools.rs3gwctl.cluster_layout import begin_change, is_as_wanted, wait_for_change
from tools.rs3gwctl.cluster_waiting import HOW_TO_LOOK, wait_for

NOT_YET: Final = 1

ATTEMPTS_MAX: Final = 10
ATTEMPT_SECONDS: Final = 1.0
"""Between two tries to remove a node that has just given its copies away: behind one address may be
several nodes, and each hears of it within a second."""

_no_wait: Final = click.option("--no-wait", is_flag=True, help="Return while nodes still move.")
_lost: Final = click.option(
    "--lost", is_flag=True, help="It never comes back: its copies are made anew from the others'."
)


@click.command("drain")
@click.argument("node", type=click.IntRange(1))
@copies_option
@_no_wait
@click.pass_context
def drain(context: click.Context, node: int, copies: int | None, no_wait: bool) -> None:
    """Have NODE hold no copies; it stays a member, and serves clients as before.

    The other nodes fetch what it holds; it drops nothing before they have it.
    """
    change = _emptied(node, copies)
    version = _begin_emptying(context, change)
    if version is not None and not no_wait:
        wait_for_change(
            context, change, version, goes_on=f"node {node} goes on giving its copies away"
        )
    is_drained = version is None or not no_wait
    if context.obj["json"]:
        click.echo(json.dumps({"node": node, "drained": is_drained}))
    elif is_drained:
        click.echo(f"node {node} holds no copies")
    else:
        click.echo(f"node {node} gives its copies away; to look: {HOW_TO_LOOK}")


@click.command("remove")
@click.argument("node", type=click.IntRange(1))
@_lost
@copies_option
@_no_wait
@click.pass_context
def remove(
    context: click.Context, node: int, lost: bool, copies: int | None, no_wait: bool
) -> None:
    """Take NODE out of the cluster for ever; asked of another node. May be said again.

    One that holds copies gives them away first, which can take long; one that is --lost cannot, and
    the others make its copies anew. Its certificate is refused from then on, so its daemon is
    stopped afterwards, and its machine can only join as a new node.
    """
    if lost:
        _require_silence(context, node)
    if not _has_begun_removal(context, node, lost=lost, copies=copies, no_wait=no_wait):
        text = f"node {node} gives its copies away, and is not removed yet: say it again"
        _say_not_yet(context, {"removed": None}, text)
        return
    if not no_wait:
        _wait_without(context, node, lost=lost)
    if context.obj["json"]:
        click.echo(json.dumps({"removed": node}))
    else:
        click.echo(f"node {node} is removed")


@click.command("replace")
@click.argument("old", type=click.IntRange(1))
@click.argument("new", type=click.IntRange(1))
@_lost
@copies_option
@_no_wait
@click.pass_context
def replace(
    context: click.Context, old: int, new: int, lost: bool, copies: int | None, no_wait: bool
) -> None:
    """Have NEW, a member already, hold copies in the place of OLD, and remove OLD.

    With --lost, OLD is down and never comes back: it is removed first, and NEW gets its copies from
    the others.
    """
    if old == new:
        raise click.UsageError("a node does not replace itself")
    picture = look_at_layout(context)
    if _find(picture, new) is None:
        raise Refused(f"node {new} is not in the layout: let it join first, and start it")
    _require_answer(context, new)
    if lost:
        copies = copies or picture.copies
        is_done = _replace_lost(context, old, new, copies=copies, no_wait=no_wait)
    else:
        is_done = _replace(context, picture, old, new, copies=copies, no_wait=no_wait)
    if not is_done and lost:
        text = f"node {old} is removed, and node {new} is yet to come in: say it again with"
        _say_not_yet(context, {"removed": old, "by": None}, f"{text} --lost --copies {copies}")
    elif not is_done:
        text = f"node {new} takes the place of node {old}, which is not removed yet: say it again"
        _say_not_yet(context, {"removed": None, "by": new}, text)
    elif context.obj["json"]:
        click.echo(json.dumps({"removed": old, "by": new}))
    else:
        click.echo(f"node {new} has the place of node {old}, which is removed")


def _replace(
    context: click.Context,
    picture: LayoutPicture,
    old: int,
    new: int,
    *,
    copies: int | None,
    no_wait: bool,
) -> bool:
    """Copies go from one to the other, then one goes; whether it is done."""
    wanted = [RoleWanted(new)]
    if _find(picture, old) is not None:
        _require_answer(context, old)
        wanted.append(RoleWanted(old, capacity_bytes=0))
    goes_on = f"node {new} goes on taking the place of node {old}, which is not removed"
    if not _has_moved(context, LayoutChange(wanted, copies), no_wait=no_wait, goes_on=goes_on):
        return False
    _remove_emptied(context, old)
    if not no_wait:
        _wait_without(context, old, lost=False)
    return True


def _replace_lost(
    context: click.Context, old: int, new: int, *, copies: int, no_wait: bool
) -> bool:
    """One goes, the others take it out of the layout, and then the new one comes in."""
    _require_silence(context, old)
    ask(context, ClusterRemove(node=old, is_lost=True))
    if not no_wait:
        _wait_without(context, old, lost=True)
    elif _find(look_at_layout(context), old) is not None:
        return False
    goes_on = f"node {new} goes on taking the place of node {old}"
    change = LayoutChange([RoleWanted(new)], copies)
    return _has_moved(context, change, no_wait=no_wait, goes_on=goes_on)


def _has_moved(
    context: click.Context, change: LayoutChange, *, no_wait: bool, goes_on: str
) -> bool:
    """Begins a change that has not begun, and waits for it; whether it is done."""
    picture = look_at_layout(context)
    if not is_as_wanted(picture, change):
        version = begin_change(context, change)
    elif picture.is_changing:
        version = picture.version
    else:
        return True
    if no_wait:
        return False
    wait_for_change(context, change, version, goes_on=goes_on)
    return True


def _has_begun_removal(
    context: click.Context, node: int, *, lost: bool, copies: int | None, no_wait: bool
) -> bool:
    """Removes a node, after it has given its copies away; False where that is not waited for."""
    try:
        ask(context, ClusterRemove(node=node, is_lost=lost))
    except Refused as error:
        if error.code != NodeHoldsCopies.code:
            raise
    else:
        return True
    change = _emptied(node, copies)
    version = _begin_emptying(context, change)
    if version is not None:
        if no_wait:
            return False
        goes_on = f"node {node} goes on giving its copies away, and is not removed"
        wait_for_change(context, change, version, goes_on=goes_on)
    _remove_emptied(context, node)
    return True


def _begin_emptying(context: click.Context, change: LayoutChange) -> int | None:
    """Begins to have a node hold no copies; the version, or None when it holds none."""
    picture, number = look_at_layout(context), change.nodes[0].node
    node = _find(picture, number)
    if node is None:
        raise Refused(f"node {number} is not in the layout")
    if node.capacity_bytes == 0 and not (node.partitions or node.partitions_before):
        return None
    _require_answer(context, number)
    if node.capacity_bytes == 0:
        return picture.version
    try:
        return begin_change(context, change)
    except Refused as error:
        left = sum(each.capacity_bytes > 0 for each in picture.nodes if each.node != number)
        wanted = change.copies or picture.copies
        if error.code != LayoutRefused.code or left >= wanted:
            raise
        raise Refused(_too_few(left, wanted), error.code) from error


def _too_few(left: int, wanted: int) -> str:
    if not left:
        return "no node would be left to hold any body: let another one in first"
    return (
        f"{wanted} copies of each body need {wanted} nodes, and {left} would be left to hold any: "
        f"let another node in first; fewer copies: --copies {left}"
    )


def _remove_emptied(context: click.Context, node: int) -> None:
    """Removes a node that holds no copies any more, as soon as whoever is asked has heard of it."""
    for _ in range(ATTEMPTS_MAX):
        try:
            ask(context, ClusterRemove(node=node))
        except Refused as error:
            if error.code != NodeHoldsCopies.code:
                raise
            time.sleep(ATTEMPT_SECONDS)
        else:
            return
    raise Refused(f"node {node} still holds copies: say it again", NodeHoldsCopies.code)


def _wait_without(context: click.Context, node: int, *, lost: bool) -> None:
    """Until no version of the layout has a node that was removed."""
    wait_for(
        context,
        lambda picture: _find(picture, node) is None,
        label=f"nodes make the copies of node {node} anew"
        if lost
        else f"the layout goes on without node {node}",
        goes_on=f"node {node} is removed, and the others go on taking it out of the layout",
    )


def _require_answer(context: click.Context, node: int) -> None:
    """Raises Refused for a node that is down, since a change would wait for it."""
    if not _answers(context, node):
        raise Refused(
            f"node {node} does not answer, and the others would wait for it: start it first, or "
            "take it for --lost if it never comes back (`remove`, `replace`)"
        )


def _require_silence(context: click.Context, node: int) -> None:
    """Raises Refused for a node that is up, since it is not lost."""
    if _answers(context, node):
        raise Refused(f"node {node} answers: leave --lost away, or stop it first if it is lost")


def _answers(context: click.Context, node: int) -> bool:
    return any(each.answered for each in look(context).nodes if each.node == node)


def _emptied(node: int, copies: int | None) -> LayoutChange:
    return LayoutChange([RoleWanted(node, capacity_bytes=0)], copies)


def _find(picture: LayoutPicture, node: int) -> LayoutNode | None:
    return next((each for each in picture.nodes if each.node == node), None)


def _say_not_yet(context: click.Context, values: dict[str, int | None], text: str) -> None:
    if context.obj["json"]:
        click.echo(json.dumps(values))
    else:
        click.echo(f"{text}; to look: {HOW_TO_LOOK}")
    context.exit(NOT_YET)
