"""Managed policies and their versions.

Source: the actions of the same names in the IAM API Reference.
"""

from base64 import b32encode
from collections import Counter
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from rs3gwd.base.commands import DeleteManagedPolicy, PutManagedPolicy
from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import HOLDERS, IdentityRecord, PolicyRecord, PolicyVersion
from rs3gwd.iam.identities.names import (
    POLICIES_MAX,
    POLICY_NAME_CHARACTERS_MAX,
    POLICY_VERSIONS_MAX,
    check_name,
    check_path,
    check_tags,
    invalid,
    make_unique_id,
)
from rs3gwd.iam.identities.permissions import merged_tags
from rs3gwd.iam.identities.shared_policies import SHARED_POLICIES
from rs3gwd.iam.policy.document import MANAGED_CHARACTERS_MAX
from rs3gwd.iam.query_api.call import (
    QueryCall,
    Result,
    arn_of_policy,
    show_tags,
    show_time,
    without_tags,
)

DESCRIPTION_CHARACTERS_MAX = 1000

USAGES = ("PermissionsPolicy", "PermissionsBoundary")
"""What an identity can have a managed policy as."""

ENTITIES = ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy")

_SHARED_SINCE_MS = 1_795_305_600_000
"""2026-11-22, when the documents of the shared policies were written."""


class Uses:
    """How many identities of an account have each policy attached, and how many as a boundary."""

    def __init__(self, call: QueryCall) -> None:
        self._attached: Counter[str] = Counter()
        self._bounds: Counter[str] = Counter()
        for kind in HOLDERS:
            for each in call.directory.identities(call.canonical_id, kind):
                self._attached.update(each.attached)
                self._bounds[each.boundary] += 1

    def of(self, arn: str) -> dict[str, int]:
        """The counts as answers show them."""
        return {
            "AttachmentCount": self._attached[arn],
            "PermissionsBoundaryUsageCount": self._bounds[arn],
        }


async def create_policy(call: QueryCall) -> Result:
    """CreatePolicy."""
    name = check_name("PolicyName", call.form.text("PolicyName"), POLICY_NAME_CHARACTERS_MAX)
    description = call.form.optional("Description")
    if len(description) > DESCRIPTION_CHARACTERS_MAX:
        raise invalid(f"Description may have {DESCRIPTION_CHARACTERS_MAX} characters.")
    document = call.document("PolicyDocument", MANAGED_CHARACTERS_MAX)
    if len(call.directory.policies(call.canonical_id)) >= POLICIES_MAX:
        raise ApiError(
            "LimitExceeded", f"Cannot exceed quota for PoliciesPerAccount: {POLICIES_MAX}"
        )
    now_ms = call.clock.now_ms()
    record = PolicyRecord(
        canonical_id=call.canonical_id,
        name=name,
        path=check_path(call.form.optional("Path", "/")),
        unique_id=make_unique_id(None, call.random),
        created_ms=now_ms,
        changed_ms=now_ms,
        versions=[PolicyVersion(1, document, now_ms)],
        default_number=1,
        last_number=1,
        description=description,
        tags=check_tags(call.form.tags()),
    )
    made = await call.store.submit(PutManagedPolicy(record, 0))
    assert isinstance(made, PolicyRecord)
    return {"Policy": show(made, Uses(call))}


async def get_policy(call: QueryCall) -> Result:
    """GetPolicy."""
    arn = call.form.text("PolicyArn")
    if arn in SHARED_POLICIES:
        return {"Policy": show_shared(arn, Uses(call))}
    return {"Policy": show(call.find_policy(arn), Uses(call))}


async def list_policies(call: QueryCall) -> Result:
    """ListPolicies: the account's own, those that every account has, or both."""
    scope = call.form.optional("Scope", "All")
    if scope not in ("All", "AWS", "Local"):
        raise invalid("Scope must be All, AWS or Local.")
    prefix = call.form.optional("PathPrefix", "/")
    usage = call.form.choice("PolicyUsageFilter", USAGES)
    uses = Uses(call)
    shown: list[dict[str, Any]] = []
    if scope != "AWS":
        own = call.directory.policies(call.canonical_id)
        shown += [show(each, uses, in_list=True) for each in own if each.path.startswith(prefix)]
    if scope != "Local" and prefix == "/":
        shown += [show_shared(arn, uses) for arn in SHARED_POLICIES]
    if usage == "PermissionsBoundary":
        shown = [each for each in shown if each["PermissionsBoundaryUsageCount"]]
    if usage == "PermissionsPolicy" or call.form.flag("OnlyAttached"):
        shown = [each for each in shown if each["AttachmentCount"]]
    return call.page("Policies", shown, lambda each: each)


