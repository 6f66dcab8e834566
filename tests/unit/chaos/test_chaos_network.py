"""A switch between namespaces carries what it is not told to lose."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from chaos.network import CUT, Namespace, Switch, Weather, why_not

NO_NETWORK = why_not()
pytestmark = pytest.mark.skipif(bool(NO_NETWORK), reason=NO_NETWORK)

PORT = 5000


@pytest.fixture
def members() -> Iterator[dict[int, Namespace]]:
    """Two namespaces."""
    made = {number: Namespace(f"10.77.0.{number}") for number in (1, 2)}
    yield made
    for each in made.values():
        each.close()


@pytest.fixture
def switch(members: dict[int, Namespace]) -> Iterator[Switch]:
    """A switch between them."""
    made = Switch(members, seed=1)
    yield made
    made.close()


@pytest.fixture
def pair(members: dict[int, Namespace], switch: Switch) -> Iterator[tuple[socket.socket, ...]]:
    """Both ends of a connection from the second to the first."""
    with members[1].open_socket() as listener:
        listener.bind((members[1].address, PORT))
        listener.listen()
        with members[2].open_socket() as client:
            client.settimeout(5)
            client.connect((members[1].address, PORT))
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(5)
                yield accepted, client


def test_what_is_sent_arrives(pair: tuple[socket.socket, ...], switch: Switch) -> None:
    """In both directions, and more than the buffers hold."""
    server, client = pair
    data = bytes(range(256)) * 4000
    client.sendall(data)
    received = b""
    while len(received) < len(data):
        received += server.recv(1 << 20)
    assert received == data
    server.sendall(b"back")
    assert client.recv(10) == b"back"
    assert switch.carried > 0


def test_a_cut_is_of_one_direction_and_heals(
    pair: tuple[socket.socket, ...], switch: Switch
) -> None:
    """The other direction goes on; what was sent meanwhile comes after all, as TCP promises."""
    server, client = pair
    switch.set(2, 1, CUT)
    client.sendall(b"lost")
    server.settimeout(0.3)
    with pytest.raises(TimeoutError):
        server.recv(10)
    server.sendall(b"heard")
    assert client.recv(10) == b"heard"
    switch.heal()
    server.settimeout(10)
    assert server.recv(10) == b"lost"
    assert switch.lost > 0


def test_a_delay_is_kept(pair: tuple[socket.socket, ...], switch: Switch) -> None:
    """Nothing comes before its time."""
    server, client = pair
    switch.set(2, 1, Weather(delay_s=0.2))
    start = time.monotonic()
    client.sendall(b"late")
    assert server.recv(10) == b"late"
    assert time.monotonic() - start >= 0.2


def test_the_thread_is_at_home_again() -> None:
    """Neither making a namespace nor entering one leaves the thread there."""
    with socket.create_server(("127.0.0.1", 0)) as home:
        place = Namespace("10.77.0.9")
        with place.entered(), socket.socket() as stranger:
            assert stranger.connect_ex(home.getsockname()) != 0
        with socket.create_connection(home.getsockname()) as client:
            assert client.getpeername() == home.getsockname()
        place.close()
