"""A worker that serves nobody: it takes its charge and then does what it is told. No tests.

`python stand_in_worker.py <order> <descriptor>`; the orders are the functions below.
"""

import os
import signal
import socket
import sys
import time

import msgspec

from rs3gwd.daemon.control import (
    AskScrape,
    Beat,
    Begin,
    Figures,
    FromCore,
    FromWorker,
    Ready,
    Report,
    Scraped,
    Stopped,
    receive_begin,
)
from rs3gwd.engine.frames import FrameSplitter
from rs3gwd.gateway.front import Statistics

REPORT = Report(Statistics(3, 0, 0, False, *([0] * 8)), [])


def say(control: socket.socket, word: FromWorker) -> None:
    """Sends one message."""
    payload = msgspec.msgpack.encode(word)
    control.sendall(len(payload).to_bytes(4, "big") + payload)


def obey(control: socket.socket, _begin: Begin) -> None:
    """Is ready, and says Stopped as soon as the core says anything."""
    say(control, Ready())
    say(control, Beat(REPORT))
    if control.recv(65536):
        say(control, Stopped(1, REPORT))


def die(_control: socket.socket, _begin: Begin) -> None:
    """Ends before it is ready."""
    os._exit(7)


def die_later(control: socket.socket, begin: Begin) -> None:
    """The first one serves; each that comes after it ends before it is ready."""
    if begin.number > 1:
        os._exit(7)
    obey(control, begin)


def babble(control: socket.socket, begin: Begin) -> None:
    """The first one says what no worker may say; the next ones obey."""
    if begin.number > 1:
        obey(control, begin)
    else:
        say(control, Ready())
        control.sendall(b"\x00\x00\x00\x01\x80")
        time.sleep(60)


def ask_twice(control: socket.socket, _begin: Begin) -> None:
    """Asks for a page, gives up, asks again, and beats once it has the second answer."""
    say(control, Ready())
    say(control, AskScrape(1))
    say(control, AskScrape(2))
    splitter, turns = FrameSplitter(), set()
    while 2 not in turns:
        for payload in splitter.feed(control.recv(65536)):
            word = msgspec.msgpack.decode(payload, type=FromCore)
            if isinstance(word, Scraped):
                turns.add(word.turn)
            else:
                say(control, Figures(word.turn, REPORT))
    say(control, Beat(Report(Statistics(77, 0, 0, False, *([0] * 8)), [])))
    time.sleep(60)


def stay(control: socket.socket, _begin: Begin) -> None:
    """Is ready and hears nothing any more, not even that it should go."""
    say(control, Ready())
    time.sleep(60)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[2]))
    received = receive_begin(end)
    if received is not None:
        globals()[sys.argv[1]](end, received[0])
