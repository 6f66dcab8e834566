"""`rs3gwctl bucket ...`: what an administrator sets on a bucket beside S3."""

from pathlib import Path

import click

from rs3gwd.base.admin import BucketSetDurability
from rs3gwd.base.records import Durability
from tools.rs3gwctl.session import SessionError, administer


@click.group()
def bucket() -> None:
    """Settings of buckets that S3 has no operation for."""


@bucket.command("durability")
@click.argument("name", metavar="BUCKET")
@click.argument(
    "durability", metavar="CLASS", type=click.Choice([str(each) for each in Durability])
)
@click.pass_context
def durability(context: click.Context, name: str, durability: str) -> None:
    """Set what a 2xx on later writes to BUCKET means.

    CLASS is strict (synced to stable storage first), relaxed (synced within a second) or
    ephemeral (never synced on purpose).
    """
    data: Path = context.obj["data"]
    try:
        administer(data, BucketSetDurability(bucket=name, durability=Durability(durability)))
    except SessionError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"bucket {name} is {durability} from now on")
