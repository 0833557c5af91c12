"""Texts with words that the labelled ones hardly have, for the teacher to label.

A small student knows of a word what it has seen. So each word that it can read and that few texts
have is put where a near one stands in a text (word replacement as in TinyBERT, Jiao et al. 2020),
or, if none is near, in the place of any word; and it is asked about alone. Same seed, same texts.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tools.distill.table import Table, unlabelled

# A word is strange if fewer texts have it.
FEW = 3
MATES, NEAR_ENOUGH = 4, 0.3


def strange(words: Iterable[str], table: Table) -> tuple[list[str], list[str]]:
    """Return those of the words that few texts have, and the words that more texts have."""
    counts: dict[str, int] = {}
    for one in table.inputs:
        for word in set(str(one).lower().split()):
            counts[word] = counts.get(word, 0) + 1
    usual = sorted(word for word, count in counts.items() if count >= FEW and word.isalpha())
    return [word for word in words if counts.get(word, 0) < FEW], usual


def mates_of(
    words: Sequence[str],
    vectors: NDArray[np.float32],
    usual: Sequence[str],
    known: NDArray[np.float32],
) -> dict[str, list[str]]:
    """Return the usual words nearest to each word by cosine; of some words there are none."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(words), 512):
        likeness = vectors[start : start + 512] @ known.T
        places = np.argsort(-likeness, axis=1, kind="stable")[:, :MATES]
        for row, nearest in enumerate(places):
            near = [usual[at] for at in nearest if likeness[row, at] >= NEAR_ENOUGH]
            found[words[start + row]] = near
    return found


def with_strangers(
    table: Table, mates: Mapping[str, Sequence[str]], count: int, seed: int
) -> Table:
    """Return each strange word alone and in up to `count` texts, without labels and repeats.

    The usual words are asked about alone, too.
    """
    texts = [str(one).split() for one in table.inputs]
    holders: dict[str, list[int]] = {}
    for at, words in enumerate(texts):
        for word in {each.lower() for each in words}:
            holders.setdefault(word, []).append(at)
    found = dict.fromkeys(strange((), table)[1])
    for stranger, near in mates.items():
        found[stranger] = None
        # Of the word's own, so that its texts stay what they are when others come or go.
        chance = np.random.default_rng([seed, 2, zlib.crc32(stranger.encode())])
        for _ in range(count):
            mate = near[int(chance.integers(len(near)))] if near else ""
            places = holders.get(mate, range(len(texts)))
            words = texts[places[int(chance.integers(len(places)))]]
            if mate not in holders:
                mate = words[int(chance.integers(len(words)))].lower()
            made = [stranger if each.lower() == mate else each for each in words]
            found[" ".join(made)] = None
    known = {" ".join(words) for words in texts}
    return unlabelled([text for text in found if text not in known])
