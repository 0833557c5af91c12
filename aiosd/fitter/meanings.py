"""What words mean, for the head: vectors that come along, and comparisons with each route's texts.

The file beside this is built by `tools/train/meanings.py`, which says from what (`meanings.md`):
the hashes of some ten thousand words, in order, and a vector of int8 for each, the longer the more
the word tells. Its unit is of no matter, because only directions are compared.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.policy.routing.lexical import hash_of, normal, spoken
from aiosd.policy.routing.meaning import MeaningFacts

FILE = Path(__file__).parent / "meanings.bin"
MAGIC = b"aiosd-words\x01\n"
_SIZES = struct.Struct("<II")
# What is compared with: so many prototypes of all routes together, found by so many rounds; of many
# routes a few each, while they stay within twice that.
MOST_PROTOTYPES = 256
A_FEW = 3
_ROUNDS = 8
# A text's length is told by so many numbers for each word, those that vary most: with all 128 it
# hears no better (docs/router.md), and a decision takes longer.
LENGTH_DIMS = 32
# What the nearest prototype and the mean count; the mean of a handful of texts counts in full, and
# where that is all that routes have, the nearest of them counts more: each is all of its kind.
NEAREST, NEAREST_OF_FEW, MEAN, HANDFUL = 3.0, 1.0, 3.0, 15

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """The words' vectors."""

    hashes: NDArray[np.uint32]
    table: NDArray[np.int8]

    def sums(self, said: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the sum of the vectors of each text's words."""
        return add_rows(self.table, said)

    @cached_property
    def lengths(self) -> NDArray[np.int8]:
        """The vectors turned into fewer numbers whose length goes with theirs (PCA)."""
        table = self.table.astype(np.float64)
        _, axes = np.linalg.eigh(table.T @ table)
        turned = table @ axes[:, ::-1][:, :LENGTH_DIMS]
        steps: NDArray[np.int8] = np.rint(
            turned * (127.0 / max(float(np.abs(turned).max()), 1e-9))
        ).astype(np.int8)
        return steps

    def rows_of(self, texts: Iterable[str]) -> list[NDArray[np.int64]]:
        """Return for each text the rows of its known words, each once."""
        return [self._rows(normal(text)) for text in texts]

    def _rows(self, form: str) -> NDArray[np.int64]:
        found = np.array([hash_of(word) for word in dict.fromkeys(spoken(form))], np.uint32)
        place = np.minimum(np.searchsorted(self.hashes, found), len(self.hashes) - 1)
        rows: NDArray[np.int64] = place[self.hashes[place] == found].astype(np.int64)
        return rows


@cache
def vectors() -> Vectors | None:
    """Return the vectors that come along; None where they do not."""
    try:
        data = FILE.read_bytes()
    except FileNotFoundError:
        return None
    if not data.startswith(MAGIC):
        return None
    count, dims = _SIZES.unpack_from(data, len(MAGIC))
    start = len(MAGIC) + _SIZES.size
    hashes = np.frombuffer(data, "<u4", count, start)
    table = np.frombuffer(data, np.int8, count * dims, start + 4 * count)
    return Vectors(hashes, table.reshape(count, dims))


def pack_vectors(made: Vectors) -> bytes:
    """Return the bytes of the file; the hashes must be in order, each once."""
    count, dims = made.table.shape
    head = MAGIC + _SIZES.pack(count, dims)
    return head + made.hashes.astype("<u4").tobytes() + made.table.tobytes()


@dataclass(frozen=True)
class Comparisons:
    """The table of a head, and its header: what the daemon adds up."""

    facts: MeaningFacts
    vectors: Vectors
    shares: NDArray[np.int8]

    def scores(self, said: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
        """Return what the daemon adds to each route's score, by the same int8."""
        facts, routes = self.facts, len(self.facts.counts)
        length = _length(add_rows(self.vectors.lengths, said))
        known = length >= 1
        step = np.where(known, facts.scale / np.maximum(length, 1), 0.0)
        lanes = add_rows(self.shares, said)
        found = lanes[:, :routes] * np.array(facts.means)
        first = routes
        for route, count in enumerate(facts.counts):
            if count:
                found[:, route] += facts.nearest * lanes[:, first : first + count].max(axis=1)
            first += count
        scores: NDArray[np.float64] = found * step[:, None]
        return scores

    def pack(self) -> bytes:
        """Return the table as it lies in a head."""
        rows = np.concatenate([self.vectors.lengths, self.shares], axis=1)
        return self.vectors.hashes.astype("<u4").tobytes() + rows.tobytes()


def compare(
    made: Vectors, said: Sequence[NDArray[np.int64]], truth: NDArray[np.int64], routes: int
) -> Comparisons:
    """Return the comparisons with texts (the rows of their words) of known routes."""
    sums = made.sums(said).astype(np.float32)
    length = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    spoken = sums / np.maximum(length, 1)
    known = length[:, 0] >= 1
    each = max(MOST_PROTOTYPES // routes, min(A_FEW, 2 * MOST_PROTOTYPES // routes))
    nearest = NEAREST + NEAREST_OF_FEW * min(1.0, HANDFUL * routes / max(1, len(said)))
    means, near, weights = [], [], []
    for route in range(routes):
        mine = spoken[(truth == route) & known]
        means.append(_unit(mine.sum(axis=0)))
        weights.append(MEAN * min(1.0, HANDFUL / max(1, len(mine))))
        near.append(_prototypes(mine, each) if each > 1 else mine[:0])
        if each <= 1:
            weights[-1] += nearest  # one prototype is the mean
    looked_at = np.concatenate([np.stack(means), *near])
    shares = made.table.astype(np.float32) @ looked_at.T
    scale = max(float(np.abs(shares).max()), 1e-9) / 127.0
    short = _length(add_rows(made.lengths, said))
    known = (short >= 1) & known
    longer = float(np.median(length[known, 0] / short[known])) if known.any() else 1.0
    facts = MeaningFacts(
        words=len(made.hashes),
        dims=made.lengths.shape[1],
        counts=[len(group) for group in near],
        scale=scale / longer,
        nearest=nearest,
        means=weights,
    )
    return Comparisons(facts, made, np.rint(shares / scale).astype(np.int8))


def add_rows(table: NDArray[np.int8], said: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the sum of some rows for each text."""
    found = np.zeros((len(said), table.shape[1]), np.int64)
    for text, rows in enumerate(said):
        found[text] = table[rows].sum(axis=0, dtype=np.int64)
    return found


def _prototypes(texts: Floats, most: int) -> Floats:
    """Return at most so many directions that stand for all texts: spherical k-means.

    Begun with texts that are as far apart as can be, so that nothing is drawn.
    """
    if len(texts) <= most:
        return texts
    chosen = [0]
    apart = 1.0 - texts @ texts[0]
    for _ in range(most - 1):
        chosen.append(int(apart.argmax()))
        apart = np.minimum(apart, 1.0 - texts @ texts[chosen[-1]])
    middles = texts[chosen]
    for _ in range(_ROUNDS):
        nearest = (texts @ middles.T).argmax(axis=1)
        middles = np.stack(
            [
                _unit(texts[nearest == place].sum(axis=0)) if (nearest == place).any() else middle
                for place, middle in enumerate(middles)
            ]
        )
    return middles


def _length(sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the length of each row."""
    length: NDArray[np.float64] = np.sqrt((sums.astype(np.float64) ** 2).sum(axis=1))
    return length


def _unit(vector: Floats) -> Floats:
    """Return a vector of length 1; nothing stays nothing."""
    length = np.float32(np.sqrt((vector * vector).sum()))
    unit: Floats = vector / max(length, np.float32(1e-9))
    return unit
