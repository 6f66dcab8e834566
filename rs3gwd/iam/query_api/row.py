"""What a row of the table of actions says; `rs3gwd.iam.query_api.operations` is the table."""

from collections.abc import Awaitable, Callable
from enum import StrEnum

from msgspec import Struct

from rs3gwd.iam.query_api.call import QueryCall, Result
from rs3gwd.iam.query_api.xml import Service

Handler = Callable[[QueryCall], Awaitable[Result]]


class Target(StrEnum):
    """What an action is done to. ANY has no resource: policies name it `*`.

    KEYS are those of a user, who need not be named. FEDERATED is a federated user,
    PROVIDER an OpenID Connect provider. SOURCE is the user, group or role of PolicySourceArn.
    """

    USER = "user"
    GROUP = "group"
    ROLE = "role"
    POLICY = "policy"
    KEYS = "keys"
    FEDERATED = "federated"
    PROVIDER = "oidc-provider"
    SOURCE = "source"
    ANY = "*"


class Row(Struct, frozen=True):
    """One action. `is_free` ones need no permission but a valid signature; those `by_trust` are
    decided by their handlers, which ask the trust policy of a role. `is_unsigned` ones bring their
    own proof of who asks, and come without a signature."""

    name: str
    target: Target
    handler: Handler
    service: Service = Service.IAM
    is_free: bool = False
    by_trust: bool = False
    is_unsigned: bool = False

    @property
    def action(self) -> str:
        """The action as policies name it."""
        return f"{self.service.scope}:{self.name}"
