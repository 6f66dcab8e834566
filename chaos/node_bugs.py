"""Bugs to be planted into whole nodes, each of which `chaos.node_seeds` must find.

A bug is a change of one method for the length of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from rs3gwd.node.cluster_store import StoreSession

Patch = tuple[type, str, Any]


def _read_without_proof() -> Patch:
    """A look-up shows what this node has, current or not."""

    async def at_once(self: StoreSession, bucket: str, key: bytes) -> None:
        return None

    return StoreSession, "_prove_key", at_once


BUGS: Mapping[str, Callable[[], Patch]] = {"read_without_proof": _read_without_proof}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The bug is in the code for the length of the block; none for an empty name."""
    if not bug:
        yield
        return
    owner, name, method = BUGS[bug]()
    with patch.object(owner, name, method):
        yield
