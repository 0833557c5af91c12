"""The rules of the house that no linter holds."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "aiosd").rglob("*.py"))
BANNED = {
    "manager",
    "helper",
    "helpers",
    "util",
    "utils",
    "common",
    "core",
    "base",
    "service",
    "runtime",
}
MAX_LINES = 400
# One reader that fails is logged, as asyncio does it, and the others go on.
TOP_LOOP = ROOT / "aiosd" / "daemon" / "loop.py"
STEP = re.compile(r"^(\d)\. `(aiosd/[a-z_/]+\.py)`", re.MULTILINE)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the first line tells a stranger what this is"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_has_the_name_of_a_thing(path: Path) -> None:
    assert path.stem not in BANNED
    assert path.parent.name not in BANNED


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nobody_catches_everything(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            if path == TOP_LOOP:
                continue
            assert ast.unparse(node.type) not in {"Exception", "BaseException"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_async_stops_at_the_pipe(path: Path) -> None:
    if path.parts[len(ROOT.parts) + 1] in {"daemon", "client"}:
        pytest.skip("the daemon and the client may wait")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await))


def steps(path: str) -> list[tuple[str, str]]:
    return STEP.findall((ROOT / path).read_text(encoding="utf-8"))


def test_the_map_has_nine_steps_and_each_exists() -> None:
    found = steps("aiosd/__init__.py")
    assert [number for number, _ in found] == list("123456789")
    for _, path in found:
        assert (ROOT / path).is_file(), path


def test_the_architecture_page_names_the_same_nine_steps() -> None:
    assert steps("docs/architecture.md") == steps("aiosd/__init__.py")


def test_the_top_level_is_the_one_that_was_agreed() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    allowed = {"aiosd", "experts", "systemd", "board-profiles", "tests", "tools", "docs"}
    assert folders - {"build", "dist", "aiosd.egg-info"} <= allowed


def test_bundled_experts_are_small() -> None:
    sizes = {
        path: path.stat().st_size
        for path in (ROOT / "experts").rglob("*")
        if path.suffix in {".tflite", ".gguf"}
    }
    assert all(size < 4_000_000 for size in sizes.values()), sizes
    assert sum(sizes.values()) < 12_000_000
