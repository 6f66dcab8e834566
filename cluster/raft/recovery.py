"""Coming back with a hole in the log, without lying to anyone.

A write-ahead log can tell a torn tail (never acknowledged, cut it) from an entry that rotted
(perhaps acknowledged, perhaps part of a quorum). Cutting a rotted entry like a torn tail loses
committed data: this node then votes for a candidate that lacks what it once acknowledged
(Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018). So the node
keeps what is whole, remembers the last entry it may have acknowledged, and until its durable log
is as good again it does not stand, and votes only for a log as good as the one it lost; the leader
feeds it like anyone. The memory is part of the `HardState`, so a crash on the way does not end it.

Why that is enough: the rule for votes looks at the last entry only (thesis, 3.6.1), and that one is
remembered; so this node votes exactly as if it had lost nothing. What it acknowledges anew is on
its disk by then, like what anyone acknowledges.
"""

from cluster.raft.messages import HardState


def forget_from(
    hard_state: HardState, *, index: int, last_index: int, last_term: int, applied: int
) -> HardState:
    """The hard state to store when the entry at `index` cannot be read any more.

    The driver, before it makes a `RaftNode`: cuts its log from `index` on, stores this hard state,
    syncs. `last_index` and `last_term` are those of the last entry that was ever whole in this
    log; the log keeps a record of them apart from the entries. If even that is unknown, the node
    is lost: it comes back under a new id (`identity`).

    Raises ValueError when `index` was applied already: the state machine has it, so the driver
    takes a snapshot and compacts past it instead.
    """
    if index <= applied:
        raise ValueError(f"entry {index} is applied: compact past it instead of forgetting it")
    if index > last_index:
        raise ValueError(f"there is no entry {index} to forget")
    lost = max((last_term, last_index), (hard_state.healing_term, hard_state.healing_index))
    return hard_state._replace(
        commit=min(hard_state.commit, index - 1), healing_term=lost[0], healing_index=lost[1]
    )
