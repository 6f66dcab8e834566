"""Users, groups and roles: making, showing, changing and removing them.

The three are alike, so most handlers are made for a kind. What differs is in the rows of _SHAPES.

Source: the actions of the same names in the IAM API Reference.
"""

from typing import Any
from urllib.parse import quote

from msgspec import Struct

from rs3gwd.base.commands import DeleteIdentity, PutIdentity, RenameIdentity
from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import HOLDERS, IdentityKind, IdentityRecord
from rs3gwd.iam.identities.arns import identity_arn
from rs3gwd.iam.identities.names import (
    GROUPS_MAX,
    IDENTITIES_MAX,
    NAME_CHARACTERS_MAX,
    check_name,
    check_path,
    check_tags,
    invalid,
    make_unique_id,
)
from rs3gwd.iam.identities.permissions import merged_tags
from rs3gwd.iam.policy.document import TRUST_CHARACTERS_MAX, PolicyKind
from rs3gwd.iam.query_api.attachments import check_attachable
from rs3gwd.iam.query_api.call import (
    QueryCall,
    Result,
    arn_of,
    replace_in,
    show_tags,
    show_time,
    without_tags,
)
from rs3gwd.iam.query_api.permission import require_on
from rs3gwd.iam.query_api.row import Handler

SESSION_S_MIN, SESSION_S_MAX = 3600, 43_200
DESCRIPTION_CHARACTERS_MAX = 1000


class Shape(Struct, frozen=True):
    """How the API names a kind: `User`, `UserName`, `UserId`, `Users`."""

    title: str

    @property
    def name(self) -> str:
        """The parameter that holds its name."""
        return f"{self.title}Name"


SHAPES = {kind: Shape(str(kind).title()) for kind in HOLDERS}


def name_in(call: QueryCall, kind: IdentityKind) -> str:
    """The name of the identity that a request is about; of a user it may be left out."""
    parameter = SHAPES[kind].name
    if kind is IdentityKind.USER and not call.form.optional(parameter):
        if call.principal.user is not None:
            return call.principal.user.name
        raise invalid("Must specify userName when calling with non-User credentials")
    return call.form.text(parameter)


def show(record: IdentityRecord, *, in_list: bool = False) -> dict[str, Any]:
    """An identity as answers show it; lists leave out the tags and the boundary."""
    title = SHAPES[record.kind].title
    shown: dict[str, Any] = {
        "Path": record.path,
        f"{title}Name": record.name,
        f"{title}Id": record.unique_id,
        "Arn": arn_of(record),
        "CreateDate": show_time(record.created_ms),
    }
    if record.kind is IdentityKind.ROLE:
        shown["AssumeRolePolicyDocument"] = quote(record.trust.decode(), safe="")
        shown["Description"] = record.description or None
        shown["MaxSessionDuration"] = record.session_s_max
    if not in_list:
        if record.boundary:
            shown["PermissionsBoundary"] = {
                "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
                "PermissionsBoundaryArn": record.boundary,
            }
        shown["Tags"] = show_tags(record.tags) if record.tags else None
    return shown


def create(kind: IdentityKind) -> Handler:
    """CreateUser, CreateGroup, CreateRole."""
    title, parameter = SHAPES[kind].title, SHAPES[kind].name

    async def handle(call: QueryCall) -> Result:
        name = check_name(parameter, call.form.text(parameter), NAME_CHARACTERS_MAX[kind])
        boundary = call.form.optional("PermissionsBoundary")
        if boundary:
            check_attachable(call, boundary)
        if len(call.directory.identities(call.canonical_id, kind)) >= IDENTITIES_MAX[kind]:
            raise ApiError(
                "LimitExceeded",
                f"Cannot exceed quota for {title}sPerAccount: {IDENTITIES_MAX[kind]}",
            )
        record = IdentityRecord(
            canonical_id=call.canonical_id,
            kind=kind,
            name=name,
            path=check_path(call.form.optional("Path", "/")),
            unique_id=make_unique_id(kind, call.random),
            created_ms=call.clock.now_ms(),
            tags=check_tags(call.form.tags()),
            boundary=boundary,
            **_role_fields(call, kind),
        )
        made = await call.store.submit(PutIdentity(record, 0))
        assert isinstance(made, IdentityRecord)
        return {title: show(made)}

    return handle


def _role_fields(call: QueryCall, kind: IdentityKind) -> dict[str, Any]:
    if kind is not IdentityKind.ROLE:
        return {}
    return {
        "trust": call.document("AssumeRolePolicyDocument", TRUST_CHARACTERS_MAX, PolicyKind.TRUST),
        "description": _description(call),
        "session_s_max": _session_s_max(call, SESSION_S_MIN),
    }


def _description(call: QueryCall) -> str:
    text = call.form.optional("Description")
    if len(text) > DESCRIPTION_CHARACTERS_MAX:
        raise invalid(f"Description may have {DESCRIPTION_CHARACTERS_MAX} characters.")
    return text


def _session_s_max(call: QueryCall, default: int) -> int:
    return call.form.number("MaxSessionDuration", default, low=SESSION_S_MIN, high=SESSION_S_MAX)


def get(kind: IdentityKind) -> Handler:
    """GetUser, GetRole; GetGroup also lists its members."""

    async def handle(call: QueryCall) -> Result:
        record = call.find(kind, name_in(call, kind))
        if kind is not IdentityKind.GROUP:
            return {SHAPES[kind].title: show(record)}
        users = call.directory.identities(call.canonical_id, IdentityKind.USER)
        members = [each for each in users if record.name in each.groups]
        page = call.page("Users", members, lambda each: show(each, in_list=True))
        return {"Group": show(record), **page}

    return handle


