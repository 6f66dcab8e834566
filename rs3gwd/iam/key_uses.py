"""When each access key was last used, told to the store now and then.

A request notes its key in memory, at most once in a quarter of an hour for each, and whoever runs
the process takes the notes and stores them in one command. So what the store says is as late as
AWS's: a quarter of an hour, and the notes of a process that dies are lost with it. Bounded: when
more keys are used than there is room for, those that come last are noted at their next use.

Source: "Get information about when an access key was last used" in the IAM User Guide.
"""

from rs3gwd.base.commands import KeyUse
from rs3gwd.iam.principal import Principal

EVERY_MS = 15 * 60_000
"""Milliseconds between two notes of one key."""

KEYS_MAX = 4096


class KeyUses:
    """The notes of one process."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._noted_ms: dict[str, int] = {}
        self._uses: dict[str, KeyUse] = {}

    def note(self, principal: Principal, service: str, now_ms: int) -> None:
        """The principal has just asked for something; of a session it is the key that made it."""
        session = principal.session
        key_id = principal.access_key_id if session is None else session.made_with
        if not key_id or now_ms - self._noted_ms.get(key_id, -EVERY_MS) < EVERY_MS:
            return
        if len(self._noted_ms) >= KEYS_MAX:
            self._noted_ms.clear()
        if len(self._uses) >= KEYS_MAX:
            return
        self._noted_ms[key_id] = now_ms
        self._uses[key_id] = KeyUse(key_id, now_ms, service, self._region)

    def take(self) -> list[KeyUse]:
        """The notes since the last call."""
        uses, self._uses = self._uses, {}
        return list(uses.values())
