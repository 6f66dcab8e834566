"""Choices from the bytes of the port `Random`, since the core has no randomness of its own."""

from collections.abc import Sequence
from typing import TypeVar

from cluster.base.ports import Random

T = TypeVar("T")


def index_below(random: Random, count: int) -> int:
    """A number in [0, count); the bias of 64 bits to so few is of no account."""
    return int.from_bytes(random.token_bytes(8), "big") % count


def shuffled(random: Random, items: Sequence[T]) -> list[T]:
    """The items in an order by chance (Fisher and Yates)."""
    mixed = list(items)
    for last in range(len(mixed) - 1, 0, -1):
        other = index_below(random, last + 1)
        mixed[last], mixed[other] = mixed[other], mixed[last]
    return mixed


def sample(random: Random, items: Sequence[T], count: int) -> list[T]:
    """Up to `count` different ones of the items."""
    return shuffled(random, items)[:count]