def list_all(kind: IdentityKind) -> Handler:
    """ListUsers, ListGroups, ListRoles."""

    async def handle(call: QueryCall) -> Result:
        prefix = call.form.optional("PathPrefix", "/")
        found = [
            each
            for each in call.directory.identities(call.canonical_id, kind)
            if each.path.startswith(prefix)
        ]
        return call.page(f"{SHAPES[kind].title}s", found, lambda each: show(each, in_list=True))

    return handle


def delete(kind: IdentityKind) -> Handler:
    """DeleteUser, DeleteGroup, DeleteRole."""

    async def handle(call: QueryCall) -> Result:
        record = call.find(kind, name_in(call, kind))
        await call.store.submit(DeleteIdentity(call.canonical_id, kind, record.name))
        return None

    return handle


def update(kind: IdentityKind) -> Handler:
    """UpdateUser, UpdateGroup: name and path, with which the ARN changes."""

    async def handle(call: QueryCall) -> Result:
        parameter = SHAPES[kind].name
        found = call.find(kind, name_in(call, kind))
        name = call.form.optional(f"New{parameter}", found.name)
        rename = RenameIdentity(
            canonical_id=call.canonical_id,
            kind=kind,
            name=found.name,
            new_name=check_name(f"New{parameter}", name, NAME_CHARACTERS_MAX[kind]),
            new_path=check_path(call.form.optional("NewPath", found.path)),
            expected_revision=found.revision,
        )
        # "The requester must have appropriate permissions on both the source and the target."
        target = identity_arn(call.canonical_id, kind, rename.new_path, rename.new_name)
        require_on(call, f"iam:Update{SHAPES[kind].title}", target)
        await call.store.submit(rename)
        return None

    return handle


async def update_role(call: QueryCall) -> Result:
    """UpdateRole: description and the longest session."""
    has_description = "Description" in call.form.fields
    description = _description(call)

    def change(role: IdentityRecord) -> IdentityRecord:
        return replace_in(
            role,
            description=description if has_description else role.description,
            session_s_max=_session_s_max(call, role.session_s_max),
        )

    await call.change(IdentityKind.ROLE, call.form.text("RoleName"), change)
    return {}


async def update_role_description(call: QueryCall) -> Result:
    """UpdateRoleDescription: what UpdateRole does too, with an answer."""
    description = _description(call)
    name = call.form.text("RoleName")
    changed = await call.change(
        IdentityKind.ROLE, name, lambda role: replace_in(role, description=description)
    )
    return {"Role": show(changed)}


async def update_trust(call: QueryCall) -> Result:
    """UpdateAssumeRolePolicy: who may assume a role."""
    trust = call.document("PolicyDocument", TRUST_CHARACTERS_MAX, PolicyKind.TRUST)
    name = call.form.text("RoleName")
    await call.change(IdentityKind.ROLE, name, lambda role: replace_in(role, trust=trust))
    return None


def tag(kind: IdentityKind) -> Handler:
    """TagUser, TagRole."""

    async def handle(call: QueryCall) -> Result:
        new = check_tags(call.form.tags())
        await call.change(
            kind,
            call.form.text(SHAPES[kind].name),
            lambda one: replace_in(one, tags=check_tags(merged_tags(one.tags, new))),
        )
        return None

    return handle


def untag(kind: IdentityKind) -> Handler:
    """UntagUser, UntagRole."""

    async def handle(call: QueryCall) -> Result:
        keys = call.form.members("TagKeys")
        await call.change(
            kind,
            call.form.text(SHAPES[kind].name),
            lambda one: replace_in(one, tags=without_tags(one.tags, keys)),
        )
        return None

    return handle


def list_tags(kind: IdentityKind) -> Handler:
    """ListUserTags, ListRoleTags."""

    async def handle(call: QueryCall) -> Result:
        record = call.find(kind, call.form.text(SHAPES[kind].name))
        return call.page("Tags", show_tags(record.tags), lambda each: each)

    return handle


async def add_to_group(call: QueryCall) -> Result:
    """AddUserToGroup; being in it already is no error."""
    group = call.find(IdentityKind.GROUP, call.form.text("GroupName"))

    def change(user: IdentityRecord) -> IdentityRecord:
        if group.name in user.groups:
            return user
        if len(user.groups) >= GROUPS_MAX:
            raise ApiError("LimitExceeded", f"Cannot exceed quota for GroupsPerUser: {GROUPS_MAX}")
        return replace_in(user, groups=[*user.groups, group.name])

    await call.change(IdentityKind.USER, call.form.text("UserName"), change)
    return None


async def remove_from_group(call: QueryCall) -> Result:
    """RemoveUserFromGroup."""
    group = call.find(IdentityKind.GROUP, call.form.text("GroupName"))

    def change(user: IdentityRecord) -> IdentityRecord:
        return replace_in(user, groups=[name for name in user.groups if name != group.name])

    await call.change(IdentityKind.USER, call.form.text("UserName"), change)
    return None


async def list_groups_of_user(call: QueryCall) -> Result:
    """ListGroupsForUser."""
    user = call.find(IdentityKind.USER, call.form.text("UserName"))
    groups = [call.find(IdentityKind.GROUP, name) for name in user.groups]
    return call.page("Groups", groups, lambda each: show(each, in_list=True))
