"""From the sources to one checked Config: flags before environment before file before defaults.

The file is the one that --config or RS3GW_CONFIG names, or `rs3gw.toml` in the working directory
where there is one. Rules that concern two options at once are checked here, after each option
was checked alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from rs3gwd.config.errors import ConfigError
from rs3gwd.config.option import Option, Value, options_of
from rs3gwd.config.settings import Config, MasterKeySource
from rs3gwd.config.sources import (
    CONFIG_ENV,
    CommandLine,
    read_command_line,
    read_environment,
    read_file,
)

FILE_DEFAULT = "rs3gw.toml"


class Setting(Struct, frozen=True):
    """An option with the value it got and the place that value came from."""

    option: Option
    value: Value
    source: str


class Resolved(Struct, frozen=True):
    """A Config and how it came about; `file` is the path that was read, or None."""

    config: Config
    settings: tuple[Setting, ...]
    file: str | None


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The configuration of a daemon started with these arguments (without the program's name).

    Raises ConfigError with every problem found. Reads at most one file.
    """
    return resolve(read_command_line(options_of(Config), argv), environ).config


def resolve(command_line: CommandLine, environ: Mapping[str, str]) -> Resolved:
    """As `load`, with the source of every value."""
    options = options_of(Config)
    path = command_line.config_path or environ.get(CONFIG_ENV) or None
    if path is None and Path(FILE_DEFAULT).exists():
        path = FILE_DEFAULT
    # The strongest source comes first.
    sources = [command_line.found, read_environment(options, environ)]
    if path is not None:
        sources.append(read_file(options, path))
    problems = [problem for source in sources for problem in source.problems]
    settings = []
    for option in options:
        found = next((s.values[option.name] for s in sources if option.name in s.values), None)
        settings.append(Setting(option, *(found or (option.default, "default"))))
    config = Config(**{setting.option.name: setting.value for setting in settings})  # type: ignore[arg-type]
    # Rules about two options say nothing useful while one of them is refused.
    problems = problems or _contradictions(config)
    if problems:
        raise ConfigError(problems)
    return Resolved(config, tuple(settings), path)


def _contradictions(config: Config) -> list[str]:
    problems = []
    if bool(config.tls_cert_path) != bool(config.tls_key_path):
        problems.append("tls.cert_path and tls.key_path go together: set both or neither")
    if bool(config.access_key) != bool(config.secret_key):
        problems.append("access_key and secret_key go together: set both or neither")
    problems += _master_key_problems(config)
    if not config.bind_addr:
        problems.append("bind_addr: at least one address is needed")
    if config.segment_preallocate_bytes > config.segment_bytes:
        problems.append("segment_preallocate_bytes must not exceed segment_bytes")
    problems += [
        f"bind_addr: the port of {address!r} is above 65535"
        for address in config.bind_addr
        if int(address.rpartition(":")[2]) > 65_535
    ]
    return problems


def _master_key_problems(config: Config) -> list[str]:
    source = config.master_key_source
    problems = []
    if bool(config.master_key) != (source is MasterKeySource.ENVIRONMENT):
        problems.append(
            "encryption.master_key and encryption.master_key_source = environment go together"
        )
    if source is MasterKeySource.FILE and not config.master_key_file:
        problems.append("encryption.master_key_source = file needs encryption.master_key_file")
    vault = (config.vault_address, config.vault_token_file, config.vault_key)
    if source is MasterKeySource.VAULT and not all(vault):
        problems.append(
            "encryption.master_key_source = vault needs encryption.vault_address, "
            "encryption.vault_token_file and encryption.vault_key"
        )
    return problems
