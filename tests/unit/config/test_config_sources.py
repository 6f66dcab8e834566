"""The three sources: command line, environment and file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.config.option import options_of
from rs3gwd.config.settings import Config
from rs3gwd.config.sources import (
    FILE_BYTES_MAX,
    Action,
    read_command_line,
    read_environment,
    read_file,
)

OPTIONS = options_of(Config)


def test_flags_take_their_value_behind_a_space_or_an_equals_sign() -> None:
    """Both common forms give the same value."""
    spaced = read_command_line(OPTIONS, ["--region", "eu-west-1"])
    joined = read_command_line(OPTIONS, ["--region=eu-west-1"])
    assert spaced.found.values == joined.found.values
    assert spaced.found.values == {"region": ("eu-west-1", "flag --region")}


def test_a_boolean_flag_needs_no_value_and_has_a_negation() -> None:
    """--x is true, --no-x is false, --x=false is false, and none of them takes the next word."""
    for arguments, expected in (
        (["--access-log"], True),
        (["--no-access-log"], False),
        (["--access-log=false"], False),
    ):
        line = read_command_line(OPTIONS, arguments)
        assert line.found.problems == []
        assert line.found.values["access_log"][0] is expected


@pytest.mark.parametrize("action", [a for a in Action if a is not Action.SERVE])
def test_every_action_has_its_flag(action: Action) -> None:
    """The flags that ask for an answer are recognised among others."""
    line = read_command_line(OPTIONS, ["--region=x", action.value])
    assert (line.action, line.found.problems) == (action, [])


def test_the_file_is_named_by_config() -> None:
    """--config gives the path and is no option itself."""
    line = read_command_line(OPTIONS, ["--config", "a.toml"])
    assert (line.config_path, line.found.values) == ("a.toml", {})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--regoin", "x"], "unknown flag '--regoin'; did you mean --region?"),
        (["--no-region"], "unknown flag '--no-region'; did you mean --region?"),
        (["region"], "unknown argument 'region'"),
        (["--region"], "flag --region needs a value"),
        (["--config="], "flag --config needs a value"),
        (["--region=a", "--region=b"], "flag --region is given twice"),
        (["--access-log", "--no-access-log"], "flag --access-log is given twice"),
        (
            ["--max-connections", "0"],
            "max_connections (flag --max-connections): 0 is out of range; "
            "valid: 1 to 1000000 connections",
        ),
    ],
)
def test_a_wrong_command_line_is_named(arguments: list[str], problem: str) -> None:
    """Each mistake gives one sentence that names it and the way out."""
    (found,) = read_command_line(OPTIONS, arguments).found.problems
    assert found.startswith(problem)


@pytest.mark.parametrize("arguments", [["--secret-key", "swordfish1"], ["--secret-key=swordfish1"]])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(arguments: list[str]) -> None:
    """A secret has no flag; the refusal says where it goes and does not show it."""
    (problem,) = read_command_line(OPTIONS, arguments).found.problems
    assert "RS3GW_SECRET_KEY" in problem
    assert "swordfish1" not in problem


def test_variables_are_read_by_their_names() -> None:
    """The names of rs3gw that do not follow from the option's name work too."""
    found = read_environment(
        OPTIONS, {"RS3GW_MAX_CONCURRENT": "9", "RS3GW_TLS_CERT": "/c.pem", "PATH": "/bin"}
    )
    assert found.problems == []
    assert found.values["max_concurrent_requests"] == (9, "environment RS3GW_MAX_CONCURRENT")
    assert found.values["tls_cert_path"][0] == "/c.pem"


def test_an_unknown_variable_is_refused_with_the_nearest() -> None:
    """A misspelt RS3GW_ variable stops the start instead of being ignored."""
    (problem,) = read_environment(OPTIONS, {"RS3GW_REGOIN": "x"}).problems
    assert problem == "environment: unknown variable RS3GW_REGOIN; did you mean RS3GW_REGION?"


def test_a_variable_of_rs3gw_that_has_no_sense_here_says_why() -> None:
    """Somebody who moves over learns what took the option's place."""
    (problem,) = read_environment(OPTIONS, {"RS3GW_FSYNC": "true"}).problems
    assert "RS3GW_DURABILITY_DEFAULT" in problem


@pytest.mark.parametrize(
    "variable",
    ["RS3GW_TEST_LONG", "RS3GW_SERVICE_HOST", "RS3GW_PORT", "RS3GW_PORT_9000_TCP_ADDR"],
)
def test_variables_of_others_are_left_alone(variable: str) -> None:
    """The test suite's variables and those Kubernetes makes for a service rs3gw are no mistake."""
    assert read_environment(OPTIONS, {variable: "tcp://10.0.0.1:9000"}).problems == []


def test_an_empty_variable_counts_as_unset() -> None:
    """Container tools set variables they have no value for."""
    found = read_environment(OPTIONS, {"RS3GW_REGION": "", "RS3GW_MAX_CONCURRENT": ""})
    assert (found.values, found.problems) == ({}, [])


def test_the_file_has_flat_keys_and_a_table_for_tls(tmp_path: Path) -> None:
    """Keys are the options' names; the certificate stands in a table, as in rs3gw."""
    path = tmp_path / "a.toml"
    path.write_text('region = "eu"\nbind_addr = [":1", ":2"]\n[tls]\ncert_path = "c.pem"\n')
    found = read_file(OPTIONS, str(path))
    assert found.problems == []
    assert {name: value for name, (value, _) in found.values.items()} == {
        "region": "eu",
        "bind_addr": (":1", ":2"),
        "tls_cert_path": "c.pem",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('regoin = "x"', "unknown key 'regoin'; did you mean region?"),
        ("[tls]\ncertpath = 1", "unknown key 'tls.certpath'; did you mean tls.cert_path?"),
        ("tls = 1", "unknown key 'tls'"),
        ("[region]\nx = 1", "a table where a string was expected"),
        ("region = ", "Invalid value"),
        ("max_connections = 1.5", "a float where an integer was expected"),
        ("a.b.c.d.e.f.g.h = 1", "unknown key 'a.b.c.d.e'"),
        ("x = " + "[" * 5000, "recursion"),
        ("[empty]", "unknown key 'empty'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """Each mistake in a file gives one sentence with the file's name."""
    path = tmp_path / "a.toml"
    path.write_text(text)
    (found,) = read_file(OPTIONS, str(path)).problems
    assert problem in found
    assert str(path) in found


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A named file that is missing, binary or far too long is not passed over."""
    (missing,) = read_file(OPTIONS, str(tmp_path / "none.toml")).problems
    assert "No such file" in missing
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (binary,) = read_file(OPTIONS, str(tmp_path / "binary")).problems
    assert "can't decode" in binary
    (tmp_path / "long").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    (long,) = read_file(OPTIONS, str(tmp_path / "long")).problems
    assert "longer than" in long


@given(
    st.binary(max_size=200)
    | st.text(alphabet="[]{}=\"'.,#\n\\ abtls_1", max_size=60).map(str.encode)
)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No bytes make reading fail in another way than with a problem."""
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(data)
    found = read_file(OPTIONS, str(path))
    assert set(found.values) <= {option.name for option in OPTIONS}


@given(
    st.lists(st.sampled_from([*(o.flag for o in OPTIONS), "--x", "=", "1", "--config"]), max_size=6)
)
def test_any_command_line_is_read_or_refused(arguments: list[str]) -> None:
    """No order of words makes reading fail in another way than with a problem."""
    line = read_command_line(OPTIONS, [word for word in arguments if word])
    assert set(line.found.values) <= {option.name for option in OPTIONS}
