"""Admin requests about accounts, keys and buckets wait until this node shows what the cluster has.

Requests over S3 begin with that proof (`Services.sessions`); without it here, an account made
through one node would be unknown to `rs3gwctl` at another, and a name could be given twice. What it
is not: a wait for questions about the node itself, which are answered without a majority, too.
"""

from rs3gwd.base.admin import (
    AccountCreate,
    AccountDelete,
    AccountList,
    AdminAnswer,
    AnyAdminRequest,
    BucketSetDurability,
    IdentityAction,
    KeyCreate,
    KeyDelete,
    KeySetStatus,
    KmsKeyCreate,
    KmsKeyList,
    KmsKeyRotate,
    KmsKeySetState,
    KmsRewrap,
)
from rs3gwd.base.errors import Overloaded
from rs3gwd.daemon.administering import AdminHandler
from rs3gwd.daemon.stores import Stores

_ABOUT_THE_STORE = (
    AccountCreate,
    AccountDelete,
    AccountList,
    BucketSetDurability,
    IdentityAction,
    KeyCreate,
    KeyDelete,
    KeySetStatus,
    KmsKeyCreate,
    KmsKeyList,
    KmsKeyRotate,
    KmsKeySetState,
    KmsRewrap,
)


def when_current(stores: Stores, handle: AdminHandler) -> AdminHandler:
    """A handler behind the proof; the same one for a store that needs none."""
    sessions = stores.sessions
    if sessions is None:
        return handle

    async def handle_request(request: AnyAdminRequest) -> AdminAnswer:
        if isinstance(request, _ABOUT_THE_STORE):
            try:
                await sessions.begin("", b"", False)
            except Overloaded as error:
                return AdminAnswer(error=error.code, message=str(error))
        return await handle(request)

    return handle_request
