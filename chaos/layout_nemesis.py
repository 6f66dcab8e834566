"""Changes of the layout as a fault: bodies move while clients read and write them.

What it is not: it breaks nothing by itself. A node is asked, over its own admin socket, for another
layout (its capacities are drawn, with two or three copies), and sometimes to go back from one that
is under way; a cluster that refuses is left as it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import trio

from chaos.cluster_nodes import Node, Nodes
from rs3gwd.base.admin import (
    SOCKET_PATH,
    AdminAnswer,
    AnyAdminRequest,
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
    decode_answer,
    encode_frame,
)
from rs3gwd.base.cluster_admin import LayoutChange, RoleWanted

GIB = 1 << 30
ANSWER_SECONDS_MAX = 10.0
LENGTH_BYTES = 4


async def change_layout(nodes: Nodes, node: Node, source: random.Random) -> Mapping[str, int]:
    """Another layout, and one in three times back from it in the middle; what came of it."""
    copies = source.choice((2, 2, 3))
    # With two copies one of three nodes can be without any.
    sizes = [1, source.choice((1, 3)), source.choice((1, 3) if copies == 3 else (0, 1, 3))]
    source.shuffle(sizes)
    roles = [
        RoleWanted(each.number, capacity_bytes=size * GIB)
        for each, size in zip(nodes.all, sizes, strict=False)
    ]
    goes_back, seconds = source.random() < 0.3, source.uniform(0.5, 5.0)
    change = LayoutChange(nodes=roles, copies=copies)
    planned = await _ask(node, ClusterLayoutPlan(change))
    if planned is None or planned.layout_plan is None:
        return {"refused": 1}
    applied = await _ask(node, ClusterLayoutApply(change, planned.layout_plan.version))
    if applied is None or applied.error:
        return {"refused": 1}
    moved = planned.layout_plan.copies_moved
    if not goes_back:
        await trio.sleep(seconds)
        return {"layouts changed": 1, "copies moved": moved}
    await trio.sleep(seconds / 10)
    back = await _ask(node, ClusterLayoutRetreat())
    was_back = back is not None and not back.error
    return {"layouts changed": 1, "copies moved": moved, "gone back": int(was_back)}


async def _ask(node: Node, request: AnyAdminRequest) -> AdminAnswer | None:
    """The answer of a node to its administrator; None where it gives none in time."""
    with trio.move_on_after(ANSWER_SECONDS_MAX):
        try:
            stream = await trio.open_unix_socket(str(node.folder / SOCKET_PATH))
            async with stream:
                await stream.send_all(encode_frame(request))
                head = await _exactly(stream, LENGTH_BYTES)
                return decode_answer(await _exactly(stream, int.from_bytes(head, "big")))
        except (OSError, EOFError, trio.BrokenResourceError):
            return None  # it is down, or just falls: a turn without a change
    return None


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
