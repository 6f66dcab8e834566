"""What a log line looks like, and where its request id comes from."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
import trio

from rs3gwd.observe.log_writer import LogWriter
from rs3gwd.observe.logs import REQUEST_ID, configure_logging
from rs3gwd.observe.redact import Redactor
from rs3gwd.observe.timestamps import Timestamps

NOW_MS = 1_440_938_160_123


class Lines(LogWriter):
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keeps the line."""
        self.lines.append(line)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """A writer to configure logging with; the process's configuration is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield Lines()
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


def configure(lines: Lines, *, level: str = "info", is_json: bool = True) -> None:
    """Logging into `lines` at a fixed time, with one known secret."""
    redactor = Redactor()
    redactor.add_secret("swordfish-1")
    configure_logging(lines, redactor, level=level, is_json=is_json, now_ms=lambda: NOW_MS)


def test_an_event_is_one_line_of_json(lines: Lines) -> None:
    """Time, level and phrase come first; fields follow; secrets are masked."""
    configure(lines)
    structlog.get_logger().info("segment sealed", segment=7, note="a swordfish-1", secret="x")
    assert lines.lines == [
        b'{"time":"2015-08-30T12:36:00.123Z","level":"info","event":"segment sealed",'
        b'"segment":7,"note":"a (hidden)","secret":"(hidden)"}\n'
    ]


def test_levels_below_the_chosen_one_are_left_out(lines: Lines) -> None:
    """With warning, info and debug cost nothing and give nothing."""
    configure(lines, level="warning")
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [json.loads(line)["event"] for line in lines.lines] == ["c", "d"]


def test_a_traceback_is_a_field_and_is_masked(lines: Lines) -> None:
    """An exception stays on its line, and a secret in its text does not get out."""
    configure(lines)
    try:
        raise ValueError("swordfish-1 is wrong")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines.lines
    assert line.count(b"\n") == 1
    assert "ValueError: (hidden) is wrong" in json.loads(line)["exception"]


async def test_each_task_logs_the_id_of_its_request(lines: Lines) -> None:
    """Ids of requests served at once are not mixed up, and threads carry their task's."""
    configure(lines)

    async def serve(request_id: str) -> None:
        REQUEST_ID.set(request_id)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            structlog.get_logger().info(request_id)
        await trio.to_thread.run_sync(lambda: structlog.get_logger().info(request_id))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(serve, f"R{number}")
    structlog.get_logger().info("outside")
    entries = [json.loads(line) for line in lines.lines]
    assert len(entries) == 21
    assert all(entry["event"] == entry["request_id"] for entry in entries[:-1])
    assert "request_id" not in entries[-1]


def test_libraries_log_through_the_same_pipe(lines: Lines) -> None:
    """A record of the standard logging becomes an event with its logger's name."""
    configure(lines)
    logging.getLogger("hypercorn.error").error("bad %s swordfish-1", "thing")
    logging.getLogger("hypercorn.error").info("chatter")
    (line,) = lines.lines
    entry = json.loads(line)
    assert (entry["level"], entry["event"]) == ("error", "bad thing (hidden)")
    assert entry["logger"] == "hypercorn.error"


def test_the_console_shows_a_line_for_a_person(lines: Lines) -> None:
    """Time of day, level, phrase and fields; what could break the line is quoted."""
    configure(lines, is_json=False)
    structlog.get_logger().warning("disk nearly full", free=5, path="a b\n")
    assert lines.lines == [b"12:36:00.123 warning disk nearly full  free=5 path='a b\\n'\n"]


def test_the_seconds_of_a_timestamp_are_not_stale() -> None:
    """The part that is kept from one call to the next changes with the second."""
    moments = iter([NOW_MS, NOW_MS + 876, NOW_MS + 877, 0])
    timestamps = Timestamps(lambda: next(moments))
    assert [timestamps.now() for _ in range(4)] == [
        "2015-08-30T12:36:00.123Z",
        "2015-08-30T12:36:00.999Z",
        "2015-08-30T12:36:01.000Z",
        "1970-01-01T00:00:00.000Z",
    ]


def test_a_worker_names_itself_in_every_line(lines: Lines) -> None:
    """The number of the process is a field of its own."""
    configure_logging(
        lines, Redactor(), level="info", is_json=True, now_ms=lambda: NOW_MS, worker=4
    )
    structlog.get_logger().info("ready")
    assert json.loads(lines.lines[0])["worker"] == 4
