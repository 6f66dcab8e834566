"""`rs3gwctl` and `rs3gwd` with bad input: what is wrong is said in a line, never by a traceback.

The commands run in this process, against a daemon of this file. The first tables say exactly what
each mistake is answered with; the sweep gives every argument and option of every command things
that nobody means.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import split

import click
import pytest
from click.testing import CliRunner, Result

from rs3gwd.testing.node_process import ACCESS_KEY, SECRET_KEY, NodeProcess
from tools.rs3gwctl.files import BYTES_MAX
from tools.rs3gwctl.main import main
from tools.rs3gwctl.session import TEXT_CHARACTERS_MAX

KEY = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
NO_MEMBER = "ValidationError: 1 validation error detected: Value at '{}' failed to satisfy "
NO_MEMBER += "constraint: Member must not be null"
QUESTION = "policy simulate --action s3:GetObject --resource arn:aws:s3:::b/k"
VISIBLE = "must have 1 to 128 printable characters, no blank at either end"
NOT_LIKE = "it is like https://node:9000"

MISUSED = {
    "acount": "No such command 'acount'. Did you mean 'account'?",
    "--jsn status": "No such option '--jsn'. Did you mean '--json'?",
    "user lst": "No such command 'lst'. Did you mean 'list'?",
    "user create": "Missing argument 'NAME'.",
    "user create bob --pth /": "No such option '--pth'. Did you mean '--path'?",
    "user create bob extra": "Got unexpected extra argument (extra)",
    "user action CreateUser UserName": "Invalid value for [NAME=VALUE]: 'UserName' is not "
    "NAME=VALUE",
    "user put-policy bob p BINARY": "BINARY: not text in UTF-8 (byte 0)",
    "user put-policy bob p HUGE": f"HUGE: larger than {BYTES_MAX} bytes",
    "user put-policy bob p FOLDER": "Invalid value for 'DOCUMENT': File 'FOLDER' is a directory.",
    "role create r NONE": "Invalid value for 'TRUST': File 'NONE' does not exist.",
    "account create ok --secret-key-file BINARY": "BINARY: not text in UTF-8 (byte 0)",
    "bucket durability b strikt": "Invalid value for 'CLASS': 'strikt' is not one of 'strict', "
    "'relaxed', 'ephemeral'.",
    "workers restart --wait": "No such option '--wait'. Did you mean '--no-wait'?",
    "check --fast": "No such option '--fast'.",
    "policy simulate": "Missing option '--action'.",
    "policy simulate --action x --resource b/k": "b/k is not an ARN; try arn:aws:s3:::b/k",
    f"{QUESTION} --principal me": "me is not the ARN of an account, user, role or session",
    f"{QUESTION} --tag x": "--tag x: expected KEY=VALUE",
    f"{QUESTION} --context x": "--context x: expected KEY=VALUE",
    f"{QUESTION} --identity-policy VOID": "VOID: MalformedPolicyDocument: Syntax errors in policy.",
    "policy lint BINARY": "BINARY: MalformedPolicyDocument: Syntax errors in policy.",
    "--secret-key-file NONE status": "Invalid value for '--secret-key-file': File 'NONE' does not "
    "exist.",
    "--endpoint http://h user list": "--endpoint is for the commands of `cluster`",
    "--endpoint http://h cluster init": "init works on this machine alone",
    **{
        f"--endpoint {url} cluster status": f"--endpoint {url}: {NOT_LIKE}"
        for url in (
            "nonsense",
            "ftp://h",
            "http://[::1",
            "http://h:99999",
            "http://h:x",
            "http://u:p@h",
            "http://h/path",
            "http://h?x=1",
            "http://é",
        )
    },
    "--endpoint URL --access-key 'a b' cluster status": "the access key has characters that none "
    "has",
    "--endpoint URL --access-key A --secret-key-file BINARY cluster status": "BINARY: not text in "
    "UTF-8 (byte 0)",
}
"""Command lines that are not understood: exit status 2."""

REFUSED = {
    "user list --account rot": "NoSuchAccount: no account is called 'rot'; did you mean 'root'?",
    "account delete rooot": "NoSuchAccount: no account is called 'rooot'; did you mean 'root'?",
    "account delete root": "InvalidRequest: the root account cannot be removed",
    "account delete ''": "NoSuchAccount: no account is called ''",
    "account key list ''": "NoSuchAccount: no account is called ''",
    "account key enable NOBODY": "NoSuchAccount: no access key 'NOBODY'",
    "account create ''": f"InvalidArgument: The display name '' {VISIBLE}.",
    "account create ' a '": f"InvalidArgument: The display name ' a ' {VISIBLE}; the nearest valid "
    "one is 'a'.",
    "account create ok --canonical-id zz": "InvalidArgument: The canonical id 'zz' must be 64 "
    "lower-case hex digits.",
    "account create ok --email '<a@b>'": "InvalidArgument: The email '<a@b>' must be empty or one "
    "address (name@domain) of at most 254 characters; the nearest valid one is 'a@b'.",
    "account create ok --access-key a/bc": "InvalidArgument: The access key id 'a/bc' must have 3 "
    "to 128 characters out of A-Z a-z 0-9 _ . @ + -; the nearest valid one is 'abc'.",
    "account create ok --secret-key-file VOID": "InvalidArgument: The secret must have 8 to 128 "
    "visible ASCII characters; the one given has 0.",
    "bucket durability nobody strict": "NoSuchBucket: no bucket 'nobody'",
    "user show nobody": "NoSuchEntity: The user with name nobody cannot be found.",
    "user create 'a b'": "ValidationError: The specified value for UserName is invalid. It must "
    "contain 1 to 64 alphanumeric characters or characters of _+=,.@-",
    "user key create nobody": "NoSuchEntity: The user with name nobody cannot be found.",
    "user action CreateUsr": "InvalidAction: IAM has no action CreateUsr here; did you mean "
    "CreateUser?",
    "user action CreateUser": NO_MEMBER.format("userName"),
    "user put-policy bob p VOID": NO_MEMBER.format("policyDocument"),
    "group add nobody bob": "NoSuchEntity: The group with name nobody cannot be found.",
    "managed-policy delete nonsense": "NoSuchEntity: Policy nonsense was not found.",
    "kms key rotate nobody": "KMS.NotFoundException: there is no key 'nobody'",
    "repair": "the data directory is in use by another process",
    "user show \udcff": "an argument is not text in UTF-8",
    f"user show {'x' * 70_000}": "the arguments are longer than 65536 bytes together",
}
"""What is understood and cannot be done: exit status 1."""

STORELESS = ("status", "account list", "check", "repair", "user list", "kms status", "workers list")
NONSENSE = ("", "é" * 10, "x" * 5000, "x" * 70_000, "\udcff", "a\nb", "-1", "9" * 30, "../x", "=")
AT_REST = {("workers", "restart"), ("cluster", "health")}
"""What may do its work however it is called, and wait for its end."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node beside the files that stand for the words in capitals."""
    folder = tmp_path_factory.mktemp("given")
    lay_out(folder)
    with NodeProcess(folder / "data") as running:
        yield running


