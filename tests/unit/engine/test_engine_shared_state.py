"""The page that the core shares with its workers."""

import mmap
import os
import subprocess
import sys

import pytest

from rs3gwd.engine.shared_state import SharedState

READER = """
import sys
from rs3gwd.engine.shared_state import SharedState
page = SharedState.attach(int(sys.argv[1]))
print(page.commit_count, page.config_id, page.failed)
"""


def test_what_the_core_writes_another_process_reads() -> None:
    """All slots, through an inherited descriptor."""
    page = SharedState.create()
    page.publish_commit()
    page.publish_commit()
    page.announce_config((1 << 63) + 5)
    page.set_failed()
    done = subprocess.run(
        [sys.executable, "-c", READER, str(page.descriptor)],
        pass_fds=[page.descriptor],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["2", str((1 << 63) + 5), "True"]
    page.close()


def test_a_new_page_says_nothing() -> None:
    """No commit, no configuration, no failure."""
    page = SharedState.create()
    assert (page.commit_count, page.config_id, page.failed) == (0, 0, False)
    page.close()


def test_a_worker_cannot_write_the_page() -> None:
    """There is one writer, the core: not even the descriptor lets another process write or cut."""
    page = SharedState.create()
    attached = SharedState.attach(os.dup(page.descriptor))
    with pytest.raises(TypeError):
        attached.publish_commit()
    with pytest.raises(PermissionError):
        mmap.mmap(page.descriptor, mmap.PAGESIZE, access=mmap.ACCESS_WRITE)
    with pytest.raises(PermissionError):
        os.pwrite(page.descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(page.descriptor, 0)
    page.publish_commit()
    assert attached.commit_count == 1
    attached.close()
    page.close()
