"""What an administrator may do to accounts, keys and buckets, whoever carries the words.

The daemon puts the admin socket before it, and `rs3gwctl` calls it directly when no daemon runs.
Every change is a command like any other, so it is durable and ordered with the rest.
"""

from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from itertools import islice

from rs3gwd.base.admin import (
    AccountCreate,
    AccountDelete,
    AccountList,
    AccountView,
    AdminAnswer,
    AnyAdminRequest,
    BucketSetDurability,
    ClusterAuthorityRevoke,
    ClusterAuthorityRotate,
    ClusterAuthorityShow,
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
    ClusterLayoutShow,
    ClusterPictureShow,
    ClusterRemove,
    ClusterTransfer,
    IdentityAction,
    KeyCreate,
    KeyDelete,
    KeySetStatus,
    KeyView,
    KmsKeyCreate,
    KmsKeyList,
    KmsKeyRotate,
    KmsKeySetState,
    KmsRewrap,
    KmsStatus,
    NodeStatus,
    WorkersList,
    WorkersRestart,
)
from rs3gwd.base.cluster_admin import NotACluster
from rs3gwd.base.commands import (
    DeleteAccessKey,
    DeleteAccount,
    PutAccessKey,
    PutAccount,
    PutBucketDurability,
    SetAccessKeyStatus,
)
from rs3gwd.base.errors import ApiError, InvalidRequest, NoSuchAccount, Rs3gwError
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Random
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.accounts import make_access_key, make_account
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.key_secrets import sealed_key
from rs3gwd.iam.query_api.local import LocalPorts, act_as_root

HINTS_MAX = 1000
"""Names that one misspelt is compared with, which takes 20 us each."""

Figures = Callable[[], dict[str, int | float | str]]


