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


class Meaning:
    """The table, as it lies in the head: sorted hashes of words, then their rows."""

    def __init__(self, facts: MeaningFacts, table: memoryview, routes: int) -> None:
        """Take the table.

        Raises:
            ValueError: sizes contradict each other.
        """
        if len(table) != facts.size or {len(facts.means), len(facts.counts)} != {routes}:
            raise ValueError(f"{len(table)} bytes of meaning, {facts.size} declared")
        self.facts = facts
        self._hashes = table[: 4 * facts.words].cast("I")
        self._rows = table[4 * facts.words :]
        self._known: dict[int, int] = {}
        ends = list(accumulate(facts.counts, initial=facts.dims + routes))
        self._spans = [slice(first, last) for first, last in pairwise(ends)]
        self._means = slice(facts.dims, facts.dims + routes)
        # Where no vector is longer than this nothing is known of a text.
        self._least = 1

    def add_to(self, logits: list[float], words: Sequence[int]) -> list[float]:
        """Return the scores of each route with what the words (their hashes) mean added."""
        lanes, length = self._sums(words)
        if length < self._least:
            return logits
        facts = self.facts
        step = facts.scale / length
        near = facts.nearest * step
        return [
            logit + near * (max(lanes[span]) if span.start < span.stop else 0) + mean * step * share
            for logit, span, mean, share in zip(
                logits, self._spans, facts.means, lanes[self._means], strict=True
            )
        ]

    def of(self, words: Sequence[int], route: int) -> list[float]:
        """Return what each word adds to the score of a route: exact, once the nearest is known."""
        lanes, length = self._sums(words)
        if length < self._least:
            return [0.0] * len(words)
        facts, span = self.facts, self._spans[route]
        step, places = facts.scale / length, range(span.start, span.stop)
        nearest = max(places, key=lanes.__getitem__, default=None)
        found = []
        for word in words:
            row = self._row_bytes(word)
            if row is None:
                found.append(0.0)
                continue
            share = facts.means[route] * _signed(row[facts.dims + route])
            if nearest is not None:
                share += facts.nearest * _signed(row[nearest])
            found.append(share * step)
        return found

    def _sums(self, words: Sequence[int]) -> tuple[list[int], float]:
        """Return the sum of the words' rows, and the length of the sum of their vectors."""
        known, rows = self._known, []
        for word in words[:MOST_WORDS]:
            row = known.get(word)
            if row is None:
                row = self._lay_out(word)
            if row:
                rows.append(row)
        if not rows:
            return [], 0.0
        offset, width = _OFFSET * len(rows), self.facts.width
        lanes = memoryview(sum(rows).to_bytes(2 * width, "little")).cast("H")
        found = [lane - offset for lane in lanes]
        vector = found[: self.facts.dims]
        return found, math.sqrt(sum(map(mul, vector, vector)))

    def _lay_out(self, word: int) -> int:
        """Return a word's row as the 16-bit lanes of one number, 0 for one that is not known."""
        raw, row = self._row_bytes(word), 0
        if raw is not None:
            lanes = bytearray(2 * len(raw))
            lanes[::2] = raw.tobytes().translate(_LIFTED)
            row = int.from_bytes(lanes, "little")
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[word] = row
        return row

    def _row_bytes(self, word: int) -> memoryview | None:
        """Return a word's row as it lies in the table."""
        place = bisect_left(self._hashes, word)
        if place == len(self._hashes) or self._hashes[place] != word:
            return None
        width = self.facts.width
        return self._rows[place * width : (place + 1) * width]


def _signed(byte: int) -> int:
    """Return a byte as int8."""
    return byte - 256 if byte >= _OFFSET else byte


# int8 as it lies in the file → the weight plus 128.
_LIFTED = bytes((byte + _OFFSET) & 0xFF for byte in range(256))

if sys.byteorder != "little":  # every board that this runs on is
    raise ImportError("the router's tables are little-endian")
