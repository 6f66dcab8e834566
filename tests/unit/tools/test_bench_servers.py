"""Servers as the benchmark sees them: processes, their cost, syncs, options, raw requests."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted_server import OK, ScriptedServer, Step

from tools.rs3gw_bench import compiler, durability, main, processes, workloads
from tools.rs3gw_bench.compiler import CompilerError, Programs
from tools.rs3gw_bench.figures import FLOOR, Figures
from tools.rs3gw_bench.generator import Endpoint, LoadError
from tools.rs3gw_bench.options import FULL_PAIRS, Options, parse
from tools.rs3gw_bench.rounds import Rounds
from tools.rs3gw_bench.servers import Peer, Server, ServerError, free_port, make_peer, pinned
from tools.rs3gw_bench.session import Bench, Session
from tools.rs3gw_bench.signing import SignedRequest, Target
from tools.rs3gw_bench.suite import PARTS
from tools.rs3gw_bench.wire import Wire, WireError

FAMILY = """
import os, sys
def work():
    spent = os.times()
    while os.times().user - spent.user < {seconds}:
        pass
for _ in range(2):
    if os.fork() == 0:
        work()
        print(os.getpid(), flush=True)
        sys.stdin.read()
        os._exit(0)
work()
print(os.getpid(), flush=True)
sys.stdin.read()
"""

PEER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
if os.fork() == 0:
    os.pause() if hasattr(os, "pause") else __import__("signal").pause()
server.serve_forever()
"""


def request(method: str = "GET") -> SignedRequest:
    return SignedRequest(method, "/", {"host": "x"})


