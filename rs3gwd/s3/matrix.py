"""The capability matrix: which operations are there, what is missing, and what proves it. Pure.

It says `yes` for an operation with a handler, `partial` where the row says what is missing, and
`no` where there is no handler (the answer is then 501 NotImplemented). A claim needs a proof: a
test marked with the name of the operation, so that an untested `yes` fails the suite.

    @pytest.mark.proves("PutObject", "GetObject")
    async def test_an_object_is_read_back_as_it_was_written() -> None:

Marks are found in the source of the tests, on functions and on classes; `pytestmark` in a module
counts for each test of it. docs/understand/capabilities.md is this matrix; a test compares the two
and writes the page anew when RS3GW_REWRITE is set.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

from rs3gwd.s3.operations import OPERATIONS, Level, Operation

PROOFS_SHOWN = 1
"""Tests named per operation; more make the page no truer, and change it more often."""

_MARK = "proves"

_HEAD = """# What this store can do

One row for each operation of Amazon S3. `yes`: done as AWS documents it. `partial`: done but for
what the note says. `no`: answers 501 NotImplemented, after the request was authenticated and
authorised. Every `yes` and `partial` names a test that proves it, and the test suite fails when
there is none.

This page is generated from `rs3gwd/s3/operations.py` and the marks on the tests; to write it anew:
`RS3GW_REWRITE=1 pytest tests/unit/s3/test_s3_matrix.py`.
"""

_SECTIONS = {
    Level.SERVICE: "The service",
    Level.BUCKET: "Buckets",
    Level.OBJECT: "Objects",
}


def support_of(operation: Operation, operations: Iterable[Operation] = OPERATIONS) -> str:
    """`yes`, `partial` or `no`; an alias is what its row is."""
    if operation.alias_of:
        operation = next(row for row in operations if row.name == operation.alias_of)
    if operation.handler is None:
        return "no"
    return "partial" if operation.partial else "yes"


def find_proofs(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """For each operation the tests that say they prove it, as `path::test`, in order.

    `sources` maps the path of a test module, as the page shall show it, to its text.
    """
    proofs: dict[str, list[str]] = {}
    for path in sorted(sources):
        tree = ast.parse(sources[path], filename=path)
        for test, names in _marked_tests(tree):
            for name in names:
                proofs.setdefault(name, []).append(f"{path}::{test}")
    return proofs


def unproved(proofs: Mapping[str, list[str]]) -> list[str]:
    """The operations that claim `yes` or `partial` and that no test proves."""
    return [
        row.name
        for row in OPERATIONS
        if row.handler is not None and not row.alias_of and not proofs.get(row.name)
    ]


def render_matrix(proofs: Mapping[str, list[str]]) -> str:
    """The page, in Markdown."""
    lines = [_HEAD]
    counts = [support_of(row) for row in OPERATIONS]
    lines.append(
        f"{len(counts)} operations: {counts.count('yes')} yes, {counts.count('partial')} partial,"
        f" {counts.count('no')} no.\n"
    )
    for level, title in _SECTIONS.items():
        lines.append(f"## {title}\n")
        lines.append("| operation | request | support | note | proved by |")
        lines.append("|---|---|---|---|---|")
        rows = sorted((row for row in OPERATIONS if row.level is level), key=lambda row: row.name)
        lines += [_line(row, proofs.get(row.name, [])) for row in rows]
        lines.append("")
    return "\n".join(lines)


def _line(row: Operation, tests: list[str]) -> str:
    path = {Level.SERVICE: "/", Level.BUCKET: "/Bucket", Level.OBJECT: "/Bucket/Key"}[row.level]
    query = f"?{'&'.join(row.query)}" if row.query else ""
    shown = "<br>".join(f"`{test}`" for test in tests[:PROOFS_SHOWN])
    return (
        f"| {row.name} | `{row.method} {path}{query}` | {support_of(row)} |"
        f" {_note(row)} | {shown} |"
    )


def _note(row: Operation) -> str:
    notes = [row.partial] if row.partial else []
    if row.alias_of:
        notes.append(f"old name of {row.alias_of}")
    if row.header:
        notes.append(f"with the header `{row.header}`")
    if not row.in_model:
        notes.append("not in the SDKs' model")
    return "; ".join(notes)


def _marked_tests(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Each test of a module with the operations it is marked with."""
    for_all = [
        name
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)
        for name in _names_in(node.value)
    ]
    for node in tree.body:
        if _is_test(node):
            yield node.name, for_all + _names_of(node)
        elif isinstance(node, ast.ClassDef):
            for inner in filter(_is_test, node.body):
                names = for_all + _names_of(node) + _names_of(inner)
                yield f"{node.name}::{inner.name}", names


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")


def _names_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[str]:
    return [name for decorator in node.decorator_list for name in _names_in(decorator)]


def _names_in(node: ast.expr) -> list[str]:
    """The operations in `pytest.mark.proves(...)`, or in a list of marks."""
    calls = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
    return [
        argument.value
        for call in calls
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == _MARK
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
