"""Temperature and the threshold of "none", set on what the int8 file itself gives."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import RecipeError
from tools.distill.table import NONE, Table
from tools.distill.top_k import softmax

NoneMeasure = Literal["score", "energy", "max_logit"]
RETAINED = 0.95
BOTH = 2
_GRID = np.geomspace(0.05, 10.0, 400)
# Offsets that are tried, in deviations of the difference of two logits.
_OFFSETS = np.linspace(-1.0, 1.0, 201)


def temperature_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature under which the labels are likeliest (Guo et al. 2017)."""
    known = labels > NONE
    rows, truth = logits[known], labels[known]

    def loss(temperature: float) -> float:
        shares = softmax(rows / np.float32(temperature))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(shares, 1e-12)).mean())

    return round(float(min(_GRID, key=loss)), 4)


def of_set(table: Table, name: str) -> Table:
    """Return the rows of one set, by what stands before a colon in their slices; all without name.

    Raises:
        RecipeError: there are none.
    """
    if not name:
        return table
    mine = np.array([each.partition(": ")[0] == name for each in table.slices], np.bool_)
    if not mine.any():
        raise RecipeError(f"package.calibrate_on: no tuning row is of {name}")
    return table.where(mine)


def offset_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return what to add to the second logit of two, so that the labels are likeliest.

    At the best temperature for each (Platt 1999: log-odds = slope · score + shift).

    Raises:
        RecipeError: there are not two labels.
    """
    if logits.shape[1] != BOTH:
        raise RecipeError("package.offset needs two labels")
    signs = np.where(labels == 1, 1.0, -1.0)
    rest = (logits[:, 1] - logits[:, 0]).astype(np.float64)

    def loss(temperature: float, offset: float) -> float:
        return float(np.logaddexp(0.0, -signs * (rest + offset) / temperature).mean())

    spread = float(rest.std())
    pairs = ((t, o * spread) for t in _GRID[::8] for o in _OFFSETS)
    return round(min(pairs, key=lambda pair: loss(*pair))[1], 4)


def sureness(
    logits: NDArray[np.float32], temperature: float, measure: NoneMeasure
) -> NDArray[np.float32]:
    """Return what the package holds against `none_below`, of each row (n, classes).

    The best score after the softmax, the logits' log-sum-exp or the greatest logit; the last two
    without the temperature, as `scores.top_k` takes them.
    """
    most = logits.max(axis=1)
    if measure == "max_logit":
        return most
    if measure == "energy":
        energy: NDArray[np.float32] = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        return energy
    return softmax(logits / np.float32(temperature)).max(axis=1)


def none_below(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    temperature: float,
    measure: NoneMeasure = "score",
) -> float:
    """Return the measure that 95 of 100 rows of a label reach."""
    best = sureness(logits[labels > NONE], temperature, measure)
    return round(float(np.quantile(best, 1.0 - RETAINED)), 4)


def sure_above(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    temperature: float,
    precision: float,
) -> float:
    """Return the lowest score from which on rows are right so often; over 1 if there is none.

    A row of no label is wrong at any score.
    """
    shares = softmax(logits / np.float32(temperature))
    order = np.argsort(-shares.max(axis=1), kind="stable")
    right = (shares.argmax(axis=1) == labels)[order]
    often = np.cumsum(right) / np.arange(1, len(right) + 1)
    enough = np.flatnonzero(often >= precision)
    if not len(enough):
        return 1.01
    return round(float(shares.max(axis=1)[order][enough[-1]]), 4)


def auroc(known: NDArray[np.float32], foreign: NDArray[np.float32]) -> float:
    """Return how often a known row's score is over a foreign one's (ties count half)."""
    ordered = np.sort(foreign)
    under = np.searchsorted(ordered, known, "left")
    alike = np.searchsorted(ordered, known, "right") - under
    return float((under + 0.5 * alike).mean() / len(foreign))
