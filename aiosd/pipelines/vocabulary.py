"""A package's vocabulary file → the id of each word."""

from pathlib import Path

from aiosd.domain.errors import PackageError
from aiosd.pipelines.files import read_text


def load_vocabulary(folder: Path, name: str) -> dict[str, int]:
    """Read one word a line; a word's id is the number of its line, from 0. A later twin wins.

    Raises:
        PackageError: the file cannot be read (see `read_text`) or is empty.
    """
    return {word: number for number, word in enumerate(_lines(folder, name))}


def load_word_ids(folder: Path, name: str) -> dict[str, int]:
    """Read a vocabulary of `word id` lines, or of words alone (see `load_vocabulary`).

    Raises:
        PackageError: the file cannot be read or is empty, or a line has no id while the first line
            has one.
    """
    lines = _lines(folder, name)
    if len(lines[0].split()) == 1:
        return load_vocabulary(folder, name)
    ids: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        word, _, digits = line.rpartition(" ")
        if not word or not digits.isascii() or not digits.isdigit():
            raise PackageError(
                f"line {number} of {name} is {line!r}: a word, a space and an id are needed",
                path=str(folder / name),
            )
        ids[word] = int(digits)
    return ids


def _lines(folder: Path, name: str) -> list[str]:
    """Return the lines of a file without the newlines; only a newline ends a line."""
    text = read_text(folder, name)
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    if not lines[0]:
        raise PackageError(f"{name} is empty", path=str(folder / name))
    return lines
