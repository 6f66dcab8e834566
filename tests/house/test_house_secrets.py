"""Secrets are compared in constant time: `==` on what is named like one needs a reason here."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "rs3gwd"
PARTS = ("iam", "s3")

_SECRET = re.compile(r"(?:^|_)(?:sig|signatures?|h?mac|tokens?|secrets?|digests?)(?:_|$)", re.I)

REASONS = {
    ("iam/sessions/session.py", "token_text(wrapped) != text"): (
        "both sides are what the caller sent: one of them decoded and encoded again"
    ),
    ("iam/chunked.py", "name == _TRAILER_SIGNATURE"): "the name of a trailer, not its value",
    ("s3/checksums.py", "len(digest) != DIGEST_BYTES[algorithm]"): "lengths, which anybody knows",
    ("s3/body.py", "digests.checksum(plan.given.algorithm) != expected"): (
        "a checksum without a key: the caller sent both the bytes and what is expected of them"
    ),
}
"""Comparisons that tell nobody a secret: module and expression, and why."""


def comparisons(text: str) -> list[str]:
    """The expressions of a module that compare what is named like a secret with == or !=.

    The length of a secret is none, so `len(...)` is not looked into.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            continue
        if any(_is_secret(side) for side in (node.left, *node.comparators)):
            found.append(ast.unparse(node))
    return found


def _is_secret(side: ast.expr) -> bool:
    """Whether the value of an expression is named like a secret."""
    match side:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _SECRET.search(name) is not None
        case ast.Call(func=ast.Name(id="len")):
            return False
        case ast.Call(func=function):
            # A method such as secret.encode() or mac.digest() gives the secret on.
            inner = function.value if isinstance(function, ast.Attribute) else None
            return _is_secret(function) or (inner is not None and _is_secret(inner))
        case ast.Subscript(value=value, slice=index):
            return _is_secret(value) or (
                isinstance(index, ast.Constant)
                and isinstance(index.value, str)
                and _SECRET.search(index.value.replace("-", "_")) is not None
            )
    return False


def test_no_secret_is_compared_byte_by_byte() -> None:
    """In iam and s3 there are only the comparisons that have a reason, and each reason is used."""
    modules = [path for part in PARTS for path in sorted((PACKAGE / part).rglob("*.py"))]
    assert len(modules) > 80
    found = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in modules
        for text in comparisons(path.read_text(encoding="utf-8"))
    }
    assert found == set(REASONS)


@pytest.mark.parametrize(
    "text",
    [
        "signature == given",
        "given != claim.signature",
        "row.secret == text",
        "hmac.digest(key, text) == given",
        "mac.digest() == given",
        "secret.encode() == given",
        "fields['x-amz-signature'] == given",
        "token_of(row) != text",
        "digests[0] == given",
    ],
)
def test_what_would_tell_a_secret_is_found(text: str) -> None:
    """However the secret is reached."""
    assert len(comparisons(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "len(digest) == 32",
        "secret is None",
        "compare_digest(signature, given)",
        "assigned == 1",
        "machine == 'x'",
        "fields['name'] == 1",
    ],
)
def test_what_tells_no_secret_passes(text: str) -> None:
    """Lengths, None, the comparison in constant time, and words that look alike."""
    assert comparisons(text) == []
