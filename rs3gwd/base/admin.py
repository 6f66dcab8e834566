"""The words of the admin socket: what `rs3gwctl` asks of a running node, and the answers.

A frame is a 4-byte big-endian length and that many bytes of msgpack: one request struct, tagged
with its class name, of at most 64 KiB, answered by one `AdminAnswer` of at most 16 MiB. The socket
is a Unix socket in the data directory that only the daemon's user (and root) may open; nothing here
travels further.
"""

from typing import Any

import msgspec
from msgspec import Struct

from rs3gwd.base.cluster_admin import ClusterPicture, LayoutChange, LayoutPicture, LayoutPlan
from rs3gwd.base.cluster_authority import AuthorityPicture, Revoked
from rs3gwd.base.kms_keys import KmsKeyState
from rs3gwd.base.records import AccessKeyStatus, Durability

REQUEST_BYTES_MAX = 64 << 10
"""Bound of a request's frame. The longest one, an account with all its fields, is under 2 KiB."""

FRAME_BYTES_MAX = 16 << 20
"""Bound of an answer's frame; a listing of 20,000 accounts fits, however long their names."""

SOCKET_PATH = "run/admin.sock"
"""The socket, relative to the data directory."""


class AdminRequest(Struct, tag=True, frozen=True):
    """The base of all requests; the tag on the wire is the class name."""


class AccountCreate(AdminRequest, frozen=True):
    """Makes an account with one access key; what is None or empty is generated."""

    display_name: str
    email: str = ""
    canonical_id: str | None = None
    access_key_id: str | None = None
    secret: str | None = None


class AccountList(AdminRequest, frozen=True):
    """All accounts, with their access keys but without secrets."""


class AccountDelete(AdminRequest, frozen=True):
    """Removes an account that owns no bucket; `account` is a canonical id, name or email."""

    account: str


class KeyCreate(AdminRequest, frozen=True):
    """Adds an access key to an account; what is None is generated."""

    account: str
    access_key_id: str | None = None
    secret: str | None = None


class IdentityAction(AdminRequest, frozen=True):
    """An action of the IAM query API, done as the root of `account` (canonical id, name or email);
    `fields` are the parameters as a request would have them."""

    account: str
    action: str
    fields: dict[str, str]


class KeyDelete(AdminRequest, frozen=True):
    """Removes an access key for ever."""

    access_key_id: str


class KeySetStatus(AdminRequest, frozen=True):
    """Activates or deactivates an access key."""

    access_key_id: str
    status: AccessKeyStatus


class BucketSetDurability(AdminRequest, frozen=True):
    """Changes the durability class of a bucket's later writes."""

    bucket: str
    durability: Durability


class NodeStatus(AdminRequest, frozen=True):
    """The figures of a running node."""


class WorkersList(AdminRequest, frozen=True):
    """The frontend processes of a running node."""


class WorkersRestart(AdminRequest, frozen=True):
    """Begins to replace the frontend processes one by one; `WorkersList` tells how far it is."""


class KmsKeyCreate(AdminRequest, frozen=True):
    """Makes a key of the key management."""

    name: str


class KmsKeyList(AdminRequest, frozen=True):
    """All keys of the key management."""


class KmsKeyRotate(AdminRequest, frozen=True):
    """Gives a key a new version; `key` is a name or an id."""

    key: str


class KmsKeySetState(AdminRequest, frozen=True):
    """Enables or disables a key; `key` is a name or an id."""

    key: str
    state: KmsKeyState


class KmsRewrap(AdminRequest, frozen=True):
    """Begins to put data keys under the newest version of their key; `KmsStatus` tells how far."""


class KmsStatus(AdminRequest, frozen=True):
    """Where the master key is, and whether it opens the keyring."""


class ClusterPictureShow(AdminRequest, frozen=True):
    """The cluster as this node sees it."""


class ClusterTransfer(AdminRequest, frozen=True):
    """Has a node lead a group."""

    group: int
    node: int


class ClusterRemove(AdminRequest, frozen=True):
    """Takes a node out of every group and refuses it for ever; may be said again. One that is up
    and holds copies goes only when `is_lost`."""

    node: int
    is_lost: bool = False


class ClusterLayoutShow(AdminRequest, frozen=True):
    """Which nodes hold the copies, and how far a change of it is."""


