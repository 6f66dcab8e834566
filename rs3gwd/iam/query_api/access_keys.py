"""Access keys of users and of the account, and who a caller is.

A secret is shown in the answer that makes it and never again; it is stored wrapped. An account's
own keys are managed by its root alone: no user can make a key that is more than the user.

Source: the actions of the same names in the IAM API Reference; GetCallerIdentity in the AWS STS API
Reference.
"""

from typing import Any

from rs3gwd.base.commands import DeleteAccessKey, PutAccessKey, SetAccessKeyStatus
from rs3gwd.base.errors import ApiError
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus
from rs3gwd.iam.accounts import make_access_key
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.identities.names import ACCESS_KEYS_MAX, invalid
from rs3gwd.iam.key_secrets import sealed_key
from rs3gwd.iam.query_api.call import QueryCall, Result, arn_of, show_time
from rs3gwd.iam.query_api.permission import require_on


def owner_of_keys(call: QueryCall) -> str:
    """The user whose keys a request is about, empty for those of the account.

    Without UserName they are the caller's own. Raises ApiError NoSuchEntity,
    ValidationError (a session of a role names no user).
    """
    name = call.form.optional("UserName")
    if name:
        return call.find(IdentityKind.USER, name).name
    if call.principal.user is None and not call.principal.is_root:
        # Never the account's own keys for somebody who is not the account.
        raise invalid("Must specify userName when calling with non-User credentials")
    return "" if call.principal.user is None else call.principal.user.name


async def create_access_key(call: QueryCall) -> Result:
    """CreateAccessKey."""
    user_name = owner_of_keys(call)
    if user_name and len(_keys(call, user_name)) >= ACCESS_KEYS_MAX:
        raise ApiError(
            "LimitExceeded", f"Cannot exceed quota for AccessKeysPerUser: {ACCESS_KEYS_MAX}"
        )
    key = make_access_key(
        canonical_id=call.canonical_id,
        user_name=user_name,
        now_ms=call.clock.now_ms(),
        random=call.random,
    )
    await call.store.submit(PutAccessKey(await sealed_key(key, call.secrets)))
    shown = {"UserName": user_name, **_show(key), "SecretAccessKey": key.secret}
    return {"AccessKey": shown}


async def list_access_keys(call: QueryCall) -> Result:
    """ListAccessKeys."""
    user_name = owner_of_keys(call)
    keys = _keys(call, user_name)
    return call.page("AccessKeyMetadata", keys, lambda key: {"UserName": user_name, **_show(key)})


async def update_access_key(call: QueryCall) -> Result:
    """UpdateAccessKey: Active or Inactive."""
    try:
        status = AccessKeyStatus(call.form.text("Status"))
    except ValueError as error:
        raise invalid("Status must be Active or Inactive.") from error
    await call.store.submit(SetAccessKeyStatus(_find(call).access_key_id, status))
    return None


async def delete_access_key(call: QueryCall) -> Result:
    """DeleteAccessKey."""
    await call.store.submit(DeleteAccessKey(_find(call).access_key_id))
    return None


async def get_access_key_last_used(call: QueryCall) -> Result:
    """GetAccessKeyLastUsed, of any key of the account whose user the caller may ask about."""
    wanted = call.form.text("AccessKeyId")
    keys = call.directory.access_keys(call.canonical_id)
    key = next((each for each in keys if each.access_key_id == wanted), None)
    if key is None or not (key.user_name or call.principal.is_root):
        raise ApiError("NoSuchEntity", f"The Access Key with id {wanted} cannot be found.")
    if key.user_name:
        owner = call.find(IdentityKind.USER, key.user_name)
        require_on(call, "iam:GetAccessKeyLastUsed", arn_of(owner))
    is_used = bool(key.used_ms)
    return {
        "UserName": key.user_name or None,
        "AccessKeyLastUsed": {
            "LastUsedDate": show_time(key.used_ms) if is_used else None,
            "ServiceName": key.used_service if is_used else "N/A",
            "Region": key.used_region if is_used else "N/A",
        },
    }


async def get_caller_identity(call: QueryCall) -> Result:
    """GetCallerIdentity; needs no permission."""
    caller = call.own.caller
    return {
        "Arn": caller.arn,
        "UserId": caller.user_id,
        "Account": account_id_of(call.canonical_id),
    }


def _keys(call: QueryCall, user_name: str) -> list[AccessKeyRecord]:
    keys = call.directory.access_keys(call.canonical_id)
    return [key for key in keys if key.user_name == user_name]


def _find(call: QueryCall) -> AccessKeyRecord:
    """The key of a request, which must be of the user that the request was permitted for."""
    wanted = call.form.text("AccessKeyId")
    for key in _keys(call, owner_of_keys(call)):
        if key.access_key_id == wanted:
            return key
    raise ApiError("NoSuchEntity", f"The Access Key with id {wanted} cannot be found.")


def _show(key: AccessKeyRecord) -> dict[str, Any]:
    return {
        "AccessKeyId": key.access_key_id,
        "Status": str(key.status),
        "CreateDate": show_time(key.created_ms),
    }
