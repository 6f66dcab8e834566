"""Bugs planted into the core or its driver, to see whether the simulation finds them."""

from dataclasses import dataclass

from cluster.raft.core import Raft
from cluster.raft.node import RaftNode


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug: a mutated core, a mutated node, or a driver told to do wrong."""

    name: str
    core: type[Raft] = Raft
    node: type[RaftNode] = RaftNode
    driver: frozenset[str] = frozenset()
    seeds_max: int = 2000
    """Within so many seeds the simulation must find it."""


NO_BUG = Bug("none")

BUGS: dict[str, Bug] = {}
