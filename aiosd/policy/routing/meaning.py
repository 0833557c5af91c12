"""What words mean, beside how they are spelt: how near a text is to the texts of each route.

A text is the sum of its words' vectors (a static embedding, distilled from a sentence encoder when
this package was built), of length 1. It is compared with the mean of a route's own texts and with
the nearest of some of them (prototypes). The vectors are no more needed for that: each word's share
in each comparison is known when the head is made, so that a row of small numbers for each word is
added up, as the weights of places are (`weights.py`). Of the word's vector only some numbers go
along, for the length.
Rows are laid out as 16-bit lanes of one long number, the first of which counts the words.
"""

import sys
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from math import dist
from typing import NamedTuple, Protocol

import msgspec

_OFFSET = 128
# A lane of 16 bits holds 257 weights of at most 255; a text of the router has fewer known words.
_MOST_WORDS = 257


class MeaningFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the table: one row for each word, of `dims` + routes + prototypes int8.

    `dims` are numbers that tell a text's length.
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


class Sums(NamedTuple):
    """The sum of the rows of a text's words, its numbers' lift, and the cosine of one step."""

    lanes: list[int]
    lift: int
    step: float


class Bytes(Protocol):
    """What a head is made of: bytes, or a file that is read as they are asked for."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        """Return some of them; only from and to, no steps."""


class Meaning:
    """The table, as it lies in the head: sorted hashes of words, then their rows.

    Of megabytes of rows none is held; who asks may (`recent.py`).
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
        self.lanes_bytes = 2 * (1 + facts.width)
        self._data, self._rows = data, start + 4 * facts.words
        self._hashes = memoryview(bytes(data[start : self._rows])).cast("I")
        self._width, self._end = facts.width, 1 + facts.dims
        ends = list(accumulate(facts.counts, initial=1 + facts.dims + routes))
        # Of each route: where its mean lies, what that counts, where its prototypes lie if it has
        # any, and what both count together: so often is the lift in the sum.
        self._routes = [
            (
                1 + facts.dims + route,
                mean,
                slice(first, last) if first < last else None,
                mean + (facts.nearest if first < last else 0.0),
            )
            for route, (mean, (first, last)) in enumerate(
                zip(facts.means, pairwise(ends), strict=True)
            )
        ]

    def row(self, word: int) -> int:
        """Return a word's row (by its hash) as lanes, 0 for one that is not known."""
        start = self._at(word)
        if start is None:
            return 0
        lanes = bytearray(self.lanes_bytes)
        lanes[0] = 1
        lanes[2::2] = bytes(self._data[start : start + self._width]).translate(_LIFTED)
        return int.from_bytes(lanes, "little")

    def sums(self, raw: memoryview) -> Sums | None:
        """Return the sum of the rows of a text's words, as bytes; None if none is known."""
        lanes = raw.cast("H").tolist()
        count, facts = lanes[0], self.facts
        length = dist(lanes[1 : self._end], _lifts(count, facts.dims))
        return Sums(lanes, _OFFSET * count, facts.scale / length) if length else None

    def add_to(self, logits: list[float], sums: Sums) -> list[float]:
        """Return the scores of each route with what the words mean added."""
        lanes, offset, step = sums
        near = self.facts.nearest
        return [
            logit
            + step
            * (count * lanes[mean] + (near * max(lanes[part]) if part else 0.0) - both * offset)
            for logit, (mean, count, part, both) in zip(logits, self._routes, strict=True)
        ]

    def of(self, words: Sequence[int], sums: Sums, route: int) -> list[float]:
        """Return what each word adds to the score of a route: exact, once the nearest is known."""
        mean, weight, part, _ = self._routes[route]
        nearest = None
        if part is not None:
            nearest = max(range(part.start, part.stop), key=sums.lanes.__getitem__)
        shares: dict[int, float] = {}
        for word in words:
            if word not in shares:
                row, share = self._at(word), 0.0
                if row is not None:
                    share = weight * self._number(row, mean)
                    if nearest is not None:
                        share += self.facts.nearest * self._number(row, nearest)
                shares[word] = share * sums.step
        return [shares[word] for word in words]

    def _at(self, word: int) -> int | None:
        """Return where a word's row begins; None for one that is not known."""
        place = bisect_left(self._hashes, word)
        if place == len(self._hashes) or self._hashes[place] != word:
            return None
        return self._rows + place * self._width

    def _number(self, row: int, lane: int) -> int:
        """Return one number of a row, by its lane."""
        return (self._data[row + lane - 1 : row + lane][0] ^ _OFFSET) - _OFFSET


@lru_cache(_MOST_WORDS)
def _lifts(rows: int, dims: int) -> tuple[int, ...]:
    """Return by how much each number is lifted in the sum of so many rows."""
    return (_OFFSET * rows,) * dims


# int8 as it lies in the file → the weight plus 128.
_LIFTED = bytes((byte + _OFFSET) & 0xFF for byte in range(256))

if sys.byteorder != "little":  # every board that this runs on is
    raise ImportError("the router's tables are little-endian")
