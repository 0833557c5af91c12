"""A package's vocabulary file → the id of each word."""

from pathlib import Path

from aiosd.domain.errors import PackageError


def load_vocabulary(path: Path) -> dict[str, int]:
    """Read one word a line; a word's id is the number of its line, from 0. A later twin wins.

    Raises:
        PackageError: the file is missing, empty or not UTF-8.
    """
    return {word: number for number, word in enumerate(_lines(path))}


def load_word_ids(path: Path) -> dict[str, int]:
    """Read a vocabulary of `word id` lines, or of words alone (see `load_vocabulary`).

    Raises:
        PackageError: the file is missing, empty or not UTF-8, or a line has no id while the first
            line has one.
    """
    lines = _lines(path)
    if len(lines[0].split()) == 1:
        return load_vocabulary(path)
    ids: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        word, _, digits = line.rpartition(" ")
        if not word or not digits.isascii() or not digits.isdigit():
            raise PackageError(
                f"line {number} of {path.name} is {line!r}: a word, a space and an id are needed",
                path=str(path),
            )
        ids[word] = int(digits)
    return ids


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file without the newlines.

    Raises:
        PackageError: the file is missing, empty or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"{path.name} cannot be read: {error}", path=str(path)) from error
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    if not lines[0]:
        raise PackageError(f"{path.name} is empty", path=str(path))
    return lines
