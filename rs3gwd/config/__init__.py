"""The configuration: one table of options, read from file, environment and flags."""

from rs3gwd.config.errors import ConfigError
from rs3gwd.config.loading import load
from rs3gwd.config.settings import Config
from rs3gwd.config.starting import start

__all__ = ["Config", "ConfigError", "load", "start"]
