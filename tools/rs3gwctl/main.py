"""`rs3gwctl`: accounts, identities, buckets, keys, workers, cluster, check and repair of a node.

Everything but `policy`, which asks files, works on a data directory of this machine: through the
daemon's admin socket where one runs, on the store itself where none does. What asks how a cluster
is can ask any node over the network, too (`--endpoint`). Exit status: 0, 1 when
the command failed or `check` found something, 2 for a command line that is not understood.
"""

import json
import os
from pathlib import Path
from typing import ClassVar

import click

import rs3gwd
from rs3gwd.base.admin import NodeStatus
from tools.rs3gwctl.lazy_group import LazyGroup
from tools.rs3gwctl.session import SessionError, administer
from tools.rs3gwctl.show import show_table


class Commands(LazyGroup):
    """Where the commands are."""

    places: ClassVar = {
        "account": ("tools.rs3gwctl.accounts", "account"),
        "bucket": ("tools.rs3gwctl.buckets", "bucket"),
        "check": ("tools.rs3gwctl.inspection", "check"),
        "cluster": ("tools.rs3gwctl.cluster", "cluster"),
        "group": ("tools.rs3gwctl.identities", "group"),
        "kms": ("tools.rs3gwctl.kms", "kms"),
        "managed-policy": ("tools.rs3gwctl.identities", "managed_policy"),
        "policy": ("tools.rs3gwctl.policy", "policy"),
        "repair": ("tools.rs3gwctl.inspection", "repair"),
        "role": ("tools.rs3gwctl.identities", "role"),
        "user": ("tools.rs3gwctl.identities", "user"),
        "workers": ("tools.rs3gwctl.workers", "workers"),
    }


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=lambda: os.environ.get("RS3GW_STORAGE_ROOT") or "./data",
    help="The data directory (RS3GW_STORAGE_ROOT, else ./data).",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="Ask this node of a cluster over the network instead (cluster commands).",
)
@click.option("--access-key", help="The key to ask with; else AWS_ACCESS_KEY_ID.")
@click.option(
    "--secret-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with its secret; else AWS_SECRET_ACCESS_KEY has it.",
)
@click.option(
    "--ca-bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificates to trust; else AWS_CA_BUNDLE, else the system's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.version_option(rs3gwd.__version__, prog_name="rs3gwctl")
@click.pass_context
def main(
    context: click.Context,
    data: Path,
    endpoint: str | None,
    access_key: str | None,
    secret_key_file: Path | None,
    ca_bundle: Path | None,
    as_json: bool,
) -> None:
    """Administer the rs3gwd node on this machine, or look at a cluster from anywhere."""
    remote = None
    if endpoint is not None:
        if context.invoked_subcommand != "cluster":
            raise click.UsageError("--endpoint is for the commands of `cluster`")
        from tools.rs3gwctl.remote import endpoint_of

        try:
            remote = endpoint_of(
                endpoint, access_key=access_key, secret_file=secret_key_file, authority=ca_bundle
            )
        except SessionError as error:
            raise click.UsageError(str(error)) from error
    context.obj = {"data": data.resolve(), "json": as_json, "endpoint": remote}


@main.command("status")
@click.pass_context
def status(context: click.Context) -> None:
    """Show the figures of the node."""
    try:
        figures = administer(context.obj["data"], NodeStatus()).figures
    except SessionError as error:
        raise click.ClickException(str(error)) from error
    if context.obj["json"]:
        click.echo(json.dumps(figures))
        return
    show_table(("FIGURE", "VALUE"), [(name, str(value)) for name, value in figures.items()])


if __name__ == "__main__":
    main()
