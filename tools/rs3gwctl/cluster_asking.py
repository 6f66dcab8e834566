"""Asking a cluster, over the socket of the node on this machine or over the network.

What it is not: it waits for nothing and shows nothing. Two ends are told apart for scripts: a
cluster that says no (`Refused`, exit status 1), and one that could not be asked (`NobodyAnswers`,
2).
"""

from __future__ import annotations

from typing import Final

import click

from rs3gwd.base.admin import AdminAnswer, ClusterLayoutShow, ClusterPictureShow
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    LayoutBusy,
    LayoutPicture,
    LayoutRefused,
    NodeHoldsCopies,
    NoSuchGroup,
    NoSuchNode,
    NotAVoter,
    NotHandedOver,
    NotRemoved,
)
from rs3gwd.base.cluster_authority import AuthorityRefused
from tools.rs3gwctl.remote import ClusterRequest, Endpoint, ask_remote
from tools.rs3gwctl.session import SessionError, administer

UNREACHABLE: Final = 2

_REFUSALS: Final = frozenset(
    each.code
    for each in (
        AuthorityRefused,
        LayoutBusy,
        LayoutRefused,
        NoSuchGroup,
        NoSuchNode,
        NodeHoldsCopies,
        NotAVoter,
        NotHandedOver,
        NotRemoved,
    )
)
"""What a cluster that was asked says no to."""


class NobodyAnswers(click.ClickException):
    """Exit status 2: whatever the cluster is, it could not be asked."""

    exit_code = UNREACHABLE


class Refused(click.ClickException):
    """Exit status 1: the cluster says no. `code` is stable, empty where this program says it."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def ask(context: click.Context, request: ClusterRequest) -> AdminAnswer:
    """The answer to one request. Raises Refused, NobodyAnswers."""
    endpoint: Endpoint | None = context.obj["endpoint"]
    try:
        if endpoint is not None:
            return ask_remote(endpoint, request)
        return administer(context.obj["data"], request)
    except SessionError as error:
        if error.code in _REFUSALS:
            raise Refused(str(error), error.code) from error
        raise NobodyAnswers(str(error)) from error


def look(context: click.Context) -> ClusterPicture:
    """The cluster now. Raises NobodyAnswers."""
    picture = ask(context, ClusterPictureShow()).cluster
    if picture is None:
        raise NobodyAnswers("the daemon is of a release that knows no picture of the cluster")
    return picture


def look_at_layout(context: click.Context) -> LayoutPicture:
    """The layout now. Raises NobodyAnswers."""
    picture = ask(context, ClusterLayoutShow()).layout
    if picture is None:
        raise NobodyAnswers("the daemon is of a release that knows no layout")
    return picture
