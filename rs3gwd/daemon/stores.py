"""The store and the directory that a process serves: its own engine's, or a cluster's."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from cluster.drivers.gossip import Gossip
from rs3gwd.base.cluster_admin import ClusterAdmin
from rs3gwd.base.ports import Clock, Directory, ObjectStore, Sessions
from rs3gwd.engine.face import EngineFace
from rs3gwd.node.blob_parts import BlobParts
from rs3gwd.node.local import LocalDirectory, LocalStore


class Stores(Struct, frozen=True):
    """`sessions` are how requests begin where look-ups must be proved (`Services.sessions`).
    `is_founder`: what a new store needs is made by this node; the others of a cluster wait. `blobs`
    moves the bytes of a cluster, `gossip` says which of its nodes seem to be there, `clock` is that
    of all its nodes. `hand_over` has other nodes lead what this one leads, before it stops;
    `cluster` is for operators."""

    store: ObjectStore
    directory: Directory
    sessions: Sessions | None = None
    is_founder: bool = True
    blobs: BlobParts | None = None
    gossip: Gossip | None = None
    clock: Clock | None = None
    hand_over: Callable[[], Awaitable[None]] | None = None
    cluster: ClusterAdmin | None = None


def local_stores(engine: EngineFace) -> Stores:
    """Those of one node, or of a worker."""
    return Stores(LocalStore(engine), LocalDirectory(engine))
