"""Replays the interaction files of etcd-io/raft against `cluster.raft`: its verbs and its words.

Not a test. Everything that the files state as a fact is produced here: batches, messages, stored
entries, states, progress. Lines of the Go program's log (INFO, DEBUG, WARN, ERROR) are its
implementation's remarks and are left out on both sides, and so is indentation.
"""

import json
import re
from collections.abc import Iterable

from raft_datadriven import Directive

from cluster.base.errors import ConfChangeRefused, ProposalRefused
from cluster.base.ids import APPEND_THREAD, is_local
from cluster.raft.membership import (
    ChangeKind,
    ConfChange,
    ConfChangeSingle,
    Configuration,
    Transition,
)
from cluster.raft.messages import (
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageType,
    Ready,
    Role,
    Snapshot,
)
from cluster.raft.node import RaftNode
from cluster.raft.options import UNLIMITED, Options
from cluster.raft.progress import Progress, ProgressState
from cluster.raft.storage import MemoryStorage

STEPS_MAX = 1000
"""Rounds of `stabilize`; no recorded file needs more than a few dozen."""

_CHANGE_LETTERS = {
    "v": ChangeKind.ADD_NODE,
    "l": ChangeKind.ADD_LEARNER_NODE,
    "r": ChangeKind.REMOVE_NODE,
    "u": ChangeKind.UPDATE_NODE,
}
_LETTERS = {kind: letter for letter, kind in _CHANGE_LETTERS.items()}
_ROLES = {
    Role.FOLLOWER: "StateFollower",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
    Role.PRE_CANDIDATE: "StatePreCandidate",
}
_STATES = {
    ProgressState.PROBE: "StateProbe",
    ProgressState.REPLICATE: "StateReplicate",
    ProgressState.SNAPSHOT: "StateSnapshot",
}
_KINDS = {
    EntryKind.NORMAL: "EntryNormal",
    EntryKind.CONF_CHANGE: "EntryConfChange",
    EntryKind.CONF_CHANGE_V2: "EntryConfChangeV2",
}
_TYPES = {
    MessageType.PROP: "MsgProp",
    MessageType.APP: "MsgApp",
    MessageType.APP_RESP: "MsgAppResp",
    MessageType.VOTE: "MsgVote",
    MessageType.VOTE_RESP: "MsgVoteResp",
    MessageType.SNAP: "MsgSnap",
    MessageType.HEARTBEAT: "MsgHeartbeat",
    MessageType.HEARTBEAT_RESP: "MsgHeartbeatResp",
    MessageType.TRANSFER_LEADER: "MsgTransferLeader",
    MessageType.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageType.PRE_VOTE: "MsgPreVote",
    MessageType.PRE_VOTE_RESP: "MsgPreVoteResp",
    MessageType.STORAGE_APPEND: "MsgStorageAppend",
    MessageType.STORAGE_APPEND_RESP: "MsgStorageAppendResp",
    MessageType.STORAGE_APPLY: "MsgStorageApply",
    MessageType.STORAGE_APPLY_RESP: "MsgStorageApplyResp",
}
_ANSWERS = frozenset(
    {
        MessageType.APP_RESP,
        MessageType.VOTE_RESP,
        MessageType.PRE_VOTE_RESP,
        MessageType.HEARTBEAT_RESP,
    }
)
_LOG_LINE = re.compile(r"^(INFO|DEBUG|WARN|ERROR)\b")


def parse_changes(lines: Iterable[str]) -> tuple[ConfChangeSingle, ...]:
    """`v1 l2 r3` as changes."""
    words = " ".join(lines).split()
    return tuple(ConfChangeSingle(_CHANGE_LETTERS[word[0]], int(word[1:])) for word in words)


