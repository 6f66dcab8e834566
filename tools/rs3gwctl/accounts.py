"""`rs3gwctl account ...`: accounts and their access keys.

Everything that AWS or another store showed to clients can be given: canonical id, name, email,
access key and secret. So people move to rs3gwd without touching their clients' settings.
"""

import json
from pathlib import Path

import click

from rs3gwd.base.admin import (
    AccountCreate,
    AccountDelete,
    AccountList,
    AccountView,
    AdminAnswer,
    AnyAdminRequest,
    KeyCreate,
    KeyDelete,
    KeySetStatus,
)
from rs3gwd.base.records import AccessKeyStatus
from tools.rs3gwctl.files import read_text
from tools.rs3gwctl.session import SessionError, administer
from tools.rs3gwctl.show import as_plain, show_table


def _administer(context: click.Context, request: AnyAdminRequest) -> AdminAnswer:
    data: Path = context.obj["data"]
    try:
        return administer(data, request)
    except SessionError as error:
        raise click.ClickException(str(error)) from error


def _print_keys(context: click.Context, answer: AdminAnswer) -> None:
    if context.obj["json"]:
        click.echo(
            json.dumps({"accounts": as_plain(answer.accounts), "keys": as_plain(answer.keys)})
        )
        return
    for account in answer.accounts:
        click.echo(f"account {account.display_name}")
        click.echo(f"  canonical id   {account.canonical_id}")
        click.echo(f"  account id     {account.account_id}")
        click.echo(f"  email          {account.email or '-'}")
    for key in answer.keys:
        click.echo(f"  access key     {key.access_key_id} ({key.status})")
        if key.secret is not None:
            click.echo(f"  secret key     {key.secret}    (shown this once)")


@click.group()
def account() -> None:
    """Make, list and remove accounts and their access keys."""


@account.command("create")
@click.argument("name")
@click.option("--email", default="", help="Unique address; ACL grants by email use it.")
@click.option("--canonical-id", help="64 hex digits; random unless given.")
@click.option("--access-key", help="Import this access key id; random unless given.")
@click.option(
    "--secret-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Import the secret in this file (- cannot leak it into the process list).",
)
@click.pass_context
def create(
    context: click.Context,
    name: str,
    email: str,
    canonical_id: str | None,
    access_key: str | None,
    secret_key_file: Path | None,
) -> None:
    """Make an account called NAME with one access key, and show its secret this once."""
    request = AccountCreate(
        display_name=name,
        email=email,
        canonical_id=canonical_id,
        access_key_id=access_key,
        secret=_read_secret(secret_key_file),
    )
    _print_keys(context, _administer(context, request))


@account.command("list")
@click.pass_context
def list_accounts(context: click.Context) -> None:
    """List the accounts with their access keys (never a secret)."""
    answer = _administer(context, AccountList())
    if context.obj["json"]:
        click.echo(json.dumps(as_plain(answer.accounts)))
        return
    show_table(
        ("NAME", "ACCOUNT ID", "CANONICAL ID", "EMAIL", "ACCESS KEYS"),
        [
            (_name(each), each.account_id, each.canonical_id, each.email or "-", _keys(each))
            for each in answer.accounts
        ],
    )


@account.command("delete")
@click.argument("account_name", metavar="ACCOUNT")
@click.pass_context
def delete(context: click.Context, account_name: str) -> None:
    """Remove ACCOUNT (name, email or canonical id) and its keys; it may own no bucket."""
    _administer(context, AccountDelete(account=account_name))
    click.echo(f"account {account_name} is removed")


@account.group("key")
def key() -> None:
    """Make, show, disable and remove access keys."""


@key.command("create")
@click.argument("account_name", metavar="ACCOUNT")
@click.option("--access-key", help="Import this access key id; random unless given.")
@click.option(
    "--secret-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Import the secret in this file.",
)
@click.pass_context
def key_create(
    context: click.Context, account_name: str, access_key: str | None, secret_key_file: Path | None
) -> None:
    """Add an access key to ACCOUNT (name, email or canonical id)."""
    request = KeyCreate(
        account=account_name, access_key_id=access_key, secret=_read_secret(secret_key_file)
    )
    _print_keys(context, _administer(context, request))


@key.command("list")
@click.argument("account_name", metavar="ACCOUNT")
@click.pass_context
def key_list(context: click.Context, account_name: str) -> None:
    """List the access keys of ACCOUNT (name, email or canonical id)."""
    answer = _administer(context, AccountList())
    wanted = [
        each
        for each in answer.accounts
        if account_name and account_name in (each.canonical_id, each.display_name, each.email)
    ]
    if not wanted:
        raise click.ClickException(f"NoSuchAccount: no account is called {account_name[:200]!r}")
    _print_keys(context, AdminAnswer(keys=[key for each in wanted for key in each.keys]))


@key.command("enable")
@click.argument("access_key")
@click.pass_context
def key_enable(context: click.Context, access_key: str) -> None:
    """Let ACCESS_KEY sign requests again."""
    _administer(context, KeySetStatus(access_key_id=access_key, status=AccessKeyStatus.ACTIVE))
    click.echo(f"access key {access_key} is active")


@key.command("disable")
@click.argument("access_key")
@click.pass_context
def key_disable(context: click.Context, access_key: str) -> None:
    """Refuse requests signed with ACCESS_KEY, from now on."""
    _administer(context, KeySetStatus(access_key_id=access_key, status=AccessKeyStatus.INACTIVE))
    click.echo(f"access key {access_key} is inactive")


@key.command("delete")
@click.argument("access_key")
@click.pass_context
def key_delete(context: click.Context, access_key: str) -> None:
    """Remove ACCESS_KEY for ever."""
    _administer(context, KeyDelete(access_key_id=access_key))
    click.echo(f"access key {access_key} is removed")


def _read_secret(path: Path | None) -> str | None:
    return read_text(path).strip() if path else None


def _name(view: AccountView) -> str:
    return f"{view.display_name} (root)" if view.is_root else view.display_name


def _keys(view: AccountView) -> str:
    return ", ".join(
        key.access_key_id
        if key.status is AccessKeyStatus.ACTIVE
        else f"{key.access_key_id} (inactive)"
        for key in view.keys
    )
