"""How far a change of the authority is, in the words of `rs3gwctl cluster authority`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rs3gwd.base.cluster_authority import AuthorityPicture
from tools.rs3gwctl.cluster_rotation import progress_of

PICTURE = AuthorityPicture("renewing", 1, 2, [3], 2, [], [], [])


def test_each_phase_is_a_quarter() -> None:
    """Of which each node has its share; nothing is done before it is steady again."""
    assert progress_of(PICTURE).share == pytest.approx(0.25 + 0.25 * 2 / 3)
    ended = replace(PICTURE, phase="forgetting", waited_for=[], done=3)
    assert progress_of(ended).share == 0.99
    assert progress_of(replace(PICTURE, phase="steady")).share == 1.0


def test_who_is_waited_for_is_named() -> None:
    """So that an operator knows what to start, remove or leave behind."""
    assert progress_of(PICTURE).text.endswith("certificates of the new authority; waited for: 3")
    assert "waited for" not in progress_of(replace(PICTURE, waited_for=[])).text
