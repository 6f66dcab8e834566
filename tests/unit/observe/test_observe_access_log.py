"""One line for each request, without what could be used again."""

import json
from typing import Any

from rs3gwd.observe.access_log import TARGET_CHARACTERS_MAX, AccessLog
from rs3gwd.observe.log_writer import LogWriter


class Lines(LogWriter):
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keeps the line."""
        self.lines.append(line)


def entry(*, is_json: bool = True, **changes: Any) -> bytes:
    """The line of one request, which `changes` differ from the usual."""
    lines = Lines()
    fields: dict[str, Any] = {
        "request_id": "4442587FB7D0A2F9",
        "peer": "192.0.2.3:5123",
        "access_key": "AKIDEXAMPLE",
        "method": "GET",
        "target": "/photos/a%20b",
        "operation": "GetObject",
        "status": 200,
        "error_code": "",
        "bytes_in": 0,
        "bytes_out": 4096,
        "seconds": 0.0012345,
    }
    AccessLog(lines, is_json=is_json, now_ms=lambda: 0).write(**(fields | changes))
    (line,) = lines.lines
    return line


def test_a_line_holds_who_what_and_how_it_went() -> None:
    """Each field of the log by its name, in milliseconds and bytes."""
    assert json.loads(entry()) == {
        "time": "1970-01-01T00:00:00.000Z",
        "event": "access",
        "request_id": "4442587FB7D0A2F9",
        "peer": "192.0.2.3:5123",
        "access_key": "AKIDEXAMPLE",
        "method": "GET",
        "target": "/photos/a%20b",
        "operation": "GetObject",
        "status": 200,
        "error": "",
        "bytes_in": 0,
        "bytes_out": 4096,
        "duration_ms": 1.234,
    }


def test_a_presigned_url_cannot_be_taken_from_the_log() -> None:
    """Signature and session token are masked in both formats, also when they stand last."""
    target = "/b/k?X-Amz-Credential=AKID&X-Amz-Security-Token=tokentoken&X-Amz-Signature=cafecafe"
    for is_json in (True, False):
        line = entry(target=target, is_json=is_json)
        assert b"cafecafe" not in line
        assert b"tokentoken" not in line
        assert b"X-Amz-Credential=AKID" in line


def test_a_long_target_is_cut_and_its_secret_does_not_survive() -> None:
    """A signature that the cut goes through is masked all the same."""
    target = "/b/k?Signature=" + "cafe" * TARGET_CHARACTERS_MAX
    line = entry(target=target)
    assert len(line) < TARGET_CHARACTERS_MAX + 1000
    assert b"cafe" not in line


def test_what_a_client_writes_cannot_forge_a_line() -> None:
    """Line ends and quotes in a target or method stay inside their field."""
    line = entry(target='/b/k\n{"event":"access"}', method='G"ET')
    assert line.count(b"\n") == 1
    assert json.loads(line)["target"] == '/b/k\n{"event":"access"}'
    assert entry(target="/b/k\nforged", is_json=False).count(b"\n") == 1


def test_the_console_line_reads_from_left_to_right() -> None:
    """For a person: what was asked, how it went, who asked, how much and how long."""
    assert entry(is_json=False, status=404, error_code="NoSuchKey", access_key="") == (
        b"00:00:00.000 GET /photos/a%20b 404 NoSuchKey  GetObject anonymous 192.0.2.3:5123 "
        b"in=0 out=4096 1.2ms 4442587FB7D0A2F9\n"
    )


def test_a_line_of_a_worker_says_which() -> None:
    """The number of the process is a field of its own, and is missing where there is only one."""
    for is_json, wanted in ((True, b'"worker":3'), (False, b" worker=3")):
        lines = Lines()
        log = AccessLog(lines, is_json=is_json, now_ms=lambda: 0, worker=3)
        log.write(
            request_id="4442587FB7D0A2F9",
            peer="192.0.2.3:5123",
            access_key="",
            method="GET",
            target="/",
            operation="ListBuckets",
            status=200,
            error_code="",
            bytes_in=0,
            bytes_out=0,
            seconds=0.001,
        )
        assert wanted in lines.lines[0]
        assert b"worker" not in entry(is_json=is_json)
