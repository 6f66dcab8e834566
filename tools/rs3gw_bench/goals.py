"""The goals for a machine of two cores, each as shares of floors measured in the same run.

Every row is judged: met, MISSED, or not measured in this run. Where a goal also has a figure for a
quiet machine, it stands in the row's name; the share decides, since shares survive a busy one.
"""

from dataclasses import dataclass

from tools.rs3gw_bench.figures import FLOOR, Figures, digits

MB = 1e6
MILLION = 1_000_000


@dataclass(frozen=True)
class Goal:
    """`figure` of `target`, divided by `floor` (a name at the floors, or at `floor_target`), should
    reach `bound`, or with `at_most` not exceed it. `scale` and `unit` are for the reader."""

    name: str
    figure: str
    bound: float
    at_most: bool = False
    floor: str | None = None
    target: str = "node"
    floor_target: str = FLOOR
    unit: str = ""
    scale: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """A goal and what was reached; `reached` and `figure` are None if it was not measured."""

    goal: Goal
    reached: float | None
    figure: float | None

    @property
    def word(self) -> str:
        """met, MISSED or not measured."""
        if self.reached is None:
            return "not measured"
        goal = self.goal
        is_met = self.reached <= goal.bound if goal.at_most else self.reached >= goal.bound
        return "met" if is_met else "MISSED"

    def cells(self) -> tuple[str, str, str, str]:
        """Name, goal, what was reached, and the word, for a table."""
        goal = self.goal
        sign = "<=" if goal.at_most else ">="
        return goal.name, f"{sign} {self._text(goal.bound)}", self._reached(), self.word

    def _reached(self) -> str:
        if self.reached is None:
            return "-"
        if self.goal.floor is None or self.figure is None:
            return self._text(self.reached)
        return f"{self._text(self.reached)} ({digits(self.figure)})"

    def _text(self, value: float) -> str:
        goal = self.goal
        if goal.floor is not None:
            return f"{value:.2f} x" if goal.at_most else f"{value:.0%}"
        return f"{digits(value * goal.scale)} {goal.unit}".strip()


def judge(figures: Figures) -> list[Verdict]:
    """All goals, in the order of the table."""
    return [_judge(goal, figures) for goal in GOALS]


def _judge(goal: Goal, figures: Figures) -> Verdict:
    figure = figures.median(goal.target, goal.figure)
    if goal.figure.startswith("million_"):
        # A run with fewer keys (--keys) shows something, but not this.
        keys = figures.notes.get("million_keys", {}).get(goal.target, 0)
        figure = figure if keys >= MILLION else None
    if goal.floor is None:
        return Verdict(goal, figure, figure)
    share = figures.compare((goal.target, goal.figure), (goal.floor_target, goal.floor))
    return Verdict(goal, share.median if share else None, figure)


def lines(figures: Figures) -> list[str]:
    """The table as text."""
    rows = [verdict.cells() for verdict in judge(figures)]
    return [f"{word:<13}{name:<66} {bound:>20}  {reached}" for name, bound, reached, word in rows]


