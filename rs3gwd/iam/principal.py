"""Who a request comes from, and what was decided about it.

A handler takes a Decision, and only `rs3gwd.iam.gate` makes one: forgetting the check is a
type error, not a hole.
"""

from msgspec import Struct

from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.base.ports import Directory
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus, AccountRecord

SECRET_OF_NOBODY = "no account has this secret; it keeps the work for unknown keys the same"


class Principal(Struct, frozen=True):
    """Whom a request was signed for; `account` is None for an anonymous one.

    `user` is the user of the account whose key it was; None for a key of the account itself, which
    has all the rights of the account.
    """

    account: AccountRecord | None
    access_key_id: str = ""
    user: IdentityRecord | None = None

    @property
    def canonical_id(self) -> str:
        """The account's canonical id, empty for an anonymous request."""
        return self.account.canonical_id if self.account else ""


def principal_of(record: AccessKeyRecord | None, directory: Directory) -> Principal | None:
    """Whom an access key stands for; None for one that is unknown, inactive or nobody's."""
    if record is None or record.status is not AccessKeyStatus.ACTIVE:
        return None
    account = directory.account(record.canonical_id)
    if account is None:
        return None
    if not record.user_name:
        return Principal(account=account, access_key_id=record.access_key_id)
    user = directory.identity(record.canonical_id, IdentityKind.USER, record.user_name)
    if user is None:
        return None
    return Principal(account=account, access_key_id=record.access_key_id, user=user)


def signer_of(access_key_id: str, directory: Directory) -> tuple[Principal | None, str]:
    """Whom a key that a request names stands for, and the secret to compare with.

    For a key that stands for nobody the secret is one that nobody has, so that the comparison is
    made all the same and takes as long.
    """
    record = directory.access_key(access_key_id)
    principal = principal_of(record, directory)
    if record is None or principal is None:
        return None, SECRET_OF_NOBODY
    return principal, record.secret


class Decision(Struct, frozen=True):
    """That `principal` may do `action` on `resource` (ARN), and why."""

    principal: Principal
    action: str
    resource: str
    reason: str
