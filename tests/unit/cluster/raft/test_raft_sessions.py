"""A command sent twice takes effect once."""

from cluster.raft.sessions import Outcome, Sessions


def _run(result: bytes = b"done"):
    return lambda: result


def test_a_repeated_command_is_not_run_again():
    """Its first result is given again (thesis, 6.3)."""
    sessions = Sessions()
    sessions.open(b"a")
    first = sessions.execute(b"a", 1, acknowledged_to=0, run=_run(b"x"))
    again = sessions.execute(b"a", 1, acknowledged_to=0, run=_run(b"y"))
    assert (first.outcome, again.outcome) == (Outcome.APPLIED, Outcome.REPEATED)
    assert first.result == again.result == b"x"


def test_a_command_of_no_session_is_not_run():
    """It may have been run before its session went."""
    ran = []
    answer = Sessions().execute(b"a", 1, acknowledged_to=0, run=lambda: ran.append(1) or b"")
    assert (answer.outcome, ran) == (Outcome.NO_SESSION, [])


def test_results_go_when_they_are_acknowledged():
    """An acknowledged number is not run again, and its result is gone."""
    sessions = Sessions()
    sessions.open(b"a")
    for number in (1, 2, 3):
        sessions.execute(b"a", number, acknowledged_to=number - 1, run=_run())
    assert sessions.state() == ((b"a", 2, ((3, b"done"),)),)
    late = sessions.execute(b"a", 1, acknowledged_to=0, run=_run(b"again"))
    assert late.outcome is Outcome.FORGOTTEN


def test_results_and_sessions_are_bounded():
    """A proposer that acknowledges nothing is refused; the session used longest ago goes first."""
    sessions = Sessions(sessions_max=2, results_max=1)
    for name in (b"a", b"b"):
        sessions.open(name)
    sessions.execute(b"a", 1, acknowledged_to=0, run=_run())
    assert sessions.execute(b"a", 2, acknowledged_to=0, run=_run()).outcome is Outcome.TOO_MANY
    sessions.open(b"c")
    assert [name for name, _, _ in sessions.state()] == [b"a", b"c"]
    assert len(sessions) == 2


def test_a_snapshot_brings_every_session_over():
    """What was run before the snapshot is not run again behind it."""
    sessions, other = Sessions(), Sessions()
    sessions.open(b"a")
    sessions.execute(b"a", 1, acknowledged_to=0, run=_run(b"x"))
    other.restore(sessions.state())
    assert other.state() == sessions.state()
    assert other.execute(b"a", 1, acknowledged_to=0, run=_run(b"y")).result == b"x"
