"""No option is decoration: each one is read by the daemon."""

import ast
from pathlib import Path

from rs3gwd.config import Config

ROOT = Path(__file__).resolve().parents[2]


def names_read_from_a_config(path: Path) -> set[str]:
    """The x of every `config.x` and `..._config.x` in a module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name.lstrip("_") == "config":
                names.add(node.attr)
    return names


def test_every_option_is_read() -> None:
    """An option that is parsed and never read would be a lie to whoever sets it."""
    read = set()
    for path in (ROOT / "rs3gwd" / "daemon").rglob("*.py"):
        read |= names_read_from_a_config(path)
    assert set(Config.__struct_fields__) - read == set()