def lay_out(folder: Path) -> None:
    """The files that the words in capitals name; there is none called NONE."""
    (folder / "VOID").touch()
    (folder / "BINARY").write_bytes(b"\xff\xfe\x00")
    (folder / "HUGE").write_bytes(b"x" * (BYTES_MAX + 1))
    (folder / "FOLDER").mkdir()


def run(
    node: NodeProcess,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    data: Path | None = None,
    folder: Path | None = None,
) -> Result:
    """What a command does; words in capitals are files in a folder, URL is the node."""
    monkeypatch.chdir(folder or node.data.parent)
    given = [node.url if each == "URL" else each for each in arguments]
    return CliRunner().invoke(main, ["--data", str(data or node.data), *given], env=KEY)


@pytest.mark.parametrize(
    ("line", "said", "status"),
    [
        *((line, said, 2) for line, said in MISUSED.items()),
        *((line, said, 1) for line, said in REFUSED.items()),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, str) else "",
)
def test_a_mistake_is_named(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch, line: str, said: str, status: int
) -> None:
    """Exit status 2 for a line not understood, 1 for what cannot be done; with --json the same."""
    for more in ([], ["--json"]):
        done = run(node, [*more, *split(line)], monkeypatch)
        assert done.stderr.splitlines()[-1] == f"Error: {said}"
        assert done.exit_code == status
        assert done.stdout == "", "a program that reads JSON must find none"