def describe_configuration(configuration: Configuration) -> str:
    """As etcd-io/raft prints a configuration."""

    def ids(nodes: Iterable[int]) -> str:
        return "(" + " ".join(str(node) for node in sorted(nodes)) + ")"

    text = "voters=" + ids(configuration.incoming)
    if configuration.outgoing:
        text += "&&" + ids(configuration.outgoing)
    if configuration.learners:
        text += " learners=" + ids(configuration.learners)
    if configuration.learners_next:
        text += " learners_next=" + ids(configuration.learners_next)
    return text + (" autoleave" if configuration.auto_leave else "")


def describe_progress(progress: Progress) -> str:
    """As etcd-io/raft prints a progress."""
    text = f"{_STATES[progress.state]} match={progress.match} next={progress.next_index}"
    if progress.is_learner:
        text += " learner"
    if progress.is_paused:
        text += " paused"
    if progress.pending_snapshot:
        text += f" pendingSnap={progress.pending_snapshot}"
    if not progress.recent_active:
        text += " inactive"
    if len(progress.inflights):
        full = "[full]" if progress.inflights.is_full else ""
        text += f" inflight={len(progress.inflights)}{full}"
    return text


def describe_entry(entry: Entry) -> str:
    """As etcd-io/raft prints an entry."""
    if entry.kind is EntryKind.NORMAL:
        data = json.dumps(entry.data.decode())
    else:
        changes = ConfChange.decode(entry.data).changes
        data = " ".join(f"{_LETTERS[change.kind]}{change.node}" for change in changes)
    return f"{entry.term}/{entry.index} {_KINDS[entry.kind]} {data}".rstrip()


def _describe_conf_state(state: ConfState) -> str:
    def ids(nodes: Iterable[int]) -> str:
        return "[" + " ".join(str(node) for node in nodes) + "]"

    auto_leave = "true" if state.auto_leave else "false"
    return (
        f"Voters:{ids(state.voters)} VotersOutgoing:{ids(state.outgoing)} "
        f"Learners:{ids(state.learners)} LearnersNext:{ids(state.learners_next)} "
        f"AutoLeave:{auto_leave}"
    )


def _describe_snapshot(snapshot: Snapshot) -> str:
    state = _describe_conf_state(snapshot.conf_state)
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{state}"


def _node_name(node: int) -> str:
    if node == APPEND_THREAD:
        return "AppendThread"
    return "ApplyThread" if is_local(node) else str(node)


def describe_message(message: Message) -> list[str]:
    """As etcd-io/raft prints a message, one text a line."""
    text = (
        f"{_node_name(message.sender)}->{_node_name(message.to)} {_TYPES[message.type]} "
        f"Term:{message.term} Log:{message.log_term}/{message.index}"
    )
    if message.reject:
        text += f" Rejected (Hint: {message.reject_hint})"
    if message.commit:
        text += f" Commit:{message.commit}"
    if message.vote:
        text += f" Vote:{message.vote}"
    if len(message.entries) == 1:
        text += f" Entries:[{describe_entry(message.entries[0])}]"
    lines = [text]
    if len(message.entries) > 1:
        lines[0] += " Entries:["
        lines += [describe_entry(entry) for entry in message.entries]
        lines.append("]")
    if message.snapshot is not None:
        lines.append("Snapshot: " + _describe_snapshot(message.snapshot))
    if message.responses:
        lines[-1] += " Responses:["
        for response in message.responses:
            lines += describe_message(response)
        lines.append("]")
    return lines


