"""The port `Directory` over the state of the reference model."""

from __future__ import annotations

from collections.abc import Iterable

from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.ports import KeyHolder
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.testing.memory_state import MemoryState


class MemoryDirectory:
    """Accounts and keys in memory; without a state it starts with one of its own."""

    def __init__(
        self,
        state: MemoryState | None = None,
        *,
        accounts: Iterable[AccountRecord] = (),
        access_keys: Iterable[AccessKeyRecord] = (),
    ) -> None:
        self._state = MemoryState() if state is None else state
        for account in accounts:
            self.add_account(account)
        for access_key in access_keys:
            self.add_access_key(access_key)

    def add_account(self, account: AccountRecord) -> None:
        """Adds or replaces an account, without any of the checks of a command."""
        self._state.accounts[account.canonical_id] = account

    def add_access_key(self, access_key: AccessKeyRecord) -> None:
        """Adds or replaces a key, without any of the checks of a command."""
        self._state.access_keys[access_key.access_key_id] = access_key

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        """The key with this id."""
        return self._state.access_keys.get(access_key_id)

    def key_holder(self, access_key_id: str) -> KeyHolder | None:
        """The key and whom it is of."""
        key = self.access_key(access_key_id)
        if key is None:
            return None
        user = None
        if key.user_name:
            user = self.identity(key.canonical_id, IdentityKind.USER, key.user_name)
        return KeyHolder(key, self.account(key.canonical_id), user)

    def account(self, canonical_id: str) -> AccountRecord | None:
        """The account with this id."""
        return self._state.accounts.get(canonical_id)

    def account_by_email(self, email: str) -> AccountRecord | None:
        """The account with this email, whatever its case."""
        for account in self._state.accounts.values():
            if account.email and account.email.lower() == email.lower():
                return account
        return None

    def accounts(self) -> list[AccountRecord]:
        """All accounts, by canonical id."""
        return [self._state.accounts[name] for name in sorted(self._state.accounts)]

    def access_keys(self, canonical_id: str) -> list[AccessKeyRecord]:
        """The keys of one account, by access key id."""
        keys = self._state.access_keys
        return [keys[name] for name in sorted(keys) if keys[name].canonical_id == canonical_id]

    def identity(self, canonical_id: str, kind: IdentityKind, name: str) -> IdentityRecord | None:
        """The identity of this name, whatever its case."""
        return self._state.identities.get((canonical_id, kind, name.lower()))

    def identities(self, canonical_id: str, kind: IdentityKind) -> list[IdentityRecord]:
        """All of a kind in an account, by name in lower case."""
        found = sorted(each for each in self._state.identities if each[:2] == (canonical_id, kind))
        return [self._state.identities[each] for each in found]

    def policy(self, canonical_id: str, name: str) -> PolicyRecord | None:
        """The managed policy of this name, whatever its case."""
        return self._state.policies.get((canonical_id, name.lower()))

    def policies(self, canonical_id: str) -> list[PolicyRecord]:
        """All managed policies of an account, by name in lower case."""
        found = sorted(each for each in self._state.policies if each[0] == canonical_id)
        return [self._state.policies[each] for each in found]
