"""Who should go up: quality against the share that does, beside what any router must beat.

Of each set: random, prompt length, a lookup of the mean gain by topic (learned on the other folds),
ours, the oracle, and the single models at both ends. APGR is the mean part of the gap between the
two models that a router recovers; CPT50 and CPT80 the share that must go up for that part of it
(Ong et al. 2024).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.texts import rows_of
from aiosd.fitter.trainer import Recipe, logits, quantize, train
from aiosd.policy.routing.head import Head
from aiosd.policy.routing.hearing import hear
from tools.eval.figures import Row, share
from tools.eval.outcomes import MIXES, RIGHT, Outcome, mix_of, read_public
from tools.eval.sets import NOBODY, Labelled
from tools.eval.text import dev_heads

Floats = NDArray[np.float64]
FOLDS = 5
ESCALATED = 0.05
# From this on it is likelier that nobody here answers rightly.
DOUBTED = 0.5
Curves = dict[str, dict[str, Floats]]


def folds_of(count: int) -> NDArray[np.int64]:
    """Return the fold of each row."""
    return np.random.default_rng(3).permutation(count) % FOLDS


def curve(scores: Floats, small: Floats, large: Floats) -> Floats:
    """Return the quality with the first 0, 1, 2 … rows sent up, in the order of their scores."""
    order = np.argsort(-scores, kind="stable")
    gain = (large - small)[order]
    quality: Floats = (small.sum() + np.concatenate([[0.0], np.cumsum(gain)])) / len(small)
    return quality


def recovered(quality: Floats) -> Floats:
    """Return the part of the gap between the ends that is recovered at each share."""
    gap = quality[-1] - quality[0]
    return (quality - quality[0]) / gap if gap else np.zeros_like(quality)


def needed(quality: Floats, part: float) -> float:
    """Return the share that must go up for a part of the gap."""
    reached = np.flatnonzero(recovered(quality) >= part)
    return float(reached[0] / (len(quality) - 1)) if len(reached) else math.nan


def by_topic(rows: Sequence[Outcome], folds: NDArray[np.int64]) -> Floats:
    """Return the mean gain of each row's topic in the other folds."""
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        gains: dict[str, list[int]] = {}
        for row, mine in zip(rows, folds, strict=True):
            if mine != fold:
                gains.setdefault(row.topic, []).append(row.large - row.small)
        for place in np.flatnonzero(folds == fold):
            told = gains.get(rows[place].topic, [0])
            scores[place] = sum(told) / len(told)
    return scores


def learned(rows: Sequence[Outcome], folds: NDArray[np.int64]) -> Floats:
    """Return what the text head's own learner makes of the gains, learned on the other folds."""
    texts = rows_of(row.text for row in rows)
    gains = np.array([int(row.large and not row.small) for row in rows], np.int64)
    scores = np.zeros(len(rows))
    recipe = Recipe(epochs=4, fewest_steps=400)
    for fold in range(FOLDS):
        taught = folds != fold
        head = quantize(train(texts.pick(taught), gains[taught], 2, recipe))
        found = logits(texts.pick(~taught), head)
        scores[~taught] = found[:, 1] - found[:, 0]
    return scores


def public(folder: Path, curves: Curves) -> Iterator[Row]:
    """Yield the figures of the public sets; none where they are not there."""
    for name, rows in read_public(folder).items():
        folds = folds_of(len(rows))
        scores = {
            "ours, learned from gains": learned(rows, folds),
            "prompt length": np.array([float(len(row.text)) for row in rows]),
        }
        if len({row.topic for row in rows}) > 1:
            scores["lookup by topic"] = by_topic(rows, folds)
        yield from _judged(f"{name}, public", rows, scores, curves)