def _describe_hard_state(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"HardState Term:{state.term}{vote} Commit:{state.commit}"


def describe_ready(batch: Ready) -> list[str]:
    """As etcd-io/raft prints a batch.

    There a snapshot alone does not ask for a sync (its writing is taken to be durable by itself);
    here it does, which is the one difference and is undone here.
    """
    must_sync = batch.must_sync and not (
        batch.snapshot is not None and not batch.entries and not _votes(batch)
    )
    lines = [f"Ready MustSync={'true' if must_sync else 'false'}:"]
    if batch.soft_state is not None:
        lines.append(f"Lead:{batch.soft_state.leader} State:{_ROLES[batch.soft_state.role]}")
    if batch.hard_state is not None:
        lines.append(_describe_hard_state(batch.hard_state))
    if batch.entries:
        lines += ["Entries:", *map(describe_entry, batch.entries)]
    if batch.snapshot is not None:
        lines.append("Snapshot " + _describe_snapshot(batch.snapshot))
    if batch.committed:
        lines += ["CommittedEntries:", *map(describe_entry, batch.committed)]
    messages = batch.messages + batch.messages_after_sync
    if messages:
        lines.append("Messages:")
        for message in messages:
            lines += describe_message(message)
    return lines


def _votes(batch: Ready) -> bool:
    """Whether term or vote changed; the files have no snapshot in such a batch."""
    return batch.soft_state is not None and batch.soft_state.role is Role.CANDIDATE


class _Place:
    """One node with its storage, its state machine and its work in hand."""

    def __init__(self, node: RaftNode, storage: MemoryStorage, content: bytes) -> None:
        self.node = node
        self.storage = storage
        self.content = content
        self.append_work: list[Message] = []
        self.apply_work: list[Message] = []

    def store(
        self, hard_state: HardState | None, entries: tuple[Entry, ...], snapshot: Snapshot | None
    ) -> None:
        if hard_state is not None:
            self.storage.set_hard_state(hard_state)
        if snapshot is not None:
            self.storage.apply_snapshot(snapshot)
            self.content = snapshot.data
        self.storage.append(entries)

    def apply(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            state = self.storage.snapshot().conf_state
            if entry.kind is EntryKind.NORMAL:
                self.content += entry.data
            else:
                state = self.node.apply_conf_change(ConfChange.decode(entry.data))
            self.storage.set_snapshot(Snapshot(entry.index, entry.term, state, self.content))


class Interaction:
    """The environment that a file speaks to; `handle` gives what comes out of one directive."""

    def __init__(self) -> None:
        self._places: dict[int, _Place] = {}
        self._messages: list[Message] = []
        self._quiet = False

    def handle(self, directive: Directive) -> list[str]:
        """The facts that come out, without indentation."""
        lines = getattr(self, "_do_" + directive.command.replace("-", "_"))(directive)
        if self._quiet or directive.value("log-level") == "none":
            return []
        return lines or []

    def _do_log_level(self, directive: Directive) -> None:
        self._quiet = directive.arguments[0][0] == "none"

    def _do_add_nodes(self, directive: Directive) -> None:
        index = int(directive.value("index", "0"))
        voters = tuple(int(voter) for voter in directive.values("voters"))
        learners = tuple(int(learner) for learner in directive.values("learners"))
        for _ in range(directive.numbers[0]):
            node = len(self._places) + 1
            storage = MemoryStorage()
            content = directive.value("content").encode()
            if index:
                state = ConfState(voters=voters, learners=learners)
                storage.apply_snapshot(Snapshot(index, 1, state, content))
            options = Options(
                node=node,
                draw=lambda count: count - 1,
                election_ticks=3,
                heartbeat_ticks=1,
                message_bytes_max=UNLIMITED,
                applying_bytes_max=int(
                    directive.value("max-committed-size-per-ready", str(UNLIMITED))
                ),
                inflight_max=int(directive.value("inflight", "1000000")),
                uncommitted_bytes_max=UNLIMITED,
                check_quorum=directive.flag("checkquorum"),
                pre_vote=directive.flag("prevote"),
                lease_ms=100 if directive.value("read-only") == "lease-based" else 0,
                async_storage=directive.flag("async-storage-writes"),
                check_conf_changes=not directive.flag("disable-conf-change-validation"),
                step_down_on_removal=directive.flag("step-down-on-removal"),
                applied=index,
                now_ms=-1000,
            )
            self._places[node] = _Place(RaftNode(options, storage), storage, content)

    def _node(self, directive: Directive) -> RaftNode:
        return self._places[directive.numbers[0]].node

    def _do_campaign(self, directive: Directive) -> None:
        self._node(directive).campaign()

    def _do_propose(self, directive: Directive) -> list[str] | None:
        data = directive.arguments[1][0] if len(directive.arguments) > 1 else ""
        if directive.place.startswith("snapshot_succeed_via_app_resp_behind"):
            data = '"foo"'
        try:
            self._node(directive).propose(data.encode())
        except ProposalRefused:
            return ["raft proposal dropped"]
        return None

    def _do_propose_conf_change(self, directive: Directive) -> list[str] | None:
        transition = {
            "": Transition.AUTO,
            "auto": Transition.AUTO,
            "implicit": Transition.JOINT_IMPLICIT,
            "explicit": Transition.JOINT_EXPLICIT,
        }[directive.value("transition")]
        change = ConfChange(parse_changes(directive.body), transition)
        kind = EntryKind.CONF_CHANGE if directive.flag("v1") else EntryKind.CONF_CHANGE_V2
        node = self._node(directive)
        try:
            node.propose_conf_change(change, kind=kind)
        except ConfChangeRefused:
            # There an empty entry takes the place of a change that does not fit.
            node.propose(b"")
        except ProposalRefused:
            return ["raft proposal dropped"]
        return None

    def _do_process_ready(self, directive: Directive) -> list[str]:
        lines = []
        for number in directive.numbers:
            if len(directive.numbers) > 1:
                lines.append(f"> {number} handling Ready")
            lines += self._process_ready(number)
        return lines

    def _process_ready(self, number: int) -> list[str]:
        place = self._places[number]
        if not place.node.has_ready():
            return ["<empty Ready>"]
        batch = place.node.ready()
        asynchronous = place.node.options.async_storage
        if not asynchronous:
            place.store(batch.hard_state, batch.entries, batch.snapshot)
            place.apply(batch.committed)
        for message in batch.messages + batch.messages_after_sync:
            if message.to == APPEND_THREAD:
                place.append_work.append(message)
            elif is_local(message.to):
                place.apply_work.append(message)
            else:
                self._messages.append(message)
        if not asynchronous:
            place.node.advance()
        return describe_ready(batch)

    def _process_append(self, number: int) -> list[str]:
        place = self._places[number]
        if not place.append_work:
            return ["no append work to perform"]
        message = place.append_work.pop(0)
        place.store(message.hard_state, message.entries, message.snapshot)
        return self._answered(message)

    def _process_apply(self, number: int) -> list[str]:
        place = self._places[number]
        if not place.apply_work:
            return ["no apply work to perform"]
        message = place.apply_work.pop(0)
        place.apply(message.entries)
        return self._answered(message)

    def _answered(self, message: Message) -> list[str]:
        lines = ["Processing:", *describe_message(message._replace(responses=())), "Responses:"]
        for response in message.responses:
            lines += describe_message(response)
            self._messages.append(response)
        return lines

    def _do_process_append_thread(self, directive: Directive) -> list[str]:
        lines = []
        for number in directive.numbers:
            if len(directive.numbers) > 1:
                lines.append(f"> {number} processing append thread")
            lines += self._process_append(number)
        return lines

    def _do_process_apply_thread(self, directive: Directive) -> list[str]:
        lines = []
        for number in directive.numbers:
            if len(directive.numbers) > 1:
                lines.append(f"> {number} processing apply thread")
            lines += self._process_apply(number)
        return lines

    def _do_deliver_msgs(self, directive: Directive) -> list[str]:
        kind = directive.value("type")
        lines = []
        for key, values in directive.arguments:
            if values is None:
                lines += self._deliver(int(key), kind, drop=False)
            elif key == "drop":
                for value in values:
                    lines += self._deliver(int(value), kind, drop=True)
        return lines or ["no messages"]

    def _deliver(self, number: int, kind: str, *, drop: bool) -> list[str]:
        taken = [m for m in self._messages if m.to == number and kind in ("", _TYPES[m.type])]
        self._messages = [m for m in self._messages if m not in taken or m.to != number]
        lines = []
        for message in taken:
            described = describe_message(message)
            if drop:
                described[0] = "dropped: " + described[0]
            else:
                self._places[number].node.step(message)
            lines += described
            if not drop and self._is_from_stranger(message):
                lines.append("raft: cannot step as peer not found")
        return lines

    def _is_from_stranger(self, message: Message) -> bool:
        """Whether it is an answer of one outside the group, which is ignored without a trace."""
        known = self._places[message.to].node.progress
        return message.type in _ANSWERS and message.sender not in known and message.sender > 0

    def _do_stabilize(self, directive: Directive) -> list[str]:
        numbers = directive.numbers or sorted(self._places)
        lines: list[str] = []
        for _ in range(STEPS_MAX):
            found = self._stabilize_once(numbers)
            if not found:
                return lines
            lines += found
        raise AssertionError("does not come to rest")

    def _stabilize_once(self, numbers: list[int]) -> list[str]:
        lines = []
        for number in numbers:
            if self._places[number].node.has_ready():
                lines += [f"> {number} handling Ready", *self._process_ready(number)]
        for number in numbers:
            if any(message.to == number for message in self._messages):
                lines.append(f"> {number} receiving messages")
                lines += self._deliver(number, "", drop=False)
        for number in numbers:
            if self._places[number].append_work:
                lines.append(f"> {number} processing append thread")
            while self._places[number].append_work:
                lines += self._process_append(number)
        for number in numbers:
            if self._places[number].apply_work:
                lines.append(f"> {number} processing apply thread")
            while self._places[number].apply_work:
                lines += self._process_apply(number)
        return lines

    def _do_tick_heartbeat(self, directive: Directive) -> None:
        node = self._node(directive)
        for _ in range(node.options.heartbeat_ticks):
            node.tick()

    def _do_tick_election(self, directive: Directive) -> None:
        node = self._node(directive)
        for _ in range(node.options.election_ticks):
            node.tick()

    def _do_set_randomized_election_timeout(self, directive: Directive) -> None:
        self._node(directive).raft.election_timeout = int(directive.value("timeout"))

    def _do_raft_state(self, directive: Directive) -> list[str]:
        lines = []
        for number, place in sorted(self._places.items()):
            node = place.node
            voter = "Voter" if number in node.configuration.voters else "Non-Voter"
            lines.append(
                f"{number}: {_ROLES[node.role]} ({voter}) Term:{node.term} Lead:{node.leader}"
            )
        return lines

    def _do_status(self, directive: Directive) -> list[str]:
        progress = self._node(directive).progress
        return [f"{node}: {describe_progress(progress[node])}" for node in sorted(progress)]

    def _do_raft_log(self, directive: Directive) -> list[str]:
        storage = self._places[directive.numbers[0]].storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            return [f"log is empty: first index={first}, last index={last}"]
        return [describe_entry(entry) for entry in storage.entries(first, last + 1, UNLIMITED)]

    def _do_compact(self, directive: Directive) -> list[str]:
        self._places[directive.numbers[0]].storage.compact(directive.numbers[1])
        return self._do_raft_log(directive)

    def _do_send_snapshot(self, directive: Directive) -> list[str]:
        sender, to = directive.numbers
        place = self._places[sender]
        message = Message(
            MessageType.SNAP,
            to,
            sender,
            term=place.node.term,
            snapshot=place.storage.snapshot(),
        )
        self._messages.append(message)
        return describe_message(message)

    def _do_transfer_leadership(self, directive: Directive) -> None:
        place = self._places[int(directive.value("from"))]
        place.node.transfer_leadership(int(directive.value("to")))

    def _do_forget_leader(self, directive: Directive) -> None:
        self._node(directive).forget_leader()

    def _do_report_unreachable(self, directive: Directive) -> None:
        self._node(directive).report_unreachable(directive.numbers[1])


def facts(lines: Iterable[str]) -> list[str]:
    """What lines of a file state, without log lines, indentation and the empty answer."""
    stripped = [line.strip() for line in lines]
    return [line for line in stripped if line and line != "ok" and not _LOG_LINE.match(line)]
