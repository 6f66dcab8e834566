"""What policies permitted, remembered for requests that agree in everything the policies read.

With policies in force every request asks each of their statements, and nearly always hears what the
request before it heard: like a doorkeeper who knows the face and does not read the pass again. What
the statements say follows from a few facts of the request: those that their conditions ask for, and
which of their resources match. Requests that agree in these get the same answer, so a permission is
kept under them.

Only permissions are kept. Whatever is new, or refused, goes to `evaluate`, which alone decides and
explains. A fact that cannot be read cheaply (the tags of an object) makes the statements that ask
for it ones of which nothing is remembered.

A memory belongs to one bucket and ends with any change of what the bucket says; what it holds of a
caller ends with any change of the caller's own policies, which are other objects then.

Invariants: the values of a condition key follow from its facts, the caller and the bucket alone;
the answer follows from the statements, so from which match, and from what is the caller's and the
bucket's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from rs3gwd.base.http import Request
from rs3gwd.iam.policy.context import Caller
from rs3gwd.iam.policy.request_keys import HEADER_OF_KEY
from rs3gwd.iam.policy.statements import CompiledPolicy, CompiledStatement
from rs3gwd.iam.policy.variables import Lookup
from rs3gwd.iam.policy.wildcards import Matcher

REMEMBERED_MAX = 1024
"""Combinations of facts that are kept for one caller and action, some 300 bytes each; when there
are more, all are dropped. Clients send few: an address, an agent, this second."""

CALLERS_MAX = 256
"""Callers and actions that are kept for one bucket."""

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
    "s3:x-amz-copy-source": ("header x-amz-copy-source",),
    "aws:referer": ("header referer",),
    "aws:useragent": ("header user-agent",),
}
"""What the keys follow from that are no header's, beside the client's address and whether it came
by TLS, which are always asked."""

_SIGNS = ("X-Amz-Signature", "Signature", "AWSAccessKeyId")
"""What of a query says how the request is signed, beside the beginning of its Authorization header:
`rs3gwd.iam.request_side` reads no more."""

_CALLERS = frozenset(
    {
        "aws:federatedprovider",
        "aws:multifactorauthpresent",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:principaltype",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:sourceidentity",
        "aws:tokenissuetime",
        "aws:userid",
        "aws:username",
        "s3:resourceaccount",
    }
)
"""Keys whose values are the same for every request of one caller in one bucket."""

_TAGS = ("aws:principaltag/", "aws:resourcetag/", "s3:buckettag/")
"""Beginnings of more such keys."""

Owner = TypeVar("Owner")


class Remembered:
    """What the statements of some policies permit one caller of one action."""

    __slots__ = (
        "_asks_how",
        "_asks_second",
        "_can_know",
        "_headers",
        "_queries",
        "_which",
        "known",
    )

    def __init__(
        self, policies: Iterable[CompiledPolicy], action: str, *, caller: Caller, lookup: Lookup
    ) -> None:
        """`policies` are all that have a say; `lookup` gives the keys of any request of
        `caller`."""
        statements = [
            each
            for policy in policies
            for rows in (policy.rows(action),)
            for each in (*rows.denies, *rows.allows)
            # A boundary lets a denial spare fewer, so it is taken as there.
            if each.names_caller(caller, has_boundary=each.is_deny)
        ]
        keys = {key for each in statements for one in each.conditions for key in one.keys_used}
        matchers = _matchers(statements, lookup)
        asked = {fact for key in keys for fact in _facts_of(key) or ()}
        self.known: dict[Hashable, str] = {}
        """Why requests were permitted, by what `key_of` gives; nothing is kept under None."""
        self._can_know = matchers is not None and all(_facts_of(key) is not None for key in keys)
        self._which = _which(matchers or [])
        self._headers = _named(asked, "header ")
        self._queries = _named(asked, "query ")
        self._asks_second = _SECOND in asked
        self._asks_how = _HOW in asked

    def key_of(
        self, resource: str, request: Request, query: Mapping[str, str], now_ms: int
    ) -> Hashable:
        """What the answer follows from; None where nothing is remembered.

        Every request with a policy in force comes through here, so it makes as few calls as it
        can: most have no query, and nothing of one is then asked.
        """
        if not self._can_know:
            return None
        headers = request.headers
        return (
            self._which(resource),
            request.peer,
            request.secure,
            now_ms // 1000 if self._asks_second else 0,
            headers.get("authorization", "")[:16] if self._asks_how else None,
            *map(headers.get, self._headers),
            self._of_query(query) if query else None,
        )

    def remember(self, key: Hashable, reason: str) -> None:
        """A request of this key was permitted."""
        if key is None:
            return
        if len(self.known) >= REMEMBERED_MAX:
            self.known.clear()
        self.known[key] = reason

    def _of_query(self, query: Mapping[str, str]) -> Hashable:
        signs = [name in query for name in _SIGNS] if self._asks_how else ()
        return (*signs, *map(query.get, self._queries))


class Memory(Generic[Owner]):
    """All that is remembered of one bucket. For one event loop.

    An `Owner` is what the caller's own policies are kept in, which is another one when they change.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        # By the place of the owner in memory, where nothing else can be while it is held here.
        self._found: dict[tuple[str, int], tuple[Owner, Remembered]] = {}

    def of(self, action: str, owner: Owner) -> Remembered | None:
        """What is remembered of one action and caller; None before `begin`."""
        found = self._found.get((action, id(owner)))
        return None if found is None else found[1]

    def begin(self, action: str, owner: Owner, remembered: Remembered) -> Remembered:
        """Begins to remember one action and caller."""
        if len(self._found) >= CALLERS_MAX:
            self._found.clear()
        self._found[action, id(owner)] = owner, remembered
        return remembered


def _matchers(statements: Sequence[CompiledStatement], lookup: Lookup) -> list[Matcher] | None:
    """What says of a resource which of the statements name it; None where that is not settled."""
    found: dict[Hashable, Matcher] = {}
    for each in statements:
        if not all(map(_is_fixed, each.resource_keys)):
            return None
        # What cannot be resolved is read one way in a denial and another in a permission.
        apart = (
            each.resources_text,
            each.statement.is_not_resource,
            each.is_deny and bool(each.resource_keys),
        )
        if apart not in found:
            found[apart] = each.resource_test(lookup)
    return list(found.values())


def _which(matchers: list[Matcher]) -> Callable[[str], Hashable]:
    """Which of these match a resource."""
    if len(matchers) == 1:
        return matchers[0]
    return lambda resource: tuple([matches(resource) for matches in matchers])


def _is_fixed(key: str) -> bool:
    """Whether a key is the same for every request of one caller in one bucket."""
    return key in _CALLERS or key.startswith(_TAGS)


def _facts_of(key: str) -> tuple[str, ...] | None:
    """What the values of a condition key follow from; None where that is not cheap to read."""
    if _is_fixed(key):
        return ()
    header = HEADER_OF_KEY.get(key)
    return _OTHERS.get(key) if header is None else (f"header {header}",)


def _named(facts: set[str], kind: str) -> tuple[str, ...]:
    return tuple(sorted(fact.removeprefix(kind) for fact in facts if fact.startswith(kind)))
