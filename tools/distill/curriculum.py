"""Which examples an epoch shows: at first those of which the teacher is sure (Bengio et al. 2009).

How hard an example is: one less what the teacher gives the label (or, where there is none, its
best). The share that may be shown grows from 1 - `hold_back` to all in the first half of the run.
"""

import numpy as np
from numpy.typing import NDArray

from tools.distill.table import NONE


def difficulty(shares: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return 0 (easy) to 1 (hard) of each row of the teacher's probabilities (n, classes)."""
    best = shares.max(axis=1)
    known = labels > NONE
    chosen = np.where(known, shares[np.arange(len(labels)), np.maximum(labels, 0)], best)
    return (1.0 - chosen).astype(np.float32)


def shown(
    hardness: NDArray[np.float32], epoch: int, epochs: int, hold_back: float
) -> NDArray[np.bool_]:
    """Return which rows this epoch may show; from the middle of the run on all of them."""
    half = max(1, epochs // 2)
    share = 1.0 - hold_back * max(0.0, 1.0 - epoch / half)
    count = round(len(hardness) * share)
    keep = np.zeros(len(hardness), np.bool_)
    keep[np.argsort(hardness, kind="stable")[:count]] = True
    return keep
