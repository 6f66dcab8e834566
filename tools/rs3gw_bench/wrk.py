"""Drives wrk: many keep-alive connections in a closed loop, sending requests signed beforehand."""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.rs3gw_bench.signing import SignedRequest

SCRIPT = """
local requests, index, size = {}, 0, tonumber(os.getenv("BENCH_BODY_BYTES"))
local body = size > 0 and string.rep("x", size) or nil
local bad = 0
function init(args)
  for line in io.lines(os.getenv("BENCH_REQUESTS")) do
    local method, target, rest = line:match("^(%S+)\\t(%S+)\\t(.*)$")
    local headers = {}
    for name, value in rest:gmatch("([^\\t=]+)=([^\\t]*)") do headers[name] = value end
    requests[#requests + 1] = wrk.format(method, target, headers, body)
  end
end
function request()
  index = index % #requests + 1
  return requests[index]
end
function done(summary, latency, requests)
  io.write(string.format('JSON {"requests":%d,"microseconds":%d,"bad_status":%d,"errors":%d,' ..
    '"p50_us":%d,"p99_us":%d}\\n', summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write +
    summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw; times in microseconds."""

    requests: int
    requests_per_second: float
    p50_us: float
    p99_us: float


class LoadError(Exception):
    """wrk failed, or the target answered a request with an error."""


def run_wrk(
    url: str,
    requests: list[SignedRequest],
    *,
    connections: int,
    seconds: int,
    body_bytes: int = 0,
    core: int | None = None,
) -> Load:
    """Sends `requests` round and round for `seconds`. Raises LoadError on any failed request."""
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder) / "requests", Path(folder) / "script.lua"
        lines.write_text("".join(_line(request) for request in requests))
        script.write_text(SCRIPT)
        pin = ["taskset", "-c", str(core)] if core is not None else []
        command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        done = subprocess.run(
            command,
            env={
                "PATH": "/usr/bin:/bin:/usr/local/bin",
                "BENCH_REQUESTS": str(lines),
                "BENCH_BODY_BYTES": str(body_bytes),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise LoadError(f"wrk exited with {done.returncode}: {done.stdout}{done.stderr}")
    return read_summary(done.stdout)


def read_summary(output: str) -> Load:
    """What the script's `done` wrote among wrk's own lines. Raises LoadError.

    A benchmark with failed requests measures how fast errors are, so one is enough to end it.
    """
    found = re.search(r"^JSON (.*)$", output, re.MULTILINE)
    if not found:
        raise LoadError(f"wrk gave no summary: {output}")
    seen = json.loads(found.group(1))
    if seen["bad_status"] or seen["errors"] or not seen["requests"]:
        raise LoadError(f"requests failed: {seen}")
    return Load(
        requests=seen["requests"],
        requests_per_second=seen["requests"] * 1e6 / seen["microseconds"],
        p50_us=seen["p50_us"],
        p99_us=seen["p99_us"],
    )


def _line(request: SignedRequest) -> str:
    headers = "\t".join(f"{name}={value}" for name, value in request.headers.items())
    return f"{request.method}\t{request.target}\t{headers}\n"
