"""Rows and whom they are for → one weight for each place and route: a softmax regression.

Cross-entropy with label smoothing, places dropped at random, AdaGrad (Duchi et al. 2011) with steps
that fall to nothing; batches are laid out over the places that occur in them, so that NumPy alone
is enough. The mean of two such tables, in another order and with others dropped, hears better
than either and costs the daemon nothing (Breiman 1996, for a sum is linear). The same rows give the
same weights on the same machine: chance has two seeds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.texts import Rows
from aiosd.policy.routing.lexical import PLACES

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """The numbers of the training; chosen on parts of CLINC150's list `train`, see tools/eval."""

    epochs: int = 10
    fewest_steps: int = 1000
    most_epochs: int = 60
    batch: int = 16
    rate: float = 1.0
    drop: float = 0.3
    smoothing: float = 0.5
    first_square: float = 1e-4
    seeds: tuple[int, ...] = (0, 1)


RECIPE = Recipe()


@dataclass(frozen=True)
class Weights:
    """What was learned: (places, routes), and one bias for each route."""

    table: Floats
    biases: Floats


@dataclass(frozen=True)
class Quantized:
    """The same in int8, with one scale for each route."""

    table: NDArray[np.int8]
    scales: list[float]
    biases: list[float]


def train(rows: Rows, truth: NDArray[np.int64], routes: int, recipe: Recipe = RECIPE) -> Weights:
    """Learn to tell the routes apart; `truth` holds the number of each row's route."""
    every = [_train(rows, truth, routes, recipe, seed) for seed in recipe.seeds]
    share = np.float32(1 / len(every))
    return Weights(
        sum((each.table for each in every[1:]), every[0].table) * share,
        sum((each.biases for each in every[1:]), every[0].biases) * share,
    )


def _train(rows: Rows, truth: NDArray[np.int64], routes: int, recipe: Recipe, seed: int) -> Weights:
    """Learn once."""
    chance = np.random.default_rng(seed)
    table = np.zeros((PLACES, routes), np.float32)
    squares = np.full((PLACES, routes), recipe.first_square, np.float32)
    biases = np.zeros(routes, np.float32)
    bias_squares = np.full(routes, recipe.first_square, np.float32)
    batches = max(1, -(-len(rows) // recipe.batch))
    epochs = max(recipe.epochs, min(recipe.most_epochs, -(-recipe.fewest_steps // batches)))
    even = recipe.smoothing / routes
    step, steps = 0, batches * epochs
    for _ in range(epochs):
        for chosen in np.array_split(chance.permutation(len(rows)), batches):
            keep = chance.random(rows.width(chosen), np.float32) >= recipe.drop
            used, values = rows.dense(chosen, keep)
            error = _softmax(values @ table[used] + biases) - np.float32(even)
            error[np.arange(len(chosen)), truth[chosen]] -= np.float32(1.0 - recipe.smoothing)
            error /= np.float32(len(chosen))
            rate = np.float32(recipe.rate * (1.0 - step / steps))
            slope = values.T @ error
            squares[used] += slope * slope
            table[used] -= rate * slope / np.sqrt(squares[used])
            pull = error.sum(axis=0)
            bias_squares += pull * pull
            biases -= rate * pull / np.sqrt(bias_squares)
            step += 1
    return Weights(table, biases)


def quantize(weights: Weights) -> Quantized:
    """Return the weights in int8."""
    largest = np.maximum(np.abs(weights.table).max(axis=0), 1e-9)
    scales = (largest / 127.0).astype(np.float64)
    table = np.rint(weights.table / scales).astype(np.int8)
    return Quantized(table, scales.tolist(), weights.biases.astype(np.float64).tolist())


def logits(rows: Rows, head: Quantized, batch: int = 256) -> NDArray[np.float64]:
    """Return the scores (rows, routes) as the daemon computes them, on the int8 weights."""
    scales, biases = np.array(head.scales), np.array(head.biases)
    found = np.empty((len(rows), len(head.scales)), np.float64)
    for chosen in np.array_split(np.arange(len(rows)), max(1, len(rows) // batch)):
        used, values = rows.dense(chosen)
        found[chosen] = (values @ head.table[used].astype(np.float32)) * scales + biases
    return found


def _softmax(scores: Floats) -> Floats:
    """Return the probabilities of each row."""
    raised: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised
