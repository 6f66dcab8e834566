"""`rs3gwctl cluster authority show | list | rotate | revoke`: another root, and certificates that
are good no more.

They ask a running node, over its socket or with `--endpoint`. Exit status: 0 done, 1 refused or not
done yet, 2 a command line that is not understood, or nobody who answers.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Final

import click

from rs3gwd.base.admin import (
    AdminAnswer,
    ClusterAuthorityRevoke,
    ClusterAuthorityRotate,
    ClusterAuthorityShow,
)
from rs3gwd.base.cluster_authority import AuthorityPicture, CertificatePicture
from tools.rs3gwctl.cluster_asking import NobodyAnswers, ask
from tools.rs3gwctl.cluster_waiting import (
    LOOK_SECONDS,
    SILENCE_SECONDS_MAX,
    GoesOn,
    Progress,
    showing,
)
from tools.rs3gwctl.show import as_plain, show_table

HOW_TO_LOOK: Final = "rs3gwctl cluster authority show"
GOES_ON: Final = "the change goes on without this command"

_PHASES: Final = ("trusting", "renewing", "relinking", "forgetting")
_WORDS: Final = {
    "trusting": "nodes trust the new authority beside the old one",
    "renewing": "nodes fetch certificates of the new authority",
    "relinking": "nodes connect anew with them",
    "forgetting": "nodes forget the old authority",
}
_HEAD: Final = ("SERIAL", "NODE", "NOT AFTER", "AUTHORITY", "STATE")


@click.command("show")
@click.pass_context
def show(context: click.Context) -> None:
    """Show the authority: its roots, and how far a change of it is."""
    picture = look_at_authority(context)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(picture)))
    else:
        _show(picture)


@click.command("list")
@click.pass_context
def list_certificates(context: click.Context) -> None:
    """List the certificates that were issued and have not expired."""
    certificates = look_at_authority(context).certificates
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(certificates)))
    else:
        show_table(_HEAD, [_row(each) for each in certificates])


@click.command("rotate")
@click.option(
    "--here",
    is_flag=True,
    help="Make the new key on the node that is asked, whoever has the present one; also when a "
    "change is under way whose key was lost.",
)
@click.option(
    "--without",
    type=click.IntRange(1),
    multiple=True,
    metavar="NODE",
    help="Do not wait for this node; it may have to join again.",
)
@click.option("--wait/--no-wait", default=True, help="Return when all nodes have done it (yes).")
@click.pass_context
def rotate(context: click.Context, here: bool, without: tuple[int, ...], wait: bool) -> None:
    """Replace the authority by a new one, or go on with that, while the cluster serves.

    Every node first trusts both, then has a certificate of the new one, then forgets the old one;
    each step waits for all nodes. Ctrl-C ends the waiting alone. Export the new authority after it.
    """
    answer = ask(context, ClusterAuthorityRotate(here=here, without=[*without]))
    picture = _picture(answer)
    if wait:
        picture = _wait(context, picture.change)
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(picture)))
    elif wait:
        click.echo(f"the authority was replaced; its key is on node {picture.keeper}")
        click.echo("Export it (`rs3gwctl cluster authority export` there), and drop older copies")
    else:
        click.echo(f"the change has begun; to look: {HOW_TO_LOOK}")


@click.command("revoke")
@click.argument("what", metavar="NODE|SERIAL")
@click.pass_context
def revoke(context: click.Context, what: str) -> None:
    """Revoke a certificate by its serial number, or all of a node by the node's number.

    A number of at most 9 digits is a node's. Its connections are closed, and no node takes new
    ones.
    """
    is_node = what.isdecimal() and len(what) <= 9
    answer = ask(context, ClusterAuthorityRevoke(f"node:{what}" if is_node else what))
    revoked = [] if answer.revoked is None else answer.revoked.revoked
    if context.obj["json"]:
        click.echo(json.dumps({"revoked": revoked}))
    else:
        click.echo("revoked: " + ", ".join(revoked))


CONTROL: Final = (show, list_certificates, rotate, revoke)


def look_at_authority(context: click.Context) -> AuthorityPicture:
    """The authority now. Raises Refused, NobodyAnswers."""
    return _picture(ask(context, ClusterAuthorityShow()))


def progress_of(picture: AuthorityPicture) -> Progress:
    """How far a change is, each phase a quarter of it."""
    if picture.phase not in _PHASES:
        return Progress(1.0, "steady", "the authority was replaced")
    waiting = len(picture.waited_for)
    nodes = max(1, picture.done + waiting)
    share = (_PHASES.index(picture.phase) + picture.done / nodes) / len(_PHASES)
    text = _WORDS[picture.phase]
    if waiting:
        text += "; waited for: " + ", ".join(map(str, picture.waited_for))
    return Progress(min(share, 0.99), picture.phase, text)


def _wait(context: click.Context, change: int) -> AuthorityPicture:
    """Until a change is over. Raises GoesOn for Ctrl-C, NobodyAnswers after a minute of silence."""
    heard_s = time.monotonic()
    try:
        with showing(context, "the authority is replaced") as shower:
            while True:
                try:
                    picture = look_at_authority(context)
                except NobodyAnswers as error:
                    if time.monotonic() - heard_s > SILENCE_SECONDS_MAX:
                        raise NobodyAnswers(f"{error.message}; {GOES_ON}") from error
                else:
                    heard_s = time.monotonic()
                    shower.show(progress_of(picture), heard_s)
                    if picture.phase == "steady" and picture.change >= change:
                        return picture
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt as error:
        raise GoesOn(f"{GOES_ON}; to look: {HOW_TO_LOOK}") from error


def _picture(answer: AdminAnswer) -> AuthorityPicture:
    if answer.authority is None:
        raise NobodyAnswers("the daemon is of a release that cannot tell of its authority")
    return answer.authority


def _show(picture: AuthorityPicture) -> None:
    progress = progress_of(picture)
    if progress.phase == "steady":
        click.echo(f"the authority is steady; changes so far: {picture.change}")
    else:
        click.echo(f"change {picture.change}, {progress.share:.0%}: {progress.text}")
    if picture.left_behind:
        behind = ", ".join(map(str, picture.left_behind))
        click.echo(f"not waited for, and to join again if need be: node {behind}")
    if picture.keeper:
        click.echo(f"its key was made on node {picture.keeper}")
    rows = [
        (each.name, _date(each.not_after_ms), "issues" if each.is_issuer else "is trusted")
        for each in picture.roots
    ]
    show_table(("ROOT", "NOT AFTER", "STATE"), rows)


def _row(each: CertificatePicture) -> tuple[str, ...]:
    state = "revoked" if each.revoked_ms else "good" if each.is_trusted else "root dropped"
    return each.serial, str(each.node), _date(each.not_after_ms), each.authority, state


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
