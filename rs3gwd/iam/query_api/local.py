"""Actions of IAM for whoever administers the node itself, without a signature.

The same rows and handlers as for requests, as the root of an account: what `rs3gwctl` does to
users is checked and stored like what `aws iam` does. The Unix socket of the daemon is what keeps
others out.
"""

import difflib
from typing import Any

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Random
from rs3gwd.base.records import AccountRecord
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.identities.permissions import PermissionCache
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.query_api.call import QueryCall
from rs3gwd.iam.query_api.form import Form
from rs3gwd.iam.query_api.operations import QUERY_OPERATIONS
from rs3gwd.iam.query_api.xml import Service


class LocalPorts(Struct, frozen=True):
    """What the actions work with."""

    store: ObjectStore
    directory: Directory
    clock: Clock
    random: Random
    secrets: SecretWrapper | None


async def act_as_root(
    ports: LocalPorts, account: AccountRecord, action: str, fields: dict[str, str]
) -> dict[str, Any]:
    """The result of an action of IAM for an account; empty where the action has none.

    Raises ApiError with the codes of IAM, InvalidAction (there is none of that name), and what the
    store raises.
    """
    rows = {row.name: row for row in QUERY_OPERATIONS if row.service is Service.IAM}
    row = rows.get(action)
    if row is None:
        near = difflib.get_close_matches(action, rows, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ApiError("InvalidAction", f"IAM has no action {action[:64]} here{hint}")
    principal = Principal(account=account)
    call = QueryCall(
        principal=principal,
        canonical_id=account.canonical_id,
        form=Form(fields),
        store=ports.store,
        directory=ports.directory,
        clock=ports.clock,
        random=ports.random,
        own=PermissionCache().of(principal, ports.directory),
        request=_NO_REQUEST,
        region="us-east-1",
        secrets=ports.secrets,
        issuers=None,
    )
    return await row.handler(call) or {}


class _NoBody:
    """The body of a request that nobody sent."""

    async def receive(self) -> bytes:
        """Nothing."""
        return b""


_NO_REQUEST = Request(
    method="POST",
    raw_path="/",
    raw_query="",
    headers={},
    repeated_headers=frozenset(),
    host="",
    content_length=0,
    body=_NoBody(),
    peer="",
    secure=True,
    request_id="",
)
"""What policies can ask about: nothing but that nobody could listen."""
