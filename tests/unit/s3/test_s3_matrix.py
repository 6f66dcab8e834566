"""The capability matrix is true and its page is up to date.

`RS3GW_REWRITE=1 pytest tests/unit/s3/test_s3_matrix.py` writes the page anew.
"""

import os
from pathlib import Path

from rs3gwd.s3.matrix import find_proofs, render_matrix, support_of, unproved
from rs3gwd.s3.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/understand/capabilities.md"
REWRITE = "RS3GW_REWRITE"


def _proofs() -> dict[str, list[str]]:
    tests = ROOT / "tests"
    # Installed packages of client tests hold files of the same pattern.
    paths = [path for path in tests.rglob("test_*.py") if "node_modules" not in path.parts]
    return find_proofs({str(path.relative_to(ROOT)): path.read_text() for path in paths})


def test_every_operation_that_is_claimed_has_a_test() -> None:
    """A `yes` or `partial` without a proof is a promise that nobody checks."""
    assert unproved(_proofs()) == []


def test_every_proof_names_an_operation_that_is_claimed() -> None:
    """A misspelt name proves nothing."""
    claimed = {row.name for row in OPERATIONS if support_of(row) != "no"}
    assert set(_proofs()) <= claimed


def test_the_page_is_what_the_table_says() -> None:
    """The documentation does not drift from the code."""
    page = render_matrix(_proofs())
    if os.environ.get(REWRITE):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page)
    assert PAGE.read_text() == page, f"write it anew: {REWRITE}=1 pytest {Path(__file__).name}"


def test_marks_are_found_on_functions_classes_and_modules() -> None:
    """However a test is marked, and on nothing that is no test."""
    source = """
import pytest
pytestmark = [pytest.mark.long, pytest.mark.proves("A")]

@pytest.mark.proves("B", "C")
async def test_one(): ...

@pytest.mark.proves("D")
class TestMany:
    @pytest.mark.proves("E")
    def test_two(self): ...

@pytest.mark.proves("F")
def helper(): ...
"""
    proofs = find_proofs({"tests/t.py": source})
    assert proofs["B"] == proofs["C"] == ["tests/t.py::test_one"]
    assert proofs["D"] == proofs["E"] == ["tests/t.py::TestMany::test_two"]
    assert proofs["A"] == ["tests/t.py::test_one", "tests/t.py::TestMany::test_two"]
    assert "F" not in proofs


def test_the_page_has_a_row_for_every_operation() -> None:
    """Old names and form uploads included."""
    page = render_matrix({})
    for row in OPERATIONS:
        assert f"| {row.name} | `{row.method} " in page
    assert "| GetBucketLifecycle | `GET /Bucket?lifecycle` | no |" in page
