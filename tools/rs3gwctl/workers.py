"""`rs3gwctl workers ...`: the frontend processes of a running node."""

import json
import time
from pathlib import Path

import click

from rs3gwd.base.admin import AdminAnswer, AnyAdminRequest, WorkersList, WorkersRestart
from tools.rs3gwctl.session import SessionError, administer
from tools.rs3gwctl.show import as_plain, show_table

LOOK_SECONDS = 0.2


@click.group()
def workers() -> None:
    """List and restart the frontend processes of the running node."""


@workers.command("list")
@click.pass_context
def list_workers(context: click.Context) -> None:
    """Show every frontend process: where, since when, and what it has done."""
    _show(context, _administer(context, WorkersList()))


@workers.command("restart")
@click.option("--no-wait", is_flag=True, help="Return when the first one is being replaced.")
@click.pass_context
def restart(context: click.Context, no_wait: bool) -> None:
    """Replace the frontend processes one by one, without a refused connection or a cut request.

    Each new one is ready before the one it follows finishes its requests and goes.
    """
    answer = _administer(context, WorkersRestart())
    while not no_wait and answer.figures["restarting"]:
        time.sleep(LOOK_SECONDS)
        answer = _administer(context, WorkersList())
    if answer.figures["restart_failure"]:
        raise click.ClickException(f"the workers stay: {answer.figures['restart_failure']}")
    _show(context, answer)


def _administer(context: click.Context, request: AnyAdminRequest) -> AdminAnswer:
    data: Path = context.obj["data"]
    try:
        return administer(data, request)
    except SessionError as error:
        raise click.ClickException(str(error)) from error


def _show(context: click.Context, answer: AdminAnswer) -> None:
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(answer.workers)))
        return
    show_table(
        ("PLACE", "WORKER", "PID", "STATE", "UPTIME", "REQUESTS", "CONNECTIONS", "RESTARTS"),
        [
            (
                str(each.place),
                str(each.number),
                str(each.pid),
                each.state,
                str(each.uptime_seconds),
                str(each.requests),
                str(each.connections),
                str(each.restarts),
            )
            for each in answer.workers
        ],
    )
