"""`rs3gwctl user | group | role | managed-policy ...`: who may do what, without signing anything.

Each command is an action of the IAM query API, done as the root of an account, so that names,
documents and bounds are checked as for `aws iam`. What these commands do not know, `action` does:

    rs3gwctl user action TagUser UserName=bob Tags.member.1.Key=team Tags.member.1.Value=red
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click

from rs3gwd.base.admin import IdentityAction
from tools.rs3gwctl.files import read_text
from tools.rs3gwctl.session import SessionError, administer
from tools.rs3gwctl.show import show_table

ACCOUNT_OPTION = click.option(
    "--account", default="root", help="The account (name, email or canonical id)."
)
_DOCUMENT = click.Path(exists=True, dir_okay=False, path_type=Path)


def _act(context: click.Context, account: str, action: str, **fields: str) -> dict[str, Any]:
    """The result of one action; texts that are empty are left out."""
    data: Path = context.obj["data"]
    given = {name: value for name, value in fields.items() if value}
    try:
        return administer(data, IdentityAction(account, action, given)).result
    except SessionError as error:
        raise click.ClickException(str(error)) from error


def _act_all(
    context: click.Context, account: str, action: str, member: str, **fields: str
) -> list[Any]:
    """The members of a list, all pages of it."""
    found: list[Any] = []
    marker = ""
    while True:
        page = _act(context, account, action, Marker=marker, MaxItems="1000", **fields)
        found += page[member]
        if not page["IsTruncated"]:
            return found
        marker = page["Marker"]


def _show(context: click.Context, value: Any) -> None:
    """One thing, a line for each of its fields."""
    if context.obj["json"]:
        click.echo(json.dumps(_readable(value)))
        return
    if not value:
        click.echo("done")
        return
    rows = [(name, _cell(each)) for name, each in value.items() if each is not None]
    show_table(("FIELD", "VALUE"), rows)


def _show_list(context: click.Context, found: list[Any], columns: dict[str, str]) -> None:
    """A table; `columns` are fields by their heads."""
    if context.obj["json"]:
        click.echo(json.dumps(_readable(found)))
        return
    rows = [tuple(_cell(each.get(name)) for name in columns.values()) for each in found]
    show_table(tuple(columns), rows)


def _cell(value: Any) -> str:
    return "-" if value in (None, "") else str(_readable(value))


def _readable(value: Any) -> Any:
    """Policy documents as they were written: the query API shows them percent-encoded."""
    if isinstance(value, dict):
        return {name: _readable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return unquote(value) if isinstance(value, str) and value.startswith("%7B") else value


def _identity_group(kind: str) -> click.Group:
    """The commands that users, groups and roles have alike; `kind` is `User`, `Group` or `Role`."""
    lower = kind.lower()
    name_field = f"{kind}Name"

    @click.group(lower, help=f"Make, show, change and remove {lower}s and what they may do.")
    def group() -> None:
        """Described above."""

    @group.command("list")
    @ACCOUNT_OPTION
    @click.pass_context
    def list_all(context: click.Context, account: str) -> None:
        """List them."""
        found = _act_all(context, account, f"List{kind}s", f"{kind}s")
        _show_list(
            context,
            found,
            {"NAME": name_field, "ARN": "Arn", "ID": f"{kind}Id", "MADE": "CreateDate"},
        )

    @group.command("show")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.pass_context
    def show(context: click.Context, account: str, name: str) -> None:
        """Show NAME with the policies that are part of it and those that are attached."""
        given = {name_field: name}
        found = _act(context, account, f"Get{kind}", **given)
        inline = _act_all(context, account, f"List{kind}Policies", "PolicyNames", **given)
        attached = _act_all(
            context, account, f"ListAttached{kind}Policies", "AttachedPolicies", **given
        )
        view = {
            **found[kind],
            "InlinePolicies": inline,
            "AttachedPolicies": [each["PolicyArn"] for each in attached],
        }
        if kind == "Group":
            view["Users"] = [each["UserName"] for each in found["Users"]]
        _show(context, view)

    @group.command("delete")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.pass_context
    def delete(context: click.Context, account: str, name: str) -> None:
        """Remove NAME, which may have no policies, keys or members left."""
        _show(context, _act(context, account, f"Delete{kind}", **{name_field: name}))

    _add_inline_policies(group, kind)
    _add_attached_policies(group, kind)
    _add_action(group)
    return group


def _add_inline_policies(group: click.Group, kind: str) -> None:
    """The commands about policies that are part of an identity."""
    name_field = f"{kind}Name"

    @group.command("put-policy")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.argument("policy_name", metavar="POLICY")
    @click.argument("document", type=_DOCUMENT)
    @click.pass_context
    def put_policy(
        context: click.Context, account: str, name: str, policy_name: str, document: Path
    ) -> None:
        """Make the policy in the file DOCUMENT part of NAME, under the name POLICY."""
        given = {name_field: name, "PolicyName": policy_name}
        text = read_text(document)
        _show(context, _act(context, account, f"Put{kind}Policy", PolicyDocument=text, **given))

    @group.command("show-policy")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.argument("policy_name", metavar="POLICY")
    @click.pass_context
    def show_policy(context: click.Context, account: str, name: str, policy_name: str) -> None:
        """Show the policy POLICY that is part of NAME."""
        given = {name_field: name, "PolicyName": policy_name}
        _show(context, _act(context, account, f"Get{kind}Policy", **given))

    @group.command("delete-policy")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.argument("policy_name", metavar="POLICY")
    @click.pass_context
    def delete_policy(context: click.Context, account: str, name: str, policy_name: str) -> None:
        """Remove the policy POLICY that is part of NAME."""
        given = {name_field: name, "PolicyName": policy_name}
        _show(context, _act(context, account, f"Delete{kind}Policy", **given))


def _add_attached_policies(group: click.Group, kind: str) -> None:
    """The commands about managed policies."""
    name_field = f"{kind}Name"

    @group.command("attach")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.argument("arn")
    @click.pass_context
    def attach(context: click.Context, account: str, name: str, arn: str) -> None:
        """Attach the managed policy ARN to NAME."""
        given = {name_field: name, "PolicyArn": arn}
        _show(context, _act(context, account, f"Attach{kind}Policy", **given))

    @group.command("detach")
    @ACCOUNT_OPTION
    @click.argument("name")
    @click.argument("arn")
    @click.pass_context
    def detach(context: click.Context, account: str, name: str, arn: str) -> None:
        """Take the managed policy ARN from NAME."""
        given = {name_field: name, "PolicyArn": arn}
        _show(context, _act(context, account, f"Detach{kind}Policy", **given))


def _add_action(group: click.Group) -> None:
    """The command for whatever has none of its own."""

    @group.command("action")
    @ACCOUNT_OPTION
    @click.argument("action")
    @click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
    @click.pass_context
    def action_of(
        context: click.Context, account: str, action: str, parameters: tuple[str, ...]
    ) -> None:
        """Any ACTION of the IAM query API, with its parameters."""
        given = dict(map(_pair, parameters))
        _show(context, _act(context, account, action, **given))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="[NAME=VALUE]")
    return name, value


user = _identity_group("User")
group = _identity_group("Group")
role = _identity_group("Role")


@user.command("create")
@ACCOUNT_OPTION
@click.option("--path", default="/", help="The path in the user's ARN.")
@click.option("--boundary", default="", help="ARN of the policy that bounds what it can ever do.")
@click.argument("name")
@click.pass_context
def create_user(context: click.Context, account: str, path: str, boundary: str, name: str) -> None:
    """Make the user NAME, who may do nothing yet."""
    given = {"UserName": name, "Path": path, "PermissionsBoundary": boundary}
    _show(context, _act(context, account, "CreateUser", **given)["User"])


@user.command("rename")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("new_name")
@click.pass_context
def rename_user(context: click.Context, account: str, name: str, new_name: str) -> None:
    """Give the user NAME another name; keys, groups and policies stay."""
    _show(context, _act(context, account, "UpdateUser", UserName=name, NewUserName=new_name))


@user.group("key")
def key() -> None:
    """Make, show, exchange and remove the access keys of a user."""


@key.command("create")
@ACCOUNT_OPTION
@click.argument("name")
@click.pass_context
def create_key(context: click.Context, account: str, name: str) -> None:
    """Make an access key for the user NAME; its secret is shown this once."""
    _show(context, _act(context, account, "CreateAccessKey", UserName=name)["AccessKey"])


@key.command("list")
@ACCOUNT_OPTION
@click.argument("name")
@click.pass_context
def list_keys(context: click.Context, account: str, name: str) -> None:
    """List the access keys of the user NAME, and when each was last used."""
    found = _act_all(context, account, "ListAccessKeys", "AccessKeyMetadata", UserName=name)
    for each in found:
        wanted = each["AccessKeyId"]
        used = _act(context, account, "GetAccessKeyLastUsed", AccessKeyId=wanted)
        each["LastUsedDate"] = used["AccessKeyLastUsed"]["LastUsedDate"]
    columns = {"KEY": "AccessKeyId", "STATUS": "Status", "MADE": "CreateDate"}
    _show_list(context, found, {**columns, "LAST USED": "LastUsedDate"})


def _set_key(context: click.Context, account: str, name: str, key_id: str, status: str) -> None:
    given = {"UserName": name, "AccessKeyId": key_id, "Status": status}
    _show(context, _act(context, account, "UpdateAccessKey", **given))


@key.command("disable")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("key_id", metavar="KEY")
@click.pass_context
def disable_key(context: click.Context, account: str, name: str, key_id: str) -> None:
    """Refuse requests signed with KEY of the user NAME, from now on."""
    _set_key(context, account, name, key_id, "Inactive")


@key.command("enable")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("key_id", metavar="KEY")
@click.pass_context
def enable_key(context: click.Context, account: str, name: str, key_id: str) -> None:
    """Let KEY of the user NAME sign requests again."""
    _set_key(context, account, name, key_id, "Active")


@key.command("delete")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("key_id", metavar="KEY")
@click.pass_context
def delete_key(context: click.Context, account: str, name: str, key_id: str) -> None:
    """Remove KEY of the user NAME for ever."""
    given = {"UserName": name, "AccessKeyId": key_id}
    _show(context, _act(context, account, "DeleteAccessKey", **given))


@group.command("create")
@ACCOUNT_OPTION
@click.argument("name")
@click.pass_context
def create_group(context: click.Context, account: str, name: str) -> None:
    """Make the group NAME."""
    _show(context, _act(context, account, "CreateGroup", GroupName=name)["Group"])


@group.command("add")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("user_name", metavar="USER")
@click.pass_context
def add_member(context: click.Context, account: str, name: str, user_name: str) -> None:
    """Put USER into the group NAME."""
    given = {"GroupName": name, "UserName": user_name}
    _show(context, _act(context, account, "AddUserToGroup", **given))


@group.command("remove")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("user_name", metavar="USER")
@click.pass_context
def remove_member(context: click.Context, account: str, name: str, user_name: str) -> None:
    """Take USER out of the group NAME."""
    given = {"GroupName": name, "UserName": user_name}
    _show(context, _act(context, account, "RemoveUserFromGroup", **given))


@role.command("create")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("trust", type=_DOCUMENT)
@click.pass_context
def create_role(context: click.Context, account: str, name: str, trust: Path) -> None:
    """Make the role NAME; the policy in the file TRUST says who may assume it."""
    text = read_text(trust)
    made = _act(context, account, "CreateRole", RoleName=name, AssumeRolePolicyDocument=text)
    _show(context, made["Role"])


@click.group("managed-policy")
def managed_policy() -> None:
    """Make, list and remove policies that several identities can have."""


@managed_policy.command("create")
@ACCOUNT_OPTION
@click.argument("name")
@click.argument("document", type=_DOCUMENT)
@click.pass_context
def create_policy(context: click.Context, account: str, name: str, document: Path) -> None:
    """Make the managed policy NAME of the file DOCUMENT."""
    text = read_text(document)
    made = _act(context, account, "CreatePolicy", PolicyName=name, PolicyDocument=text)
    _show(context, made["Policy"])


@managed_policy.command("list")
@ACCOUNT_OPTION
@click.pass_context
def list_policies(context: click.Context, account: str) -> None:
    """List the policies of the account, and those that every account has."""
    found = _act_all(context, account, "ListPolicies", "Policies")
    columns = {"NAME": "PolicyName", "ARN": "Arn", "ATTACHED": "AttachmentCount"}
    _show_list(context, found, columns)


@managed_policy.command("delete")
@ACCOUNT_OPTION
@click.argument("arn")
@click.pass_context
def delete_policy(context: click.Context, account: str, arn: str) -> None:
    """Remove the managed policy ARN, which may be attached nowhere."""
    _show(context, _act(context, account, "DeletePolicy", PolicyArn=arn))
