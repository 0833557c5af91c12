"""Splits that keep twins together: groups of near duplicates; hold-outs and folds by group."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize
from tools.train.features import features

_NOT_WORD = re.compile(r"[^a-z0]+")
_DIGIT = re.compile(r"\d")


def twin_groups(texts: Sequence[str], likeness: float = 0.6) -> NDArray[np.int64]:
    """Return a group number for each text; near duplicates share one.

    Two texts are twins if the cosine of their sets of 4-letter pieces, digits made alike and signs
    dropped, is at least `likeness`; groups are the connected parts of that relation.
    """
    keys = [_NOT_WORD.sub(" ", _DIGIT.sub("0", text.lower())).strip() for text in texts]
    steps = (
        TextNormalize(),
        TextHashNgrams(bits=18, chars=[4, 4], words=[1, 1], weight="binary"),
    )
    table = features([key or "nothing" for key in keys], steps)
    alike = (table @ table.T).tocsr()
    alike.data[alike.data < likeness] = 0.0
    alike.eliminate_zeros()
    groups: NDArray[np.int64] = connected_components(alike, directed=False)[1]
    return groups


def twins_by_class(texts: Sequence[str], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a group number for each text, as `twin_groups`, looked for within each class only."""
    groups, used = np.zeros(len(texts), np.int64), 0
    for name in np.unique(classes):
        mine = np.flatnonzero(classes == name)
        found = twin_groups([texts[row] for row in mine])
        groups[mine] = found + used
        used += int(found.max()) + 1
    return groups


def hold_out(groups: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Return True for about `share` of the groups, drawn by `seed`."""
    names = np.unique(groups)
    drawn = np.random.default_rng(seed).permutation(names)[: round(len(names) * share)]
    return np.isin(groups, drawn)


def folds(groups: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the fold (0..count-1) of each row; a group is in one fold."""
    names, place = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % count)[place]


def sample(classes: NDArray[np.int64], each: int, seed: int) -> NDArray[np.bool_]:
    """Return True for `each` rows of every class, drawn by `seed`."""
    drawn = np.zeros(len(classes), np.bool_)
    generator = np.random.default_rng(seed)
    for name in np.unique(classes):
        drawn[generator.permutation(np.flatnonzero(classes == name))[:each]] = True
    return drawn


def carve(
    groups: NDArray[np.int64], classes: NDArray[np.int64], each: int, seed: int
) -> NDArray[np.bool_]:
    """Return True for `each` rows of every class (or fewer), whole groups at a time.

    Groups are taken from the smallest on, those of one size in an order drawn by `seed`, so that
    what is carved looks like nothing that stays.
    """
    drawn = np.zeros(len(classes), np.bool_)
    generator = np.random.default_rng(seed)
    for name in np.unique(classes):
        mine = np.flatnonzero(classes == name)
        names, sizes = np.unique(groups[mine], return_counts=True)
        order = generator.permutation(len(names))
        order = order[np.argsort(sizes[order], kind="stable")]
        kept = order[np.cumsum(sizes[order]) <= each]
        drawn[mine[np.isin(groups[mine], names[kept])]] = True
    return drawn
