"""What leaves for the other nodes: one frame per node and moment, over all groups."""

from collections.abc import Callable, Iterable

from cluster.base.ids import NodeId
from cluster.base.ports import Peers
from cluster.drivers import groups_frames as frames
from cluster.raft.messages import Message

CHANNEL = "groups"
"""The transport's channel for frames."""


class Outbox:
    """Frames under construction; `dropped` is told of each that the transport did not take."""

    def __init__(
        self,
        peers: Peers,
        *,
        frame_bytes_max: int,
        dropped: Callable[[NodeId, frames.Frame], None],
    ) -> None:
        self._peers = peers
        self._bytes_max = frame_bytes_max
        self._dropped = dropped
        self._frames: dict[NodeId, frames.Frame] = {}
        self._bytes: dict[NodeId, int] = {}
        self._urgent: dict[NodeId, None] = {}
        self.sent = 0
        self.lost = 0

    def add(self, group: int, messages: Iterable[Message], *, can_wait: bool = False) -> None:
        """Messages of a group's core, each to its `to`; those that can wait go with others."""
        for message in messages:
            frame = self._frame(message.to, can_wait=can_wait)
            self._grew(message.to, frames.add_message(frame, group, message))

    def propose(self, to: NodeId, proposal: frames.Proposal) -> None:
        """A proposal for a group that `to` leads."""
        self._frame(to).proposals.append(proposal)
        self._grew(to, len(proposal.data) + 16)

    def answer(self, to: NodeId, answer: frames.ProposalAnswer) -> None:
        """What became of a proposal of `to`."""
        self._frame(to).answers.append(answer)
        self._grew(to, len(answer.result) + 32)

    def ask(self, to: NodeId, question: frames.ReadQuestion) -> None:
        """A question about reads of groups that `to` leads."""
        self._frame(to).read_questions.append(question)
        self._grew(to, len(question.groups) + 8)

    def tell(self, to: NodeId, answer: frames.ReadAnswer) -> None:
        """The answer to a question of `to`."""
        self._frame(to).read_answers.append(answer)
        self._grew(to, 8 * len(answer.indexes) + 8)

    def hurry(self) -> None:
        """What could wait has waited long enough: the next flush sends it."""
        self._urgent.update(dict.fromkeys(self._frames))

    def flush(self) -> None:
        """Send everything to those for whom there is anything that cannot wait."""
        for to in list(self._urgent):
            self._send(to)

    def _frame(self, to: NodeId, *, can_wait: bool = False) -> frames.Frame:
        if not can_wait:
            self._urgent[to] = None
        frame = self._frames.get(to)
        if frame is None:
            frame = self._frames[to] = frames.new_frame()
            self._bytes[to] = 0
        return frame

    def _grew(self, to: NodeId, size_bytes: int) -> None:
        self._bytes[to] += size_bytes
        if self._bytes[to] >= self._bytes_max:
            self._send(to)

    def _send(self, to: NodeId) -> None:
        frame = self._frames.pop(to)
        del self._bytes[to]
        self._urgent.pop(to, None)
        if self._peers.send(to, CHANNEL, frames.encode(frame)):
            self.sent += 1
        else:
            self.lost += 1
            self._dropped(to, frame)
