"""The digests of a body while it passes by; pure, may run in a thread.

A PUT needs the MD5 of its bytes (the ETag), often their SHA-256 (a signed payload) and one
checksum (the caller's, or CRC64NVME). MD5 runs at 0.6 to 0.8 GB/s and is the ceiling of a core, so
digests are grouped in lanes that may run side by side in threads: MD5 in the first with the CRCs,
which cost it 3%, and each SHA in one of its own. Every update of more than 2 KiB releases the GIL.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from awscrt.checksums import crc32c, crc64nvme
from isal.isal_zlib import crc32

from rs3gwd.base.ports import Buffer
from rs3gwd.base.records import ChecksumAlgorithm
from rs3gwd.s3.checksums import DIGEST_BYTES, encode_digest

Lane = Callable[[Buffer], None]


class Digest(Protocol):
    """An incremental hash, as hashlib's."""

    def update(self, data: Buffer, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    """A CRC with the interface of a hash."""

    __slots__ = ("_compute", "_size_bytes", "_value")

    def __init__(self, compute: Callable[[Buffer, int], int], size_bytes: int) -> None:
        self._compute = compute
        self._size_bytes = size_bytes
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._compute(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size_bytes, "big")


class _LargeMd5:
    """MD5 of a large body, by the OpenSSL that comes with `cryptography`.

    MD5 is the ceiling of an upload, and the newer assembly in there is 5% faster than the one that
    hashlib has from OpenSSL 3.0. It is loaded with the first bytes, in their thread: 7 MB and
    30 ms, of which a process without large bodies should know nothing.
    """

    __slots__ = ("_digest", "_update")

    def __init__(self) -> None:
        self._update: Callable[[Buffer], object] | None = None
        self._digest: Callable[[], bytes] = hashlib.md5(usedforsecurity=False).digest

    def update(self, data: Buffer, /) -> None:
        if self._update is None:
            self._update, self._digest = _fast_md5()
        self._update(data)

    def digest(self) -> bytes:
        return self._digest()


def _fast_md5() -> tuple[Callable[[Buffer], object], Callable[[], bytes]]:
    """`update` and `digest` of an MD5 of nothing yet."""
    from cryptography.exceptions import UnsupportedAlgorithm  # late: see _LargeMd5
    from cryptography.hazmat.primitives import hashes

    try:
        fast = hashes.Hash(hashes.MD5())
    except UnsupportedAlgorithm:  # one that was built against an OpenSSL in FIPS mode
        plain = hashlib.md5(usedforsecurity=False)
        return plain.update, plain.digest
    return fast.update, lambda: fast.copy().finalize()


def _new_md5(*, large: bool) -> Digest:
    return _LargeMd5() if large else hashlib.md5(usedforsecurity=False)


def _new_crc(algorithm: ChecksumAlgorithm, compute: Callable[[Buffer, int], int]) -> Digest:
    return _Crc(compute, DIGEST_BYTES[algorithm])


_MAKERS: dict[ChecksumAlgorithm, Callable[[], Digest]] = {
    ChecksumAlgorithm.CRC32: partial(_new_crc, ChecksumAlgorithm.CRC32, crc32),
    ChecksumAlgorithm.CRC32C: partial(_new_crc, ChecksumAlgorithm.CRC32C, crc32c),
    ChecksumAlgorithm.CRC64NVME: partial(_new_crc, ChecksumAlgorithm.CRC64NVME, crc64nvme),
    ChecksumAlgorithm.SHA1: partial(hashlib.sha1, usedforsecurity=False),
    ChecksumAlgorithm.SHA256: hashlib.sha256,
}

_SLOW = frozenset({ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256})
"""Algorithms that get a lane of their own."""


def new_digest(algorithm: ChecksumAlgorithm) -> Digest:
    """A running checksum of nothing yet."""
    return _MAKERS[algorithm]()


class BodyDigests:
    """MD5 where asked, SHA-256 where asked, and any checksums, of one body.

    `update` feeds all of them; or each of `lanes()` is fed every piece, in order, lanes in
    parallel.
    """

    __slots__ = ("_checksums", "_md5", "_sha256")

    def __init__(
        self,
        algorithms: Iterable[ChecksumAlgorithm] = (),
        *,
        with_md5: bool = True,
        with_sha256: bool = False,
        large: bool = False,
    ) -> None:
        """`large`: much is to come, so that a digest may take a moment to begin."""
        self._md5: Digest | None = _new_md5(large=large) if with_md5 else None
        self._checksums = {algorithm: _MAKERS[algorithm]() for algorithm in algorithms}
        self._sha256: Digest | None = None
        if with_sha256:
            self._sha256 = self._checksums.get(ChecksumAlgorithm.SHA256) or hashlib.sha256()

    def lanes(self) -> list[Lane]:
        """The digests in groups that may be fed side by side, the slowest group first."""
        light: list[Digest] = [self._md5] if self._md5 else []
        alone: list[Lane] = []
        for algorithm, digest in self._checksums.items():
            if algorithm in _SLOW:
                alone.append(digest.update)
            else:
                light.append(digest)
        if self._has_own_sha256 and self._sha256 is not None:
            alone.append(self._sha256.update)
        return [_feed_all(light), *alone] if light else alone

    def update(self, data: Buffer) -> None:
        """Feeds every digest here and now; for small data, where a thread hop costs more."""
        if self._md5 is not None:
            self._md5.update(data)
        for digest in self._checksums.values():
            digest.update(data)
        if self._sha256 is not None and self._has_own_sha256:
            self._sha256.update(data)

    @property
    def _has_own_sha256(self) -> bool:
        """Whether SHA-256 is no checksum at the same time, which is fed already."""
        return self._sha256 is not self._checksums.get(ChecksumAlgorithm.SHA256)

    @property
    def md5(self) -> bytes:
        """The MD5 so far, 16 bytes; only with `with_md5`."""
        assert self._md5 is not None
        return self._md5.digest()

    @property
    def sha256_hex(self) -> str:
        """The SHA-256 so far, 64 hex digits; only with `with_sha256`."""
        assert self._sha256 is not None
        return self._sha256.digest().hex()

    def checksum(self, algorithm: ChecksumAlgorithm) -> str:
        """The checksum so far in base64; `algorithm` is one of those asked for."""
        return encode_digest(self._checksums[algorithm].digest())


def _feed_all(digests: list[Digest]) -> Lane:
    updates = [digest.update for digest in digests]
    if len(updates) == 1:
        return updates[0]

    def feed(data: Buffer) -> None:
        for update in updates:
            update(data)

    return feed
