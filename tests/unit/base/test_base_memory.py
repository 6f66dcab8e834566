"""The shared memory of bodies: everyone's own part, and the pool."""

import pytest

from rs3gwd.base.errors import Overloaded
from rs3gwd.base.memory import (
    FREE_BYTES,
    SPARE_BUFFER_BYTES,
    SPARE_BUFFERS_MAX,
    Holding,
    MemoryPool,
    SpareBuffers,
)


def test_a_pool_is_never_overdrawn() -> None:
    """A refused take takes nothing."""
    pool = MemoryPool(100)
    pool.take(60)
    with pytest.raises(Overloaded):
        pool.take(41)
    pool.take(40)
    assert pool.bytes_held == 100
    pool.give_back(100)
    assert pool.bytes_held == 0


def test_spare_memory_is_only_given_from_the_first_half() -> None:
    """So that comfort never uses up what others need."""
    pool = MemoryPool(100)
    assert pool.take_spare(50)
    assert not pool.take_spare(1)
    pool.take(50)
    pool.give_back(100)
    assert not pool.take_spare(51)


def test_a_holding_takes_only_what_is_beyond_its_own_part() -> None:
    """Growing and shrinking are counted; a refused growth leaves what was held."""
    pool = MemoryPool(1000)
    holding = Holding(pool)
    holding.hold(FREE_BYTES)
    assert pool.bytes_held == 0
    holding.hold(FREE_BYTES + 700)
    assert pool.bytes_held == 700
    with pytest.raises(Overloaded):
        holding.hold(FREE_BYTES + 1001)
    assert pool.bytes_held == 700
    holding.hold(FREE_BYTES + 1)
    assert pool.bytes_held == 1
    holding.release()
    holding.release()
    assert pool.bytes_held == 0


def test_buffers_are_used_again_up_to_a_number() -> None:
    """The last one given back comes first; what is too many goes."""
    buffers = SpareBuffers()
    taken = [buffers.take() for _ in range(SPARE_BUFFERS_MAX + 2)]
    assert {len(buffer) for buffer in taken} == {SPARE_BUFFER_BYTES}
    for buffer in taken:
        buffers.give_back(buffer)
    again = [buffers.take() for _ in range(SPARE_BUFFERS_MAX + 1)]
    kept = taken[:SPARE_BUFFERS_MAX][::-1]
    assert all(one is two for one, two in zip(again, kept, strict=False))
    assert all(again[-1] is not each for each in taken)
