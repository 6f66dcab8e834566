"""Holds the tree to its sizes and names: `python -m tools.check_sizes [root]`.

What ruff and mypy do not look at: how long modules and functions are, that every module says what
it is and every test which fact it proves, that a package's `__init__.py` holds nothing but a
docstring and re-exports, that no module is called after nothing (utils, helpers, common), and that
pure packages do not ask for the time. Limits are for what a person reads at once; they are not
raised for one module, the module is split.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("rs3gwd", "cluster", "tools", "chaos", "tests")

MODULE_LINES_MAX = 700
MODULE_LINES_USUAL = 400
LONG_MODULES_SHARE_MAX = 0.10
"""Share of modules above MODULE_LINES_USUAL; h11's 90th percentile is 369 lines."""

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_USUAL = 30
LONG_FUNCTIONS_SHARE_MAX = 0.10
"""Share of functions above FUNCTION_LINES_USUAL. The docstring does not count."""

NAMES_REFUSED = frozenset({"utils", "util", "helpers", "helper", "common", "misc"})

TIMELESS = ("rs3gwd/base", "rs3gwd/iam", "rs3gwd/s3")
"""Packages that are given the time and never ask for it; import contracts cannot see `now()`."""

CLOCK_CALLS = frozenset({"now", "utcnow", "today"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A parsed source file; `path` is relative to the root, `lines` its length."""

    path: Path
    lines: int
    tree: ast.Module

    @property
    def is_test(self) -> bool:
        """Whether pytest collects it."""
        return self.path.parts[0] == "tests" and self.path.name.startswith("test_")


def read_modules(root: Path) -> list[Module]:
    """Every Python file of the packages below `root`, by path. Raises SyntaxError."""
    modules = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            relative = path.relative_to(root)
            modules.append(Module(relative, text.count("\n"), ast.parse(text, str(relative))))
    return modules


def problems_of(modules: Sequence[Module]) -> list[str]:
    """What breaks a rule, one line each."""
    found = [problem for module in modules for problem in _module_problems(module)]
    for title, share, limit in shares_of(modules):
        if share > limit:
            found.append(f"{title}: {share:.1%}, at most {limit:.0%} are allowed")
    return found + _repeated_test_names(modules)


def shares_of(modules: Sequence[Module]) -> list[tuple[str, float, float]]:
    """Title, share and limit of what may be long now and then."""
    lengths = [_length(function) for module in modules for function in _functions(module)]
    return [
        (
            f"modules above {MODULE_LINES_USUAL} lines",
            _share(module.lines > MODULE_LINES_USUAL for module in modules),
            LONG_MODULES_SHARE_MAX,
        ),
        (
            f"functions above {FUNCTION_LINES_USUAL} lines",
            _share(length > FUNCTION_LINES_USUAL for length in lengths),
            LONG_FUNCTIONS_SHARE_MAX,
        ),
    ]


def _module_problems(module: Module) -> Iterator[str]:
    path = module.path
    if module.lines > MODULE_LINES_MAX:
        yield f"{path}: {module.lines} lines, at most {MODULE_LINES_MAX} are allowed"
    if not ast.get_docstring(module.tree):
        yield f"{path}: no docstring says what this module is"
    if path.stem.removeprefix("test_") in NAMES_REFUSED or path.parent.name in NAMES_REFUSED:
        yield f"{path}: a module is named after what it holds"
    if path.name == "__init__.py":
        for node in module.tree.body:
            if not _is_allowed_in_init(node):
                yield f"{path}:{node.lineno}: only a docstring and re-exports belong here"
    for function in _functions(module):
        length = _length(function)
        if length > FUNCTION_LINES_MAX:
            yield (
                f"{path}:{function.lineno}: {function.name} has {length} lines, "
                f"at most {FUNCTION_LINES_MAX} are allowed"
            )
        is_test = module.is_test and function.name.startswith("test_")
        if is_test and not ast.get_docstring(function):
            yield f"{path}:{function.lineno}: {function.name} does not state its fact"
    if path.as_posix().startswith(TIMELESS):
        for line in _clock_calls(module.tree):
            yield f"{path}:{line}: this package is given the time, it does not ask for it"


def _is_allowed_in_init(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return all(alias.name != "*" for alias in node.names)
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return names <= {"__all__", "__version__"} and len(names) == len(node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _functions(module: Module) -> Iterator[Function]:
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def _length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    described = _span(docstring) if docstring is not None else 0
    return _span(function) - described


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _clock_calls(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.func.attr in CLOCK_CALLS and name in {"datetime", "date"}:
                yield node.lineno


def _repeated_test_names(modules: Sequence[Module]) -> list[str]:
    # Without __init__.py in tests/, pytest imports test modules by their bare names.
    first: dict[str, Path] = {}
    found = []
    for module in modules:
        if module.is_test and first.setdefault(module.path.name, module.path) != module.path:
            found.append(f"{module.path}: {first[module.path.name]} has the same name")
    return found


def _share(flags: Iterator[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values) if values else 0.0


def main(arguments: Sequence[str]) -> int:
    """Prints shares and problems; returns 1 when there is a problem."""
    root = Path(arguments[0] if arguments else ".")
    modules = read_modules(root)
    for title, share, limit in shares_of(modules):
        print(f"{title}: {share:.1%} (at most {limit:.0%})")
    problems = problems_of(modules)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