@pytest.mark.parametrize("line", STORELESS)
@pytest.mark.parametrize("place", ["FOLDER", "NONE", "VOID"])
def test_a_folder_without_a_store_stays_as_it_is(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch, line: str, place: str
) -> None:
    """Empty, absent or a file: the same words from every command, and nothing is made there."""
    data = node.data.parent / place
    before = sorted(node.data.parent.rglob("*"))
    done = run(node, split(line), monkeypatch, data=data)
    said = f"Error: {data} holds no rs3gwd store (no folder `meta` in it)\n"
    assert (done.exit_code, done.output) == (1, said)
    assert [path for path in sorted(node.data.parent.rglob("*")) if path not in before] == []


def test_wrong_keys_and_ports_are_told(node: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there, another protocol, an unknown key, a wrong secret, a node alone."""
    secure = node.url.replace("http", "https")
    for arguments, variables, said in (
        (["http://127.0.0.1:1"], KEY, "http://127.0.0.1:1: [Errno 111] Connection refused"),
        ([secure], KEY, f"{secure}: [SSL: WRONG_VERSION_NUMBER] wrong version number"),
        ([node.url], {**KEY, "AWS_ACCESS_KEY_ID": "NOBODY"}, "InvalidAccessKeyId: "),
        ([node.url], {**KEY, "AWS_SECRET_ACCESS_KEY": "x"}, "SignatureDoesNotMatch: "),
        ([node.url], {**KEY, "AWS_SECRET_ACCESS_KEY": ""}, "--endpoint needs a key: "),
        ([node.url], KEY, "NotACluster: this node is of no cluster"),
    ):
        line = ["--data", str(node.data), "--endpoint", *arguments, "cluster", "status"]
        done = CliRunner().invoke(main, line, env=variables)
        assert done.exit_code == 2
        assert done.output.splitlines()[-1].startswith(f"Error: {said}")


def leaves(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names of all commands that do something."""
    if isinstance(group, click.Group):
        for name in group.list_commands(click.Context(group)):
            yield from leaves(command_in(group, name), (*path, name))
    elif path not in AT_REST:
        yield path


def command_of(path: tuple[str, ...]) -> click.Command:
    """The command of a name."""
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command_in(command, name)
    return command


def command_in(group: click.Group, name: str) -> click.Command:
    """One that the group lists, imported if need be."""
    command = group.get_command(click.Context(group), name)
    assert command is not None, name
    return command


def lines_of(path: tuple[str, ...]) -> Iterator[list[str]]:
    """The command with each of its parameters nonsense in turn, all others harmless."""
    parameters = [each for each in command_of(path).params if each.name != "help"]
    for number, one in enumerate(parameters):
        if isinstance(one, click.Option) and one.is_flag:
            continue
        is_file = isinstance(one.type, click.Path | click.File)
        for bad in ("VOID", "BINARY", "HUGE", "FOLDER", "NONE") if is_file else NONSENSE:
            options, arguments = [], []
            for place, other in enumerate(parameters):
                value = bad if place == number else harmless(other)
                if isinstance(other, click.Argument):
                    arguments.append(value)
                elif place == number or other.required:
                    options += [f"{other.opts[0]}={value}"]
            yield [*path, *options, "--", *arguments]


def harmless(parameter: click.Parameter) -> str:
    """A value that is understood."""
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    if isinstance(parameter.type, click.Path | click.File):
        return "VOID"
    is_number = isinstance(parameter.type, click.IntRange | click.FloatRange)
    return "1" if is_number else "arn:aws:s3:::nobody/x"


@pytest.mark.parametrize("path", [*leaves(main)], ids=" ".join)
def test_no_nonsense_ends_in_a_traceback(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: tuple[str, ...]
) -> None:
    """Whatever an argument holds: done, or a status of 1 or 2 and a few lines for a person."""
    lay_out(tmp_path)
    for line in lines_of(path):
        done = run(node, line, monkeypatch, folder=tmp_path)
        shown = [each[:40] for each in line]
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            shown,
            done.exc_info,
        )
        assert done.exit_code in (0, 1, 2), shown
        if done.exit_code and path[0] != "policy":
            assert done.stderr.rpartition("Error: ")[2].strip(), shown
            assert len(done.stderr) < 2 * TEXT_CHARACTERS_MAX + max(map(len, line)), shown


