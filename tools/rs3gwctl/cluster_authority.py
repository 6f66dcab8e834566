"""`rs3gwctl cluster authority export | import`: a copy of the authority, sealed by a passphrase.

They work on the data directory and need no daemon; the rest of `authority` is in
`cluster_rotation`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from rs3gwd.daemon.cluster_authority import (
    AuthorityName,
    export_authority,
    import_authority,
)
from rs3gwd.daemon.cluster_joining import JoiningFailed
from rs3gwd.engine.system import SystemRandom
from tools.rs3gwctl.cluster_rotation import CONTROL
from tools.rs3gwctl.files import read_text

F = TypeVar("F", bound=Callable[..., None])


@click.group("authority")
@click.pass_context
def authority(context: click.Context) -> None:
    """What lets nodes in and renews their certificates: see, copy, replace it; revoke."""
    words = context.invoked_subcommand
    if context.obj["endpoint"] is not None and words in ("export", "import"):
        raise click.UsageError(f"authority {words} works on this machine alone")


for control in CONTROL:
    authority.add_command(control)


def _with_passphrase(command: F) -> F:
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        default=None,
        help="A file whose first line is the passphrase; else it is asked for.",
    )(command)


@authority.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@_with_passphrase
@click.pass_context
def export(context: click.Context, file: Path, passphrase_file: Path | None) -> None:
    """Write the authority of this node to FILE, sealed by a passphrase."""
    passphrase = _passphrase(passphrase_file, confirm=True)
    try:
        name = export_authority(context.obj["data"], file, passphrase, SystemRandom())
    except FileExistsError as error:
        raise click.ClickException(f"{file} is there already") from error
    except (JoiningFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    _show(context, name, f"authority of cluster {name.cluster} written to {file}")


@authority.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_with_passphrase
@click.pass_context
def import_(context: click.Context, file: Path, passphrase_file: Path | None) -> None:
    """Give this node the authority in FILE: it can let nodes in, and after another start of its
    daemon it renews certificates."""
    passphrase = _passphrase(passphrase_file, confirm=False)
    try:
        name = import_authority(context.obj["data"], file, passphrase)
    except (JoiningFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    shown = f"this node has the authority of cluster {name.cluster}; restart its daemon"
    _show(context, name, shown)


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        return read_text(file).partition("\n")[0]
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return asked


def _show(context: click.Context, name: AuthorityName, text: str) -> None:
    click.echo(json.dumps(msgspec.to_builtins(name)) if context.obj["json"] else text)