def mixes(folds: Sequence[Sequence[Labelled]], curves: Curves) -> Iterator[Row]:
    """Yield the figures of the simulated mixes, each text heard by a head of the other folds."""
    heads = dev_heads(folds)
    head_of = {id(row): head for head, fold in zip(heads, folds, strict=True) for row in fold}
    every = [row for fold in folds for row in fold]
    for name in MIXES:
        mix = mix_of(name, every)
        decided = [_decided(head_of[id(row)], row.text) for row, _ in mix]
        # Who is asked wrongly answers wrongly, whatever it can do.
        rows = [
            Outcome(one.text, one.topic, one.small and said == row.expert, one.large)
            for (row, one), (said, _) in zip(mix, decided, strict=True)
        ]
        scores = {
            "ours, the head": np.array([score for _, score in decided]),
            "prompt length": np.array([float(len(row.text)) for row in rows]),
            "lookup by topic": by_topic(rows, folds_of(len(rows))),
        }
        what = f"{name}, SIMULATED"
        yield from _judged(what, rows, scores, curves)
        yield from _at_the_mark(what, rows, scores["ours, the head"])


def _decided(head: Head, text: str) -> tuple[str, float]:
    """Return who is asked on the board, and how much speaks for going up."""
    heard = hear(head, text)
    if not heard.nearest:
        return NOBODY, 2.0
    first = heard.nearest[0]
    right = first.probability * RIGHT[first.expert][0]
    margin = next(gate.value for gate in heard.gates if gate.name == "scope")
    return first.expert, (1.0 - right) + (0.0 if heard.meant else 1.0 - min(margin, 0.0) * 1e-3)


def _judged(
    name: str, rows: Sequence[Outcome], scores: Mapping[str, Floats], curves: Curves
) -> Iterator[Row]:
    """Yield what each router recovers, and keep the curves for the plot."""
    small = np.array([float(row.small) for row in rows])
    large = np.array([float(row.large) for row in rows])
    count, split = len(rows), f"{name.split(',', maxsplit=1)[0]}, {FOLDS} folds"
    yield share(f"{name}: the small one alone", int(small.sum()), count, split)
    yield share(f"{name}: the large one alone", int(large.sum()), count, split)
    order = {**scores, "oracle": large - small}
    curves[name] = {what: curve(each, small, large) for what, each in order.items()}
    ends = curves[name]["oracle"]
    curves[name]["random"] = np.linspace(ends[0], ends[-1], count + 1)
    mark = math.floor(ESCALATED * count)
    for what, quality in curves[name].items():
        yield share(
            f"{name}: {what}, right with 5 % up", round(quality[mark] * count), count, split
        )
        told = {"APGR": float(recovered(quality).mean())}
        told |= {f"CPT{part}": needed(quality, part / 100) for part in (50, 80)}
        for figure, value in told.items():
            yield Row(f"{name}: {what}, {figure}", value, split, count)


def _at_the_mark(name: str, rows: Sequence[Outcome], scores: Floats) -> Iterator[Row]:
    """Yield what is handled here, with 5 % going up, and with what the head itself doubts."""
    count = len(rows)
    forced = np.zeros(count, np.bool_)
    forced[np.argsort(-scores, kind="stable")[: math.floor(ESCALATED * count)]] = True
    small = np.array([row.small for row in rows])
    strange = np.array([row.topic == NOBODY for row in rows])
    for how, up in (("5 % up", forced), ("its own gates", scores > DOUBTED)):
        narrow = name.startswith("narrow") and up is not forced
        yield share(f"{name}, {how}: sent up", int(up.sum()), count, "5 folds")
        right = int((small & ~up).sum())
        least = 0.95 if narrow else None
        yield share(f"{name}, {how}: handled and right here", right, count, "5 folds", least)
        yield share(f"{name}, {how}: wrong here", int((~small & ~up).sum()), count, "5 folds")
        yield share(f"{name}, {how}: up without need", int((small & up).sum()), count, "5 folds")
        if strange.any():
            caught, all_of = int((strange & up).sum()), int(strange.sum())
            yield share(f"{name}, {how}: out of scope sent up", caught, all_of, "5 folds")


def run(
    folds: Sequence[Sequence[Labelled]],
    outcomes: Path | None,
    draw: Callable[[Curves], str],
) -> Iterator[Row]:
    """Yield everything, and draw the curves at the end."""
    curves: Curves = {}
    if outcomes is None or not outcomes.is_dir():
        print("no public outcomes: --outcomes DIR with mmlu/*.csv and gsm8k/*.csv of RouteLLM")
    else:
        yield from public(outcomes, curves)
    yield from mixes(folds, curves)
    print(draw(curves))