GOALS = (
    Goal("GET 4 KiB, 64 connections, of the bare responder (20,000/s quiet)",
         "get_4k_c64_rps", 0.30, floor="responder_rps"),
    Goal("GET 4 KiB, 64 connections, CPU per request in all processes",
         "get_4k_c64_cpu_us", 50, at_most=True, unit="us"),
    Goal("GET 4 KiB, CPU per request, 1 worker by no worker",
         "get_4k_c64_cpu_us", 1.15, at_most=True, target="node-w1",
         floor="get_4k_c64_cpu_us", floor_target="node"),
    Goal("GET 4 KiB, CPU per request, 2 workers by 1 worker (near-linear)",
         "get_4k_c64_cpu_us", 1.15, at_most=True, target="node-w2",
         floor="get_4k_c64_cpu_us", floor_target="node-w1"),
    Goal("durable PUT 4 KiB, 64 connections, of the bare responder (10,000/s)",
         "put_4k_c64_rps", 0.15, floor="responder_rps"),
    Goal("durable PUT 4 KiB, 64 connections, CPU per request, all processes",
         "put_4k_c64_cpu_us", 100, at_most=True, unit="us"),
    Goal("durable PUT 4 KiB, CPU per request, all processes, 2 workers",
         "put_4k_c64_cpu_us", 100, at_most=True, unit="us", target="node-w2"),
    Goal("GET 1 KiB, one connection, p50", "get_1k_c1_p50_us", 150, at_most=True, unit="us"),
    Goal("GET 1 KiB, one connection, p99", "get_1k_c1_p99_us", 500, at_most=True, unit="us"),
    Goal("durable PUT 4 KiB, one connection, p50 by fdatasync",
         "put_4k_c1_p50_us", 3.0, at_most=True, floor="fdatasync_us"),
    Goal("PUT 64 MiB, unsigned payload, CRC64NVME trailer, of MD5",
         "put_64m_crc64nvme_bps", 0.90, floor="md5_bps"),
    Goal("GET 64 MiB with verification, of loopback send",
         "get_64m_bps", 0.50, floor="loopback_bps"),
    Goal("GET 64 MiB with verification", "get_64m_bps", 1500 * MB, unit="MB/s", scale=1e-6),
    *(Goal(f"{name}, encrypted, of not encrypted",
           figure, 0.75, floor=figure, target="node-sse", floor_target="node-plain")
      for name, figure in (
          ("PUT 1 MiB, 16 connections", "put_1m_c16_rps"),
          ("GET 1 MiB, 16 connections", "get_1m_c16_rps"),
          ("PUT 64 MiB, one core", "put_64m_one_core_bps"),
          ("GET 64 MiB, one core", "get_64m_one_core_bps"))),
    *(Goal(f"{name}, with a policy of ten statements, of without",
           figure, 0.95, floor=figure, target="node-policy", floor_target="node-plain")
      for name, figure in (
          ("GET 4 KiB, 64 connections", "get_4k_c64_rps"),
          ("PUT 4 KiB, 64 connections", "put_4k_c64_rps"))),
    Goal("three nodes on this machine, PUT 4 KiB, 64 connections, in total",
         "put_4k_c64_rps", 2000, target="three-nodes", unit="/s"),
    Goal("three nodes, PUT 4 KiB, CPU per request of all three, of one alone",
         "put_4k_c64_cpu_us", 4.0, at_most=True, target="three-nodes",
         floor="put_4k_c64_cpu_us", floor_target="node-alone"),
    Goal("three nodes, GET 4 KiB, CPU per request of all three, of one alone",
         "get_4k_c64_cpu_us", 1.3, at_most=True, target="three-nodes",
         floor="get_4k_c64_cpu_us", floor_target="node-alone"),
    Goal("three nodes, PUT 4 KiB, CPU per request of all three, by three alone at once",
         "put_4k_c64_cpu_us", 4.0, at_most=True, target="three-nodes",
         floor="put_4k_c64_cpu_us", floor_target="three-alone"),
    Goal("three nodes, GET 4 KiB, CPU per request of all three, by three alone at once",
         "get_4k_c64_cpu_us", 1.3, at_most=True, target="three-nodes",
         floor="get_4k_c64_cpu_us", floor_target="three-alone"),
    Goal("multipart 1 GiB, complete", "multipart_complete_ms", 20, at_most=True, unit="ms"),
    Goal("multipart 1 GiB, bytes written by complete (no data copied)",
         "multipart_written_bytes", 1 * MB, at_most=True, unit="MB", scale=1e-6),
    Goal("LIST of a million, 1,000 keys a page, per core (CPU second)",
         "million_list_keys_per_cpu_second", 250_000, unit="keys/s"),
    Goal("LIST of a million, time of the last pages by the first",
         "million_list_last_to_first", 1.2, at_most=True, unit="x"),
    Goal("delimiter page over a million keys in ten prefixes",
         "million_delimiter_ms", 5, at_most=True, unit="ms"),
    Goal("a million keys: start to first answer",
         "million_start_ms", 2000, at_most=True, unit="ms"),
    Goal("a million keys: resident beside the page cache, all processes",
         "million_private_bytes", 150 * MB, at_most=True, unit="MB", scale=1e-6),
    Goal("idle: resident memory of the largest process",
         "idle_bytes_per_process", 60 * MB, at_most=True, unit="MB", scale=1e-6),
    Goal("idle: CPU of all processes",
         "idle_cpu_share", 0.005, at_most=True, unit="%", scale=100),
)  # fmt: skip