class ClusterLayoutPlan(AdminRequest, frozen=True):
    """What a change of the layout would do."""

    change: LayoutChange


class ClusterLayoutApply(AdminRequest, frozen=True):
    """Begins the change that was planned as `version`."""

    change: LayoutChange
    version: int


class ClusterLayoutRetreat(AdminRequest, frozen=True):
    """Goes back from a change of the layout that is under way."""


class ClusterAuthorityShow(AdminRequest, frozen=True):
    """The cluster's authority and its certificates."""


class ClusterAuthorityRotate(AdminRequest, frozen=True):
    """Begins a change to a new authority, or goes on with one; see `AuthorityControl.rotate`."""

    here: bool = False
    without: list[int] = []


class ClusterAuthorityRevoke(AdminRequest, frozen=True):
    """Revokes certificates: a serial number in hex, or `node:NUMBER`."""

    what: str


AnyAdminRequest = (
    AccountCreate
    | AccountList
    | AccountDelete
    | KeyCreate
    | KeyDelete
    | KeySetStatus
    | BucketSetDurability
    | NodeStatus
    | WorkersList
    | WorkersRestart
    | KmsKeyCreate
    | KmsKeyList
    | KmsKeyRotate
    | KmsKeySetState
    | KmsStatus
    | KmsRewrap
    | IdentityAction
    | ClusterPictureShow
    | ClusterTransfer
    | ClusterRemove
    | ClusterLayoutShow
    | ClusterLayoutPlan
    | ClusterLayoutApply
    | ClusterLayoutRetreat
    | ClusterAuthorityShow
    | ClusterAuthorityRotate
    | ClusterAuthorityRevoke
)


class KeyView(Struct, frozen=True):
    """An access key as shown; `secret` is filled only in the answer that made the key."""

    access_key_id: str
    status: AccessKeyStatus
    created_ms: int
    secret: str | None = None


class AccountView(Struct, frozen=True):
    """An account as shown; `account_id` are the 12 digits by which policies name it."""

    canonical_id: str
    display_name: str
    email: str
    created_ms: int
    is_root: bool
    keys: list[KeyView]
    account_id: str = ""


class WorkerView(Struct, frozen=True):
    """A frontend process as shown. `number` is never used again, `place` stays when it is replaced;
    `state` is starting, ready or leaving; `restarts` counts the replacements in its place."""

    place: int
    number: int
    pid: int
    state: str
    uptime_seconds: int
    requests: int
    connections: int
    restarts: int


class KmsKeyView(Struct, frozen=True):
    """A key as shown; `rotated_ms` is when its newest version was made."""

    name: str
    key_id: str
    arn: str
    state: KmsKeyState
    versions: int
    created_ms: int
    rotated_ms: int


class AdminAnswer(Struct, frozen=True):
    """Either `error` (a stable code) with `message`, or the fields that the request fills."""

    error: str = ""
    message: str = ""
    accounts: list[AccountView] = []
    keys: list[KeyView] = []
    figures: dict[str, bool | int | float | str] = {}
    workers: list[WorkerView] = []
    kms_keys: list[KmsKeyView] = []
    result: dict[str, Any] = {}
    cluster: ClusterPicture | None = None
    layout: LayoutPicture | None = None
    layout_plan: LayoutPlan | None = None
    authority: AuthorityPicture | None = None
    revoked: Revoked | None = None


def encode_frame(value: AnyAdminRequest | AdminAnswer) -> bytes:
    """The frame of a request or an answer; raises ValueError beyond FRAME_BYTES_MAX."""
    payload = msgspec.msgpack.encode(value)
    if len(payload) > FRAME_BYTES_MAX:
        raise ValueError(f"frame of {len(payload)} bytes exceeds {FRAME_BYTES_MAX}")
    return len(payload).to_bytes(4, "big") + payload


def decode_request(payload: bytes) -> AnyAdminRequest:
    """The request in a frame's payload; raises msgspec.DecodeError."""
    try:
        request: AnyAdminRequest = msgspec.msgpack.decode(payload, type=AnyAdminRequest)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
    return request


def decode_answer(payload: bytes) -> AdminAnswer:
    """The answer in a frame's payload; raises msgspec.DecodeError."""
    try:
        return msgspec.msgpack.decode(payload, type=AdminAnswer)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
