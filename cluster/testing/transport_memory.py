"""A network in memory: whole transports on trio's clock, without sockets, for simulations.

Links between nodes can be cut one way or both; what is under way on a cut link breaks. Streams are
trio's memory streams, which have no bound of their own: the transport's windows and queues are the
only ones, as in a simulation they should be.
"""

from functools import partial

import trio
import trio.testing

from cluster.base.ids import NodeId
from cluster.drivers.transport import Accept, Secured


class MemoryNet:
    """All nodes of a simulated cluster."""

    def __init__(self) -> None:
        self._accepts: dict[NodeId, tuple[trio.Nursery, Accept]] = {}
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._open: dict[tuple[NodeId, NodeId], list[trio.abc.Stream]] = {}

    def network(self, node: NodeId) -> "MemoryNetwork":
        """The network as `node` sees it."""
        return MemoryNetwork(self, node)

    async def cut(self, of: NodeId, to: NodeId) -> None:
        """`of` can no longer dial `to`; the connections it dialled break."""
        self._cut.add((of, to))
        for stream in self._open.pop((of, to), []):
            await trio.aclose_forcefully(stream)

    def heal(self, of: NodeId, to: NodeId) -> None:
        """`of` can dial `to` again."""
        self._cut.discard((of, to))

    def dial(self, of: NodeId, to: NodeId) -> trio.abc.Stream:
        """A stream from one node to another. Raises OSError when there is no way."""
        if to not in self._accepts or (of, to) in self._cut:
            raise OSError(f"no way from node {of} to node {to}")
        near, far = trio.testing.memory_stream_pair()
        nursery, accept = self._accepts[to]
        nursery.start_soon(partial(accept, Secured(far, None)))
        self._open.setdefault((of, to), []).extend((near, far))
        return near

    async def serve(self, node: NodeId, accept: Accept) -> None:
        """Takes what is dialled to `node`, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._accepts[node] = (nursery, accept)
            try:
                await trio.sleep_forever()
            finally:
                del self._accepts[node]


class MemoryNetwork:
    """The port Network of one node."""

    def __init__(self, net: MemoryNet, node: NodeId) -> None:
        self._net = net
        self._node = node

    def knows(self, node: NodeId) -> bool:
        """Every other node may be dialled."""
        return node != self._node

    async def connect(self, node: NodeId) -> Secured:
        """Raises OSError."""
        await trio.lowlevel.checkpoint()
        return Secured(self._net.dial(self._node, node), None)

    async def serve(self, accept: Accept) -> None:
        """Gives every connection to `accept`."""
        await self._net.serve(self._node, accept)