async def delete_policy(call: QueryCall) -> Result:
    """DeletePolicy."""
    record = call.find_policy(call.form.text("PolicyArn"))
    await call.store.submit(DeleteManagedPolicy(call.canonical_id, record.name))
    return None


async def create_policy_version(call: QueryCall) -> Result:
    """CreatePolicyVersion."""
    document = call.document("PolicyDocument", MANAGED_CHARACTERS_MAX)
    as_default = call.form.flag("SetAsDefault")
    now_ms = call.clock.now_ms()

    def change(record: PolicyRecord) -> PolicyRecord:
        if len(record.versions) >= POLICY_VERSIONS_MAX:
            raise ApiError(
                "LimitExceeded",
                f"A managed policy can have up to {POLICY_VERSIONS_MAX} versions. Before you "
                "create a new version, you must delete an existing version.",
            )
        number = record.last_number + 1
        return replace(
            record,
            versions=[*record.versions, PolicyVersion(number, document, now_ms)],
            last_number=number,
            default_number=number if as_default else record.default_number,
            changed_ms=now_ms if as_default else record.changed_ms,
        )

    changed = await call.change_policy(call.form.text("PolicyArn"), change)
    return {"PolicyVersion": show_version(changed, changed.versions[-1])}


async def get_policy_version(call: QueryCall) -> Result:
    """GetPolicyVersion."""
    arn = call.form.text("PolicyArn")
    number = _number_of(call.form.text("VersionId"))
    record = _shared_record(arn) if arn in SHARED_POLICIES else call.find_policy(arn)
    found = _version_of(record, number)
    return {"PolicyVersion": show_version(record, found, with_document=True)}


async def list_policy_versions(call: QueryCall) -> Result:
    """ListPolicyVersions, newest first."""
    arn = call.form.text("PolicyArn")
    record = _shared_record(arn) if arn in SHARED_POLICIES else call.find_policy(arn)
    newest_first = record.versions[::-1]
    return call.page("Versions", newest_first, lambda each: show_version(record, each))


async def delete_policy_version(call: QueryCall) -> Result:
    """DeletePolicyVersion; not of the one that is in force."""
    number = _number_of(call.form.text("VersionId"))

    def change(record: PolicyRecord) -> PolicyRecord:
        found = _version_of(record, number)
        if number == record.default_number:
            raise ApiError("DeleteConflict", "Cannot delete the default version of a policy.")
        return replace(record, versions=[each for each in record.versions if each is not found])

    await call.change_policy(call.form.text("PolicyArn"), change)
    return None


async def set_default_policy_version(call: QueryCall) -> Result:
    """SetDefaultPolicyVersion."""
    number = _number_of(call.form.text("VersionId"))
    now_ms = call.clock.now_ms()

    def change(record: PolicyRecord) -> PolicyRecord:
        _version_of(record, number)
        return replace(record, default_number=number, changed_ms=now_ms)

    await call.change_policy(call.form.text("PolicyArn"), change)
    return None


async def tag_policy(call: QueryCall) -> Result:
    """TagPolicy."""
    new = check_tags(call.form.tags())
    await call.change_policy(
        call.form.text("PolicyArn"),
        lambda one: replace(one, tags=check_tags(merged_tags(one.tags, new))),
    )
    return None


async def untag_policy(call: QueryCall) -> Result:
    """UntagPolicy."""
    keys = call.form.members("TagKeys")
    await call.change_policy(
        call.form.text("PolicyArn"), lambda one: replace(one, tags=without_tags(one.tags, keys))
    )
    return None


async def list_policy_tags(call: QueryCall) -> Result:
    """ListPolicyTags."""
    arn = call.form.text("PolicyArn")
    tags = [] if arn in SHARED_POLICIES else call.find_policy(arn).tags
    return call.page("Tags", show_tags(tags), lambda each: each)


