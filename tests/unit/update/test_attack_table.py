"""The table of attacks in docs/updates.md names tests that are there, and all of them."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1]
FILES = {
    "A": FOLDER / "update" / "test_attacks.py",
    "M": FOLDER / "update" / "test_attacks_by_models.py",
    "D": FOLDER / "update" / "test_download.py",
    "B": FOLDER / "net" / "test_blob.py",
}


def attacks_in(path: Path) -> list[str]:
    return re.findall(r"def test_attack_(\w+)\(", path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def table(repo: Path) -> list[str]:
    """The middle cells of the rows."""
    text = (repo / "docs" / "updates.md").read_text(encoding="utf-8")
    _, _, part = text.partition("## What was tried to break it")
    part, _, _ = part.partition("\n## ")
    return [line.split(" | ")[1] for line in part.splitlines() if line.startswith("| ")][1:]


def named(cell: str) -> list[tuple[str, str]]:
    """The beginnings of tests that a cell names, with their file's letter."""
    found, letter = [], ""
    for mark, name in re.findall(r"\b([AMDB]) (?=`|the same)|`([^`]+)`", cell):
        letter = mark or letter
        if not name or not letter or "/" in name or letter not in FILES:
            continue
        found.append((letter, name.strip("…").strip("_")))
    return found


def test_every_test_that_the_table_names_is_there(table: list[str]) -> None:
    cells = [pair for cell in table for pair in named(cell)]
    assert len(cells) > 40
    lost = [
        (letter, part)
        for letter, part in cells
        if not any(part in test for test in attacks_in(FILES[letter]))
    ]
    assert lost == []


def test_every_attack_on_updates_is_in_the_table(table: list[str]) -> None:
    parts = [part for cell in table for letter, part in named(cell) if letter == "A"]
    unnamed = [test for test in attacks_in(FILES["A"]) if not any(part in test for part in parts)]
    assert unnamed == []
