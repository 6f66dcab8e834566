"""The metadata state machine: a command and a state give a new state and a result.

What it is not: it decides no time, id or random value (they are in the command), so the same
commands in the same order give the same rows on every replica, byte for byte.

Many commands share one LMDB write transaction, which is what makes group commit cheap. So a
command must be refused whole: each command function makes all its checks before its first write
and its first number from a counter, and a StoreError means that nothing has changed. Any other
error (a damaged row, a full disk) leaves the transaction unusable: abort it.

An `Applier` serves one transaction: make it, apply the batch, `finish`, commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from rs3gwd.base import commands
from rs3gwd.base.commands import AnyCommand, Command, CommandResult
from rs3gwd.base.errors import InvalidRequest, StaleCommand
from rs3gwd.engine import (
    apply_accounts,
    apply_buckets,
    apply_group_buckets,
    apply_identities,
    apply_kms_keys,
    apply_locks,
    apply_objects,
    apply_uploads,
    cluster_authority,
    cluster_layout,
    cluster_nodes,
)
from rs3gwd.engine.apply_complete import complete_upload
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_state import IndexState, SystemState, TreeIds
from rs3gwd.engine.groups import SYSTEM_GROUP, is_cluster

CommandFunction = Callable[[Any, Any], CommandResult]


class Applied(Struct, frozen=True):
    """What a command did. `freed` are the ids (16 bytes) of blobs that lost their one owner."""

    result: CommandResult
    freed: list[bytes]


class Applier:
    """Applies commands within one write transaction, which the caller commits or aborts."""

    def __init__(
        self,
        txn: Transaction,
        *,
        state: ApplyState | None = None,
        functions: Mapping[type[Command], CommandFunction] | None = None,
    ) -> None:
        """`state` and `functions` are a group's (`rs3gwd.engine.group_state`)."""
        self.state = state or ApplyState(txn)
        if functions is not None:
            self._functions = functions
        else:
            self._functions = GROUPS_ONLY if is_cluster(txn) else FUNCTIONS

    def apply(self, command: AnyCommand) -> Applied:
        """Applies one command.

        Raises what the command's class says, each a StoreError, and then nothing has changed;
        DataCorrupt, FormatError, DiskFull, DiskFailed, and then the transaction must be aborted.
        """
        function = self._functions[type(command)]
        state = self.state
        state.freed = []
        result = function(state, command)
        return Applied(result, state.freed)

    def finish(self) -> None:
        """Writes what is kept in memory; to be called once, before the commit."""
        self.state.finish()


FUNCTIONS: dict[type[Command], CommandFunction] = {
    commands.CreateBucket: apply_buckets.create_bucket,
    commands.DeleteBucket: apply_buckets.delete_bucket,
    commands.PutBucketVersioning: apply_buckets.put_bucket_versioning,
    commands.PutBucketTagging: apply_buckets.put_bucket_tagging,
    commands.PutBucketDurability: apply_buckets.put_bucket_durability,
    commands.PutBucketConfiguration: apply_buckets.put_bucket_configuration,
    commands.PutBucketLock: apply_locks.put_bucket_lock,
    commands.PutObject: apply_objects.put_object,
    commands.DeleteObject: apply_objects.delete_object,
    commands.PutObjectTagging: apply_objects.put_object_tagging,
    commands.PutObjectAcl: apply_objects.put_object_acl,
    commands.PutObjectRetention: apply_locks.put_object_retention,
    commands.PutObjectLegalHold: apply_locks.put_object_legal_hold,
    commands.CreateUpload: apply_uploads.create_upload,
    commands.PutPart: apply_uploads.put_part,
    commands.AbortUpload: apply_uploads.abort_upload,
    commands.ForgetUploads: apply_uploads.forget_uploads,
    commands.CompleteUpload: complete_upload,
    commands.PutAccount: apply_accounts.put_account,
    commands.DeleteAccount: apply_accounts.delete_account,
    commands.PutAccessKey: apply_accounts.put_access_key,
    commands.SetAccessKeyStatus: apply_accounts.set_access_key_status,
    commands.DeleteAccessKey: apply_accounts.delete_access_key,
    commands.SealAccessKey: apply_accounts.seal_access_key,
    commands.NoteKeyUses: apply_accounts.note_key_uses,
    commands.PutIdentity: apply_identities.put_identity,
    commands.RenameIdentity: apply_identities.rename_identity,
    commands.DeleteIdentity: apply_identities.delete_identity,
    commands.PutManagedPolicy: apply_identities.put_managed_policy,
    commands.DeleteManagedPolicy: apply_identities.delete_managed_policy,
    commands.PutKmsKey: apply_kms_keys.put_kms_key,
    commands.PutObjectDataKey: apply_kms_keys.put_object_data_key,
}
"""The function of every command of a single node."""


