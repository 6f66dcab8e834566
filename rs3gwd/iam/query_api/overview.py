"""All of an account at once: everything that it has, and how much of what it may have.

Source: GetAccountAuthorizationDetails and GetAccountSummary in the IAM API Reference.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.iam.identities.names import (
    ACCESS_KEYS_MAX,
    ATTACHED_MAX,
    GROUPS_MAX,
    IDENTITIES_MAX,
    POLICIES_MAX,
    POLICY_VERSIONS_MAX,
    invalid,
)
from rs3gwd.iam.identities.shared_policies import SHARED_POLICIES
from rs3gwd.iam.policy.document import (
    GROUP_INLINE_CHARACTERS_MAX,
    MANAGED_CHARACTERS_MAX,
    ROLE_INLINE_CHARACTERS_MAX,
    TRUST_CHARACTERS_MAX,
    USER_INLINE_CHARACTERS_MAX,
)
from rs3gwd.iam.query_api import identities, policies
from rs3gwd.iam.query_api.attachments import show_attached
from rs3gwd.iam.query_api.call import QueryCall, Result, show_tags
from rs3gwd.iam.query_api.policies import ENTITIES, Uses
from rs3gwd.iam.query_api.xml import Entries

_LISTS = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")

_NONE = (
    "MFADevices",
    "MFADevicesInUse",
    "AccountMFAEnabled",
    "AccountPasswordPresent",
    "AccountSigningCertificatesPresent",
    "ServerCertificates",
    "InstanceProfiles",
)
"""What no account has here."""

Shown = tuple[str, Callable[[], dict[str, Any]]]
"""The list that a thing stands in, and what shows it: only what is on the page is shown."""


async def get_account_authorization_details(call: QueryCall) -> Result:
    """GetAccountAuthorizationDetails: the pages run over all four lists, one behind the other."""
    wanted = call.form.members("Filter") or list(ENTITIES)
    for each in wanted:
        if each not in ENTITIES:
            raise invalid(f"Filter must be among {', '.join(ENTITIES)}.")
    found = list(_entities(call, frozenset(wanted)))
    page = call.page("found", found, lambda each: (each[0], each[1]()))
    shown: list[tuple[str, dict[str, Any]]] = page.pop("found")
    lists = {name: [each for where, each in shown if where == name] for name in _LISTS}
    return {**lists, **page}


async def get_account_summary(call: QueryCall) -> Result:
    """GetAccountSummary: counts and quotas; what there cannot be is 0."""
    keys = call.directory.access_keys(call.canonical_id)
    own = call.directory.policies(call.canonical_id)
    counts = {
        f"{kind.title()}s": len(call.directory.identities(call.canonical_id, kind))
        for kind in (IdentityKind.USER, IdentityKind.GROUP, IdentityKind.ROLE)
    }
    quotas = {
        "UsersQuota": IDENTITIES_MAX[IdentityKind.USER],
        "GroupsQuota": IDENTITIES_MAX[IdentityKind.GROUP],
        "RolesQuota": IDENTITIES_MAX[IdentityKind.ROLE],
        "PoliciesQuota": POLICIES_MAX,
        "VersionsPerPolicyQuota": POLICY_VERSIONS_MAX,
        "GroupsPerUserQuota": GROUPS_MAX,
        "AccessKeysPerUserQuota": ACCESS_KEYS_MAX,
        "AttachedPoliciesPerUserQuota": ATTACHED_MAX,
        "AttachedPoliciesPerGroupQuota": ATTACHED_MAX,
        "AttachedPoliciesPerRoleQuota": ATTACHED_MAX,
        "PolicySizeQuota": MANAGED_CHARACTERS_MAX,
        "UserPolicySizeQuota": USER_INLINE_CHARACTERS_MAX,
        "GroupPolicySizeQuota": GROUP_INLINE_CHARACTERS_MAX,
        "RolePolicySizeQuota": ROLE_INLINE_CHARACTERS_MAX,
        "AssumeRolePolicySizeQuota": TRUST_CHARACTERS_MAX,
    }
    summary = {
        **counts,
        **quotas,
        "Policies": len(own),
        "PolicyVersionsInUse": sum(len(each.versions) for each in own),
        "Providers": len(call.directory.identities(call.canonical_id, IdentityKind.PROVIDER)),
        "AccountAccessKeysPresent": int(any(not each.user_name for each in keys)),
        **dict.fromkeys(_NONE, 0),
    }
    return {"SummaryMap": Entries(summary)}


def _entities(call: QueryCall, wanted: frozenset[str]) -> Iterator[Shown]:
    """Everything of the kinds that are wanted, in the order of the lists."""
    for kind, name in zip(
        (IdentityKind.USER, IdentityKind.GROUP, IdentityKind.ROLE), _LISTS, strict=False
    ):
        if kind.title() in wanted:
            for each in call.directory.identities(call.canonical_id, kind):
                yield name, partial(_detail, each)
    uses = Uses(call)
    if "LocalManagedPolicy" in wanted:
        for own in call.directory.policies(call.canonical_id):
            yield _LISTS[3], partial(_policy, own, uses)
    if "AWSManagedPolicy" in wanted:
        for arn in SHARED_POLICIES:
            yield _LISTS[3], partial(_shared_policy, arn, uses)


def _policy(record: PolicyRecord, uses: Uses) -> dict[str, Any]:
    versions = policies.versions_of(record)
    return {**policies.show(record, uses), "PolicyVersionList": versions}


def _shared_policy(arn: str, uses: Uses) -> dict[str, Any]:
    versions = policies.versions_of_shared(arn)
    return {**policies.show_shared(arn, uses), "PolicyVersionList": versions}


def _detail(record: IdentityRecord) -> dict[str, Any]:
    """An identity with everything that it has."""
    title = record.kind.title()
    shown = identities.show(record)
    for field in ("Description", "MaxSessionDuration"):
        shown.pop(field, None)
    shown[f"{title}PolicyList"] = [
        {"PolicyName": each.name, "PolicyDocument": quote(each.document.decode(), safe="")}
        for each in record.inline
    ]
    shown["AttachedManagedPolicies"] = [show_attached(arn) for arn in record.attached]
    if record.kind is IdentityKind.USER:
        shown["GroupList"] = list(record.groups)
    if record.kind is IdentityKind.ROLE:
        shown["InstanceProfileList"] = []
    if record.kind is not IdentityKind.GROUP:
        shown["Tags"] = show_tags(record.tags)
    return shown
