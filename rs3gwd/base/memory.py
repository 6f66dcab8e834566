"""The memory that bodies of requests share: so much is each one's own, the rest is a common pool.

The everyday picture is a restaurant with a small plate for everybody and one buffet. Every request
may hold FREE_BYTES without asking; there are at most as many requests as the front admits, so that
is bounded too. What goes beyond comes out of the pool, and whoever finds it empty goes without:
a large upload takes smaller steps, a document or a signed chunk of unusual size is refused. So
requests that hold much and move slowly never keep those away that need little.

Invariant: `bytes_held` is between 0 and `bytes_max`.
"""

from rs3gwd.base.errors import Overloaded

FREE_BYTES = 128 << 10
"""What a request may hold without asking: two chunks of the usual 64 KiB, or a document with a
thousand short keys. 1,024 requests hold 128 MiB."""

SPARE_BUFFER_BYTES = 392 << 10
"""Room for six blocks of 64 KiB and their tags."""

SPARE_BUFFERS_MAX = 16
"""Buffers that are kept: 6 MiB."""


class MemoryPool:
    """Counts bytes; belongs to one event loop. `buffers` are to be used again."""

    __slots__ = ("buffers", "bytes_held", "bytes_max")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self.buffers = SpareBuffers()

    def take(self, size_bytes: int) -> None:
        """Takes what is needed. Raises Overloaded when there is not so much left."""
        if self.bytes_held + size_bytes > self.bytes_max:
            raise Overloaded(f"{self.bytes_held} bytes of bodies are in memory")
        self.bytes_held += size_bytes

    def take_spare(self, size_bytes: int) -> bool:
        """Takes what only makes things faster, while less than half of the pool is held; whether
        it was there to be taken."""
        if 2 * (self.bytes_held + size_bytes) > self.bytes_max:
            return False
        self.bytes_held += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Ends a `take`."""
        self.bytes_held -= size_bytes


class SpareBuffers:
    """Buffers to be used again, the last one given back first: it is still in the caches.

    Fresh memory has to be mapped and zeroed, which costs more than encrypting what is put there.
    Belongs to one event loop.
    """

    __slots__ = ("_free",)

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        """A buffer of SPARE_BUFFER_BYTES, with anything in it."""
        return self._free.pop() if self._free else bytearray(SPARE_BUFFER_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        """Nobody looks at it any more."""
        if len(self._free) < SPARE_BUFFERS_MAX:
            self._free.append(buffer)


class Holding:
    """What one request holds, as it grows and shrinks; `release` it at the end."""

    __slots__ = ("_pool", "_taken_bytes")

    def __init__(self, pool: MemoryPool) -> None:
        self._pool = pool
        self._taken_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """`size_bytes` are in memory now. Raises Overloaded; what was held before is then still
        held."""
        wanted = size_bytes - FREE_BYTES if size_bytes > FREE_BYTES else 0
        if wanted == self._taken_bytes:
            return
        if wanted > self._taken_bytes:
            self._pool.take(wanted - self._taken_bytes)
        else:
            self._pool.give_back(self._taken_bytes - wanted)
        self._taken_bytes = wanted

    def release(self) -> None:
        """Nothing is held any more; safe to repeat."""
        self.hold(0)
