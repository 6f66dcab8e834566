"""`rs3gwctl kms ...`: the keys of SSE-KMS and of the server itself.

A key shows its name, its id and its state, and never what it is made of.
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from rs3gwd.base.admin import (
    AdminAnswer,
    AnyAdminRequest,
    KmsKeyCreate,
    KmsKeyList,
    KmsKeyRotate,
    KmsKeySetState,
    KmsRewrap,
    KmsStatus,
)
from rs3gwd.base.kms_keys import KmsKeyState
from tools.rs3gwctl.session import SessionError, administer
from tools.rs3gwctl.show import as_plain, show_table

POLL_SECONDS = 0.2
"""Between two looks at how far the node is."""


def _administer(context: click.Context, request: AnyAdminRequest) -> AdminAnswer:
    data: Path = context.obj["data"]
    try:
        return administer(data, request)
    except SessionError as error:
        raise click.ClickException(str(error)) from error


def _print_keys(context: click.Context, answer: AdminAnswer) -> None:
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(answer.kms_keys)))
        return
    show_table(
        ("NAME", "STATE", "VERSIONS", "ROTATED", "ID"),
        [
            (each.name, str(each.state), str(each.versions), _day(each.rotated_ms), each.key_id)
            for each in answer.kms_keys
        ],
    )


@click.group()
def kms() -> None:
    """Make, show, rotate, disable and enable keys; the node must be running."""


@kms.command("status")
@click.pass_context
def status(context: click.Context) -> None:
    """Show where the master key is, and prove that it opens the keyring."""
    figures = _administer(context, KmsStatus()).figures
    if context.obj["json"]:
        click.echo(json.dumps(figures))
        return
    show_table(("FIGURE", "VALUE"), [(name, str(value)) for name, value in figures.items()])


@kms.command("rewrap")
@click.pass_context
def rewrap(context: click.Context) -> None:
    """Put the data keys of all objects under the newest versions of their keys; returns at its end.

    No object is read or written. If this command is interrupted the node goes on.
    """
    figures = _administer(context, KmsRewrap()).figures
    while figures["rewrap_running"]:
        time.sleep(POLL_SECONDS)
        figures = _administer(context, KmsStatus()).figures
    if context.obj["json"]:
        click.echo(json.dumps(figures))
    else:
        click.echo(
            f"{figures['rewrap_seen']} versions seen, {figures['rewrap_done']} data keys under a "
            f"newer version, {figures['rewrap_failed']} not"
        )
    if figures["rewrap_failed"] or figures["rewrap_failure"]:
        raise click.ClickException(f"not all: {figures['rewrap_failure']}")


@kms.group("key")
def key() -> None:
    """Make, show, rotate, disable and enable keys."""


@key.command("create")
@click.argument("name")
@click.pass_context
def create(context: click.Context, name: str) -> None:
    """Make a key called NAME; requests name it `alias/NAME`, by its id or by its ARN."""
    _print_keys(context, _administer(context, KmsKeyCreate(name=name)))


@key.command("list")
@click.pass_context
def list_keys(context: click.Context) -> None:
    """List the keys, the server's own too."""
    _print_keys(context, _administer(context, KmsKeyList()))


@key.command("rotate")
@click.argument("key_name", metavar="KEY")
@click.pass_context
def rotate(context: click.Context, key_name: str) -> None:
    """Give KEY (name or id) a new version for what is written from now on."""
    _print_keys(context, _administer(context, KmsKeyRotate(key=key_name)))


@key.command("disable")
@click.argument("key_name", metavar="KEY")
@click.pass_context
def disable(context: click.Context, key_name: str) -> None:
    """Let KEY (name or id) neither encrypt nor decrypt, until it is enabled again."""
    request = KmsKeySetState(key=key_name, state=KmsKeyState.DISABLED)
    _print_keys(context, _administer(context, request))


@key.command("enable")
@click.argument("key_name", metavar="KEY")
@click.pass_context
def enable(context: click.Context, key_name: str) -> None:
    """Let KEY (name or id) encrypt and decrypt again."""
    request = KmsKeySetState(key=key_name, state=KmsKeyState.ENABLED)
    _print_keys(context, _administer(context, request))


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")
