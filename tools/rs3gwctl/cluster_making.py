"""`rs3gwctl cluster init | invite | join`: a cluster's first node, and each further one's way in.

They work on the data directory and need no daemon.
"""

import json
import os
import sys
from pathlib import Path
from typing import TextIO

import click
import msgspec

from rs3gwd.daemon.cluster_joining import (
    JoiningFailed,
    NodeName,
    init_cluster,
    invite,
    join_cluster,
)

TOKEN_VARIABLE = "RS3GW_JOIN_TOKEN"


@click.command("init")
@click.option("--name", default=None, help="The cluster's name; random if not given.")
@click.pass_context
def init(context: click.Context, name: str | None) -> None:
    """Make a new cluster's authority here, and the certificate of node 1, which this is."""
    try:
        made = init_cluster(context.obj["data"], cluster=name)
    except (JoiningFailed, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    _show_name(context, made)
    if not context.obj["json"]:
        click.echo("For each further node say here: rs3gwctl cluster invite --listen HOST:PORT")


@click.command("invite")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where the new node comes to.")
@click.option(
    "--minutes", type=click.FloatRange(0.01, 60 * 24), default=15.0, help="How long (15)."
)
@click.option(
    "--node",
    type=click.IntRange(1),
    default=None,
    help="A new certificate for this node, which was let in before.",
)
@click.pass_context
def invite_node(context: click.Context, listen: str, minutes: float, node: int | None) -> None:
    """Let one node in: print a token, and wait until a node has used it.

    The token is good once, and as long as this command runs; Ctrl-C revokes it.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r}: it is like 10.0.0.1:7947", param_hint="--listen")
    try:
        made = invite(
            context.obj["data"],
            host=host.strip("[]"),
            port=int(port),
            seconds=minutes * 60,
            announce=lambda token: _announce(context, token),
            again=node,
        )
    except (JoiningFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    _show_name(context, made)


@click.command("join")
@click.option(
    "--token",
    "token_file",
    type=click.File("r", encoding="utf-8", errors="replace"),
    default=None,
    help=f"A file with the token, or - for standard input; else {TOKEN_VARIABLE} has it.",
)
@click.option(
    "--again",
    is_flag=True,
    help="A new certificate for the node that this is: the former one was revoked or its "
    "authority replaced. The daemon must be stopped.",
)
@click.pass_context
def join(context: click.Context, token_file: TextIO | None, again: bool) -> None:
    """Become a node of a cluster: fetch the certificate of this node with a token."""
    data: Path = context.obj["data"]
    token = token_file.read() if token_file is not None else os.environ.get(TOKEN_VARIABLE, "")
    try:
        made = join_cluster(data, token, again=again)
    except (JoiningFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    _show_name(context, made)


def _announce(context: click.Context, token: str) -> None:
    if context.obj["json"]:
        click.echo(json.dumps({"token": token}))
    else:
        click.echo(f"On the new node give this to `rs3gwctl cluster join --token -`:\n{token}")
    sys.stdout.flush()


def _show_name(context: click.Context, made: NodeName) -> None:
    if context.obj["json"]:
        click.echo(json.dumps(msgspec.to_builtins(made)))
    else:
        click.echo(f"node {made.node} of cluster {made.cluster}")
