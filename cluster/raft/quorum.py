"""Majorities, alone and joint: what is committed, and how a vote stands.

A joint configuration is two sets of voters; whatever is decided needs a majority of each (thesis,
4.3). A majority of nobody agrees to everything, which lets a plain configuration be a joint one
with an empty other half. The same rule answers "up to which index is the log on a quorum", "which
round of heartbeats has a quorum confirmed" and "since when does a quorum follow": each asks for
the greatest value that a majority has reached.

Source: etcd-io/raft, package quorum, whose recorded cases the tests replay.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import Final

EVERYTHING: Final = 2**64 - 1
"""What a majority of nobody has reached."""


class VoteResult(IntEnum):
    """How an election stands."""

    PENDING = 1
    LOST = 2
    WON = 3


def majority_reached(values: Iterable[int]) -> int:
    """The greatest value that a majority of `values` has reached or passed."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        return EVERYTHING
    return ordered[count - (count // 2 + 1)]


def committed_index(
    incoming: Collection[int], outgoing: Collection[int], acked: Mapping[int, int]
) -> int:
    """The greatest index acknowledged by a majority of both halves; unknown voters count as 0."""
    reached = majority_reached(acked.get(voter, 0) for voter in incoming)
    if not outgoing:
        return reached
    return min(reached, majority_reached(acked.get(voter, 0) for voter in outgoing))


def majority_vote(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """How the vote stands among `voters`; `votes` holds those that were cast."""
    if not voters:
        return VoteResult.WON
    needed = len(voters) // 2 + 1
    yes = 0
    missing = 0
    for voter in voters:
        cast = votes.get(voter)
        if cast is None:
            missing += 1
        elif cast:
            yes += 1
    if yes >= needed:
        return VoteResult.WON
    return VoteResult.PENDING if yes + missing >= needed else VoteResult.LOST


def vote_result(
    incoming: Collection[int], outgoing: Collection[int], votes: Mapping[int, bool]
) -> VoteResult:
    """How the vote stands in both halves: won in both, or lost in one, or open."""
    first = majority_vote(incoming, votes)
    second = majority_vote(outgoing, votes)
    if first == second:
        return first
    if VoteResult.LOST in (first, second):
        return VoteResult.LOST
    return VoteResult.PENDING
