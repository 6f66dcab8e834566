"""How records, commands and ids become bytes.

A stored value is `version (1 byte) | msgpack | CRC-32C (4 bytes, big-endian)`; the checksum covers
the row's key, the version byte and the msgpack, so that neither a flipped bit nor a value that
strayed to another key passes (LMDB has no checksums). Every table holds one record type.

A version id or upload id is 24 bytes: 16 of the command's nonce, then the row's sequence number
(u64, big-endian) XORed with the first 8 of the nonce; shown in 32 characters of base64 with `.`
and `_` in the place of `+` and `/`, as AWS's look. So the row is found from the id without an
index, and the id says nothing to whoever reads it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec
from awscrt.checksums import crc32c

from rs3gwd.base.commands import AnyCommand
from rs3gwd.base.errors import DataCorrupt, FormatError

R = TypeVar("R", bound=msgspec.Struct)

_command_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[AnyCommand] = msgspec.msgpack.Decoder(AnyCommand)


class RecordCodec(Generic[R]):
    """Seals and opens the values of one table.

    `name` is used in errors. `version` is what is written; decoding takes that version and any
    below it, since fields are only appended with defaults.
    """

    def __init__(self, record: type[R], *, name: str, version: int = 1) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(record).decode
        self._name = name
        self._version = version
        self._prefix = bytes([version])

    def seal(self, key: bytes, record: R) -> bytes:
        """The stored value of `record` under the row key `key`."""
        payload = self._prefix + self._encode(record)
        checksum: int = crc32c(payload, crc32c(key))
        return payload + checksum.to_bytes(4, "big")

    def open_all(self, rows: Iterable[tuple[bytes, bytes]]) -> list[R]:
        """The records of many rows: as `open`, in less than half the time."""
        decode, newest = self._decode, self._version
        from_bytes = int.from_bytes
        records: list[R] = []
        for key, value in rows:
            body = value[:-4]
            if (
                crc32c(key + body) != from_bytes(value[-4:], "big")
                or len(value) < 6
                or not 1 <= body[0] <= newest
            ):
                self.open(key, value)  # says what is wrong
            try:
                records.append(decode(body[1:]))
            except msgspec.DecodeError as error:
                raise FormatError(f"{self._name} row {key!r}: {error}") from error
        return records

    def open(self, key: bytes, value: bytes | memoryview) -> R:
        """The record. Raises DataCorrupt (checksum), FormatError (version or shape unknown)."""
        if len(value) < 6:
            raise DataCorrupt(f"{self._name} row {key!r}: {len(value)} bytes are too few")
        if crc32c(key + value[:-4]) != int.from_bytes(value[-4:], "big"):
            raise DataCorrupt(f"{self._name} row {key!r}: checksum does not match")
        if not 1 <= value[0] <= self._version:
            raise FormatError(
                f"{self._name} row {key!r}: version {value[0]}, newest known is {self._version}"
            )
        try:
            return self._decode(value[1:-4])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{self._name} row {key!r}: {error}") from error


def encode_command(command: AnyCommand) -> bytes:
    """A command as msgpack, tagged with its class name."""
    return _command_encoder.encode(command)


def decode_command(data: bytes) -> AnyCommand:
    """Raises FormatError."""
    try:
        return _command_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"command: {error}") from error


def make_sequenced_id(seq: int, nonce: bytes) -> str:
    """The 32-character id that carries `seq` (0 to 2^64-1); `nonce` is 16 bytes."""
    hidden = seq ^ int.from_bytes(nonce[:8], "big")
    return base64.b64encode(nonce + hidden.to_bytes(8, "big"), altchars=b"._").decode("ascii")


def sequence_of_id(sequenced_id: str) -> int | None:
    """The sequence number inside an id, or None when it cannot be one of ours."""
    if len(sequenced_id) != 32 or not sequenced_id.isascii():
        return None
    try:
        raw = base64.b64decode(sequenced_id, altchars=b"._", validate=True)
    except binascii.Error:
        return None
    if len(raw) != 24:
        return None
    return int.from_bytes(raw[16:], "big") ^ int.from_bytes(raw[:8], "big")
