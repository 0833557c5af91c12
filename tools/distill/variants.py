"""More inputs of the same kind, for the teacher to label: of texts and of arrays.

Texts: words are exchanged for near ones, left out, or two sentences of one label are joined.
Arrays: two are mixed (Zhang et al. 2018), moved in time, made louder, coloured and made noisy, so
that the student meets the teacher far from the data too (Beyer et al. 2022). Same seed, same
variants.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tools.distill.table import NONE, Table, unlabelled

Near = Mapping[str, Sequence[str]]
EXCHANGED, LEFT_OUT, JOINED = 0.25, 0.05, 0.3


def vary_texts(table: Table, count: int, near: Near, seed: int) -> Table:
    """Return `count` variants of every text, without labels and without repeats."""
    chance = np.random.default_rng(seed)
    by_label: dict[int, list[str]] = {}
    for one, label in zip(table.inputs, table.labels, strict=True):
        by_label.setdefault(int(label), []).append(str(one))
    found: dict[str, None] = {}
    for one, label in zip(table.inputs, table.labels, strict=True):
        for _ in range(count):
            words = str(one).split()
            if label > NONE and chance.random() < JOINED:
                mates = by_label[int(label)]
                other = mates[int(chance.integers(len(mates)))].split()
                words = joined(words, other, chance)
            made = " ".join(exchanged(words, near, chance))
            if made:
                found[made] = None
    known = {str(one) for one in table.inputs}
    return unlabelled([text for text in found if text not in known])


def joined(first: Sequence[str], second: Sequence[str], chance: np.random.Generator) -> list[str]:
    """Return the beginning of one and the end of the other."""
    cut = int(chance.integers(1, len(first) + 1))
    resume = int(chance.integers(0, len(second) + 1))
    return [*first[:cut], *second[resume:]]


def exchanged(words: Sequence[str], near: Near, chance: np.random.Generator) -> list[str]:
    """Return the words, some of them near ones, some left out; never nothing."""
    found = []
    for word in words:
        draw = chance.random()
        mates = near.get(word.lower())
        if draw < LEFT_OUT and len(words) > 2:
            continue
        if mates and draw < LEFT_OUT + EXCHANGED:
            found.append(mates[int(chance.integers(len(mates)))])
        else:
            found.append(word)
    return found or list(words[:1])


def neighbours(
    words: Sequence[str],
    vectors: NDArray[np.float32],
    most: int = 8,
    least: float = 0.5,
) -> dict[str, list[str]]:
    """Return each word's nearest ones by cosine, those at least `least` like it."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(words), 512):
        likeness = vectors[start : start + 512] @ vectors.T
        for row, scores in enumerate(likeness):
            scores[start + row] = -1.0
            places = np.argpartition(-scores, most)[:most]
            places = places[np.argsort(-scores[places], kind="stable")]
            mates = [words[at] for at in places if scores[at] >= least]
            if mates:
                found[words[start + row]] = mates
    return found


def vary_arrays(table: Table, count: int, seed: int) -> tuple[Table, Table]:
    """Return `count` variants of every (frames, bands) array: with its label, and of two mixed.

    A third of them keep their label (moved, louder, coloured, noisier); the others are mixtures
    that no label fits.
    """
    chance = np.random.default_rng(seed)
    rows = np.stack([np.asarray(one, np.float32) for one in table.inputs])
    spread = rows.reshape(-1, rows.shape[-1]).std(axis=0) + 1e-6
    kept: list[NDArray[np.float32]] = []
    labels: list[int] = []
    mixed: list[NDArray[np.float32]] = []
    for number in range(count):
        order = chance.permutation(len(rows))
        for at in range(len(rows)):
            one = changed(rows[at], spread, chance)
            if number % 3 == 0:
                kept.append(one)
                labels.append(int(table.labels[at]))
            else:
                other = changed(rows[order[at]], spread, chance)
                share = np.float32(chance.beta(0.8, 0.8))
                mixed.append(share * one + (1 - share) * other)
    return Table(kept, np.array(labels, np.int64)), unlabelled(mixed)


def changed(
    one: NDArray[np.float32], spread: NDArray[np.float32], chance: np.random.Generator
) -> NDArray[np.float32]:
    """Return an array moved in time, coloured as by another microphone, and noisier."""
    moved = np.roll(one, int(chance.integers(-6, 7)), axis=0)
    colour = chance.normal(0, chance.uniform(0.0, 1.0), one.shape[-1]) * spread
    gain = chance.uniform(0.65, 1.45, one.shape[-1])
    noise = chance.normal(0, chance.uniform(0.0, 0.3), one.shape) * spread
    stretched = moved
    if chance.random() < 0.5:
        stretched = _stretched(moved, float(chance.uniform(0.8, 1.25)))
    return (stretched * gain + colour + noise).astype(np.float32)


def _stretched(one: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return the array faster or slower about its middle, its ends held."""
    middle = (len(one) - 1) / 2
    places = np.clip((np.arange(len(one)) - middle) * factor + middle, 0, len(one) - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(one) - 1)
    part = (places - low)[:, None]
    return (one[low] * (1 - part) + one[high] * part).astype(np.float32)
