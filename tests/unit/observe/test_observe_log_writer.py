"""Log lines reach their descriptor, and a reader that is stuck stops nobody."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rs3gwd.observe.log_writer import LINE_BYTES_MAX, LINES_MAX, LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end of a pipe."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)
    os.close(reading)


def read_all(reading: int) -> bytes:
    """What is in the pipe now."""
    os.set_blocking(reading, False)
    data = bytearray()
    while True:
        try:
            piece = os.read(reading, 1 << 20)
        except BlockingIOError:
            return bytes(data)
        if not piece:
            return bytes(data)
        data += piece


def leave_without_reader(pipe: tuple[int, int]) -> None:
    """Closes the reading end, its number staying in use so that nobody else gets it."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, pipe[0])
    os.close(null)


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    """Closing writes everything that was given, in its order."""
    writer = LogWriter(pipe[1], linger_seconds=0)
    writer.write(b"before start\n")
    writer.start()
    for number in range(1000):
        writer.write(b"%d\n" % number)
    writer.close()
    expected = [b"before start", *(b"%d" % number for number in range(1000))]
    assert read_all(pipe[0]).splitlines() == expected
    assert writer.dropped_count == 0


def test_a_full_box_drops_and_counts(pipe: tuple[int, int]) -> None:
    """Lines beyond the bound are counted, and the count is logged when there is room again."""
    writer = LogWriter(pipe[1], linger_seconds=0)
    for _ in range(LINES_MAX + 3):
        writer.write(b"\n")
    assert writer.dropped_count == 3
    writer.start()
    writer.close()
    lines = read_all(pipe[0]).splitlines()
    assert len(lines) == LINES_MAX + 1
    assert lines[-1] == b'{"level":"warning","event":"log lines dropped","count":3}'


def test_a_stuck_reader_does_not_stop_the_caller(pipe: tuple[int, int]) -> None:
    """With the pipe full and nobody reading, writing goes on at once and the box stays bounded."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    writer = LogWriter(pipe[1], linger_seconds=0)
    writer.start()
    line = b"x" * 1023 + b"\n"
    for _ in range(3 * LINES_MAX):
        writer.write(line)
    assert writer.dropped_count >= LINES_MAX
    # The reader goes away: the thread's write fails, and the end of the process is not held up.
    leave_without_reader(pipe)
    writer.close()
    assert not writer._thread.is_alive()


def test_a_broken_descriptor_costs_the_lines_only(pipe: tuple[int, int]) -> None:
    """A reader that is gone is counted as lost lines; neither write nor close raises."""
    leave_without_reader(pipe)
    writer = LogWriter(pipe[1], linger_seconds=0)
    writer.write(b"lost\n")
    writer.write(b"lost too\n")
    writer.start()
    writer.close()
    assert writer.dropped_count == 2


def test_an_endless_line_is_cut(pipe: tuple[int, int]) -> None:
    """One line takes LINE_BYTES_MAX at most, and still ends."""
    writer = LogWriter(pipe[1], linger_seconds=0)
    writer.write(b"x" * (2 * LINE_BYTES_MAX))
    writer.write(b"next\n")
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4 * LINE_BYTES_MAX)
    writer.start()
    writer.close()
    first, second = read_all(pipe[0]).splitlines()
    assert (len(first), second) == (LINE_BYTES_MAX - 1, b"next")


WRITE_MANY = """
import sys
from rs3gwd.observe.log_writer import LogWriter
letter, output, lock = sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3])
writer = LogWriter(output, linger_seconds=0, lock=lock)
writer.start()
for length in [7, 5000, 12000, 60000] * 4:
    writer.write(letter * length + b"\\n")
writer.close()
"""


def test_lines_of_several_processes_never_mix(pipe: tuple[int, int]) -> None:
    """Lines longer than a pipe keeps together come out whole when the processes share a lock."""
    lock = os.memfd_create("lock")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_MANY, letter, str(pipe[1]), str(lock)],
            pass_fds=(pipe[1], lock),
        )
        for letter in "abc"
    ]
    received = bytearray()
    while received.count(b"\n") < 3 * 16:
        received += os.read(pipe[0], 1 << 16)
    assert [process.wait() for process in processes] == [0, 0, 0]
    os.close(lock)
    lines = received.splitlines()
    assert {(len(set(line)), len(line)) for line in lines} == {
        (1, length) for length in (7, 5000, 12000, 60000)
    }
    assert len(lines) == 48
