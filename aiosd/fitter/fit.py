"""Lessons → head: learn, measure on what was not learned, then learn all of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.calibration import Floats, calibrate
from aiosd.fitter.meanings import Comparisons, compare, vectors
from aiosd.fitter.postings import pack, train_postings
from aiosd.fitter.texts import (
    FOLDS,
    Example,
    Route,
    Rows,
    TextsError,
    background,
    learned_and_measured,
    rows_of,
)
from aiosd.fitter.trainer import Quantized, logits, quantize, train
from aiosd.policy.head import BACKGROUND, HeadFacts, encode_head
from aiosd.policy.lessons import Lesson, in_order, key_of
from aiosd.policy.weights import MOST_IN_LANES

# Texts to measure on where there are thousands of experts.
MOST_MEASURED = 600
# Up to so many weights to be learned of them (texts times routes) each text is judged once, by
# five siblings; beyond, a fifth of them by one.
FEW = 10_000


class NothingError(Exception):
    """There is nothing to learn."""


def fit(lessons: Sequence[Lesson], foreign: Sequence[str] | None = None) -> bytes:
    """Return the head of these lessons; `foreign` replaces the background that comes along.

    A package whose file of texts is not what it declares is left out, and standard error says so.

    Raises:
        NothingError: no package brings any text.
    """
    ordered = in_order(lessons)
    learned, measured = _collect(ordered)
    if not learned:
        raise NothingError("no package brings any text")
    if foreign is None:
        nobody = background(ordered, learned)
    else:
        nobody = [Example(text, (BACKGROUND, "")) for text in foreign]
    routes = _routes(learned)
    many = len(routes) > MOST_IN_LANES
    number = {route: place for place, route in enumerate(routes)}
    examples = sorted([*_within(learned, routes), *nobody], key=lambda each: number[each.route])
    taught = _Taught(
        rows_of(each.text for each in examples),
        None if many else _said(examples),
        np.array([number[each.route] for each in examples], np.int64),
        len(routes),
    )
    whole = taught.learn()
    scores, truth = _judged(taught, examples, whole, _within(measured, routes), many=many)
    thresholds, measures = calibrate(scores, truth, routes)
    meaning = whole.meaning
    facts = HeadFacts(
        key=key_of(ordered),
        routes=routes,
        scales=whole.lexical.scales,
        biases=whole.lexical.biases,
        thresholds=thresholds,
        measures=measures,
        meaning=meaning.facts if meaning else None,
    )
    weights = pack(whole.lexical) if many else whole.lexical.table.tobytes()
    return encode_head(facts, weights + (meaning.pack() if meaning else b""))


@dataclass(frozen=True)
class _Model:
    """What was learned: weights of places, and comparisons by meaning."""

    lexical: Quantized
    meaning: Comparisons | None

    def scores(self, texts: Sequence[Example]) -> Floats:
        """Return the scores (texts, routes) as the daemon computes them."""
        found = logits(rows_of(each.text for each in texts), self.lexical)
        if self.meaning is not None:
            found += self.meaning.scores(_said(texts) or [])
        return found


@dataclass(frozen=True)
class _Taught:
    """Texts to learn from, as rows: of places, and of words."""

    rows: Rows
    said: list[NDArray[np.int64]] | None
    truth: NDArray[np.int64]
    routes: int

    def learn(self, chosen: NDArray[np.bool_] | None = None) -> _Model:
        """Learn from all texts, or from some."""
        rows, truth, said = self.rows, self.truth, self.said
        if chosen is not None:
            rows, truth = rows.pick(chosen), truth[chosen]
            said = [each for each, mine in zip(said, chosen, strict=True) if mine] if said else said
        known = vectors()
        meaning = compare(known, said, truth, self.routes) if known and said is not None else None
        return _Model(_learn(rows, truth, self.routes), meaning)


def _said(texts: Sequence[Example]) -> list[NDArray[np.int64]] | None:
    """Return the words of each text, where it is known what words mean."""
    known = vectors()
    return known.rows_of(each.text for each in texts) if known else None


def _judged(
    taught: _Taught,
    examples: Sequence[Example],
    whole: _Model,
    measured: Sequence[Example],
    *,
    many: bool,
) -> tuple[Floats, list[str]]:
    """Return scores of texts that were not learned when they were scored, and whom each is for.

    Files of calibration are judged by the whole. Of packages without one, each text is judged by a
    sibling that learned four fifths of the others; of many texts a fifth is enough.
    """
    parts: list[Floats] = []
    truth: list[str] = []
    foreseen = _some(measured) if many else measured
    if foreseen:
        parts.append(whole.scores(foreseen))
        truth += [each.route[0] for each in foreseen]
    folds = np.array([-1 if each.fold is None else each.fold for each in examples])
    few = len(examples) * taught.routes < FEW
    for fold in range(FOLDS if few else 1):
        left_out = folds == fold
        judged = [each for each, out in zip(examples, left_out, strict=True) if out]
        judged = _some(judged) if many else judged
        if judged:
            parts.append(taught.learn(~left_out).scores(judged))
            truth += [each.route[0] for each in judged]
    return np.concatenate([np.zeros((0, taught.routes)), *parts]), truth


def _collect(lessons: Sequence[Lesson]) -> tuple[list[Example], list[Example]]:
    """Return what is learned and what is measured on, of all whose files are what they declare."""
    learned: list[Example] = []
    measured: list[Example] = []
    for lesson in lessons:
        try:
            texts, kept = learned_and_measured(lesson)
        except TextsError as error:
            print(f"left out of text routing: {lesson.expert}: {error}", file=sys.stderr)  # noqa: T201 - the log
            continue
        learned += texts
        measured += kept
    return learned, measured


def _learn(rows: Rows, truth: NDArray[np.int64], routes: int) -> Quantized:
    """Return the int8 weights that these rows teach."""
    if routes > MOST_IN_LANES:
        return train_postings(rows, truth, routes)
    return quantize(train(rows, truth, routes))


def _some(measured: Sequence[Example]) -> list[Example]:
    """Return as many texts as thousands of experts can be measured on in a second, evenly drawn."""
    step = max(1, len(measured) // MOST_MEASURED)
    return list(measured[::step])


def _routes(learned: Sequence[Example]) -> list[Route]:
    """Return the routes in order, the background last; one an expert where there are too many."""
    routes = sorted({each.route for each in learned})
    if len(routes) >= MOST_IN_LANES:
        routes = sorted({(expert, "") for expert, _ in routes})
    return [*routes, (BACKGROUND, "")]


def _within(examples: Sequence[Example], routes: Sequence[Route]) -> list[Example]:
    """Return the examples with routes that exist: a sub-route that is not one falls to its expert.

    Texts of calibration may name a sub-route that no example has; what counts is their expert.
    """
    known = set(routes)
    experts = dict(reversed(routes))
    return [
        each
        if each.route in known
        else replace(each, route=(each.route[0], experts[each.route[0]]))
        for each in examples
        if each.route[0] in experts
    ]
