"""What a handler of the query API gets, and the ways in which it reads and changes identities.

A change is made from the record as it is and carries its revision; when somebody else was faster it
is made anew, a few times. What an identity may be is checked before (`names`, `read_policy`), what
it names is checked by the store with the change itself.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.commands import PutIdentity, PutManagedPolicy
from rs3gwd.base.errors import ApiError, IdentityChanged
from rs3gwd.base.http import Request
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Random
from rs3gwd.base.sealing import SecretWrapper
from rs3gwd.iam.identities.arns import identity_arn, policies_prefix, policy_arn
from rs3gwd.iam.identities.names import invalid
from rs3gwd.iam.identities.permissions import Permissions
from rs3gwd.iam.policy.document import PolicyKind
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.query_api.form import PAGE_DEFAULT, PAGE_MAX, Form
from rs3gwd.iam.web_identity.issuers import Issuers

ATTEMPTS_MAX = 5
"""How often a change is made anew when others change the same record at the same time."""

T = TypeVar("T")
Result = dict[str, Any] | None


class QueryCall(Struct, frozen=True):
    """One call of an action that was permitted, and the ports it works with.

    `own` are the caller's own policies. Without `secrets` no session can be made, and without
    `issuers` none of a web identity.
    """

    principal: Principal
    canonical_id: str
    form: Form
    store: ObjectStore
    directory: Directory
    clock: Clock
    random: Random
    own: Permissions
    request: Request
    region: str
    secrets: SecretWrapper | None
    issuers: Issuers | None

    def find(self, kind: IdentityKind, name: str) -> IdentityRecord:
        """An identity of the account. Raises ApiError NoSuchEntity."""
        found = self.directory.identity(self.canonical_id, kind, name)
        if found is None:
            raise ApiError("NoSuchEntity", f"The {kind} with name {name} cannot be found.")
        return found

    def find_policy(self, arn: str) -> PolicyRecord:
        """A managed policy of the account. Raises ApiError NoSuchEntity."""
        name = arn.rpartition("/")[2]
        found = None
        if arn.startswith(policies_prefix(self.canonical_id)):
            found = self.directory.policy(self.canonical_id, name)
        if found is None or arn_of_policy(found) != arn:
            raise ApiError("NoSuchEntity", f"Policy {arn} was not found.")
        return found

    async def change(
        self,
        kind: IdentityKind,
        name: str,
        make: Callable[[IdentityRecord], IdentityRecord],
    ) -> IdentityRecord:
        """Changes an identity by what `make` makes of it; an unchanged one is not written."""
        for attempt in range(ATTEMPTS_MAX):
            found = self.find(kind, name)
            changed = make(found)
            if changed == found:
                return found
            try:
                result = await self.store.submit(PutIdentity(changed, found.revision))
            except IdentityChanged:
                if attempt == ATTEMPTS_MAX - 1:
                    raise
                continue
            assert isinstance(result, IdentityRecord)
            return result
        raise AssertionError("the last attempt returns or raises")

    async def change_policy(
        self, arn: str, make: Callable[[PolicyRecord], PolicyRecord]
    ) -> PolicyRecord:
        """Changes a managed policy, as `change` does an identity."""
        for attempt in range(ATTEMPTS_MAX):
            found = self.find_policy(arn)
            changed = make(found)
            if changed == found:
                return found
            try:
                result = await self.store.submit(PutManagedPolicy(changed, found.revision))
            except IdentityChanged:
                if attempt == ATTEMPTS_MAX - 1:
                    raise
                continue
            assert isinstance(result, PolicyRecord)
            return result
        raise AssertionError("the last attempt returns or raises")

    def document(
        self, name: str, characters_max: int, kind: PolicyKind = PolicyKind.IDENTITY
    ) -> bytes:
        """The policy document in a parameter, checked. Raises ApiError."""
        text = self.form.text(name)
        read_policy(text, kind, characters_max=characters_max)
        return text.encode()

    def page(self, name: str, found: Sequence[T], show: Callable[[T], Any]) -> dict[str, Any]:
        """A page of a list, which begins behind Marker: how many came before it."""
        size = self.form.number("MaxItems", PAGE_DEFAULT, low=1, high=PAGE_MAX)
        marker = self.form.optional("Marker", "0")
        if not marker.isascii() or not marker.isdecimal() or len(marker) > 9:
            raise invalid("Invalid Marker.")
        start = int(marker)
        end = start + size
        result: dict[str, Any] = {
            name: [show(each) for each in found[start:end]],
            "IsTruncated": end < len(found),
        }
        if end < len(found):
            result["Marker"] = str(end)
        return result


def arn_of(record: IdentityRecord) -> str:
    """The ARN of an identity."""
    return identity_arn(record.canonical_id, record.kind, record.path, record.name)


def arn_of_policy(record: PolicyRecord) -> str:
    """The ARN of a managed policy."""
    return policy_arn(record.canonical_id, record.path, record.name)


def show_time(instant_ms: int) -> str:
    """An instant as answers write it."""
    return datetime.fromtimestamp(instant_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show_tags(tags: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags as answers write them."""
    return [{"Key": key, "Value": value} for key, value in tags]


def without_tags(tags: Sequence[tuple[str, str]], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Tags without those of some keys, whatever their case."""
    dropped = {key.lower() for key in keys}
    return [(key, value) for key, value in tags if key.lower() not in dropped]


def replace_in(record: IdentityRecord, **changes: Any) -> IdentityRecord:
    """A record with some fields changed."""
    return replace(record, **changes)
