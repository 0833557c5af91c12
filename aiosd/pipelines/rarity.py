"""How rare each sample's value is within its own series."""

import numpy as np
from numpy.typing import NDArray

MAX_RARE = 0.25
"""The largest share of the others: so many are left where those nearby do not count."""
_CELLS = 1 << 17  # distances looked at at a time, to bound memory: 1 MiB each of a few arrays

Values = NDArray[np.float64]


def rarity(values: Values, least: Values, nearest: tuple[int, float], apart: int) -> Values:
    """Return how far each value is from the nearest of the others: (n,) → (n,).

    `nearest` is how many have to be as near, and a share of all that stands for it if fewer. Those
    less than `apart` samples away do not count. Where the distance is seen at a glance to be no
    more than `least` (n,) it is said to be 0: few are left to look at. All values are compared
    with, not some of them: what is there for one sample a day must be found again.
    """
    count = len(values)
    times, share = nearest
    rank = max(1, min(times, int(share * count)))
    # Never so far apart that too few are left to compare with.
    apart = min(max(1, apart), max(1, count // 4))
    order = np.argsort(values, kind="stable")
    # In order the nearest values stand beside each other; so many more as may be nearby in time.
    reach = min(rank + 2 * apart - 1, count)
    ends, never = np.full(reach, np.inf), np.full(reach, -2 * count)
    ordered = np.concatenate([-ends, values[order], ends])
    when = np.concatenate([never, order, never])
    at = np.searchsorted(values[order], values)
    furthest = np.minimum(ordered[at + 2 * reach - 1] - values, values - ordered[at])
    found = np.zeros(count)
    rows, size = np.flatnonzero(furthest > least), max(1, _CELLS // (2 * reach))
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        beside = at[block, np.newaxis] + np.arange(2 * reach)
        distance = np.abs(ordered[beside] - values[block, np.newaxis])
        distance[np.abs(when[beside] - block[:, np.newaxis]) < apart] = np.inf
        found[block] = np.partition(distance, rank - 1, axis=1)[:, rank - 1]
    return found
