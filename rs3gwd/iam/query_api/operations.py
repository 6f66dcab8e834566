"""The table of actions of the query API: one row per action, and the only place that lists them.

A row says which service the action belongs to, whom or what it is done to (which makes the resource
that a policy must name), and the handler. Every row that is not free needs the permission of its
service and name, as `iam:CreateUser`. An action of AWS's without a
row is NotImplemented (`unanswered`), any other InvalidAction.

Source: "Actions, resources, and condition keys for AWS Identity and Access Management" in the
Service Authorization Reference; botocore's models of iam and sts.
"""

from collections.abc import Iterator

from rs3gwd.base.identities import HOLDERS, IdentityKind
from rs3gwd.iam.query_api import (
    absent,
    access_keys,
    attachments,
    identities,
    overview,
    policies,
    providers,
    simulation,
    sts,
    web_identity,
)
from rs3gwd.iam.query_api.row import Row, Target
from rs3gwd.iam.query_api.xml import Service

_TAGGED = (IdentityKind.USER, IdentityKind.ROLE)


def _rows_of(kind: IdentityKind) -> Iterator[Row]:
    """The rows that all kinds have, and those of the kinds that sign requests."""
    title, target = str(kind).title(), Target(kind)
    yield Row(f"Create{title}", target, identities.create(kind))
    yield Row(f"Get{title}", target, identities.get(kind))
    yield Row(f"List{title}s", Target.ANY, identities.list_all(kind))
    yield Row(f"Delete{title}", target, identities.delete(kind))
    yield Row(f"Put{title}Policy", target, attachments.put_inline(kind))
    yield Row(f"Get{title}Policy", target, attachments.get_inline(kind))
    yield Row(f"List{title}Policies", target, attachments.list_inline(kind))
    yield Row(f"Delete{title}Policy", target, attachments.delete_inline(kind))
    yield Row(f"Attach{title}Policy", target, attachments.attach(kind))
    yield Row(f"Detach{title}Policy", target, attachments.detach(kind))
    yield Row(f"ListAttached{title}Policies", target, attachments.list_attached(kind))
    if kind is not IdentityKind.ROLE:
        yield Row(f"Update{title}", target, identities.update(kind))
    if kind in _TAGGED:
        yield Row(f"Tag{title}", target, identities.tag(kind))
        yield Row(f"Untag{title}", target, identities.untag(kind))
        yield Row(f"List{title}Tags", target, identities.list_tags(kind))
        yield Row(f"Put{title}PermissionsBoundary", target, attachments.put_boundary(kind))
        yield Row(f"Delete{title}PermissionsBoundary", target, attachments.delete_boundary(kind))


