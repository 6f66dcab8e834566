"""The digests of a body while it passes by; pure, may run in a thread.

A PUT needs the MD5 of its bytes (the ETag), often their SHA-256 (a signed payload) and one
checksum (the caller's, or CRC64NVME). MD5 runs at 0.6 to 0.8 GB/s and is the ceiling of a core, so
digests are grouped in lanes that may run side by side in threads: MD5 in the first with the CRCs,
which cost it 3%, and each SHA in one of its own. Every update of more than 2 KiB releases the GIL.
"""

import hashlib
from collections.abc import Callable, Iterable
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


def new_digest(algorithm: ChecksumAlgorithm) -> Digest:
    """A running checksum of nothing yet."""
    match algorithm:
        case ChecksumAlgorithm.SHA1:
            return hashlib.sha1(usedforsecurity=False)
        case ChecksumAlgorithm.SHA256:
            return hashlib.sha256()
        case ChecksumAlgorithm.CRC32:
            return _Crc(crc32, DIGEST_BYTES[algorithm])
        case ChecksumAlgorithm.CRC32C:
            return _Crc(crc32c, DIGEST_BYTES[algorithm])
        case ChecksumAlgorithm.CRC64NVME:
            return _Crc(crc64nvme, DIGEST_BYTES[algorithm])


class BodyDigests:
    """MD5 where asked, SHA-256 where asked, and any checksums, of one body.

    `update` feeds all of them; or each of `lanes` is fed every piece, in order, lanes in parallel.
    """

    __slots__ = ("_checksums", "_md5", "_sha256", "lanes")

    def __init__(
        self,
        algorithms: Iterable[ChecksumAlgorithm] = (),
        *,
        with_md5: bool = True,
        with_sha256: bool = False,
    ) -> None:
        self._md5: Digest | None = hashlib.md5(usedforsecurity=False) if with_md5 else None
        self._checksums = {algorithm: new_digest(algorithm) for algorithm in algorithms}
        shared = self._checksums.get(ChecksumAlgorithm.SHA256)
        self._sha256: Digest | None = (shared or hashlib.sha256()) if with_sha256 else None
        self.lanes: list[Lane] = self._arrange(alone=shared)

    def _arrange(self, *, alone: Digest | None) -> list[Lane]:
        light: list[Digest] = [self._md5] if self._md5 else []
        lanes: list[Lane] = []
        for algorithm, digest in self._checksums.items():
            if algorithm in (ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256):
                lanes.append(digest.update)
            else:
                light.append(digest)
        if self._sha256 is not None and self._sha256 is not alone:
            lanes.append(self._sha256.update)
        if light:
            lanes.insert(0, _feed_all(light))
        return lanes

    def update(self, data: Buffer) -> None:
        """Feeds every digest here and now; for small data, where a thread hop costs more."""
        for lane in self.lanes:
            lane(data)

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
