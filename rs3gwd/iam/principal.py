"""Who a request comes from, and what was decided about it.

A handler takes a Decision, and only `rs3gwd.iam.gate` makes one: forgetting the check is a
type error, not a hole. Whom an access key stands for is found by `rs3gwd.iam.signers`.
"""

from msgspec import Struct

from rs3gwd.base.identities import IdentityRecord
from rs3gwd.base.records import AccountRecord
from rs3gwd.iam.sessions.session import Session, SessionKind


class Principal(Struct, frozen=True):
    """Whom a request was signed for; `account` is None for an anonymous one.

    `user` is the user of the account whose key it was, or who the session is of; `role` the role of
    a session. Neither is there for a key of the account itself, and for sessions of that. `session`
    is None for a key that is for ever.
    """

    account: AccountRecord | None
    access_key_id: str = ""
    user: IdentityRecord | None = None
    role: IdentityRecord | None = None
    session: Session | None = None

    @property
    def canonical_id(self) -> str:
        """The account's canonical id, empty for an anonymous request."""
        return self.account.canonical_id if self.account else ""

    @property
    def is_federated(self) -> bool:
        """Whether it is a federated user, who has no more than the session's policies."""
        return self.session is not None and self.session.kind is SessionKind.FEDERATED

    @property
    def is_root(self) -> bool:
        """Whether the caller has all the rights of an account: by a key of the account itself."""
        return (
            self.account is not None
            and self.user is None
            and self.role is None
            and not self.is_federated
        )


class Decision(Struct, frozen=True):
    """That `principal` may do `action` on `resource` (ARN), and why."""

    principal: Principal
    action: str
    resource: str
    reason: str