class Administration:
    """Carries out admin requests on a store; `figures` gives what NodeStatus shows,
    `secrets` wraps what is stored of a key's secret.

    What concerns the processes of a daemon, and the keys that only it can open, is answered by the
    daemon itself, in front of this.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        directory: Directory,
        clock: Clock,
        random: Random,
        figures: Figures,
        secrets: SecretWrapper | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._random = random
        self._figures = figures
        self._secrets = secrets
        self._actions: dict[type, Callable[..., Awaitable[AdminAnswer]]] = {
            AccountCreate: self._create_account,
            AccountList: self._list_accounts,
            AccountDelete: self._delete_account,
            KeyCreate: self._create_key,
            IdentityAction: self._act,
            KeyDelete: self._delete_key,
            KeySetStatus: self._set_key_status,
            BucketSetDurability: self._set_durability,
            NodeStatus: self._status,
            WorkersList: self._refuse_workers,
            WorkersRestart: self._refuse_workers,
            KmsKeyCreate: self._refuse_keys,
            KmsKeyList: self._refuse_keys,
            KmsKeyRotate: self._refuse_keys,
            KmsKeySetState: self._refuse_keys,
            KmsStatus: self._refuse_keys,
            KmsRewrap: self._refuse_keys,
            ClusterPictureShow: self._refuse_cluster,
            ClusterTransfer: self._refuse_cluster,
            ClusterRemove: self._refuse_cluster,
            ClusterLayoutShow: self._refuse_cluster,
            ClusterLayoutPlan: self._refuse_cluster,
            ClusterLayoutApply: self._refuse_cluster,
            ClusterLayoutRetreat: self._refuse_cluster,
            ClusterAuthorityShow: self._refuse_cluster,
            ClusterAuthorityRotate: self._refuse_cluster,
            ClusterAuthorityRevoke: self._refuse_cluster,
        }

    async def handle(self, request: AnyAdminRequest) -> AdminAnswer:
        """The answer to one request; a refusal is an answer with `error` set."""
        try:
            return await self._actions[type(request)](request)
        except ApiError as error:
            return AdminAnswer(error=error.api_code, message=error.message or error.api_code)
        except Rs3gwError as error:
            return AdminAnswer(error=error.code, message=str(error) or error.code)

    async def _create_account(self, request: AccountCreate) -> AdminAnswer:
        account = make_account(
            display_name=request.display_name,
            email=request.email,
            canonical_id=request.canonical_id,
            now_ms=self._clock.now_ms(),
            random=self._random,
        )
        self._check_number(account)
        key = self._make_key(account.canonical_id, request.access_key_id, request.secret)
        if self._directory.access_key(key.access_key_id):
            raise InvalidRequest(f"access key {key.access_key_id} exists already")
        stored = await sealed_key(key, self._secrets)
        await self._store.submit(PutAccount(account=account))
        await self._store.submit(PutAccessKey(access_key=stored))
        return AdminAnswer(accounts=[self._view(account)], keys=[_view_key(key, with_secret=True)])

    async def _list_accounts(self, request: AccountList) -> AdminAnswer:
        return AdminAnswer(accounts=[self._view(each) for each in self._directory.accounts()])

    async def _delete_account(self, request: AccountDelete) -> AdminAnswer:
        account = self._find(request.account)
        if account.is_root:
            raise InvalidRequest("the root account cannot be removed")
        await self._store.submit(DeleteAccount(canonical_id=account.canonical_id))
        return AdminAnswer()

    async def _create_key(self, request: KeyCreate) -> AdminAnswer:
        account = self._find(request.account)
        key = self._make_key(account.canonical_id, request.access_key_id, request.secret)
        stored = await sealed_key(key, self._secrets)
        await self._store.submit(PutAccessKey(access_key=stored))
        return AdminAnswer(accounts=[self._view(account)], keys=[_view_key(key, with_secret=True)])

    async def _act(self, request: IdentityAction) -> AdminAnswer:
        ports = LocalPorts(
            store=self._store,
            directory=self._directory,
            clock=self._clock,
            random=self._random,
            secrets=self._secrets,
        )
        account = self._find(request.account)
        return AdminAnswer(result=await act_as_root(ports, account, request.action, request.fields))

    async def _delete_key(self, request: KeyDelete) -> AdminAnswer:
        await self._store.submit(DeleteAccessKey(access_key_id=request.access_key_id))
        return AdminAnswer()

    async def _set_key_status(self, request: KeySetStatus) -> AdminAnswer:
        await self._store.submit(
            SetAccessKeyStatus(access_key_id=request.access_key_id, status=request.status)
        )
        return AdminAnswer()

    async def _set_durability(self, request: BucketSetDurability) -> AdminAnswer:
        await self._store.submit(
            PutBucketDurability(name=request.bucket, durability=request.durability)
        )
        return AdminAnswer()

    async def _status(self, request: NodeStatus) -> AdminAnswer:
        return AdminAnswer(figures=self._figures())

    async def _refuse_workers(self, request: WorkersList | WorkersRestart) -> AdminAnswer:
        raise InvalidRequest("no daemon with workers runs on this store")

    async def _refuse_keys(self, request: AnyAdminRequest) -> AdminAnswer:
        raise InvalidRequest("keys are opened by the daemon alone: start it")

    async def _refuse_cluster(self, request: AnyAdminRequest) -> AdminAnswer:
        raise NotACluster("no node of a cluster runs on this store")

    def _check_number(self, account: AccountRecord) -> None:
        """Policies know accounts by number: no two may share one."""
        number = account_id_of(account.canonical_id)
        for each in self._directory.accounts():
            is_other = each.canonical_id != account.canonical_id
            if is_other and account_id_of(each.canonical_id) == number:
                raise InvalidRequest(
                    f"{each.display_name} has the account number {number}, which follows from this "
                    "canonical id too: take another"
                )

    def _make_key(
        self, canonical_id: str, access_key_id: str | None, secret: str | None
    ) -> AccessKeyRecord:
        return make_access_key(
            canonical_id=canonical_id,
            access_key_id=access_key_id,
            secret=secret,
            now_ms=self._clock.now_ms(),
            random=self._random,
        )

    def _find(self, wanted: str) -> AccountRecord:
        """The one account with this canonical id, email or name."""
        found = [
            each
            for each in self._directory.accounts()
            if wanted and wanted in (each.canonical_id, each.email, each.display_name)
        ]
        if not found:
            raise NoSuchAccount(f"no account is called {wanted[:200]!r}{self._hint(wanted)}")
        if len(found) > 1:
            raise InvalidRequest(
                f"{len(found)} accounts are called {wanted!r}: give the canonical id"
            )
        return found[0]

    def _hint(self, wanted: str) -> str:
        """What was probably meant."""
        names = [each.display_name for each in islice(self._directory.accounts(), HINTS_MAX)]
        near = get_close_matches(wanted[:200], names, 1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def _view(self, account: AccountRecord) -> AccountView:
        return AccountView(
            canonical_id=account.canonical_id,
            display_name=account.display_name,
            email=account.email,
            created_ms=account.created_ms,
            is_root=account.is_root,
            keys=[_view_key(each) for each in self._directory.access_keys(account.canonical_id)],
            account_id=account_id_of(account.canonical_id),
        )


def _view_key(key: AccessKeyRecord, *, with_secret: bool = False) -> KeyView:
    return KeyView(
        access_key_id=key.access_key_id,
        status=key.status,
        created_ms=key.created_ms,
        secret=key.secret if with_secret else None,
    )
