"""Which requests the denials of a policy have nothing to say to, remembered.

The root of the account that owns a bucket may do everything in it that nothing denies. So with a
policy in force each of its requests asks every denial, and nearly always hears nothing: like a
night watchman whose every round finds the same doors shut. What a denial says follows from a few
facts of the request: those that its conditions ask for, and which of its resources match. Requests
that agree in these get the same answer, so an answer of silence is kept under them.

Only silence is kept. Whatever is new, or denied, goes to `evaluate`, which alone decides and
explains. A fact that cannot be read cheaply (tags of an object, a variable) makes the whole policy
one that is never remembered.

Invariant: the values of a condition key follow from its facts and the caller alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from rs3gwd.base.http import Request
from rs3gwd.iam.policy.context import Caller
from rs3gwd.iam.policy.request_keys import HEADER_OF_KEY
from rs3gwd.iam.policy.statements import CompiledPolicy

REMEMBERED_MAX = 1024
"""Combinations of facts that are kept for one caller and action, some 300 bytes each; when there
are more, all are dropped. Clients send few: an address, an agent, this second."""

CALLERS_MAX = 256
"""Callers and actions that a policy remembers."""


_SECOND = "the second that it is"
_HOW = "how the request is signed"

_OTHERS: dict[str, tuple[str, ...]] = {
    "aws:currenttime": (_SECOND,),
    "aws:epochtime": (_SECOND,),
    "aws:securetransport": (),
    "aws:sourceip": (),
    "s3:authtype": (_HOW,),
    "s3:signatureversion": (_HOW,),
    "s3:signatureage": (_HOW, _SECOND, "header x-amz-date", "query X-Amz-Date"),
    "s3:delimiter": ("query delimiter",),
    "s3:max-keys": ("query max-keys",),
    "s3:prefix": ("query prefix",),
    "s3:versionid": ("query versionId",),
    "aws:referer": ("header referer",),
    "aws:useragent": ("header user-agent",),
}
"""What the keys follow from that are no header's, beside the client's address and whether it came
by TLS, which are always asked."""

_CALLERS = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:principaltype",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:userid",
        "aws:username",
        "s3:resourceaccount",
    }
)
"""Keys whose values are the same for every request of one caller in one bucket."""


class Silence:
    """What the denials of one policy do not say to one caller about one action."""

    __slots__ = (
        "_asks_how",
        "_asks_second",
        "_headers",
        "_known",
        "_queries",
        "_resources",
        "caller",
    )

    def __init__(self, policy: CompiledPolicy, action: str, caller: Caller) -> None:
        self.caller = caller
        denials = [
            each
            for each in policy.rows(action).denies
            if each.names_caller(caller, has_boundary=False)
        ]
        keys = {key for each in denials for one in each.conditions for key in one.keys_used}
        matchers = {each.resources_text: each.plain_resource for each in denials}
        asked = {fact for key in keys for fact in _facts_of(key) or ()}
        can_know = None not in matchers.values() and all(_facts_of(key) is not None for key in keys)
        self._known: set[Hashable] | None = set() if can_know else None
        self._resources = tuple(each for each in matchers.values() if each is not None)
        self._headers = _named(asked, "header ")
        self._queries = _named(asked, "query ")
        self._asks_second = _SECOND in asked
        self._asks_how = _HOW in asked

    def key_of(
        self, resource: str, request: Request, query: Mapping[str, str], now_ms: int
    ) -> Hashable:
        """What the answer follows from; None where nothing is remembered."""
        if self._known is None:
            return None
        headers = request.headers
        key: list[Hashable] = [request.peer, request.secure]
        key += [matches(resource) for matches in self._resources]
        key += map(headers.get, self._headers)
        if self._queries:
            key += map(query.get, self._queries)
        if self._asks_second:
            key.append(now_ms // 1000)
        if self._asks_how:
            key.append(headers.get("authorization", "")[:16])
            key.append(("X-Amz-Signature" in query, "Signature" in query))
        return tuple(key)

    def covers(self, key: Hashable) -> bool:
        """Whether requests of this key were met with silence."""
        return self._known is not None and key in self._known

    def remember(self, key: Hashable) -> None:
        """Nothing was said to a request of this key."""
        if key is None or self._known is None:
            return
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known.add(key)


class Silences:
    """The silences of a policy. For one event loop, and as long as the policy is in force."""

    __slots__ = ("_found", "_policy")

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = policy
        self._found: dict[tuple[str, str], Silence] = {}

    def of(self, action: str, caller: Caller) -> Silence:
        """That of one action and caller."""
        key = action, caller.arn
        found = self._found.get(key)
        if found is None or (found.caller is not caller and found.caller != caller):
            if len(self._found) >= CALLERS_MAX:
                self._found.clear()
            found = self._found[key] = Silence(self._policy, action, caller)
        return found


def _facts_of(key: str) -> tuple[str, ...] | None:
    """What the values of a condition key follow from; None where that is not cheap to read."""
    if key in _CALLERS:
        return ()
    header = HEADER_OF_KEY.get(key)
    return _OTHERS.get(key) if header is None else (f"header {header}",)


def _named(facts: set[str], kind: str) -> tuple[str, ...]:
    return tuple(sorted(fact.removeprefix(kind) for fact in facts if fact.startswith(kind)))
