"""Who a request comes from, and what was decided about it.

A handler takes a Decision, and only `rs3gwd.iam.gate` makes one: forgetting the check is a
type error, not a hole.
"""

from msgspec import Struct

from rs3gwd.base.records import AccountRecord


class Principal(Struct, frozen=True):
    """The account a request was signed for; `account` is None for an anonymous one."""

    account: AccountRecord | None
    access_key_id: str = ""

    @property
    def canonical_id(self) -> str:
        """The account's canonical id, empty for an anonymous request."""
        return self.account.canonical_id if self.account else ""


class Decision(Struct, frozen=True):
    """That `principal` may do `action` on `resource` (ARN), and why."""

    principal: Principal
    action: str
    resource: str
    reason: str
