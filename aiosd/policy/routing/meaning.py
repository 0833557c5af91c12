"""What words mean, beside how they are spelt: how near a text is to the texts of each route.

A text is the sum of its words' vectors (a static embedding, distilled from a sentence encoder when
this package was built), of length 1. It is compared with the mean of a route's own texts and with
the nearest of some of them (prototypes). The vectors are no more needed for that: each word's share
in each comparison is known when the head is made, so that a row of small numbers for each word is
added up, as the weights of places are (`weights.py`); the word's vector goes along for the length.
"""

import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import mul
from typing import Protocol

import msgspec

_OFFSET = 128
# Rows that are laid out already: people use the same words again and again.
_REMEMBERED = 2048
# A lane of 16 bits holds so many weights; no text of the router has more words.
MOST_WORDS = 256


class MeaningFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the table: one row for each word, of `dims` + routes + prototypes int8.

    `counts` are the prototypes of each route, in order; `scale` turns a step of a comparison into
    steps of the vector; a route's score is `nearest` times the cosine to its nearest prototype plus
    its entry of `means` times that to the mean of its texts.
    """

    words: int
    dims: int
    counts: list[int]
    scale: float
    nearest: float
    means: list[float]

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return self.dims + len(self.counts) + sum(self.counts)

    @property
    def size(self) -> int:
        """How many bytes the table has."""
        return self.words * (4 + self.width)


class Bytes(Protocol):
    """What a head is made of: bytes, or a file that is read as they are asked for."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        """Return some of them; only from and to, no steps."""


class Meaning:
    """The table, as it lies in the head: sorted hashes of words, then their rows.

    Of megabytes of rows only those are held that were asked for lately.
    """

    def __init__(self, facts: MeaningFacts, data: Bytes, start: int, routes: int) -> None:
        """Take the table from `start` on.

        Raises:
            ValueError: sizes contradict each other.
        """
        size = len(data) - start
        if size != facts.size or {len(facts.means), len(facts.counts)} != {routes}:
            raise ValueError(f"{size} bytes of meaning, {facts.size} declared")
        self.facts = facts
        self._data, self._rows = data, start + 4 * facts.words
        self._hashes = memoryview(bytes(data[start : self._rows])).cast("I")
        self._known: dict[int, int] = {}
        self._width, self._bytes = facts.width, 2 * facts.width
        ends = list(accumulate(facts.counts, initial=facts.dims + routes))
        # Of each route: where its mean lies, where its prototypes lie, and what the mean counts.
        self._routes = [
            (facts.dims + route, first, last, weight)
            for route, (weight, (first, last)) in enumerate(
                zip(facts.means, pairwise(ends), strict=True)
            )
        ]

    def add_to(self, logits: list[float], words: Sequence[int]) -> list[float]:
        """Return the scores of each route with what the words (their hashes) mean added."""
        lanes, offset, step = self._sums(words)
        if not step:
            return logits
        near = self.facts.nearest * step
        return [
            logit
            + weight * step * (lanes[mean] - offset)
            + (near * (max(lanes[first:last]) - offset) if first < last else 0.0)
            for logit, (mean, first, last, weight) in zip(logits, self._routes, strict=True)
        ]

    def of(self, words: Sequence[int], route: int) -> list[float]:
        """Return what each word adds to the score of a route: exact, once the nearest is known."""
        lanes, _, step = self._sums(words)
        if not step:
            return [0.0] * len(words)
        mean, first, last, weight = self._routes[route]
        nearest = max(range(first, last), key=lanes.__getitem__, default=None)
        found = []
        for word in words:
            row = self._row_bytes(word)
            share = 0.0
            if row is not None:
                share = weight * _signed(row[mean])
                if nearest is not None:
                    share += self.facts.nearest * _signed(row[nearest])
            found.append(share * step)
        return found

    def _sums(self, words: Sequence[int]) -> tuple[list[int], int, float]:
        """Return the sum of the words' rows, by how much each is lifted, and one step's cosine.

        A step of 0 says that nothing is known of the words.
        """
        known, rows = self._known, []
        for word in words[:MOST_WORDS]:
            row = known.get(word)
            if row is None:
                row = self._lay_out(word)
            if row:
                rows.append(row)
        if not rows:
            return [], 0, 0.0
        offset, facts = _OFFSET * len(rows), self.facts
        lanes = memoryview(sum(rows).to_bytes(self._bytes, "little")).cast("H").tolist()
        vector = lanes[: facts.dims]
        # The squares of what is lifted, less what the lift adds to them.
        square = sum(map(mul, vector, vector)) - offset * (2 * sum(vector) - facts.dims * offset)
        return lanes, offset, facts.scale / math.sqrt(square) if square > 0 else 0.0

    def _lay_out(self, word: int) -> int:
        """Return a word's row as the 16-bit lanes of one number, 0 for one that is not known."""
        raw, row = self._row_bytes(word), 0
        if raw is not None:
            lanes = bytearray(2 * len(raw))
            lanes[::2] = raw.translate(_LIFTED)
            row = int.from_bytes(lanes, "little")
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[word] = row
        return row

    def _row_bytes(self, word: int) -> bytes | None:
        """Return a word's row as it lies in the table."""
        place = bisect_left(self._hashes, word)
        if place == len(self._hashes) or self._hashes[place] != word:
            return None
        start = self._rows + place * self._width
        return bytes(self._data[start : start + self._width])


def _signed(byte: int) -> int:
    """Return a byte as int8."""
    return byte - 256 if byte >= _OFFSET else byte


# int8 as it lies in the file → the weight plus 128.
_LIFTED = bytes((byte + _OFFSET) & 0xFF for byte in range(256))

if sys.byteorder != "little":  # every board that this runs on is
    raise ImportError("the router's tables are little-endian")
