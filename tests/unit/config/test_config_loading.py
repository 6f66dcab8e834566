"""How the sources become one Config, and what `rs3gwd` does with its command line."""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

import rs3gwd
from rs3gwd.base.records import Durability
from rs3gwd.config import Config, ConfigError, load, start
from rs3gwd.config.option import options_of


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answer(arguments: list[str], environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a command line that does not serve."""
    output, errors = io.StringIO(), io.StringIO()
    code = start(arguments, environ or {}, output, errors)
    assert isinstance(code, int)
    return code, output.getvalue(), errors.getvalue()


def test_nothing_said_gives_the_defaults() -> None:
    """A fresh clone needs no configuration: loopback, ./data, synced writes, no credentials."""
    config = load([], {})
    assert config == Config()
    assert config.bind_addr == ("127.0.0.1:9000",)
    assert config.storage_root == "./data"
    assert config.durability_default is Durability.STRICT
    assert (config.access_key, config.secret_key) == ("", "")


def test_flags_beat_variables_beat_the_file_beats_defaults() -> None:
    """The precedence is flags, environment, file, defaults."""
    Path("a.toml").write_text('region = "file"\naccess_log = false\nmax_connections = 7\n')
    environ = {"RS3GW_CONFIG": "a.toml", "RS3GW_REGION": "env", "RS3GW_MAX_CONNECTIONS": "8"}
    config = load(["--region", "flag"], environ)
    assert (config.region, config.max_connections, config.access_log) == ("flag", 8, False)
    assert config.idle_timeout_secs == Config().idle_timeout_secs


def test_the_file_in_the_working_directory_is_read_unless_another_is_named() -> None:
    """./rs3gw.toml is the default file; --config beats RS3GW_CONFIG, and only one file is read."""
    Path("rs3gw.toml").write_text('region = "here"')
    Path("other.toml").write_text("max_connections = 5")
    assert load([], {}).region == "here"
    named = load(["--config", "other.toml"], {"RS3GW_CONFIG": "missing.toml"})
    assert (named.region, named.max_connections) == ("us-east-1", 5)


def test_all_problems_of_all_sources_are_told_at_once() -> None:
    """A person mends three mistakes in one go."""
    Path("rs3gw.toml").write_text("regoin = 1")
    with pytest.raises(ConfigError) as caught:
        load(["--bogus"], {"RS3GW_REGOIN": "x"})
    assert len(caught.value.problems) == 3
    assert "--bogus" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"RS3GW_TLS_CERT": "c.pem"}, "tls.cert_path and tls.key_path go together"),
        ({"RS3GW_MASTER_KEY": "ab" * 32}, "encryption.master_key_source = environment"),
        ({"RS3GW_MASTER_KEY_SOURCE": "environment"}, "go together"),
        ({"RS3GW_MASTER_KEY_SOURCE": "file"}, "needs encryption.master_key_file"),
        ({"RS3GW_MASTER_KEY_SOURCE": "vault"}, "encryption.vault_token_file"),
        ({"RS3GW_ACCESS_KEY": "root"}, "access_key and secret_key go together"),
        ({"RS3GW_BIND_ADDR": ","}, "at least one address is needed"),
        ({"RS3GW_BIND_ADDR": ":65536"}, "the port of ':65536' is above 65535"),
        ({"RS3GW_BIND_ADDR": "localhost"}, "'localhost' is not host:port"),
        ({"RS3GW_BIND_ADDR": "::1:9000"}, "'::1:9000' is not host:port"),
        ({"RS3GW_SEGMENT_BYTES": "2 MiB"}, "segment_preallocate_bytes must not exceed"),
        ({"RS3GW_ROOT_CANONICAL_ID": "AB"}, "64 lower-case hex digits"),
        ({"RS3GW_STORAGE_ROOT": "a\x00b"}, "control character"),
    ],
)
def test_values_that_cannot_work_together_are_refused(
    environ: dict[str, str], problem: str
) -> None:
    """What would fail or mislead later is refused at the start, in words."""
    with pytest.raises(ConfigError) as caught:
        load([], environ)
    assert problem in str(caught.value)


@pytest.mark.parametrize("address", ["[::1]:9000", ":0", "0.0.0.0:65535", "node-1.example:80"])
def test_addresses_in_their_usual_forms_are_taken(address: str) -> None:
    """IPv4, IPv6 in brackets, names, all interfaces, and port 0."""
    assert load(["--bind-addr", address], {}).bind_addr == (address,)


def test_check_config_says_valid_or_what_is_wrong() -> None:
    """--check-config ends with 0 and a line, or with 2 and one line for each problem."""
    code, output, errors = answer(["--check-config"])
    assert (code, errors) == (0, "")
    assert "configuration is valid" in output
    code, output, errors = answer(["--check-config", "--max-connections=x"])
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1
    assert "max_connections (flag --max-connections): 'x' is not an integer" in errors


def test_print_config_shows_every_option_and_no_secret() -> None:
    """Each option has a line with value, source, unit and range; a secret reads (hidden)."""
    environ = {"RS3GW_ACCESS_KEY": "AKIDEXAMPLE", "RS3GW_SECRET_KEY": "swordfish-swordfish"}
    code, output, _ = answer(["--print-config", "--region=eu-west-1"], environ)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in output.splitlines()[1:]}
    assert list(lines) == [option.key for option in options_of(Config)]
    assert lines["region"][1:4] == ["eu-west-1", "flag", "--region"]
    assert lines["idle_timeout_secs"][1:] == ["60", "default", "seconds", "1", "to", "86400"]
    assert lines["secret_key"][1:4] == ["(hidden)", "environment", "RS3GW_SECRET_KEY"]
    assert "swordfish" not in output


def test_version_and_help_answer_even_when_the_configuration_is_wrong() -> None:
    """Whoever asks for help gets it, whatever the environment holds."""
    assert answer(["--version"], {"RS3GW_BOGUS": "1"})[:2] == (0, f"rs3gwd {rs3gwd.__version__}\n")
    code, output, _ = answer(["--help"], {"RS3GW_BOGUS": "1"})
    assert code == 0
    assert all(option.spec.env in output for option in options_of(Config))


def test_serving_gets_the_config() -> None:
    """Without an action the caller gets the Config and nothing is printed."""
    output = io.StringIO()
    assert start(["--region=x"], {}, output, output) == load(["--region=x"], {})
    assert output.getvalue() == ""


def test_the_options_are_told_apart_everywhere() -> None:
    """No two options share a variable, key or flag, and every default passes its own check."""
    options = options_of(Config)
    for names in ([o.spec.env for o in options], [o.key for o in options]):
        assert len(set(names)) == len(options)
    for option in options:
        assert option.spec.env.startswith("RS3GW_")
        assert option.spec.help.endswith(".")
        assert option.default in ("", ()) or option.parse_text(option.show(option.default)) == (
            option.default
        )