def test_cost_and_memory_are_summed_over_a_tree() -> None:
    """A parent and two children that each used a tenth of a second used three tenths."""
    command = [sys.executable, "-c", FAMILY.format(seconds=0.1)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as family:
        assert family.stdout is not None
        members = {int(family.stdout.readline()) for _ in range(3)}
        assert set(processes.tree(family.pid)) == members
        assert processes.tree(family.pid)[0] == family.pid
        assert processes.cpu_seconds(family.pid) >= 0.29
        memory = processes.memory_of(family.pid)
        assert set(memory) == members
        assert all(0 < m.private_bytes < m.resident_bytes for m in memory.values())
        family.communicate("")


def test_the_machine_spends_what_its_processes_spend() -> None:
    """A tenth of a second of ours is in the machine's account as well."""
    before, ours = processes.machine_cpu_seconds(), time.process_time()
    while time.process_time() - ours < 0.1:
        continue
    assert processes.machine_cpu_seconds() - before >= 0.08


def test_a_process_that_is_gone_costs_nothing() -> None:
    """It has no tree and no memory; asking for it is no error."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert processes.tree(ended.pid) == []
    assert processes.cpu_seconds(ended.pid) == 0
    assert processes.memory_of(ended.pid) == {}


def test_who_listens_is_found() -> None:
    """By the port; a port where nobody listens belongs to nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert processes.listening_pid(server.getsockname()[1]) == os.getpid()
    assert processes.listening_pid(free_port()) is None


def test_files_open_for_synchronous_writing_are_counted(tmp_path: Path) -> None:
    """O_DSYNC and O_SYNC count, plain files do not."""
    before = processes.sync_opens(os.getpid())
    flags = (os.O_DSYNC, os.O_SYNC, 0)
    files = [os.open(tmp_path / "f", os.O_CREAT | os.O_WRONLY | flag) for flag in flags]
    assert processes.sync_opens(os.getpid()) == before + 2
    for file in files:
        os.close(file)


TRACE = """\
101 fdatasync(7)                      = 0
102 fdatasync(8 <unfinished ...>
101 fsync(9)                          = 0
102 <... fdatasync resumed>)          = 0
103 openat(AT_FDCWD, "/d/a", O_RDWR|O_DSYNC) = 9
103 openat(AT_FDCWD, "/d/b", O_RDWR|O_CLOEXEC) = 10
103 pwritev2(3, [{...}], 1, 0, RWF_DSYNC) = 5
fsync(4) = 0
strace: Process 101 detached
"""


def test_syncs_are_counted_once_each() -> None:
    """A call that was interrupted in the trace counts once; synchronous opens and writes count."""
    counts = durability.count_calls(TRACE)
    assert {name: count for name, count in counts.items() if count} == {
        "fdatasync": 2, "fsync": 2, "open": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("syncs", "words"),
    [
        (durability.Syncs({}, 0, 0, 0), "acknowledges without a sync"),
        (durability.Syncs(None, 0, 0, 0), "acknowledges without a sync"),
        (durability.Syncs({}, 0, 0, 5), "no sync of its own"),
        (durability.Syncs({"fdatasync": 100}, 0, 0, 90), "100 syncs and 90 flushes"),
        (durability.Syncs({}, 0, 2, 90), "0 syncs and 90 flushes"),
    ],
)
def test_a_verdict_says_whether_anything_was_synced(syncs: durability.Syncs, words: str) -> None:
    """Neither calls nor flushes: a power cut would lose what was confirmed."""
    assert words in syncs.verdict


def test_the_python_mode_reads_every_framing() -> None:
    """Content-Length, chunks, the end of the connection; and it connects again after that."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    script = [
        Step((OK,)),
        Step((chunked,)),
        Step((b"HTTP/1.1 200 OK\r\n\r\nok",), closes=True),
        Step(),
    ]
    with ScriptedServer(script) as server, Wire(Endpoint(server.address)) as wire:
        assert [wire.ask(request()).body for _ in script] == [b"ok"] * 4


def test_the_python_mode_refuses_another_status_and_an_early_end() -> None:
    """Both are errors, and the connection is usable or opened again afterwards."""
    wrong = b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nWhy?"
    with (
        ScriptedServer([Step((wrong,)), Step((OK[:-1],), closes=True)]) as server,
        Wire(Endpoint(server.address)) as wire,
    ):
        with pytest.raises(WireError, match=r"500 instead of 200.*Why"):
            wire.ask(request())
        with pytest.raises(WireError, match="1 of 2 bytes"):
            wire.ask(request())
        assert wire.ask(request()).status == 200


def test_a_peer_is_started_and_ended_with_all_its_processes(tmp_path: Path) -> None:
    """The command gets a port and a folder; stop() leaves no child behind."""
    (tmp_path / "peer.py").write_text(PEER)
    peer = make_peer(
        "example",
        f"{sys.executable} {tmp_path / 'peer.py'} {{port}} {{folder}}",
        url=None,
        credentials=("a", "s"),
        region="us-east-1",
        folder=tmp_path / "data",
        cores=(),
    )
    peer.start()
    assert peer.pid is not None
    family = processes.tree(peer.pid)
    assert len(family) == 2
    assert (tmp_path / "data").is_dir()
    peer.stop()
    assert peer.pid is None
    assert not [pid for pid in family if processes.is_running(pid)]


def test_a_peer_that_ends_at_once_says_why(tmp_path: Path) -> None:
    """What it printed is in the error."""
    command = f"{sys.executable} -c 'print(\"no such disk\"); raise SystemExit(3)'"
    target = Target(f"http://127.0.0.1:{free_port()}", "a", "s", "us-east-1", "bench")
    peer = Peer("example", command, target, tmp_path / "data", cores=())
    with pytest.raises(ServerError, match="no such disk"):
        peer.start()


def test_a_server_that_answers_wrongly_has_faults_and_no_figures(
    programs: Programs, tmp_path: Path
) -> None:
    """Through the whole of a round: the floors are measured, the wrong answers are not."""
    bench = Bench(programs, tmp_path, tmp_path, None)
    wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with ScriptedServer([Step((wrong,))] * 100000) as scripted:
        server = Server("liar", Target(f"http://{scripted.address}", "a", "s", "r", "bench"))
        session = Session(bench, server)
        figures = Figures()
        rounds = Rounds(bench, figures, seconds=0.1, pairs=2, core=min(os.sched_getaffinity(0)))
        (get,) = workloads.chosen(["get_4k_c1"])
        session._loaded.add("4k")
        rounds.measure([(get, [session])])
    assert set(figures.values) == {FLOOR}
    assert len(figures.values[FLOOR]["responder_rps"]) == 2
    assert len(figures.faults) == 1
    assert figures.faults[0].startswith("liar: get_4k_c1: ")
    assert "length" in figures.faults[0]


def test_what_is_stored_wrongly_was_not_uploaded(programs: Programs, tmp_path: Path) -> None:
    """PUTs that are all answered 200 count only if the bytes come back."""
    with ScriptedServer([]) as scripted:
        server = Server("liar", Target(f"http://{scripted.address}", "a", "s", "r", "bench"))
        session = Session(Bench(programs, tmp_path, tmp_path, None), server)
        (put,) = workloads.chosen(["put_4k_c1"])
        with pytest.raises(LoadError, match="length"):
            session.run_workload(put, seconds=0.1)


def test_without_a_compiler_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not a traceback: the package to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(CompilerError, match="apt install gcc"):
        compiler.build(tmp_path)


@pytest.mark.parametrize("source", sorted(compiler.SOURCES.glob("*.c")), ids=lambda p: p.name)
def test_the_sources_give_no_warning(source: Path, programs: Programs) -> None:
    """With TLS and without; a reader of the build's output sees nothing there."""
    name = compiler.find_compiler()
    assert name is not None
    for further in ((), compiler.TLS_FLAGS) if programs.has_tls else ((),):
        command = [name, *compiler.FLAGS, *further, "-Werror", "-fsyntax-only", str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_programs_are_built_once_for_each_state_of_the_sources(
    programs: Programs, tmp_path: Path
) -> None:
    """A second build finds the first one's programs; they stand in the folder given."""
    again = compiler.build(programs.load.parent)
    assert again == programs
    assert len(list(programs.load.parent.iterdir())) == 2


def options(*arguments: str) -> Options:
    return parse(["--server-cores", "0", "--load-core", "1", *arguments])


def test_flags_of_before_mean_what_they_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """--seconds, --pairs, --output, --folder and --set, repeated as often as wanted."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    given = options("--seconds", "2", "--pairs", "4", "--set", "RS3GW_A=1", "--set", "RS3GW_B=x=y")
    assert (given.seconds, given.pairs) == (2.0, 4)
    assert given.settings == {"RS3GW_A": "1", "RS3GW_B": "x=y"}
    assert options("--full").pairs == FULL_PAIRS >= 7


def test_peers_and_targets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL, a command with blanks and equal signs, credentials with a colon in the secret."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    given = options(
        "--target", "a=http://127.0.0.1:1", "--peer-command", "b=run --port={port}",
        "--credentials", "b=key:sec:ret", "--peer", "moto",
    )  # fmt: skip
    assert given.urls == {"a": "http://127.0.0.1:1"}
    assert given.commands["b"] == "run --port={port}"
    assert given.credentials["b"] == ("key", "sec:ret")
    assert "{port}" in given.commands["moto"]


@pytest.mark.parametrize("wrong", ["--set=X", "--target=http://x", "--credentials=a=b", "--peer=x"])
def test_what_cannot_be_read_is_refused(
    wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2 and a sentence."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    with pytest.raises(SystemExit) as ended:
        options(wrong)
    assert ended.value.code == 2
    assert "dev.py bench: error:" in capsys.readouterr().err


def test_the_list_shows_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Parts and workloads, as --only takes them."""
    main.print_list()
    shown = capsys.readouterr().out
    for name in (*PARTS, *(workload.name for workload in workloads.ALL)):
        assert f" {name}" in shown


def test_pinning_is_by_taskset_or_not_at_all() -> None:
    """No cores given: the server may run everywhere."""
    assert pinned((0, 2)) == ("taskset", "-c", "0,2")
    assert pinned(()) == ()
