"""Where a command of rs3gwctl is carried out.

With a daemon running on the data directory, requests go to its admin socket. Without one, the same
requests are carried out in this process, on the store opened under the directory's lock. The
commands above cannot tell the two apart.
"""

import socket
from pathlib import Path

import msgspec

from rs3gwd.base.admin import (
    FRAME_BYTES_MAX,
    REQUEST_BYTES_MAX,
    SOCKET_PATH,
    AdminAnswer,
    AnyAdminRequest,
    decode_answer,
    encode_frame,
)

ANSWER_SECONDS = 60.0
"""How long the daemon may take over one request."""

TEXT_CHARACTERS_MAX = 2000
"""What a person reads of an error; a refusal repeats what was given, however long that was."""


class SessionError(Exception):
    """A request could not be carried out; the text is for the person at the terminal.

    `code` is that of a refusal, empty where nobody answered.
    """

    def __init__(self, text: str, *, code: str = "") -> None:
        whole = len(text) <= TEXT_CHARACTERS_MAX
        super().__init__(text if whole else f"{text[:TEXT_CHARACTERS_MAX]}...")
        self.code = code


def administer(data: Path, request: AnyAdminRequest) -> AdminAnswer:
    """Carries out one request on the store in `data`.

    Raises SessionError: no store there, no right to it, the daemon does not answer, or arguments
    that no request can hold.
    """
    path = data / SOCKET_PATH
    try:
        require_store(data)
        frame = _frame_of(request)
        answer = _ask_daemon(path, frame)
    except (FileNotFoundError, ConnectionRefusedError):
        # Here, since it brings half the daemon with it: three times as long as all else takes.
        from rs3gwd.daemon.offline import administer_offline

        answer = administer_offline(data, request)
    except PermissionError as error:
        raise SessionError(f"{path}: only the daemon's user and root may use it") from error
    except OSError as error:
        raise SessionError(f"{path}: {error}") from error
    if answer.error:
        raise SessionError(f"{answer.error}: {answer.message}", code=answer.error)
    return answer


def require_store(data: Path) -> None:
    """Raises SessionError where no daemon has ever made a store, so that none is made there."""
    if not (data / "meta").is_dir():
        raise SessionError(f"{data} holds no rs3gwd store (no folder `meta` in it)")


def _frame_of(request: AnyAdminRequest) -> bytes:
    """The request as the daemon reads it, whether one runs or not."""
    try:
        frame = encode_frame(request)
    except UnicodeEncodeError as error:
        raise SessionError("an argument is not text in UTF-8") from error
    except OverflowError as error:
        raise SessionError("a number is too large") from error
    if len(frame) > REQUEST_BYTES_MAX:
        raise SessionError(f"the arguments are longer than {REQUEST_BYTES_MAX} bytes together")
    return frame


def _ask_daemon(path: Path, frame: bytes) -> AdminAnswer:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(path))
        connection.sendall(frame)
        length = int.from_bytes(_receive_exactly(connection, 4), "big")
        if length > FRAME_BYTES_MAX:
            raise SessionError(f"{path}: the daemon speaks another protocol")
        try:
            return decode_answer(_receive_exactly(connection, length))
        except msgspec.DecodeError as error:
            raise SessionError(f"{path}: the daemon's answer is not understood: {error}") from error


def _receive_exactly(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        data = connection.recv(length - len(received))
        if not data:
            raise SessionError("the daemon closed the connection without an answer")
        received += data
    return bytes(received)
