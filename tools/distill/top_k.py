"""The k largest logits of a teacher, compactly: 2-byte places, 2-byte values, the rest as one.

`rest` is the log-sum-exp of all other logits less the largest, so that probabilities can be given
back: the rest's mass is spread evenly over the places that were not kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWEST = -60.0


@dataclass(frozen=True, eq=False)
class TopK:
    """Of each of n rows: `places` (n, k) uint16, `values` (n, k) and `rest` (n,) float16.

    Values are relative to the row's largest logit.
    """

    places: NDArray[np.uint16]
    values: NDArray[np.float16]
    rest: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.rest)

    def logits(self, classes: int, temperature: float = 1.0) -> NDArray[np.float32]:
        """Return logits (n, classes), each row up to a constant; unkept places share the rest.

        At another temperature than 1 the rest is softened as if it lay evenly on its places.
        """
        n, k = self.places.shape
        others = max(1, classes - k)
        even = self.rest.astype(np.float32) - np.log(np.float32(others))
        full = np.repeat(even[:, None], classes, axis=1)
        np.put_along_axis(
            full, self.places.astype(np.int64), self.values.astype(np.float32), axis=1
        )
        softened: NDArray[np.float32] = (full / np.float32(temperature)).reshape(n, classes)
        return softened


def compress(logits: NDArray[np.float32], k: int) -> TopK:
    """Keep the k largest of each row of (n, classes).

    Raises:
        ValueError: there are more classes than two bytes number, or a logit is not a number.
    """
    n, classes = logits.shape
    if classes > np.iinfo(np.uint16).max:
        raise ValueError(f"{classes} classes are more than {np.iinfo(np.uint16).max}")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not a number")
    k = min(k, classes)
    # Ties go to the smaller place, so that the same logits always give the same bytes.
    places = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    top = logits.max(axis=1, keepdims=True)
    values = np.take_along_axis(logits, places, axis=1) - top
    powers = np.exp((logits - top).astype(np.float64))
    left = powers.sum(axis=1) - np.take_along_axis(powers, places, axis=1).sum(axis=1)
    rest = np.maximum(np.log(np.maximum(left, 1e-300)), LOWEST)
    return TopK(
        places.astype(np.uint16),
        np.maximum(values, LOWEST).astype(np.float16),
        rest.reshape(n).astype(np.float16),
    )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return shares
