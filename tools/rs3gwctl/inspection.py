"""`rs3gwctl check` and `rs3gwctl repair`: is every byte where the index says, and if not.

Exit status: 0 when the store is sound, 1 when something is wrong or the command failed.
"""

import json
import sys
from pathlib import Path

import click
import msgspec

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.daemon.inspecting import check_store, repair_store
from rs3gwd.engine.check import CheckProgress
from rs3gwd.engine.repair import Action
from tools.rs3gwctl.session import SessionError, require_store
from tools.rs3gwctl.show import as_plain

REPORT_NAME = "repair-report.jsonl"


@click.command("check")
@click.option("--quick", is_flag=True, help="Compare index and segments, but read no object bytes.")
@click.pass_context
def check(context: click.Context, quick: bool) -> None:
    """Prove that every index entry has its bytes and every byte its owner.

    Works while the daemon runs, and changes nothing. Reads and verifies all data unless --quick.
    """
    data: Path = context.obj["data"]
    try:
        require_store(data)
        report = check_store(data, read_data=not quick, progress=_show_progress)
    except (Rs3gwError, SessionError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(report)))
    else:
        for finding in report.findings:
            click.echo(f"{finding.kind}: {finding.where}: {finding.detail}")
        click.echo(
            f"{report.owner_count} objects and parts, {report.blob_count} blobs, "
            f"{report.segment_count} segments, {report.bytes_read} bytes read: "
            + ("sound" if report.is_clean else f"{report.finding_count} findings")
        )
    context.exit(0 if report.is_clean else 1)


@click.command("repair")
@click.option("--yes", is_flag=True, help="Carry the repair out; without it nothing is changed.")
@click.option(
    "--drop-damaged", is_flag=True, help="Remove the versions whose bytes are gone for ever."
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Where each action is written as a line of JSON (default: {REPORT_NAME} in the data).",
)
@click.pass_context
def repair(context: click.Context, yes: bool, drop_damaged: bool, report: Path | None) -> None:
    """Mend what `check` finds, as far as the bytes that are left allow.

    The daemon must be stopped. Without --yes it says what it would do. Nothing that can be read is
    ever deleted; versions whose bytes are gone stay, and answer with an error, unless
    --drop-damaged removes them.
    """
    data: Path = context.obj["data"]
    path = report or data / REPORT_NAME
    try:
        require_store(data)
        with path.open("w", encoding="utf-8") as lines:

            def write_action(action: Action) -> None:
                lines.write(msgspec.json.encode(action).decode() + "\n")
                if not context.obj["json"]:
                    click.echo(f"{action.kind}: {action.where}: {action.detail}")

            done = repair_store(
                data, on_action=write_action, dry_run=not yes, drop_damaged=drop_damaged
            )
    except (Rs3gwError, SessionError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(done)))
    elif done.is_clean:
        click.echo("nothing to repair")
    else:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(done.counts.items()))
        click.echo(f"{'done' if yes else 'would be done (give --yes)'}: {counts}; see {path}")


def _show_progress(progress: CheckProgress) -> None:
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{progress.phase}: {progress.done} of {progress.total}   ")
        sys.stderr.flush()