QUERY_OPERATIONS: tuple[Row, ...] = (
    *(row for kind in HOLDERS for row in _rows_of(kind)),
    Row("UpdateRole", Target.ROLE, identities.update_role),
    Row("UpdateRoleDescription", Target.ROLE, identities.update_role_description),
    Row("UpdateAssumeRolePolicy", Target.ROLE, identities.update_trust),
    Row("AddUserToGroup", Target.GROUP, identities.add_to_group),
    Row("RemoveUserFromGroup", Target.GROUP, identities.remove_from_group),
    Row("ListGroupsForUser", Target.USER, identities.list_groups_of_user),
    Row(
        "ListInstanceProfilesForRole",
        Target.ROLE,
        absent.empty_list(IdentityKind.ROLE, "InstanceProfiles"),
    ),
    *(
        Row(f"List{member}", Target.USER, absent.empty_list(IdentityKind.USER, member))
        for member in ("MFADevices", "SSHPublicKeys", "ServiceSpecificCredentials")
    ),
    Row(
        "ListSigningCertificates",
        Target.USER,
        absent.empty_list(IdentityKind.USER, "Certificates"),
    ),
    *(
        Row(name, Target.ANY, absent.empty_list_of_account(member))
        for name, member in (
            ("ListAccountAliases", "AccountAliases"),
            ("ListInstanceProfiles", "InstanceProfiles"),
            ("ListSAMLProviders", "SAMLProviderList"),
            ("ListServerCertificates", "ServerCertificateMetadataList"),
            ("ListVirtualMFADevices", "VirtualMFADevices"),
        )
    ),
    Row("GetAccountPasswordPolicy", Target.ANY, absent.get_account_password_policy),
    Row("GetLoginProfile", Target.USER, absent.get_login_profile),
    Row("CreatePolicy", Target.POLICY, policies.create_policy),
    Row("GetPolicy", Target.POLICY, policies.get_policy),
    Row("ListPolicies", Target.ANY, policies.list_policies),
    Row("DeletePolicy", Target.POLICY, policies.delete_policy),
    Row("CreatePolicyVersion", Target.POLICY, policies.create_policy_version),
    Row("GetPolicyVersion", Target.POLICY, policies.get_policy_version),
    Row("ListPolicyVersions", Target.POLICY, policies.list_policy_versions),
    Row("DeletePolicyVersion", Target.POLICY, policies.delete_policy_version),
    Row("SetDefaultPolicyVersion", Target.POLICY, policies.set_default_policy_version),
    Row("TagPolicy", Target.POLICY, policies.tag_policy),
    Row("UntagPolicy", Target.POLICY, policies.untag_policy),
    Row("ListPolicyTags", Target.POLICY, policies.list_policy_tags),
    Row("ListEntitiesForPolicy", Target.POLICY, policies.list_entities_for_policy),
    Row("GetAccountAuthorizationDetails", Target.ANY, overview.get_account_authorization_details),
    Row("GetAccountSummary", Target.ANY, overview.get_account_summary),
    Row("SimulateCustomPolicy", Target.ANY, simulation.simulate_custom_policy),
    Row("SimulatePrincipalPolicy", Target.SOURCE, simulation.simulate_principal_policy),
    Row(
        "GetContextKeysForCustomPolicy",
        Target.ANY,
        simulation.get_context_keys_for_custom_policy,
    ),
    Row(
        "GetContextKeysForPrincipalPolicy",
        Target.SOURCE,
        simulation.get_context_keys_for_principal_policy,
    ),
    Row("CreateAccessKey", Target.KEYS, access_keys.create_access_key),
    Row("ListAccessKeys", Target.KEYS, access_keys.list_access_keys),
    Row("UpdateAccessKey", Target.KEYS, access_keys.update_access_key),
    Row("DeleteAccessKey", Target.KEYS, access_keys.delete_access_key),
    Row("GetAccessKeyLastUsed", Target.KEYS, access_keys.get_access_key_last_used),
    Row(
        "GetCallerIdentity",
        Target.ANY,
        access_keys.get_caller_identity,
        service=Service.STS,
        is_free=True,
    ),
    Row("AssumeRole", Target.ROLE, sts.assume_role, Service.STS, by_trust=True),
    Row("GetSessionToken", Target.ANY, sts.get_session_token, Service.STS, is_free=True),
    Row("GetFederationToken", Target.FEDERATED, sts.get_federation_token, Service.STS),
    Row("GetAccessKeyInfo", Target.ANY, sts.get_access_key_info, Service.STS),
    Row(
        "AssumeRoleWithWebIdentity",
        Target.ROLE,
        web_identity.assume_role_with_web_identity,
        Service.STS,
        by_trust=True,
        is_unsigned=True,
    ),
    *(
        Row(name, Target.PROVIDER, handler)
        for name, handler in (
            ("CreateOpenIDConnectProvider", providers.create),
            ("GetOpenIDConnectProvider", providers.get),
            ("DeleteOpenIDConnectProvider", providers.delete),
            ("AddClientIDToOpenIDConnectProvider", providers.add_client),
            ("RemoveClientIDFromOpenIDConnectProvider", providers.remove_client),
            ("UpdateOpenIDConnectProviderThumbprint", providers.update_thumbprints),
            ("TagOpenIDConnectProvider", providers.tag),
            ("UntagOpenIDConnectProvider", providers.untag),
            ("ListOpenIDConnectProviderTags", providers.list_tags),
        )
    ),
    Row("ListOpenIDConnectProviders", Target.ANY, providers.list_all),
)
"""All actions that are answered."""
