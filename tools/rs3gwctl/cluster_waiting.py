"""Waiting for a change of the layout, with what is left of it and about how long it takes.

A change goes on whether somebody waits or not: the cluster does it, and this only looks, once a
second. So Ctrl-C ends the waiting and nothing else, and a node that does not answer for a while is
asked again. People see a bar on a terminal and lines elsewhere; programs (`--json`) see nothing
until it is over. Both are on standard error, so that standard output has the result alone.

The estimate of the time left is what is left over the rate since most was left: it is as wrong as
the bodies to come are unlike those before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import click
from msgspec import Struct

from rs3gwd.base.cluster_admin import LayoutNode, LayoutPicture
from tools.rs3gwctl.cluster_amounts import as_bytes, as_duration
from tools.rs3gwctl.cluster_asking import NobodyAnswers, look_at_layout

LOOK_SECONDS: Final = 1.0
SILENCE_SECONDS_MAX: Final = 60.0
"""As long as a node may take to be started again."""

LINE_SECONDS: Final = 10.0
"""Between two lines of progress where there is no terminal."""

STEPS: Final = 1000
"""Of the bar."""

HOW_TO_LOOK: Final = "rs3gwctl cluster layout show --watch"


class GoesOn(click.ClickException):
    """Whoever waited does so no longer; exit status 1, since it is not done yet."""

    def show(self, file: object = None) -> None:
        """Without the word Error: nothing failed."""
        click.echo(f"\n{self.message}", err=True)


class Progress(Struct, frozen=True):
    """How far a change is: `share` from 0 to 1, and what is done at the moment, in words."""

    share: float
    phase: str
    text: str


class Looks:
    """What looks at the change to `version` add up to; 0 for whatever version is the newest."""

    def __init__(self, version: int = 0) -> None:
        self._version = version
        self._most = 0
        self._since_s = 0.0

    def add(self, picture: LayoutPicture, now_s: float) -> Progress:
        """How far it is by this look, at a time of any clock that goes on."""
        if picture.version < self._version:
            # Agreed already, but not heard of by the node that answered: behind one address may
            # be several, and none shows what was agreed a moment ago for certain.
            text = f"the node that answers has yet to hear of version {self._version}"
            return Progress(0.0, "hearing", text)
        if not picture.is_changing:
            return Progress(1.0, "done", f"version {picture.version} is in force")
        waited = [node for node in picture.nodes if node.is_waited_for]
        slow = [node for node in waited if node.obeys_version < picture.version]
        if slow:
            text = f"{_names(slow)} yet to go by version {picture.version}"
            progress = Progress(0.0, "obeying", text)
        else:
            progress = self._fetching(waited, now_s)
        silent = [node for node in waited if node.is_compared is None]
        if silent:
            text = f"{progress.text}; no answer of {_names(silent)}"
            return Progress(progress.share, "silence", text)
        return progress

    def _fetching(self, waited: list[LayoutNode], now_s: float) -> Progress:
        left = sum(node.bytes_lacking or 0 for node in waited)
        if left > self._most:
            self._most, self._since_s = left, now_s
        share = (self._most - left) / self._most if self._most else 0.0
        comparing = [node for node in waited if node.is_compared is False]
        if comparing:
            text = f"{_names(comparing)} yet to find out what to fetch; {as_bytes(left)} so far"
            return Progress(share, "comparing", text)
        if not left:
            return Progress(share, "ending", f"{_names(waited)} yet to say that all is there")
        fetching = [node for node in waited if node.bytes_lacking]
        text = f"{as_bytes(left)} left to fetch ({_names(fetching)})"
        if share > 0:
            seconds = (now_s - self._since_s) * (1 - share) / share
            text += f", about {as_duration(seconds)}"
        return Progress(share, "fetching", text)


class Shower(Protocol):
    """Shows progress to somebody."""

    def show(self, progress: Progress, now_s: float) -> None: ...


class Silent:
    """To programs: nothing."""

    def show(self, progress: Progress, now_s: float) -> None:
        """Nothing."""


class Lines:
    """A line when something else is done, and from time to time."""

    def __init__(self) -> None:
        self._phase = ""
        self._said_s = 0.0

    def show(self, progress: Progress, now_s: float) -> None:
        """A line, if it is time for one."""
        if progress.phase != self._phase or now_s - self._said_s >= LINE_SECONDS:
            self._phase, self._said_s = progress.phase, now_s
            click.echo(f"{progress.share:4.0%}  {progress.text}", err=True)


class Bar:
    """A bar on a terminal; it never goes back."""

    def __init__(self, update: Callable[[int, str], None]) -> None:
        self._update = update
        self._done = 0

    def show(self, progress: Progress, now_s: float) -> None:
        """Draws it anew."""
        done = max(self._done, int(progress.share * STEPS))
        self._update(done - self._done, progress.text)
        self._done = done


@contextmanager
def showing(context: click.Context, label: str) -> Iterator[Shower]:
    """Whatever fits who looks on."""
    if context.obj["json"]:
        yield Silent()
    elif not sys.stderr.isatty():
        click.echo(label, err=True)
        yield Lines()
    else:
        with click.progressbar(
            length=STEPS,
            label=label,
            show_eta=False,
            show_percent=True,
            item_show_func=lambda text: text,
            update_min_steps=0,
            file=sys.stderr,
        ) as bar:
            yield Bar(bar.update)


def wait_for(
    context: click.Context,
    is_done: Callable[[LayoutPicture], bool],
    *,
    label: str,
    goes_on: str,
    version: int = 0,
) -> LayoutPicture:
    """Looks until it is done, and gives the last picture; what a node tells that has not heard of
    `version` yet is shown to nobody as the end. Raises GoesOn with the words `goes_on`
    for Ctrl-C, NobodyAnswers after a minute of silence."""
    looks, heard_s = Looks(version), time.monotonic()
    try:
        with showing(context, label) as shower:
            while True:
                try:
                    picture = look_at_layout(context)
                except NobodyAnswers as error:
                    if time.monotonic() - heard_s > SILENCE_SECONDS_MAX:
                        raise NobodyAnswers(f"{error.message}; {goes_on}") from error
                else:
                    heard_s = time.monotonic()
                    shower.show(looks.add(picture, heard_s), heard_s)
                    if is_done(picture):
                        return picture
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt as error:
        raise GoesOn(f"{goes_on}; to look: {HOW_TO_LOOK}") from error


def _names(nodes: list[LayoutNode]) -> str:
    numbers = ", ".join(str(node.node) for node in nodes)
    return f"node {numbers}" if len(nodes) == 1 else f"nodes {numbers}"
