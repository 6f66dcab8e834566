"""A network of namespaces joined by a switch that loses and delays what it is told to.

Each member has a network namespace of its own with one interface, a TUN device. The kernel's side
of it is the member's network; the other side is a descriptor that the switch reads and writes, like
an exchange where every call goes over the operator's board. So TCP and UDP, connections and
datagrams, meet the same weather: cuts, also of one direction only, loss, delay and jitter.

A namespace has no name. It goes when its descriptor is closed and its processes have ended, so
nothing is left behind, however a run ends.

What it is not: it corrupts nothing (the checksums of IP would drop it) and has no bandwidth to
bound. Needs root and `ip` (iproute2): `why_not` says what is missing.

Sources: Linux Documentation/networking/tuntap.rst; setns(2), unshare(2), network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

DEVICE = "switch0"
MTU = 32_000
"""Large packets, since Python handles each of them."""

READS_IN_A_ROW_MAX = 64
HELD_MAX = 20_000
"""Packets that wait for their delay; beyond it they are lost, as in a router."""


class NoNetwork(Exception):
    """Such a network cannot be made on this machine; says why."""


_libc = ctypes.CDLL(None, use_errno=True)


class Weather(NamedTuple):
    """What happens to the packets of one direction of one link."""

    is_cut: bool = False
    loss: float = 0.0
    """The share of packets that is lost, 0 to 1."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more delay, drawn for each packet: they overtake one another."""


CUT = Weather(is_cut=True)


def why_not() -> str:
    """What is missing for such a network; empty where nothing is."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    if shutil.which("ip") is None:
        return "there is no `ip` (apt-get install iproute2)"
    try:
        Namespace("10.77.0.1").close()
    except OSError as error:
        return f"a namespace cannot be made: {error}"
    return ""


class Namespace:
    """One network namespace with the address `address`/24; `end` is the switch's side of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.end = -1
        with _at_home_again():
            _check(_libc.unshare(CLONE_NEWNET))
            self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                request = struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI)
                fcntl.ioctl(self.end, TUNSETIFF, request)
                for command in (
                    f"addr add {address}/24 dev {DEVICE}",
                    f"link set {DEVICE} mtu {MTU} up",
                    "link set lo up",
                ):
                    _run_ip(command)
            except BaseException:
                self.close()
                raise

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets and processes made by this thread meanwhile belong to the namespace. Nothing may
        be awaited in the block."""
        with _at_home_again():
            _check(_libc.setns(self._descriptor, CLONE_NEWNET))
            yield

    def open_socket(self) -> socket.socket:
        """A TCP socket of the namespace, in which it stays."""
        with self.entered():
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._descriptor)
        if self.end >= 0:
            os.close(self.end)


class Switch:
    """Carries packets between namespaces, in a thread of its own, until `close`.

    `members` are by number, 1 to 254, which is the last part of their address.
    """

    def __init__(self, members: Mapping[int, Namespace], *, seed: int) -> None:
        self._ends = {number: member.end for number, member in members.items()}
        self._random = random.Random(seed)
        self._weather: dict[tuple[int, int], Weather] = {}
        self._held: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)
        self.carried = 0
        self.lost = 0
        self._thread.start()

    def set(self, sender: int, receiver: int, weather: Weather) -> None:
        """What happens from now on to what one member sends to another."""
        self._weather[sender, receiver] = weather

    def heal(self) -> None:
        """Fair weather everywhere."""
        self._weather = {}

    def close(self) -> None:
        """Ends the thread; the namespaces stay."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with select.epoll() as poll:
            for end in self._ends.values():
                poll.register(end, select.EPOLLIN)
            while not self._stopping.is_set():
                wait = 0.05
                if self._held:
                    wait = min(max(self._held[0][0] - time.monotonic(), 0.0), wait)
                for end, _ in poll.poll(wait):
                    self._read(end)
                while self._held and self._held[0][0] <= time.monotonic():
                    _, _, receiver, packet = heapq.heappop(self._held)
                    self._write(receiver, packet)

    def _read(self, end: int) -> None:
        for _ in range(READS_IN_A_ROW_MAX):
            try:
                packet = os.read(end, 65_536)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:
                self._carry(packet)

    def _carry(self, packet: bytes) -> None:
        sender, receiver = packet[15], packet[19]
        weather = self._weather.get((sender, receiver))
        if weather is None:
            self._write(receiver, packet)
            return
        if weather.is_cut or self._random.random() < weather.loss or len(self._held) >= HELD_MAX:
            self.lost += 1
            return
        delay_s = weather.delay_s + self._random.random() * weather.jitter_s
        self._order += 1
        heapq.heappush(self._held, (time.monotonic() + delay_s, self._order, receiver, packet))

    def _write(self, receiver: int, packet: bytes) -> None:
        end = self._ends.get(receiver)
        if end is None:
            return  # Multicast, or an address that nobody has.
        try:
            os.write(end, packet)
            self.carried += 1
        except OSError:
            self.lost += 1  # Its queue is full: that is what networks do.


@contextmanager
def _at_home_again() -> Iterator[None]:
    """The thread is back in its namespace at the end."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


def _check(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _run_ip(command: str) -> None:
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {command}: {done.stderr.strip()}")