async def list_entities_for_policy(call: QueryCall) -> Result:
    """ListEntitiesForPolicy: who has it, attached or as a boundary; the pages run over all three
    lists."""
    arn = call.form.text("PolicyArn")
    if arn not in SHARED_POLICIES:
        call.find_policy(arn)
    wanted = call.form.choice("EntityFilter", ENTITIES)
    usage = call.form.choice("PolicyUsageFilter", USAGES)
    prefix = call.form.optional("PathPrefix", "/")
    found = [
        each
        for kind in HOLDERS
        if wanted in ("", str(kind).title())
        for each in call.directory.identities(call.canonical_id, kind)
        if each.path.startswith(prefix) and _has(each, arn, usage)
    ]
    page = call.page("found", found, lambda each: each)
    shown: list[IdentityRecord] = page.pop("found")
    for kind in HOLDERS:
        title = str(kind).title()
        page[f"Policy{title}s"] = [
            {f"{title}Name": each.name, f"{title}Id": each.unique_id}
            for each in shown
            if each.kind is kind
        ]
    return page


def _has(identity: IdentityRecord, arn: str, usage: str) -> bool:
    is_attached = usage != "PermissionsBoundary" and arn in identity.attached
    return is_attached or (usage != "PermissionsPolicy" and arn == identity.boundary)


def show(record: PolicyRecord, uses: Uses, *, in_list: bool = False) -> dict[str, Any]:
    """A managed policy of the account as answers show it; lists leave out some."""
    arn = arn_of_policy(record)
    return {
        **_show_head(record, arn, uses),
        "Description": None if in_list else record.description or None,
        "Tags": show_tags(record.tags) if record.tags and not in_list else None,
    }


def show_shared(arn: str, uses: Uses) -> dict[str, Any]:
    """A policy that every account has."""
    return _show_head(_shared_record(arn), arn, uses)


def show_version(
    record: PolicyRecord, version: PolicyVersion, *, with_document: bool = False
) -> dict[str, Any]:
    """One version of a managed policy."""
    return {
        "Document": quote(version.document.decode(), safe="") if with_document else None,
        "VersionId": f"v{version.number}",
        "IsDefaultVersion": version.number == record.default_number,
        "CreateDate": show_time(version.created_ms),
    }


def _show_head(record: PolicyRecord, arn: str, uses: Uses) -> dict[str, Any]:
    return {
        "PolicyName": record.name,
        "PolicyId": record.unique_id,
        "Arn": arn,
        "Path": record.path,
        "DefaultVersionId": f"v{record.default_number}",
        **uses.of(arn),
        "IsAttachable": True,
        "CreateDate": show_time(record.created_ms),
        "UpdateDate": show_time(record.changed_ms),
    }


def _shared_record(arn: str) -> PolicyRecord:
    """A shared policy as if it were an account's; its id follows from its name."""
    name = arn.rpartition("/")[2]
    return PolicyRecord(
        canonical_id="",
        name=name,
        path="/",
        unique_id="ANPA" + b32encode(sha256(name.encode()).digest()[:10]).decode(),
        created_ms=_SHARED_SINCE_MS,
        changed_ms=_SHARED_SINCE_MS,
        versions=[PolicyVersion(1, SHARED_POLICIES[arn], _SHARED_SINCE_MS)],
        default_number=1,
        last_number=1,
    )


def versions_of(record: PolicyRecord) -> list[dict[str, Any]]:
    """All versions with their documents, newest first."""
    return [show_version(record, each, with_document=True) for each in record.versions[::-1]]


def versions_of_shared(arn: str) -> list[dict[str, Any]]:
    """The one version of a shared policy."""
    return versions_of(_shared_record(arn))


def _number_of(version_id: str) -> int:
    digits = version_id.removeprefix("v")
    if not version_id.startswith("v") or not digits.isascii() or not digits[:9].isdecimal():
        raise invalid("VersionId must be v and a number.")
    return int(digits[:9])


def _version_of(record: PolicyRecord, number: int) -> PolicyVersion:
    for version in record.versions:
        if version.number == number:
            return version
    raise ApiError("NoSuchEntity", f"Policy {record.name} version v{number} does not exist.")
