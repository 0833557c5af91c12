"""The failpoints of the product, found by reading its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "aiosd"
# A transaction of the ledger has three: before it, before its commit, after it.
_TRANSACTION = ("begin", "commit", "committed")


def names() -> list[str]:
    """Return every point's name, sorted."""
    found: set[str] = set()
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "reach(" in text:
            found.update(_points(ast.parse(text)))
    return sorted(found)


def _points(tree: ast.AST) -> Iterator[str]:
    """Yield the points of one file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "reach":
            yield first.value
        if isinstance(node.func, ast.Attribute) and node.func.attr == "_writing":
            yield from (f"ledger.{first.value}.{step}" for step in _TRANSACTION)
