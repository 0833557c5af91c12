"""Weights for thousands of routes at once: what is frequent in a route's texts and rare elsewhere.

The log odds of each place (as naive Bayes has them, smoothed), of which each route keeps the few
that tell most. No route is learned against any other, so that the work grows with the texts alone.
"""

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.texts import Rows
from aiosd.fitter.trainer import Quantized
from aiosd.policy.lexical import PLACES
from aiosd.policy.weights import pack_postings

# What a route keeps, and the largest weight; int8 steps are a 127th of it.
KEPT = 256
LARGEST = 8.0
# A place that speaks for hundreds says little for any: it keeps those for which it says most.
MOST_OWNERS = 8
_OWN, _OTHERS = 0.05, 0.5


def train_postings(rows: Rows, truth: NDArray[np.int64], routes: int) -> Quantized:
    """Learn what tells each route from all texts; `truth` holds each row's route, in order.

    The last route is the background's: it has no weights, and stands at zero.

    Raises:
        ValueError: `truth` is not in order.
    """
    if np.any(np.diff(truth) < 0):
        raise ValueError("the rows are not in the order of their routes")
    table = np.zeros((PLACES, routes), np.int8)
    total = np.bincount(rows.places, minlength=PLACES).astype(np.float64)
    bounds = np.searchsorted(truth, np.arange(routes + 1))
    for route in range(routes - 1):
        first, last = bounds[route], bounds[route + 1]
        count, others = int(last - first), len(rows) - int(last - first)
        found = np.bincount(rows.places[rows.starts[first] : rows.starts[last]], minlength=PLACES)
        used = np.flatnonzero(found)
        own = found[used].astype(np.float64)
        weight = np.log((own + _OWN) / (count + 2 * _OWN)) - np.log(
            (total[used] - own + _OTHERS) / (others + 2 * _OTHERS)
        )
        tells = weight * own / max(1, count)
        if len(used) > KEPT:
            best = np.argpartition(-tells, KEPT)[:KEPT]
            used, weight = used[best], weight[best]
        steps = np.rint(np.clip(weight, 0.0, LARGEST) * (127.0 / LARGEST))
        table[used, route] = steps.astype(np.int8)
    _thin(table)
    return Quantized(table, [LARGEST / 127.0] * routes, [0.0] * routes)


def _thin(table: NDArray[np.int8]) -> None:
    """Let each place speak for so many routes at most, so that hearing a text is bounded."""
    crowded = np.flatnonzero((table > 0).sum(axis=1) > MOST_OWNERS)
    for place in crowded:
        row = table[place]
        least = np.argpartition(-row, MOST_OWNERS)[MOST_OWNERS:]
        row[least] = 0


def pack(head: Quantized) -> bytes:
    """Return the weights as postings."""
    place, owner = np.nonzero(head.table)
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=PLACES))])
    weights = head.table[place, owner]
    return pack_postings(starts.tolist(), owner.astype("<u2").tobytes(), weights.tobytes())
