"""What the engine of every process does by itself: receives bodies, looks up, reads bytes.

What it is not: it commits nothing. `Engine` does that in the core, `WorkerEngine` has the core do
it; both read the same way, each with a view, bodies and stages of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from rs3gwd.base.errors import DataCorrupt, FormatError, StoreError
from rs3gwd.base.records import BlobRef, Durability, VersionRecord
from rs3gwd.engine.bodies import Bodies, OpenBlob, OpenBody
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.pinned_blobs import PinnedBlobs
from rs3gwd.engine.stage import BodyStage, StageParts
from rs3gwd.engine.view import View

P = ParamSpec("P")
T = TypeVar("T")


class StoreReads:
    """The half of an engine that needs no commit; a base of both."""

    def __init__(self, view: View, bodies: Bodies, stage_parts: StageParts) -> None:
        self._view = view
        self._bodies = bodies
        self._stage_parts = stage_parts

    def stage(self, *, size_hint: int | None, durability: Durability) -> BodyStage:
        """A place for one body, an async context manager; see `rs3gwd.base.ports.Stage`."""
        return BodyStage(self._stage_parts, size_hint=size_hint, durability=durability)

    def open_body(self, version: VersionRecord, start: int, end: int) -> OpenBody:
        """Verified bytes of a version, an async context manager giving a BodyReader.

        Raises (on entry) VersionGone, DataCorrupt.
        """
        return self._bodies.open(version, start, end)

    def open_blob(self, blob: BlobRef, start: int, end: int) -> OpenBlob:
        """Verified bytes of a blob of a cluster, named by a command already or not.

        Raises (on entry) BlobNotHere, DataCorrupt.
        """
        return self._bodies.open_blob(blob, start, end)

    def pin_blobs(self, blobs: Sequence[BlobRef]) -> PinnedBlobs:
        """Those of the blobs that are here, kept readable within an `async with`."""
        return PinnedBlobs(self._bodies, blobs)

    def read_small(self, version: VersionRecord) -> bytes | None:
        """A small body that is in the page cache, verified; None where `open_body` must be used.

        Raises VersionGone, DataCorrupt.
        """
        return self._bodies.read_small(version)

    def look_up(
        self, query: Callable[Concatenate[Transaction, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """`query` over the state of the last commit: it sees all that was acknowledged before.

        Call it on the event loop. Raises what `query` raises; the observer is told of a damaged
        row that it met.
        """
        try:
            return query(self._view.transaction(), *args, **options)
        except StoreError:
            raise
        except BaseException as error:
            self._view.drop()
            if isinstance(error, DataCorrupt | FormatError):
                self._bodies.report(str(error))
            raise
