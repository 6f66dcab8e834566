"""Admin requests about keys, answered in front of those about accounts and buckets."""

from rs3gwd.base.admin import (
    AdminAnswer,
    AnyAdminRequest,
    KmsKeyCreate,
    KmsKeyList,
    KmsKeyRotate,
    KmsKeySetState,
    KmsKeyView,
    KmsRewrap,
    KmsStatus,
)
from rs3gwd.base.errors import ApiError, InvalidRequest, Rs3gwError
from rs3gwd.base.kms_keys import KmsKeyRecord, KmsKeyState
from rs3gwd.daemon.administering import AdminHandler
from rs3gwd.daemon.rewrapping import Rewrapping
from rs3gwd.transform.body_cipher import CIPHER_NAMES
from rs3gwd.transform.key_management import KeyManagement
from rs3gwd.transform.keyring import Keyring
from rs3gwd.transform.object_keys import key_arn


class KeyAdministration:
    """Carries out what `rs3gwctl kms` asks; `region` stands in the ARNs that it shows."""

    def __init__(
        self, keyring: Keyring, management: KeyManagement, rewrapping: Rewrapping, *, region: str
    ) -> None:
        self._rewrapping = rewrapping
        self._keyring = keyring
        self._management = management
        self._region = region

    def before(self, handle: AdminHandler) -> AdminHandler:
        """A handler that knows the keys, in front of one that knows the rest."""

        async def handle_request(request: AnyAdminRequest) -> AdminAnswer:
            try:
                answer = await self._handle(request)
            except ApiError as error:
                return AdminAnswer(error=error.api_code, message=error.message or error.api_code)
            except Rs3gwError as error:
                return AdminAnswer(error=error.code, message=str(error) or error.code)
            return await handle(request) if answer is None else answer

        return handle_request

    async def _handle(self, request: AnyAdminRequest) -> AdminAnswer | None:
        match request:
            case KmsKeyCreate(name):
                changed = await self._management.create(name)
            case KmsKeyRotate(key):
                changed = await self._management.rotate(key)
            case KmsKeySetState(key, state):
                changed = await self._management.set_state(key, state)
            case KmsKeyList():
                return AdminAnswer(kms_keys=[self._view(each) for each in self._keyring.keys.all()])
            case KmsRewrap():
                if not self._rewrapping.begin():
                    raise InvalidRequest("the data keys are being put under newer versions already")
                return await self._status()
            case KmsStatus():
                return await self._status()
            case _:
                return None
        return AdminAnswer(kms_keys=[self._view(changed)])

    async def _status(self) -> AdminAnswer:
        keys = self._keyring.keys.all()
        await self._keyring.check()
        return AdminAnswer(
            figures={
                "master_key": self._keyring.master.provider,
                "master_key_id": self._keyring.master.id.hex(),
                "algorithm": CIPHER_NAMES[self._keyring.algorithm],
                "keys": len(keys),
                "keys_disabled": sum(each.state is KmsKeyState.DISABLED for each in keys),
                "key_versions": sum(len(each.versions) for each in keys),
                **self._rewrapping.figures(),
            }
        )

    def _view(self, record: KmsKeyRecord) -> KmsKeyView:
        return KmsKeyView(
            name=record.name,
            key_id=record.key_id,
            arn=key_arn(self._region, record),
            state=record.state,
            versions=len(record.versions),
            created_ms=record.created_ms,
            rotated_ms=record.versions[-1].created_ms,
        )
