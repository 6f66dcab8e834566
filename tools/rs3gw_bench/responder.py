"""The floor of every request rate: httptools on a trio stream, and nothing behind it.

It parses requests and answers each with one short constant response. What a store does per second
on one core is reported as a share of what this does in the same run. Run as a program it prints
the port it listens on.
"""

import sys

import httptools
import trio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Counter:
    """Counts complete requests, as httptools' callbacks want it."""

    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


async def serve_stream(stream: trio.SocketStream) -> None:
    """Answers every request on one connection until the peer closes it."""
    counter = _Counter()
    parser = httptools.HttpRequestParser(counter)
    async with stream:
        try:
            while data := await stream.receive_some(65536):
                parser.feed_data(data)
                if counter.complete:
                    await stream.send_all(ANSWER * counter.complete)
                    counter.complete = 0
        except trio.BrokenResourceError:
            return  # The load generator resets its connections at the end of a run.


async def main() -> None:
    """Listens on a free loopback port, says which, and serves until killed."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    sys.stdout.write(f"{listener.socket.getsockname()[1]}\n")
    sys.stdout.flush()
    await trio.serve_listeners(serve_stream, [listener])


if __name__ == "__main__":
    trio.run(main)
