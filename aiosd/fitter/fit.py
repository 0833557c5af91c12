"""Lessons → head: learn, measure on what was not learned, then learn all of it."""

import sys
from collections.abc import Sequence

import numpy as np

from aiosd.fitter.calibration import calibrate
from aiosd.fitter.texts import (
    Example,
    Route,
    TextsError,
    background,
    learned_and_measured,
    rest_of,
    rows_of,
)
from aiosd.fitter.trainer import Quantized, logits, quantize, train
from aiosd.policy.head import BACKGROUND, MOST_ROUTES, HeadFacts, encode_head
from aiosd.policy.lessons import Lesson, in_order, key_of


class NothingError(Exception):
    """There is nothing to learn."""


def fit(lessons: Sequence[Lesson], foreign: Sequence[str] | None = None) -> bytes:
    """Return the head of these lessons; `foreign` replaces the background that comes along.

    A package whose file of texts is not what it declares is left out, and standard error says so.

    Raises:
        NothingError: no package brings any text.
    """
    ordered = in_order(lessons)
    learned: list[Example] = []
    early: list[Example] = []
    measured: list[Example] = []
    apart = True
    for lesson in ordered:
        try:
            texts, kept, own_file = learned_and_measured(lesson)
        except TextsError as error:
            print(f"left out of text routing: {lesson.expert}: {error}", file=sys.stderr)  # noqa: T201 - the log
            continue
        learned += texts
        measured += kept
        early += texts if own_file else rest_of(texts)
        apart = apart and own_file
    if not learned:
        raise NothingError("no package brings any text")
    if foreign is None:
        nobody = background(ordered, learned)
    else:
        nobody = [Example(text, (BACKGROUND, "")) for text in foreign]
    routes = _routes(learned)
    learned, early, measured = (_within(each, routes) for each in (learned, early, measured))
    whole = _learn([*learned, *nobody], routes)
    judge = whole if apart else _learn([*early, *nobody], routes)
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
    return encode_head(facts, whole.table.tobytes())


def _learn(examples: Sequence[Example], routes: Sequence[Route]) -> Quantized:
    """Return the int8 weights that these examples teach."""
    number = {route: place for place, route in enumerate(routes)}
    truth = np.array([number[each.route] for each in examples], np.int64)
    return quantize(train(rows_of(each.text for each in examples), truth, len(routes)))


def _routes(learned: Sequence[Example]) -> list[Route]:
    """Return the routes in order, the background last; one an expert where there are too many."""
    routes = sorted({each.route for each in learned})
    if len(routes) >= MOST_ROUTES:
        routes = sorted({(expert, "") for expert, _ in routes})
    return [*routes, (BACKGROUND, "")]


def _within(examples: Sequence[Example], routes: Sequence[Route]) -> list[Example]:
    """Return the examples with routes that exist: a sub-route that is not one falls to its expert.

    Texts of calibration may name a sub-route that no example has; what counts is their expert.
    """
    known = set(routes)
    experts = dict(reversed(routes))
    return [
        each if each.route in known else Example(each.text, (each.route[0], experts[each.route[0]]))
        for each in examples
        if each.route[0] in experts
    ]
