"""Scores of texts that were not learned → temperature, thresholds, and what was measured.

Thresholds hold by the lower bound of Wilson's interval (1927), 95 % two-sided, so that few texts
make careful thresholds. All is done on the int8 weights: those of the floats would not carry over.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.texts import Route
from aiosd.policy.routing.head import BACKGROUND, Accuracy, Measures, Thresholds

_Z = 1.959964
# The share of texts of some expert that must pass the scope gate.
RETAINED = 0.95
# How often a text that is sure must have come to the right expert.
PRECISE = 0.95
# The share of texts whose expert may be left out of the set of those that may be meant.
LEFT_OUT = 0.05
_BINS = 15
_Z_ONE = 1.644854
# So that the text a threshold was taken from passes it.
_HAIR = 1e-9
_GOLDEN = (math.sqrt(5.0) - 1) / 2
_NEAR_ENOUGH = 0.02
# The temperature is sought on so many scores: of 2,000 experts those of some 300 texts.
_MOST_NUMBERS = 2**20
# How many measured texts of an expert weigh as much as what is usual.
_AS_MUCH = 30.0

Floats = NDArray[np.float64]


def wilson_low(good: int, count: int) -> float:
    """Return the lower bound of Wilson's interval; 0 for no count."""
    if count == 0:
        return 0.0
    share, square = good / count, _Z * _Z / count
    middle = share + square / 2
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (middle - half) / (1 + square))


def chances(scores: Floats, experts: Sequence[str], temperature: float) -> tuple[Floats, list[str]]:
    """Return the probability of each expert, given that it is any of them, and the experts.

    `experts` names the expert of each route, in order; the background's is left out.
    """
    inside = [place for place, name in enumerate(experts) if name != BACKGROUND]
    own = scores[:, inside]
    raised = np.exp((own - own.max(axis=1, keepdims=True)) / temperature)
    names = [experts[place] for place in inside]
    firsts = [at for at, name in enumerate(names) if not at or name != names[at - 1]]
    apart = len(firsts) == len(names)
    found = raised if apart else np.add.reduceat(raised, firsts, axis=1)
    found /= found.sum(axis=1, keepdims=True)
    return found, [names[first] for first in firsts]


def margins(scores: Floats, experts: Sequence[str]) -> Floats:
    """Return the best score of any expert over the background's."""
    inside = [place for place, name in enumerate(experts) if name != BACKGROUND]
    best: Floats = scores[:, inside].max(axis=1) - scores[:, experts.index(BACKGROUND)]
    return best


def calibrate(
    scores: Floats, truth: Sequence[str], routes: Sequence[Route], usual: float | None = None
) -> tuple[Thresholds, Measures]:
    """Return the thresholds for scores of texts of known experts, and what they measure.

    `usual` is the temperature that such heads were found to need, taken where texts are few.
    """
    experts = [expert for expert, _ in routes]
    if not len(scores):
        return Thresholds(), Measures()
    names = sorted({name for name in experts if name != BACKGROUND})
    right_place = np.array([names.index(name) for name in truth])
    some = slice(None, None, 1 + scores.size // _MOST_NUMBERS)
    temperature = _temperature(scores[some], right_place[some], experts)
    if usual is not None:
        temperature = _shrunk(temperature, usual, len(truth) / len(names))
    found, _ = chances(scores, experts, temperature)
    said, best = found.argmax(axis=1), found.max(axis=1)
    right = said == right_place
    margin = margins(scores, experts)
    scope = _scope(margin)
    thresholds = Thresholds(
        temperature=temperature,
        scope=scope,
        sure=_sure(best, right),
        member=_member(found[np.arange(len(found)), right_place]),
    )
    counts = {
        name: Accuracy(right=int(right[right_place == place].sum()), count=int(count))
        for place, name in enumerate(names)
        if (count := (right_place == place).sum())
    }
    measures = Measures(
        texts=len(scores),
        accuracy=float(right.mean()),
        calibration_error=calibration_error(best, right),
        kept=float((margin >= scope).mean()),
        experts=counts,
    )
    return thresholds, measures


def calibration_error(best: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over fifteen equal bins (Guo et al. 2017)."""
    bins = np.minimum((best * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for place in np.unique(bins):
        mine = bins == place
        error += float(mine.mean() * abs(best[mine].mean() - right[mine].mean()))
    return error


def _temperature(scores: Floats, right: NDArray[np.int64], experts: Sequence[str]) -> float:
    """Return the temperature that makes the right experts most likely (Guo et al. 2017).

    By golden sections of its logarithm: the likelihood has one maximum.
    """

    def loss(log_temperature: float) -> float:
        found, _ = chances(scores, experts, math.exp(log_temperature))
        own = found[np.arange(len(right)), right]
        return float(-np.log(np.maximum(own, 1e-12)).mean())

    low, high = math.log(0.1), math.log(5.0)
    left, right_side = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right_side)
    while high - low > _NEAR_ENOUGH:
        if at_left <= at_right:
            high, right_side, at_right = right_side, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right_side, at_right
            right_side = low + _GOLDEN * (high - low)
            at_right = loss(right_side)
    return round(math.exp((low + high) / 2), 4)


def _shrunk(temperature: float, usual: float, each: float) -> float:
    """Return what lies between the usual and the measured one, by the texts of an expert.

    Judged by siblings, few texts seem harder than others will be: their own wording is what the
    sibling lacks.
    """
    share = 1.0 / (1.0 + (each / _AS_MUCH) ** 2)
    return round(math.exp((1 - share) * math.log(temperature) + share * math.log(usual)), 4)


def _scope(margin: Floats) -> float:
    """Return the highest threshold that keeps enough.

    With too few texts to show that by counting, the tolerance limit of a normal distribution is
    taken, and never one over zero: what little is known would refuse all that is worded otherwise.
    """
    ordered, count = np.sort(margin), len(margin)
    if wilson_low(count, count) < RETAINED:
        limit = float(margin.mean() - _tolerance(count) * margin.std(ddof=1)) if count > 1 else 0.0
        return min(0.0, float(ordered[0]), limit) - _HAIR
    best = 0
    for lost in range(count):
        if wilson_low(count - lost, count) < RETAINED:
            break
        best = lost
    return float(ordered[best]) - _HAIR


def _tolerance(count: int) -> float:
    """Return how many deviations below the mean hold 95 % of a normal, with 95 % confidence.

    Natrella, Experimental Statistics (NBS Handbook 91), section 2-5: the one-sided factor.
    """
    first = 1.0 - _Z_ONE**2 / (2.0 * (count - 1))
    second = _Z_ONE**2 - _Z_ONE**2 / count
    if first <= 0:
        return math.inf
    return (_Z_ONE + math.sqrt(max(0.0, _Z_ONE**2 - first * second))) / first


def _sure(best: Floats, right: NDArray[np.bool_]) -> float:
    """Return the lowest probability from which on enough is right; over 1 if none is."""
    order = np.argsort(-best, kind="stable")
    good = np.cumsum(right[order])
    lowest = 1.01
    for place in range(len(order)):
        if wilson_low(int(good[place]), place + 1) >= PRECISE:
            lowest = float(best[order[place]])
    return lowest


def _member(own: Floats) -> float:
    """Return the probability that all but a few texts give their own expert (conformal, LAC)."""
    place = int(LEFT_OUT * (len(own) + 1)) - 1
    return float(np.sort(own)[max(place, 0)])
