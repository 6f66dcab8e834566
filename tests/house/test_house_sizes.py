"""The tree keeps its sizes and names, and the program that says so finds what breaks them."""

from pathlib import Path

import pytest

from tools.check_sizes import (
    FUNCTION_LINES_MAX,
    MODULE_LINES_MAX,
    problems_of,
    read_modules,
)

ROOT = Path(__file__).resolve().parents[2]


def problems_in(root: Path, path: str, text: str) -> list[str]:
    """What is wrong with a tree of one module."""
    target = root / path
    target.parent.mkdir(parents=True)
    target.write_text(text)
    return problems_of(read_modules(root))


def test_the_tree_keeps_its_sizes_and_names() -> None:
    """No module, function, name or docstring breaks a rule."""
    modules = read_modules(ROOT)
    assert len(modules) > 50
    assert problems_of(modules) == []


LONG_FUNCTION = '"""Head."""\n\ndef f():\n' + "    x = 1\n" * FUNCTION_LINES_MAX
LONG_DOCSTRING = '"""Head."""\n\ndef f():\n    """\n' + "    x\n" * 200 + '    """\n'


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("rs3gwd/a.py", '"""Head."""\n' + "\n" * MODULE_LINES_MAX, "lines, at most"),
        ("rs3gwd/a.py", LONG_FUNCTION, "f has 71 lines"),
        ("rs3gwd/a.py", "x = 1\n", "no docstring"),
        ("rs3gwd/utils.py", '"""Head."""\n', "named after what it holds"),
        ("rs3gwd/common/a.py", '"""Head."""\n', "named after what it holds"),
        ("rs3gwd/__init__.py", '"""Head."""\nx = 1\n', "only a docstring and re-exports"),
        ("rs3gwd/__init__.py", '"""Head."""\nfrom a import *\n', "only a docstring"),
        ("rs3gwd/__init__.py", '"""Head."""\nimport os\n', "only a docstring"),
        ("tests/test_a.py", '"""Head."""\ndef test_x(): pass\n', "does not state its fact"),
        ("rs3gwd/iam/a.py", '"""Head."""\nx = datetime.now()\n', "it does not ask for it"),
        ("rs3gwd/s3/a.py", '"""Head."""\nx = datetime.datetime.utcnow()\n', "does not ask"),
    ],
)
def test_each_rule_finds_what_breaks_it(tmp_path: Path, path: str, text: str, problem: str) -> None:
    """A tree with one fault gives a sentence about it."""
    assert any(problem in found for found in problems_in(tmp_path, path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rs3gwd/a.py", LONG_DOCSTRING),
        ("rs3gwd/__init__.py", '"""Head."""\nfrom a import b\n__all__ = ["b"]\n'),
        ("rs3gwd/observe/a.py", '"""Head."""\nx = datetime.now()\n'),
        ("tests/a.py", '"""Head."""\ndef test_data(): pass\n'),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, path: str, text: str) -> None:
    """Docstrings do not count as length, re-exports may stand in __init__, and time has a home."""
    assert problems_in(tmp_path, path, text) == []


def test_test_modules_of_one_name_are_refused(tmp_path: Path) -> None:
    """pytest would import the second as the first."""
    for folder in ("a", "b"):
        path = tmp_path / "tests" / folder / "test_x.py"
        path.parent.mkdir(parents=True)
        path.write_text('"""Head."""\n')
    (problem,) = problems_of(read_modules(tmp_path))
    assert "tests/a/test_x.py has the same name" in problem


def test_a_tree_of_long_functions_is_refused(tmp_path: Path) -> None:
    """A long function now and then passes; when every third is long, the share is named."""
    long = "".join(f"def f{n}():\n" + "    x = 1\n" * 40 for n in range(3))
    short = "".join(f"def g{n}():\n    x = 1\n" for n in range(6))
    problems = problems_in(tmp_path, "rs3gwd/a.py", f'"""Head."""\n{long}{short}')
    assert problems == ["functions above 30 lines: 33.3%, at most 10% are allowed"]
