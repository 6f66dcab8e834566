"""The state of the last commit, as the look-ups of the event loop see it.

A request makes five look-ups, and beginning and ending a read transaction costs more than most of
them. What they would see changes only when a batch is committed, so one transaction serves them all
until then: as one newspaper lies on the table of a reading room until the next one comes.

Who commits drops the view before anyone is told of the commit, so a look-up that begins after an
acknowledgement sees what was acknowledged. Pages of an older state are pinned only for the moment
between a commit and that drop, however long the view lives without writes.

Invariant: all commits of the store go through the pipeline of this process, which drops the view.
A process that only reads beside a writer must not use one.
"""

from __future__ import annotations

from rs3gwd.engine.environment import Environment, Transaction


class View:
    """A read transaction that is begun when needed and kept. Belongs to the event loop."""

    __slots__ = ("_environment", "_txn")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._txn: Transaction | None = None

    def transaction(self) -> Transaction:
        """The transaction, for a piece of work that ends before the next await.

        Raises Overloaded. An error of LMDB may leave it unusable: `drop` it then.
        """
        txn = self._txn
        if txn is None:
            txn = self._txn = self._environment.read()
        return txn

    def drop(self) -> None:
        """The next look-up begins anew."""
        txn, self._txn = self._txn, None
        if txn is not None:
            txn.abort()
