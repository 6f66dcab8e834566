"""Whoever fails to prove who they are is slowed: per key and address, and nobody else with them.

Each failure takes a token out of the bucket of its key and address; an empty bucket answers
SlowDown at once, before anything is computed, until time has put a token back. So a program with a
wrong secret, or somebody who guesses, gets a few answers a second, holds no connection and no task,
and a right key elsewhere notices nothing. Keys that nobody has, and tokens that nobody here made,
share one bucket per address, else each new guess would begin anew.

An IPv6 address counts as its /64, which one subscriber has to give out. The table is bounded: the
bucket that was longest untouched goes, which can only make the brake weaker. Each process counts
for itself. Pure: time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from rs3gwd.base.errors import ApiError, Rs3gwError

FAILURES_BURST = 100
FAILURES_PER_SECOND = 5
BUCKETS_MAX = 16_384
"""Pairs of key and address that are remembered, some 300 bytes each."""

NOBODY = ""
"""Stands for every key that is unknown."""

_OF_A_KEY = "SignatureDoesNotMatch"
_OF_NOBODY = ("InvalidAccessKeyId", "InvalidToken")


class Brake:
    """The failures of one process. `burst` and `per_second` are of one key and address."""

    def __init__(
        self, *, burst: int = FAILURES_BURST, per_second: int = FAILURES_PER_SECOND
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def check(self, access_key_id: str, peer: str, now_ms: int) -> None:
        """Raises ApiError SlowDown while this key has failed too often from this address."""
        if self._buckets and self._left((access_key_id, _place(peer)), now_ms) < 1:
            raise ApiError(
                "SlowDown", "Please reduce your request rate: signatures of this key fail."
            )

    def note(self, error: Rs3gwError, peer: str, now_ms: int) -> None:
        """Counts a refusal, where it is one of somebody who did not prove who they are."""
        code = error.api_code if isinstance(error, ApiError) else ""
        if code == _OF_A_KEY:
            assert isinstance(error, ApiError)
            self._take((error.fields.get("AWSAccessKeyId", NOBODY), _place(peer)), now_ms)
        elif code in _OF_NOBODY:
            self._take((NOBODY, _place(peer)), now_ms)

    def _left(self, pair: tuple[str, str], now_ms: int) -> float:
        found = self._buckets.get(pair)
        if found is None:
            return self._burst
        left, since_ms = found
        return min(self._burst, left + max(0, now_ms - since_ms) * self._per_second / 1000)

    def _take(self, pair: tuple[str, str], now_ms: int) -> None:
        left = self._left(pair, now_ms)
        self._buckets[pair] = (max(0.0, left - 1), now_ms)
        self._buckets.move_to_end(pair)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)


def _place(peer: str) -> str:
    """What counts as one address."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else str(int(address) >> 64)
    return peer
