"""Opens what a crash left and holds it against what was acknowledged.

A violation is one line. None may be found: every version that was acknowledged is there byte for
byte, none is there that was not sent, an operation under way is there wholly or not at all, what
is listed can be read, `check` finds nothing, and the store takes new writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chaos.lanes import BUCKETS, RELAXED
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.engine.check import check
from rs3gwd.engine.engine import EngineSettings
from rs3gwd.engine.events import EventKind
from rs3gwd.engine.system import FileDisk, SystemRandom
from rs3gwd.testing import scenario as s
from rs3gwd.testing.open_local import LocalNode, open_local
from rs3gwd.testing.sealed_store import SealedStore
from rs3gwd.testing.target import StoreTarget
from rs3gwd.testing.threads import InlineThreads

EXPECTED_EVENTS = frozenset({EventKind.UNSYNCED_LOST, EventKind.SEGMENT_COMPACTED})
"""What may be told after a power cut: that unsynced versions of relaxed buckets are gone."""


class Expectation(msgspec.Struct, frozen=True):
    """What may be there of one lane: one of these views. `prefix` is that of its keys."""

    prefix: bytes
    views: list[s.View]


async def verify_directory(
    path: str,
    expectations: Sequence[Expectation],
    *,
    names: Mapping[bytes, str],
    settings: EngineSettings,
    power_cut: bool,
    write_after: bool = False,
) -> list[str]:
    """The violations in the data directory `path`, which is opened, recovered and read whole.

    `names` gives the names of versions and uploads by the nonces of the operations that made them.
    After a `power_cut` the relaxed bucket may have lost versions, whole. With `write_after` a new
    object is written and read. No expectations: only the store's own consistency is looked at.
    """
    problems: list[str] = []
    try:
        # Without threads: thousands of stores are opened, and each hop costs more than the work.
        async with open_local(path, settings=settings, threads=InlineThreads()) as node:
            problems += await _verify(
                node, path, expectations, names, power_cut=power_cut, write_after=write_after
            )
    except* (Rs3gwError, AssertionError) as group:
        problems += [f"the store fails: {error!r}" for error in _leaves(group)]
    return problems


async def _verify(
    node: LocalNode,
    path: str,
    expectations: Sequence[Expectation],
    names: Mapping[bytes, str],
    *,
    power_cut: bool,
    write_after: bool,
) -> list[str]:
    target = StoreTarget(SealedStore(node.engine, SystemRandom()), names_by_nonce=names)
    problems: list[str] = []
    count = 0
    for expectation in expectations:
        try:
            found = await target.view(BUCKETS, prefix=expectation.prefix)
        except (Rs3gwError, AssertionError) as error:
            problems.append(f"{expectation.prefix!r} cannot be read: {error!r}")
            continue
        count += count_versions(found)
        problems += violations(expectation.views, found, power_cut=power_cut)
    if expectations and not problems:
        listed = await _count_listed(target)
        if listed != count:
            problems.append(f"{listed} versions are listed, {count} of known lanes")
    report = check(node.engine.environment, FileDisk(path), read_data=True)
    problems += [f"check: {each.kind} {each.where}: {each.detail}" for each in report.findings]
    problems += [
        f"event {event.kind}: {event.detail}"
        for event in node.events.events
        if event.kind not in EXPECTED_EVENTS or not power_cut
        if event.kind is not EventKind.SEGMENT_COMPACTED
    ]
    if write_after and expectations:
        problems += await _write(target)
    return problems


async def _write(target: StoreTarget) -> list[str]:
    body = s.Body(7, 40_000)
    put = s.Put(
        bucket="plain", key=b"after", name="after", body=body, time_ms=1, nonce=b"after-the-crash!"
    )
    outcome = await target.perform(put)
    if outcome.error is not None:
        return [f"no new write is taken: {outcome.error}"]
    view = await target.view(["plain"], prefix=b"after")
    digest = view.versions["plain"]["after"][0].digest
    return [] if digest == s.digest_of(body.data) else ["a new write reads back otherwise"]


def violations(views: Sequence[s.View], found: s.View, *, power_cut: bool) -> list[str]:
    """What is wrong with a lane's view, against the nearest of those that may be; or nothing."""
    best: list[str] | None = None
    for view in views:
        wrong = _against(view, found, power_cut=power_cut)
        if not wrong:
            return []
        if best is None or len(wrong) < len(best):
            best = wrong
    return best or []


def _against(view: s.View, found: s.View, *, power_cut: bool) -> list[str]:
    if not power_cut:
        return s.differences(view, found)
    wrong = s.differences(_without(view, RELAXED), _without(found, RELAXED))
    for key, versions in found.versions.get(RELAXED, {}).items():
        allowed = [_undated(each) for each in view.versions.get(RELAXED, {}).get(key, [])]
        if not is_subsequence([_undated(each) for each in versions], allowed):
            wrong.append(f"versions of {RELAXED}/{key!r}: {versions}, of these only: {allowed}")
    for key, uploads in found.uploads.get(RELAXED, {}).items():
        known = {upload.name: upload.parts for upload in view.uploads.get(RELAXED, {}).get(key, [])}
        for upload in uploads:
            if not is_subsequence(upload.parts, known.get(upload.name, [])):
                wrong.append(f"upload of {RELAXED}/{key!r}: {upload}, of these only: {known}")
    return wrong


def is_subsequence(found: Sequence[object], allowed: Sequence[object]) -> bool:
    """Whether `found` is `allowed` with some left out."""
    rest = iter(allowed)
    return all(any(each == other for other in rest) for each in found)


async def _count_listed(target: StoreTarget) -> int:
    count = 0
    for bucket in BUCKETS:
        page = await target.store.list_versions(bucket)
        count += len(page.entries)
        assert page.next_key is None, "one page holds all that the lanes keep"
    return count


def count_versions(view: s.View) -> int:
    """Versions and delete markers of all buckets."""
    return sum(len(versions) for keys in view.versions.values() for versions in keys.values())


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _without(view: s.View, bucket: str) -> s.View:
    return s.View(
        versions={name: keys for name, keys in view.versions.items() if name != bucket},
        uploads={name: keys for name, keys in view.uploads.items() if name != bucket},
    )


def _undated(version: s.VersionView) -> s.VersionView:
    """A version may have become the latest because a newer one was lost."""
    return msgspec.structs.replace(version, is_latest=False)
