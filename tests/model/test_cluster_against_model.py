"""Three nodes and the reference model do the same operations and must never differ.

The operations are those of `test_engine_against_model`, each through another node; a restart is one
of one node, while the others go on.
"""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule
from test_engine_against_model import EngineAgainstModel, places

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.engine.check import check
from rs3gwd.testing import scenario as s
from rs3gwd.testing.cluster_thread import ClusterThread
from rs3gwd.testing.target import StoreTarget, read_body

LONG_RUN = os.environ.get("RS3GW_TEST_LONG") == "1"
EXAMPLES = 300 if LONG_RUN else 12
STEPS = 40


class ClusterAgainstModel(EngineAgainstModel):
    """The same rules, but for those that need to know the order of what is done at once."""

    thread: ClusterThread
    batch = None  # type: ignore[assignment]  # no rule
    compact = None  # type: ignore[assignment]

    def open_thread(self) -> Any:
        return ClusterThread(self._path)

    @property
    def engine(self) -> StoreTarget:
        """The store as the next node has it."""
        return self._target.beside(self.thread.node.store)

    @engine.setter
    def engine(self, target: StoreTarget) -> None:
        self._target = target

    @rule(place=places, later_ms=st.sampled_from([0, 1, 500]), limit=st.just(100))
    def forget(self, place: int, later_ms: int, limit: int) -> None:
        """Forgets more than there is: which go first when there is a limit differs by group."""
        stamp = self.stamp()
        moment = stamp["time_ms"]
        if self.uploads:
            moment = self.uploads[place % len(self.uploads)].time_ms
        self.both(s.Forget(before_ms=moment + later_ms, limit=limit, **stamp))

    async def read(
        self, target: StoreTarget, bucket: str, key: bytes, name: str | None, start: int, end: int
    ) -> object:
        """A version, a range of its bytes and its manifest."""
        try:
            version = await target.store.get_version(bucket, key, target.id_of(name))
        except Rs3gwError as error:
            return target.describe(error)
        size = version.size_bytes
        piece = await read_body(target.store, version, size * start // 200, size * end // 200)
        manifest: object = None
        if version.manifest_id is not None:
            record = await target.store.get_manifest(version)
            manifest = (record.end_offsets, record.numbers, record.checksums)
        return target.view_version(version, is_latest=False, digest=None), piece, manifest

    @rule()
    def everything_is_the_same(self) -> None:
        """Every version with its bytes, every upload with its parts, through some node; and every
        node has the same rows, which its own check finds consistent."""
        names = self.thread.run(self.bucket_names)
        expected = self.thread.run(self.view, self.model, names)
        found = self.thread.run(self.view, self.engine, names)
        assert not s.differences(expected, found)
        self.thread.run(self.thread.world.wait_equal)
        assert self.thread.run(self.find_inconsistencies) == []

    async def find_inconsistencies(self) -> object:
        """What the check of any node finds."""
        return [
            finding
            for node in self.thread.world.nodes.values()
            for finding in check(node.engine.environment, node.disk, read_data=False).findings
        ]


ClusterAgainstModel.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=not LONG_RUN,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestClusterAgainstModel = pytest.mark.timeout(3600 if LONG_RUN else 300)(
    ClusterAgainstModel.TestCase
)
"""The machine as pytest finds it."""
