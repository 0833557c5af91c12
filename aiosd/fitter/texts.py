"""Texts → rows: what each package brings, split into what is learned and what is measured on."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.policy.routing.head import BACKGROUND
from aiosd.policy.routing.lessons import Lesson, TextFile
from aiosd.policy.routing.lexical import BITS, MASK, PAIR_SHIFT, PLACES, Seen, normal, seen, spoken

# One text in so many is kept to measure on, where a package brings no file for that.
FOLDS = 5
# So many of one package's texts are learned from at most: a second is all that there is.
MOST_TEXTS = 20_000
MOST_FILE_BYTES = 8_388_608
BACKGROUND_FILE = Path(__file__).parent / "background.txt"

Route = tuple[str, str]


class TextsError(Exception):
    """A file of texts is not what was declared; it is left out."""


@dataclass(frozen=True)
class Example:
    """One text and whom it is for; the background's is for nobody.

    A late text is measured on by a sibling that has not learned it.
    """

    text: str
    route: Route
    late: bool = False


@dataclass(frozen=True)
class Rows:
    """Texts as places, one after the other: row r has `places[starts[r] : starts[r + 1]]`.

    In order, and what is in a text twice stands there twice.
    """

    places: NDArray[np.int32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def dense(
        self, rows: NDArray[np.int64], keep: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the places that occur in these rows, and the rows over them, as in the daemon.

        With `keep`, one for each place of all rows, places are dropped and the others raised.
        """
        counts = self.starts[rows + 1] - self.starts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
        flat = np.arange(counts.sum()) - np.repeat(offsets - self.starts[rows], counts)
        found = self.places[flat]
        owner = np.repeat(np.arange(len(rows)), counts)
        weight = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
        if keep is not None:
            kept = keep[: len(found)]
            found, owner = found[kept], owner[kept]
            weight = weight[kept] * np.float32(len(kept) / max(1, kept.sum()))
        there = np.zeros(PLACES, np.bool_)
        there[found] = True
        used = np.flatnonzero(there)
        column = np.cumsum(there) - 1
        cells = len(rows) * len(used)
        table = np.bincount(owner * len(used) + column[found], weight, cells)
        return used, table.reshape(len(rows), len(used)).astype(np.float32)

    def pick(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Return some of the rows."""
        counts = np.diff(self.starts)
        starts = np.concatenate([[0], np.cumsum(counts[chosen])])
        return Rows(self.places[np.repeat(chosen, counts)], starts)

    def split(self) -> list[NDArray[np.int64]]:
        """Return the places of each row."""
        return np.split(self.places.astype(np.int64), self.starts[1:-1]) if len(self) else []

    def width(self, rows: NDArray[np.int64]) -> int:
        """Return how many places these rows have together."""
        return int((self.starts[rows + 1] - self.starts[rows]).sum())


# A process that ends; packages speak the same words.
_seen = lru_cache(65_536)(seen)


def rows_of(texts: Iterable[str], *, far: bool = True) -> Rows:
    """Return the rows of some texts: the places that the daemon finds, of many texts at once.

    With `far` those of pairs over one word, too; thousands of routes are heard without.
    """
    known: dict[str, int] = {}
    said = [[known.setdefault(word, len(known)) for word in spoken(normal(text))] for text in texts]
    every = [_seen(word) for word in known]
    sizes = np.array([len(each) for each in said], np.int64)
    words = np.array([word for each in said for word in each], np.int64)
    owners = np.repeat(np.arange(len(said)), sizes)
    found = [_pairs(every, words, owners, apart) for apart in ((1, 2) if far else (1,))]
    # Of each word its places, one after the other.
    lengths = np.array([len(each.places) for each in every], np.int64)
    flat = np.array([place for each in every for place in each.places], np.int64)
    firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    counts = lengths[words]
    at = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - firsts[words], counts)
    found.append(flat[at] + (np.repeat(owners, counts) << BITS))
    keys = np.sort(np.concatenate(found))
    starts = np.searchsorted(keys, np.arange(len(said) + 1) << BITS)
    return Rows((keys & (PLACES - 1)).astype(np.int32), starts.astype(np.int64))


def _pairs(
    every: Sequence[Seen], words: NDArray[np.int64], owners: NDArray[np.int64], apart: int
) -> NDArray[np.int64]:
    """Return (number of the text, place) of each pair of words so far apart, as one number."""
    before = np.array([each.before if apart == 1 else each.long_before for each in every], np.int64)
    after = np.array([each.after for each in every], np.int64)
    together = owners[apart:] == owners[:-apart]
    one, other = words[:-apart][together], words[apart:][together]
    places = (before[one] + after[other] & MASK) >> PAIR_SHIFT
    keys: NDArray[np.int64] = places + (owners[apart:][together] << BITS)
    return keys


def learned_and_measured(lesson: Lesson) -> tuple[list[Example], list[Example]]:
    """Return what is learned of a package, and what it is measured on.

    Where a package brings no calibration file a fifth of its texts is late, by their digests.

    Raises:
        TextsError: a file is missing, too large, or not what was declared.
    """
    learned = [Example(text, (lesson.expert, "")) for text in lesson.utterances]
    if lesson.examples is not None:
        learned += _read(lesson.expert, lesson.examples)
    learned = _unlike(learned)[:MOST_TEXTS]
    if lesson.calibration is not None:
        return learned, _read(lesson.expert, lesson.calibration)[:MOST_TEXTS]
    return [replace(each, late=_fold(each.text) == 0) for each in learned], []


def background(lessons: Sequence[Lesson]) -> list[Example]:
    """Return the texts that are for nobody: what is refused, and a list that comes along."""
    refused = [text for lesson in lessons for text in lesson.refuses]
    came = BACKGROUND_FILE.read_text(encoding="utf-8").splitlines()
    texts = [*refused, *(line for line in came if line and not line.startswith("#"))]
    kept = {normal(text): text for text in texts}
    return [Example(text, (BACKGROUND, "")) for text in kept.values()]


def _fold(text: str) -> int:
    """Return the fold of a text: 0 to 4, whatever else is installed."""
    return hashlib.sha256(normal(text).encode("utf-8", "surrogatepass")).digest()[0] % FOLDS


def _unlike(examples: Iterable[Example]) -> list[Example]:
    """Drop what is the same in normal form, and what has nothing to learn from."""
    kept: dict[str, Example] = {}
    for each in examples:
        form = normal(each.text)
        if form:
            kept.setdefault(form, each)
    return list(kept.values())


def _read(expert: str, file: TextFile) -> list[Example]:
    """Return the texts of a file of a package.

    Raises:
        TextsError: it is missing, too large, not UTF-8, or has other bytes than declared.
    """
    try:
        with Path(file.path).open("rb") as opened:
            data = opened.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise TextsError(f"{file.path}: {error.strerror}") from error
    if len(data) > MOST_FILE_BYTES:
        raise TextsError(f"{file.path}: over the limit of {MOST_FILE_BYTES} bytes")
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise TextsError(f"{file.path}: other bytes than the manifest declares")
    try:
        return list(_lines(expert, data.decode("utf-8"), file.path))
    except UnicodeDecodeError as error:
        raise TextsError(f"{file.path}: not UTF-8 text (byte {error.start})") from error


def _lines(expert: str, text: str, path: str) -> Iterator[Example]:
    """Yield the texts of a file.

    Raises:
        TextsError: a line has no tab.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        part, tab, rest = line.partition("\t")
        if not tab:
            raise TextsError(f"{path}:{number}: no tab between sub-route and text")
        yield Example(rest, (expert, part))
