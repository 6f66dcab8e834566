"""Errors of the cluster library.

    ClusterError
      ProposalRefused        a proposal was not taken into the log; it certainly did not happen here
        NoLeader             nobody to take it; retry
        LogFull              the uncommitted tail is at its bound; retry later
        Transferring         leadership is being handed over; retry
        NotMember            this node is outside the group
        TooManyProposals     as many wait as may; retry later
      OutcomeUnknown         a proposal may have been applied, now or later
      ReadRefused            a read could not be started; retry
        BarrierTimeout       no leader confirmed in time that a read would be current; retry
      ConfChangeRefused      the change does not fit the configuration in force
      LogError               what was asked for is not in the log
        Compacted            it was, and is now only in the snapshot
        Unavailable          it is not there yet
      SnapshotNotReady       no snapshot can be given at this moment; retry
      SnapshotBroken         a snapshot did not arrive whole; another will be sent
      HostStopped            the host of the groups has ended; nothing more is taken
        LogWriteFailed       ... because its log could not be made durable
      NoRoom                 the disk is full; what was to be written is kept and can go on later
      WalDamaged             the log on the disk is not whole, beyond what can be mended here
      IdentityError          this disk and this node do not belong together; a human decides
        JoinRefused          the cluster does not take this node in; the text says why
      BadFrame               bytes of a peer that make no sense here; dropped and counted
      PeerError              a call to another node gave no answer
        PeerUnreachable      it was surely not run; retry elsewhere
        PeerTimeout          it may have been run; only what is safe twice is sent again
        RemoteFailure        the other node answered with an error of its own

Each class has a stable `code` and says whether to try again (`retryable`) and whose fault it is
(`fault`: caller, peer, disk or bug). Broken invariants are not here: they are assertions.
"""

from typing import ClassVar


class ClusterError(Exception):
    """Root of all errors of the library."""

    code: ClassVar[str] = "cluster"
    retryable: ClassVar[bool] = False
    fault: ClassVar[str] = "bug"


class ProposalRefused(ClusterError):
    """The proposal is not in any log by way of this node: it may be sent again safely."""

    code = "proposal_refused"
    retryable = True
    fault = "peer"


class NoLeader(ProposalRefused):
    """No leader is known, or forwarding to it is switched off."""

    code = "no_leader"


class LogFull(ProposalRefused):
    """Taking it would push the uncommitted tail over `Options.uncommitted_bytes_max`."""

    code = "log_full"
    fault = "caller"


class Transferring(ProposalRefused):
    """The leader is handing over and takes nothing new."""

    code = "transferring"


class NotMember(ProposalRefused):
    """This node leads but has been removed from the group."""

    code = "not_member"


class TooManyProposals(ProposalRefused):
    """The host's bound on proposals waiting, in count or bytes, is reached."""

    code = "too_many_proposals"
    fault = "caller"


class OutcomeUnknown(ClusterError):
    """No answer in time, or the session is gone: the proposal may be in a log, and may yet be
    applied. Only a command that is safe twice may be sent again, under a new number."""

    code = "outcome_unknown"
    fault = "peer"


class ReadRefused(ClusterError):
    """No leader is known, or too many reads wait (`Options.reads_pending_max`)."""

    code = "read_refused"
    retryable = True
    fault = "peer"


class BarrierTimeout(ReadRefused):
    """`groups` were not confirmed in time; of those in `leaderless` no leader is known."""

    code = "barrier_timeout"

    def __init__(
        self, message: str, *, groups: tuple[int, ...] = (), leaderless: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message)
        self.groups = groups
        self.leaderless = leaderless


class ConfChangeRefused(ClusterError):
    """The change of members does not fit the configuration in force."""

    code = "conf_change_refused"
    fault = "caller"


class LogError(ClusterError):
    """An index that the log cannot answer for."""

    code = "log"
    fault = "caller"


class Compacted(LogError):
    """The index lies at or before the last compaction; only the snapshot has it."""

    code = "compacted"


class Unavailable(LogError):
    """The index lies behind the end of the log."""

    code = "unavailable"


class SnapshotNotReady(ClusterError):
    """The state machine cannot give a snapshot right now; the leader asks again later."""

    code = "snapshot_not_ready"
    retryable = True
    fault = "disk"


class SnapshotBroken(ClusterError):
    """The stream of a snapshot broke and was not resumed in time, or its bytes are not as sent."""

    code = "snapshot_broken"
    retryable = True
    fault = "peer"


class HostStopped(ClusterError):
    """The host was stopped or has failed; a proposal that waited may have been applied."""

    code = "host_stopped"


class LogWriteFailed(HostStopped):
    """Writing or syncing the log failed: what the disk holds is unknown, so the host ends."""

    code = "log_write_failed"
    fault = "disk"


class NoRoom(ClusterError):
    """The disk is full: nothing of it counts as written, and whoever wrote goes on with the very
    same once there is room."""

    code = "no_room"
    retryable = True
    fault = "disk"


class WalDamaged(ClusterError):
    """What this node promised cannot be read any more: it must be removed and join anew."""

    code = "wal_damaged"
    fault = "disk"


class IdentityError(ClusterError):
    """The disk is empty or belongs to another node or cluster."""

    code = "identity"
    fault = "caller"


class JoinRefused(IdentityError):
    """A token that does not open the cluster, or no longer."""

    code = "join_refused"


class BadFrame(ClusterError):
    """Bytes of a peer that are not a frame of a version known here."""

    code = "bad_frame"
    fault = "peer"


class PeerError(ClusterError):
    """Another node gave no result."""

    code = "peer"
    retryable = True
    fault = "peer"


class PeerUnreachable(PeerError):
    """Nobody there, or the connection broke before the call left: it was not run."""

    code = "peer_unreachable"


class PeerTimeout(PeerError):
    """No answer in time, or the connection broke after the call left: it may have been run."""

    code = "peer_timeout"


class RemoteFailure(PeerError):
    """The other node answered with an error; `remote_code` is that error's `code`."""

    code = "remote_failure"
    retryable = False

    def __init__(self, message: str, remote_code: str) -> None:
        super().__init__(message)
        self.remote_code = remote_code
