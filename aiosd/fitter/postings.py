"""Weights for thousands of routes at once: what is frequent in a route's texts and rare elsewhere.

The log odds of each place (as naive Bayes has them, smoothed), of which each route keeps the few
that tell most. No route is learned against any other, so that the work grows with the texts alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.pages import Page
from aiosd.policy.routing.lexical import PLACES
from aiosd.policy.routing.weights import pack_postings

# What a route keeps, and the largest weight; int8 steps are a 127th of it.
KEPT = 256
LARGEST = 8.0
STEP = LARGEST / 127.0
# A place that speaks for hundreds says little for any: it keeps those for which it says most.
MOST_OWNERS = 8
_OWN, _OTHERS = 0.05, 0.5

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Postings:
    """For each place the routes that it speaks for, and by how many steps: in order of places."""

    starts: Ints
    owners: NDArray[np.uint16]
    weights: NDArray[np.int8]
    routes: int

    def scores(self, rows: Sequence[Ints]) -> Floats:
        """Return the scores (rows, routes) as the daemon computes them."""
        found = np.zeros((len(rows), self.routes))
        for row, places in enumerate(rows):
            counts = self.starts[places + 1] - self.starts[places]
            offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
            spoken = np.arange(counts.sum()) - np.repeat(offsets - self.starts[places], counts)
            steps = np.bincount(
                self.owners[spoken], self.weights[spoken].astype(np.float64), self.routes
            )
            found[row] = steps * (STEP / np.sqrt(max(1, len(places))))
        return found

    def pack(self) -> bytes:
        """Return the weights as they lie in a head."""
        owners = self.owners.astype("<u2").tobytes()
        return pack_postings(self.starts.tolist(), owners, self.weights.tobytes())


def learn(pages: Sequence[Page], background: Page, *, early: bool = False) -> Postings:
    """Learn what tells each page's route; with `early` only from what siblings learn.

    The background's route is the last one: it has no weights, and stands at zero.
    """
    every = [*pages, background]
    places = np.concatenate([np.frombuffer(page.places, "<u2") for page in every])
    counts = np.concatenate(
        [np.frombuffer(page.early if early else page.counts, "<u2") for page in every]
    )
    texts = np.array([page.early_texts if early else page.texts for page in every], np.float32)
    sizes = [len(page.places) // 2 for page in every]
    total = np.bincount(places, counts, PLACES).astype(np.float32)
    # In how many texts → its logarithm, as only small whole numbers occur.
    logs = np.log(np.arange(int(counts.max()) + 1, dtype=np.float32) + np.float32(_OWN))
    others = np.log(total[places] - counts + np.float32(_OTHERS))
    found, first = [], 0
    for own, size in zip(texts[:-1], sizes[:-1], strict=True):
        mine = slice(first, first + size)
        first += size
        weight = logs[counts[mine]] - others[mine]
        weight += np.log(texts.sum() - own + 2 * _OTHERS) - np.log(own + 2 * _OWN)
        tells = weight * counts[mine]
        best = np.sort(np.argpartition(-tells, KEPT)[:KEPT]) if size > KEPT else np.arange(size)
        best = best[tells[best] > 0]
        found.append((places[mine][best], weight[best]))
    route = np.repeat(np.arange(len(found)), [len(mine) for mine, _ in found])
    places = np.concatenate([mine for mine, _ in found]).astype(np.int64)
    weight = np.concatenate([mine for _, mine in found])
    steps = np.rint(np.clip(weight, 0.0, LARGEST) / STEP).astype(np.int8)
    told = np.flatnonzero(steps > 0)
    told = told[_best(places[told], steps[told], MOST_OWNERS)]
    told = told[np.argsort((places[told] << 16) | route[told])]
    starts = np.concatenate([[0], np.cumsum(np.bincount(places[told], minlength=PLACES))])
    return Postings(starts, route[told].astype(np.uint16), steps[told], len(every))


def _best(group: Ints, worth: NDArray[np.int8], most: int) -> Ints:
    """Return the places of the `most` worthiest of each group; of equals those that come first."""
    # One number for each, group above worth above place: sorting numbers is the quickest way.
    keys = (group << 40) | ((127 - worth.astype(np.int64)) << 32) | np.arange(len(group))
    keys.sort()
    sorted_group, order = keys >> 40, keys & 0xFFFFFFFF
    first = np.flatnonzero(np.concatenate([[True], sorted_group[1:] != sorted_group[:-1]]))
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.concatenate([first, [len(order)]])))
    best: Ints = np.sort(order[rank < most])
    return best
