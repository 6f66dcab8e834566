"""The load generator against a server that answers as it is told: every fault is counted once, as
what it is, and never as throughput."""

import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from scripted_server import OK, ScriptedServer, Step

from tools.rs3gw_bench.compiler import Programs
from tools.rs3gw_bench.generator import Endpoint, Load, LoadError, Shape, run_load
from tools.rs3gw_bench.request_file import Pool, RequestFile
from tools.rs3gw_bench.signing import SignedRequest
from tools.rs3gw_bench.single import make_certificate

BODY_BYTES = 4096


def head_of(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


class Runner:
    """Sends GETs that must be answered with `ok`, or what the test adds."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.program = programs.load
        self.path = folder / "requests"
        self.pool = Pool(1 << 16)

    def file(self) -> RequestFile:
        requests = RequestFile(self.pool)
        expected = self.pool.keep(b"ok")
        requests.add(SignedRequest("GET", "/", {"host": "x"}), expected=expected)
        return requests

    def run(
        self, script: Sequence[Step], shape: Shape, requests: RequestFile | None = None
    ) -> Load:
        path = (requests or self.file()).save(self.path)
        with ScriptedServer(script) as server:
            return run_load(self.program, Endpoint(server.address), path, shape)


@pytest.fixture
def runner(programs: Programs, tmp_path: Path) -> Runner:
    return Runner(programs, tmp_path)


def nonzero(load: Load) -> dict[str, int]:
    return {kind: count for kind, count in load.errors.items() if count}


def limited(count: int, **further: float) -> Shape:
    return Shape(connections=1, seconds=20, limit=count, **further)


FAULTS = {
    "closes mid-head": (Step((b"HTTP/1.1 200 OK\r\nConte",), closes=True), "closed"),
    "closes mid-body": (Step((OK[:-1],), closes=True), "closed"),
    "closes without a word": (Step((), closes=True), "closed"),
    "resets": (Step((), resets=True), "closed"),
    "another length": (Step((head_of("200 OK", "Content-Length: 3") + b"ok!",)), "length"),
    "other bytes": (Step((OK[:-2] + b"no",)), "body"),
    "another status": (Step((head_of("404 Not Found", "Content-Length: 0"),)), "status"),
    "another success": (Step((head_of("206 Partial", "Content-Length: 2") + b"ok",)), "status"),
    "not HTTP": (Step((b"SSH-2.0-OpenSSH\r\n\r\n",)), "malformed"),
    "bytes behind the end": (Step((OK + b"more",)), "malformed"),
    "two lengths": (
        Step((head_of("200 OK", "Content-Length: 2", "Content-Length: 3") + b"ok",)),
        "malformed",
    ),
    "a length that is no number": (Step((head_of("200 OK", "Content-Length: 2x"),)), "malformed"),
    "two framings": (
        Step((head_of("200 OK", "Content-Length: 2", "Transfer-Encoding: chunked"),)),
        "malformed",
    ),
    "a chunk without its end": (
        Step((head_of("200 OK", "Transfer-Encoding: chunked") + b"2\r\nokXX",)),
        "malformed",
    ),
    "chunks that end early": (
        Step((head_of("200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n",), closes=True),
        "closed",
    ),
    "too long a head": (Step((head_of("200 OK", "X: " + "x" * 20000),)), "malformed"),
    "a 503 that is no SlowDown": (
        Step((head_of("503 No", "Content-Length: 4") + b"Gone",)),
        "status",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_counted_once_as_what_it_is(runner: Runner, name: str) -> None:
    """Between right answers one wrong one makes one error of its kind, and no other."""
    step, kind = FAULTS[name]
    load = runner.run([Step(), step, Step()], limited(4))
    assert nonzero(load) == {kind: 1}
    assert load.good == load.latency.count == 3
    assert load.sent == 4
    assert not load.is_clean
    assert load.sample.startswith(kind)


RIGHT = {
    "in one piece": (OK,),
    "byte by byte": tuple(OK[i : i + 1] for i in range(len(OK))),
    "names in any case": (b"HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh:2\r\nX-Y: z\r\n\r\nok",),
    "chunks": (
        head_of("200 OK", "Transfer-Encoding: Chunked"),
        b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
    ),
    "chunks in pieces with a trailer": (
        head_of("200 OK", "transfer-encoding: chunked"),
        b"2",
        b"\r\no",
        b"k\r",
        b"\n0\r\nX-",
        b"Sum: 1\r\n",
        b"\r\n",
    ),
    "after an interim answer": (head_of("100 Continue"), head_of("102 Processing"), OK),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_counts_however_it_comes(runner: Runner, name: str) -> None:
    """Framing and fragments change nothing."""
    load = runner.run([Step(RIGHT[name])], limited(2))
    assert load.is_clean, load.complaint()
    assert load.good == 2


def test_a_target_that_is_always_wrong_has_no_throughput(runner: Runner) -> None:
    """Errors are as many as requests, and the rate is zero."""
    wrong = Step((head_of("200 OK", "Content-Length: 2") + b"no",))
    load = runner.run([wrong] * 50, limited(50))
    assert (load.good, load.rate, load.latency.count) == (0, 0.0, 0)
    assert nonzero(load) == {"body": 50}


def test_slow_down_is_counted_apart(runner: Runner) -> None:
    """A 503 SlowDown is neither right nor an error; nor is an empty 503."""
    body = b"<Error><Code>SlowDown</Code></Error>"
    slow = Step((head_of("503 Slow Down", f"Content-Length: {len(body)}") + body,))
    empty = Step((head_of("503 Slow Down", "Content-Length: 0"),))
    load = runner.run([Step(), slow, empty], limited(5))
    assert (load.good, load.slow_down, nonzero(load)) == (3, 2, {})


def test_a_server_that_ends_connections_is_followed(runner: Runner) -> None:
    """An announced end is no error; it is counted, and the next request connects anew."""
    close = Step(
        (head_of("200 OK", "Content-Length: 2", "Connection: close") + b"ok",), closes=True
    )
    old = Step((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",), closes=True)
    until_end = Step((b"HTTP/1.1 200 OK\r\n\r\nok",), closes=True)
    load = runner.run([close, old, until_end], limited(5))
    assert load.is_clean, load.complaint()
    assert (load.good, load.not_kept) == (5, 3)


def test_an_answer_that_never_comes_is_a_timeout(runner: Runner) -> None:
    """The request is given up after its time, and the next one goes over a new connection."""
    script = [Step(), Step(is_silent=True), Step()]
    load = runner.run(script, limited(4, timeout_seconds=0.2))
    assert nonzero(load) == {"timeout": 1}
    assert load.good == 3


def test_nobody_listening_is_a_connect_error(programs: Programs, tmp_path: Path) -> None:
    """Refused connections are counted and do not make a busy loop."""
    server = ScriptedServer([])
    address = server.address
    server._listener.close()
    path = Runner(programs, tmp_path).file().save(tmp_path / "requests")
    load = run_load(programs.load, Endpoint(address), path, limited(3))
    assert nonzero(load) == {"connect": 3}
    assert load.cpu_share < 0.5


def test_head_is_answered_without_a_body(runner: Runner) -> None:
    """The Content-Length of an answer to HEAD is checked, and nothing is waited for."""
    requests = RequestFile(runner.pool)
    requests.add(SignedRequest("HEAD", "/", {"host": "x"}), length=4096)
    script = [
        Step((head_of("200 OK", "Content-Length: 4096"),)),
        Step((head_of("200 OK", "Content-Length: 4097"),)),
        Step((head_of("200 OK"),)),
    ]
    load = runner.run(script, limited(3), requests)
    assert load.good == 1
    assert nonzero(load) == {"length": 2}


def test_bodies_arrive_as_they_are_in_the_pool(runner: Runner) -> None:
    """Head and body go out whole and in order, for each request its own."""
    requests = RequestFile(runner.pool)
    spans = [runner.pool.body(number, BODY_BYTES) for number in range(3)]
    for number, span in enumerate(spans):
        requests.add(SignedRequest("PUT", f"/{number}", {"host": "x"}), body=span)
    path = requests.save(runner.path)
    with ScriptedServer([]) as server:
        load = run_load(runner.program, Endpoint(server.address), path, limited(3))
        seen = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    assert load.is_clean
    assert seen == [runner.pool.bytes_of(span) for span in spans]
    assert len(set(seen)) == 3


def test_kinds_are_measured_apart(runner: Runner) -> None:
    """Each kind has its own count, and together they are all."""
    requests = RequestFile(runner.pool, ("get", "put"))
    for kind in (0, 1, 0):
        requests.add(SignedRequest("GET", "/", {"host": "x"}), kind=kind)
    load = runner.run([], limited(6), requests)
    assert {name: latency.count for name, latency in load.kinds.items()} == {"get": 4, "put": 2}
    assert load.latency.count == 6


def test_an_open_loop_charges_a_stall_to_all_who_were_due(runner: Runner) -> None:
    """While the server holds one answer back, everybody who was due waits, and it shows.

    One connection, 100 requests a second, one answer held back for 300 ms: thirty requests fall
    due meanwhile, so that a tenth of sixty have waited 200 ms at the least. A closed loop would
    have seen one slow answer.
    """
    held = threading.Event()
    threading.Timer(0.3, held.set).start()
    load = runner.run([Step(hold=held)], Shape(connections=1, seconds=0.6, rate=100))
    assert load.latency.count == load.sent + load.unsent == 60
    assert load.latency.p90_us > 200_000
    assert load.latency.max_us > 250_000


def test_an_open_loop_counts_who_never_got_a_connection(runner: Runner) -> None:
    """Requests due in the window and never begun are in the latencies, with their wait so far."""
    held = threading.Event()
    threading.Timer(0.6, held.set).start()
    load = runner.run([Step(hold=held)], Shape(connections=1, seconds=0.4, rate=50))
    assert load.unsent >= 1
    assert load.sent + load.unsent == load.latency.count == 20
    assert load.latency.p50_us > 100_000


def test_a_file_that_is_not_whole_is_refused(programs: Programs, tmp_path: Path) -> None:
    """A truncated or foreign file ends the generator with a sentence, before anything is sent."""
    path = Runner(programs, tmp_path).file().save(tmp_path / "requests")
    whole = path.read_bytes()
    for broken in (b"", whole[:100], whole[:-1], b"XXXX" + whole[4:], whole + b"x"):
        path.write_bytes(broken)
        with pytest.raises(LoadError, match="load: "):
            run_load(programs.load, Endpoint("127.0.0.1:1"), path, limited(1))


def test_a_record_that_points_outside_is_refused(programs: Programs, tmp_path: Path) -> None:
    """Offsets are checked before they are used."""
    path = Runner(programs, tmp_path).file().save(tmp_path / "requests")
    whole = bytearray(path.read_bytes())
    whole[168:176] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(whole)
    with pytest.raises(LoadError, match="points out of the file"):
        run_load(programs.load, Endpoint("127.0.0.1:1"), path, limited(1))


def test_over_tls_the_same_is_checked(programs: Programs, tmp_path: Path) -> None:
    """Large bodies up and down, an end in the middle, and a certificate that is not trusted."""
    if not programs.has_tls:
        pytest.skip("built without OpenSSL (apt-get install libssl-dev)")
    certificate, key, authority = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    pool = Pool(1 << 20)
    span = pool.body(5, 500_000)
    requests = RequestFile(pool)
    requests.add(SignedRequest("PUT", "/", {"host": "x"}), body=span, expected=span)
    path = requests.save(tmp_path / "requests")
    right = Step((head_of("200 OK", f"Content-Length: {span.count}") + pool.bytes_of(span),))
    cut = Step((right.pieces[0][:-1],), closes=True)
    with ScriptedServer([right, cut, right], context) as server:
        endpoint = Endpoint(server.address, "localhost", authority)
        load = run_load(programs.load, endpoint, path, limited(3))
        assert (load.good, nonzero(load)) == (2, {"closed": 1})
        bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
        assert bodies == [pool.bytes_of(span)] * 3
        stranger = Endpoint(server.address, "example.org", authority)
        assert nonzero(run_load(programs.load, stranger, path, limited(1))) == {"connect": 1}


def test_the_generator_reports_what_it_used_itself(runner: Runner) -> None:
    """A server that holds its answer back leaves the generator idle, and it says so."""
    held = threading.Event()
    threading.Timer(0.3, held.set).start()
    load = runner.run([Step(hold=held)], limited(1))
    assert 0 <= load.cpu_share < 0.5