CONFIGURATION = "rs3gwd: configuration: "
DAEMON = [
    (["--strage-root", "x"], "unknown flag '--strage-root'; did you mean --storage-root?"),
    (["--nonsense"], "unknown flag '--nonsense'"),
    (["extra"], "unknown argument 'extra'"),
    (["--storage-root"], "flag --storage-root needs a value"),
    (["--config", "NONE"], "file NONE: No such file or directory"),
    (["--config", "FOLDER"], "file FOLDER: Is a directory"),
    (["--config", "BINARY"], "file BINARY: 'utf-8' codec can't decode byte 0xff in position 0: "
     "invalid start byte"),
    (["--workers", "x"], "workers (flag --workers): 'x' is not an integer; valid: 0 to 256 (0: "
     "everything in one process), or auto: one for each core that it may run on processes"),
    (["--workers", "257"], "workers (flag --workers): 257 is out of range; valid: 0 to "
     "256 (0: everything in one process), or auto: one for each core that it may run on processes"),
    (["--region", "a b"], "region (flag --region): 'a b' is not lower-case letters, digits and "
     "hyphens; valid: lower-case letters, digits and hyphens"),
]  # fmt: skip


def run_daemon(node: NodeProcess, arguments: list[str]) -> tuple[int, str]:
    """The exit status of `rs3gwd`, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "rs3gwd.daemon.main", *arguments],
        cwd=node.data.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("arguments", "said"), DAEMON, ids=lambda value: str(value)[:40])
def test_the_daemon_says_what_it_was_not_told(
    node: NodeProcess, arguments: list[str], said: str
) -> None:
    """Exit status 2 and a line for each problem, before anything is touched."""
    assert run_daemon(node, arguments) == (2, f"{CONFIGURATION}{said}\n")


def test_the_daemon_says_where_it_cannot_live(node: NodeProcess) -> None:
    """A file, a folder that cannot be, another's data, a port that is taken: status 1, one line."""
    port = node.url.rpartition(":")[2]
    free = ["--bind-addr", "127.0.0.1:0"]
    for arguments, said in (
        (["--storage-root", "VOID"], "[Errno 17] storage_root: File exists: "),
        (["--storage-root", "/proc/none/x"], "[Errno 2] storage_root: No such file or directory: "),
        (["--storage-root", str(node.data)], "the data directory is in use by another process"),
        (["--storage-root", "other", "--bind-addr", f"127.0.0.1:{port}"], "[Errno 98] "),
    ):
        status, told = run_daemon(node, [*free, *arguments] if len(arguments) == 2 else arguments)
        assert status == 1, told
        assert told.startswith(f"rs3gwd: {said}"), told
        assert told.count("\n") == 1, told


def test_an_answer_may_be_read_in_part(node: NodeProcess) -> None:
    """`rs3gwd --help | head -1`: no traceback of a broken pipe."""
    program = f"{sys.executable} -m rs3gwd.daemon.main --help"
    done = subprocess.run(
        ["sh", "-c", f"{program} | head -1"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "usage: rs3gwd [--config FILE] [--OPTION VALUE ...]\n"
    assert done.stderr == ""
