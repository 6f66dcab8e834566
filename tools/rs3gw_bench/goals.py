"""The goals of the first benchmark, as shares of floors measured in the same run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`figure` divided by `floor` (names of the results) should reach `share`."""

    name: str
    figure: str
    floor: str
    share: float
    at_most: bool = False

    def is_met(self, results: dict[str, float]) -> bool:
        """Whether the share was reached, or with `at_most` not exceeded."""
        reached = results[self.figure] / results[self.floor]
        return reached <= self.share if self.at_most else reached >= self.share

    def line(self, results: dict[str, float]) -> str:
        """One row of the report: what was reached, against what was wanted."""
        figure = results[self.figure]
        sign = "<=" if self.at_most else ">="
        return (
            f"{'met ' if self.is_met(results) else 'MISS'}  {self.name:<46} {figure:>14,.4g}  "
            f"{figure / results[self.floor]:>8.1%} of {self.floor} (goal {sign} {self.share:.0%})"
        )


GOALS = (
    Goal("GET 4 KiB, 64 connections, requests/s", "get_4k_c64_rps", "responder_rps", 0.25),
    Goal("durable PUT 4 KiB, 64 connections, requests/s", "put_4k_c64_rps", "responder_rps", 0.12),
    Goal("PUT 64 MiB, unsigned payload, bytes/s", "put_64m_bps", "md5_bps", 0.80),
    Goal("GET 64 MiB, verified, bytes/s", "get_64m_bps", "one_gb_bps", 1.0),
    Goal("start to first answer, seconds", "start_seconds", "one_second", 1.0, at_most=True),
    Goal("idle memory, bytes", "idle_bytes", "eighty_mb", 1.0, at_most=True),
)
"""Issue: GET 25 %, PUT 12 % of the bare responder; PUT 64 MiB 80 % of MD5; GET 64 MiB 1 GB/s."""

CONSTANTS = {"one_gb_bps": 1e9, "one_second": 1.0, "eighty_mb": 80e6}
"""Absolute goals, as floors of their own."""
