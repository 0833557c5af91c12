"""Several teachers as one: their standardized logits, weighted and added."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tools.distill.asking import ClassTeacher
from tools.distill.table import NONE, Input, Table

# The spread that the sum is brought to, so that it is a logit again: set by likelihood on tuning.
_GRID = np.geomspace(0.25, 16.0, 40)


class EnsembleTeacher:
    """Each member's logits less their mean, over the deviation it has on the tuning rows."""

    def __init__(
        self, members: Sequence[ClassTeacher], weights: Sequence[float], tuning: Table
    ) -> None:
        """Take the members, and rows that none of them learned from to measure them on."""
        self._members, self._weights = list(members), list(weights)
        self.batch = max(each.batch for each in members)
        self._rows = tuning.where(tuning.labels > NONE)
        names = [f"{each.fingerprint}×{w}" for each, w in zip(members, weights, strict=True)]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        self.fingerprint = f"ensemble {digest[:16]}"

    @cached_property
    def _tuned(self) -> tuple[list[float], float]:
        """Return the members' spreads and the sum's sharpness."""
        if not len(self._rows):
            return [1.0] * len(self._members), 1.0
        given = [each.logits(self._rows.inputs) for each in self._members]
        spreads = [max(1e-6, float(_centred(each).std())) for each in given]
        return spreads, _sharpest(self._sum(given, spreads), self._rows.labels)

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        given = [each.logits(inputs) for each in self._members]
        spreads, sharpness = self._tuned
        found: NDArray[np.float32] = self._sum(given, spreads) * np.float32(sharpness)
        return found

    def _sum(
        self, given: Sequence[NDArray[np.float32]], spreads: Sequence[float]
    ) -> NDArray[np.float32]:
        total = sum(
            weight * _centred(each) / spread
            for each, weight, spread in zip(given, self._weights, spreads, strict=True)
        )
        return np.asarray(total, np.float32)


def _centred(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    centred: NDArray[np.float32] = logits - logits.mean(axis=1, keepdims=True)
    return centred


def _sharpest(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the factor under which the labels are likeliest."""

    def loss(factor: float) -> float:
        scaled = logits * factor
        top = scaled.max(axis=1)
        whole = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((whole - scaled[np.arange(len(labels)), labels]).mean())

    return float(min(_GRID, key=loss))