class _Refusing(dict[type[Command], CommandFunction]):
    """Functions of some commands; every other command is refused, on every replica alike."""

    def __missing__(self, kind: type[Command]) -> CommandFunction:
        raise InvalidRequest(f"{kind.__name__} is no command of this group")


def _keyed(function: CommandFunction) -> CommandFunction:
    """The function, for commands on keys of the group alone."""

    def run(state: IndexState, command: Any) -> CommandResult:
        bucket = state.find_bucket(command.bucket)
        if bucket is not None and not state.owns_key(bucket.bucket_id, command.key):
            raise StaleCommand(f"bucket {command.bucket!r} is another one now")
        return function(state, command)

    return run


_INDEX_FUNCTIONS: dict[type[Command], CommandFunction] = {
    **{
        kind: _keyed(FUNCTIONS[kind])
        for kind in (
            commands.PutObject,
            commands.DeleteObject,
            commands.PutObjectTagging,
            commands.PutObjectAcl,
            commands.PutObjectDataKey,
            commands.PutObjectRetention,
            commands.PutObjectLegalHold,
            commands.CreateUpload,
            commands.PutPart,
            commands.AbortUpload,
            commands.CompleteUpload,
        )
    },
    commands.ForgetUploads: apply_uploads.forget_uploads,
    commands.AdoptBucket: apply_group_buckets.adopt_bucket,
    commands.SealBucket: apply_group_buckets.seal_bucket,
    commands.DropBucket: apply_group_buckets.drop_bucket,
}

INDEX_FUNCTIONS = _Refusing(_INDEX_FUNCTIONS)
"""The commands of the index groups of a cluster."""

_SYSTEM_FUNCTIONS: dict[type[Command], CommandFunction] = {
    **{
        kind: function
        for kind, function in FUNCTIONS.items()
        if kind not in INDEX_FUNCTIONS and kind is not commands.DeleteBucket
    },
    commands.PutNode: cluster_nodes.put_node,
    commands.PutLayout: cluster_layout.put_layout,
    commands.PutAuthority: cluster_authority.put_authority,
    commands.BeginDeleteBucket: apply_group_buckets.begin_delete_bucket,
    commands.FinishDeleteBucket: apply_group_buckets.finish_delete_bucket,
    commands.CancelDeleteBucket: apply_group_buckets.cancel_delete_bucket,
}

SYSTEM_FUNCTIONS = _Refusing(_SYSTEM_FUNCTIONS)
"""The commands of the system group."""

GROUPS_ONLY = _Refusing()
"""A cluster's store takes nothing past its groups: its replicas would differ."""


def group_applier(txn: Transaction, group: int, groups: int, tree_ids: TreeIds) -> Applier:
    """The applier of one group of a cluster; `groups` is the number of its index groups."""
    if group == SYSTEM_GROUP:
        return Applier(
            txn, state=SystemState(txn, group, groups, tree_ids), functions=SYSTEM_FUNCTIONS
        )
    return Applier(txn, state=IndexState(txn, group, groups, tree_ids), functions=INDEX_FUNCTIONS)
