"""Raft as a sans-IO core, in the shape and words of etcd-io/raft; `docs/understand/raft.md`.

Start at `node.RaftNode`. No module here asks for the time, draws a random number, or touches a
file or a socket: time and randomness are arguments, files and sockets are the driver's.
"""

from cluster.raft.membership import ConfChange, ConfChangeSingle
from cluster.raft.messages import Entry, HardState, Message, Ready, Snapshot
from cluster.raft.node import RaftNode
from cluster.raft.options import Options
from cluster.raft.storage import MemoryStorage, Storage

__all__ = [
    "ConfChange",
    "ConfChangeSingle",
    "Entry",
    "HardState",
    "MemoryStorage",
    "Message",
    "Options",
    "RaftNode",
    "Ready",
    "Snapshot",
    "Storage",
]
