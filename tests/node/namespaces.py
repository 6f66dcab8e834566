"""Machines of a test: network namespaces on one bridge, made and removed, with a folder each.

The bridge is in a namespace of its own, so that nothing of the real network is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager


def why_not() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if shutil.which("ip") is None:
        return "the program ip (iproute2) is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"rs3gw-{secrets.token_hex(3)}"
    made = _ip("netns", "add", name, check=False)
    if made.returncode != 0:
        return f"ip netns add: {made.stderr.strip()}"
    try:
        bridge = _ip("-n", name, "link", "add", "name", "hub0", "type", "bridge", check=False)
        return f"ip link add type bridge: {bridge.stderr.strip()}" if bridge.returncode else ""
    finally:
        _ip("netns", "del", name)


@contextmanager
def machines(addresses: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The namespace of the bridge, which is 10.0.0.254, and one for each address of 10.0.0.0/24."""
    mark = secrets.token_hex(3)
    with ExitStack() as stack:
        hub = stack.enter_context(_namespace(f"rs3gw-{mark}-0"))
        _ip("-n", hub, "link", "add", "name", "hub0", "type", "bridge")
        _ip("-n", hub, "addr", "add", "10.0.0.254/24", "dev", "hub0")
        _ip("-n", hub, "link", "set", "hub0", "up")
        names = []
        for number, address in enumerate(addresses, start=1):
            name = stack.enter_context(_namespace(f"rs3gw-{mark}-{number}"))
            end = f"port{number}"
            _ip(
                "-n",
                hub,
                "link",
                "add",
                "name",
                end,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                name,
            )
            _ip("-n", hub, "link", "set", end, "master", "hub0", "up")
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            names.append(name)
        yield hub, names


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _ip("netns", "del", name)


def _ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done
