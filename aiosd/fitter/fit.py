"""Lessons → head: learn, measure on what was not learned, then learn all of it."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.calibration import calibrate
from aiosd.fitter.postings import pack, train_postings
from aiosd.fitter.texts import (
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
    measured = _within(_some(measured) if many else measured, routes)
    number = {route: place for place, route in enumerate(routes)}
    examples = sorted([*_within(learned, routes), *nobody], key=lambda each: number[each.route])
    truth = np.array([number[each.route] for each in examples], np.int64)
    rows = rows_of(each.text for each in examples)
    whole = judge = _learn(rows, truth, len(routes))
    early = np.array([not each.late for each in examples])
    if not early.all():
        judge = _learn(rows.pick(early), truth[early], len(routes))
    scores = logits(rows_of(each.text for each in measured), judge)
    thresholds, measures = calibrate(scores, [each.route[0] for each in measured], routes)
    facts = HeadFacts(
        key=key_of(ordered),
        routes=routes,
        scales=whole.scales,
        biases=whole.biases,
        thresholds=thresholds,
        measures=measures,
    )
    return encode_head(facts, pack(whole) if many else whole.table.tobytes())


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
