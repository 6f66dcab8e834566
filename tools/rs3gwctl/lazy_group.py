"""Groups of commands that are imported when somebody asks for one of them.

A script says `rs3gwctl` many times over, and most of what a command costs is the import of what the
others need: certificates, the store, policies. So a group knows the names of its commands and where
they are, and imports one when it is run; its help imports them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import click


class LazyGroup(click.Group):
    """A group that finds its commands in `places`: by name, the module and the name in it."""

    places: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *self.places})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None where there is none."""
        place = self.places.get(cmd_name)
        if place is not None and cmd_name not in self.commands:
            module, name = place
            self.add_command(getattr(import_module(module), name), cmd_name)
        return super().get_command(ctx, cmd_name)
