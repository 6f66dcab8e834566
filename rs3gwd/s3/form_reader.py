"""A browser form as it arrives: its fields, and then the bytes of its one file; sans-IO.

The file is the last part that counts: S3 ignores what comes behind it. So fields are gathered,
under one bound for all of them together, until the file begins; from there on bytes are given
through.

What it is not: it gives no meaning to a field. The grammar of multipart/form-data is the library's.

Source: RFC 7578; "Creating an HTML form" in the Amazon S3 API Reference.
"""

from __future__ import annotations

import re
from email.message import Message

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from rs3gwd.base.errors import ApiError

FIELDS_BYTES_MAX = 20_000
"""Bytes of all fields before the file, names and values together; S3's bound."""

FIELDS_MAX = 200

FILE_FIELD = "file"

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")


def boundary_of(content_type: str) -> bytes:
    """The boundary in a Content-Type header. Raises ApiError RequestIsNotMultiPartContent."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise ApiError("RequestIsNotMultiPartContent")
    encoded = boundary.encode("latin-1", "replace")
    if not _BOUNDARY.fullmatch(encoded):
        raise _malformed()
    return encoded


class FormReader:
    """Takes the bytes of a form in any pieces.

    `fields` are those before the file, by lower-case name; `file_name` is None until the file has
    begun. Bytes of the file are given out by `feed`; `is_complete` says that it has ended.
    """

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.is_complete = False
        self._held_bytes = 0
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = ""
        self._value = bytearray()
        self._is_file = False
        self._file: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._take_name,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
            },
        )

    def feed(self, data: bytes) -> list[bytes]:
        """The bytes of the file that `data` brought, in order.

        Raises ApiError MalformedPOSTRequest, MaxPostPreDataLengthExceededError, InvalidArgument (a
        field twice).
        """
        if not self.is_complete:
            try:
                self._parser.write(data)
            except FormParserError as error:
                raise _malformed() from error
        found, self._file = self._file, []
        return found

    def _begin_part(self) -> None:
        self._disposition = ""
        self._value.clear()
        self._is_file = False

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._hold(end - start)
        self._header_name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._hold(end - start)
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.strip().lower() == b"content-disposition":
            # Browsers write names in the page's encoding, which is UTF-8 today.
            self._disposition = self._header_value.decode("utf-8", "replace")
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        if self.is_complete:
            return
        parameters = _parameters(self._disposition)
        self._name = parameters.get("name", "").lower()
        if not self._name:
            raise _malformed()
        if self._name == FILE_FIELD:
            self._is_file = True
            self.file_name = parameters.get("filename", "")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self.is_complete:
            return
        if self._is_file:
            self._file.append(data[start:end])
            return
        self._hold(end - start)
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self.is_complete:
            return
        if self._is_file:
            self.is_complete = True
            return
        if self._name in self.fields:
            raise ApiError(
                "InvalidArgument",
                "A field of the form may be given only once.",
                fields={"ArgumentName": self._name},
            )
        if len(self.fields) >= FIELDS_MAX:
            raise ApiError("MaxPostPreDataLengthExceededError")
        try:
            self.fields[self._name] = self._value.decode()
        except UnicodeDecodeError as error:
            raise _malformed() from error

    def _hold(self, size_bytes: int) -> None:
        """Counts what is kept. Raises ApiError MaxPostPreDataLengthExceededError."""
        if self.is_complete:
            return
        self._held_bytes += size_bytes
        if self._held_bytes > FIELDS_BYTES_MAX:
            raise ApiError("MaxPostPreDataLengthExceededError")


def _parameters(disposition: str) -> dict[str, str]:
    """The parameters of a Content-Disposition of `form-data`.

    A file name is the last part of what the browser sent: some send a whole path.
    """
    message = Message()
    message["content-disposition"] = disposition.replace("\r", "").replace("\n", "")
    if message.get_content_disposition() != "form-data":
        raise _malformed()
    found: dict[str, str] = {}
    for name in ("name", "filename"):
        value = message.get_param(name, header="content-disposition")
        if isinstance(value, str):
            found[name] = value
    if "filename" in found:
        found["filename"] = re.split(r"[/\\]", found["filename"])[-1]
    return found


def _malformed() -> ApiError:
    return ApiError("MalformedPOSTRequest")
