"""Runs the load generator and says what it saw.

A load with errors is not a measurement: whoever wants a rate asks `is_clean` first. SlowDown
answers are counted apart, since a server that sheds load is doing its work.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class LoadError(Exception):
    """The generator could not run at all."""


@dataclass(frozen=True)
class Latency:
    """Of right answers, in microseconds; percentiles to three digits."""

    count: int
    mean_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float


@dataclass(frozen=True)
class Load:
    """One run. `good` right answers came in `seconds`; `sent` counts warm-up and errors as well.

    `unsent` (open loop) were due and never begun. `cpu_share` is the part of one core that the
    generator itself used: near 1 it may have been the bottleneck. `sample` says what went wrong
    first.
    """

    good: int
    sent: int
    slow_down: int
    unsent: int
    reconnects: int
    not_kept: int
    bytes_sent: int
    bytes_received: int
    seconds: float
    cpu_share: float
    errors: dict[str, int]
    sample: str
    latency: Latency
    kinds: dict[str, Latency]

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return self.good / self.seconds if self.seconds else 0.0

    @property
    def is_clean(self) -> bool:
        """Whether there were answers, and none of them wrong."""
        return self.good > 0 and not any(self.errors.values())

    def complaint(self) -> str:
        """What was wrong, in one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.errors.items() if count)
        sample = " ".join(self.sample.split())
        return f"{kinds or 'no answer'} of {self.sent} requests; first: {sample}"


@dataclass(frozen=True)
class Endpoint:
    """Where to send; with `tls_host` over TLS, trusting `authority` (PEM) or the system."""

    address: str
    tls_host: str | None = None
    authority: Path | None = None


@dataclass(frozen=True)
class Shape:
    """How to send: at most for `seconds` and `limit` requests; `rate` a second is an open loop."""

    connections: int = 1
    seconds: float = 1.0
    warmup_seconds: float = 0.0
    limit: int | None = None
    rate: float | None = None
    timeout_seconds: float = 30.0


def run_load(
    program: Path, endpoint: Endpoint, requests: Path, shape: Shape, *, core: int | None = None
) -> Load:
    """Sends the file's requests round and round. Raises LoadError."""
    options: dict[str, object] = {
        "address": endpoint.address,
        "requests": requests,
        "connections": shape.connections,
        "seconds": shape.seconds,
        "warmup": shape.warmup_seconds,
        "timeout": shape.timeout_seconds,
        "limit": shape.limit,
        "rate": shape.rate,
        "core": core,
        "tls-host": endpoint.tls_host,
        "tls-authorities": endpoint.authority,
    }
    command = [str(program)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"the load generator ended with {done.returncode}: {done.stderr.strip()}")
    return read_load(json.loads(done.stdout))


def read_load(seen: Mapping[str, Any]) -> Load:
    """What the generator printed."""
    counts = (
        "good", "sent", "slow_down", "unsent", "reconnects", "not_kept",
        "bytes_sent", "bytes_received",
    )  # fmt: skip
    seconds = float(seen["seconds"])
    return Load(
        **{name: int(seen[name]) for name in counts},
        seconds=seconds,
        cpu_share=float(seen["cpu_seconds"]) / seconds if seconds else 0.0,
        errors=dict(seen["errors"]),
        sample=str(seen["sample"]),
        latency=_latency(seen["latency_ns"]),
        kinds={name: _latency(latency) for name, latency in seen["kinds"].items()},
    )


def _latency(seen: Mapping[str, Any]) -> Latency:
    return Latency(
        count=int(seen["count"]),
        mean_us=seen["mean"] / 1e3,
        p50_us=seen["p50"] / 1e3,
        p90_us=seen["p90"] / 1e3,
        p99_us=seen["p99"] / 1e3,
        p999_us=seen["p999"] / 1e3,
        max_us=seen["max"] / 1e3,
    )
