"""Lessons → head: learn, measure on what was not learned, then learn all of it."""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.calibration import Floats, calibrate
from aiosd.fitter.meanings import Comparisons, compare, vectors
from aiosd.fitter.pages import Page, form, forms_of, key_of_page, page_of
from aiosd.fitter.postings import STEP, Ints, learn
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
from aiosd.policy.routing.head import BACKGROUND, HeadFacts, encode_head
from aiosd.policy.routing.lessons import Lesson, in_order, key_of
from aiosd.policy.routing.weights import MOST_IN_LANES

# Sub-routes with fewer texts each are not told apart.
FEWEST_EACH = 4
# Texts to measure on where there are thousands of experts.
MOST_MEASURED = 600
# The temperature that heads with vectors need, what is added to it over the texts of an expert, and
# for each e-fold of experts beyond ten: 0.52 with 15 texts, 0.34 with 300, 0.47 of 150 experts with
# 100 (parts of CLINC150's list `train`, see tools/eval).
USUAL, OF_FEW, OF_MANY = 0.33, 2.8, 0.047


class NothingError(Exception):
    """There is nothing to learn."""


def fit(
    lessons: Sequence[Lesson],
    foreign: Sequence[str] | None = None,
    kept: dict[str, Page] | None = None,
) -> bytes:
    """Return the head of these lessons; `foreign` replaces the background that comes along.

    A package whose file of texts is not what it declares is left out, and standard error says so.
    `kept` are pages of packages by their keys; those that were made anew are added, and those of
    packages that are not here are dropped. What is kept changes nothing but the time.

    Raises:
        NothingError: no package brings any text.
    """
    ordered = in_order(lessons)
    if len(ordered) >= MOST_IN_LANES:
        return _fit_many(ordered, foreign, {} if kept is None else kept)
    learned, measured = _collect(ordered)
    if not learned:
        raise NothingError("no package brings any text")
    nobody = _nobody(ordered, {form(each.text) for each in learned}, foreign)
    routes = _routes(learned)
    number = {route: place for place, route in enumerate(routes)}
    examples = sorted([*_within(learned, routes), *nobody], key=lambda each: number[each.route])
    taught = _Taught(
        rows_of(each.text for each in examples),
        _said(examples),
        np.array([number[each.route] for each in examples], np.int64),
        len(routes),
    )
    whole = taught.learn()
    scores, truth = _judged(taught, examples, whole, _within(measured, routes))
    usual = _usual(len({expert for expert, _ in routes[:-1]}), len(learned))
    thresholds, measures = calibrate(scores, truth, routes, usual if whole.meaning else None)
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
    table = whole.lexical.table.tobytes()
    return encode_head(facts, table + (meaning.pack() if meaning else b""))


def _usual(experts: int, texts: int) -> float:
    """Return the temperature that a head of so many experts and texts was found to need."""
    return USUAL + OF_FEW * experts / texts + OF_MANY * max(0.0, math.log(experts / 10))


def _fit_many(
    lessons: Sequence[Lesson], foreign: Sequence[str] | None, kept: dict[str, Page]
) -> bytes:
    """Return the head of hundreds of packages and more, each of one route: postings."""
    pages: dict[str, Page] = {}
    names: list[str] = []
    measured: list[tuple[str, Ints]] = []
    for lesson in lessons:
        key = key_of_page(lesson)
        page = kept.get(key)
        if page is None or lesson.calibration is not None:
            learned, foreseen = _collect([lesson])
            if not learned:
                continue
            page = page_of(learned)
            rows = rows_of((each.text for each in foreseen), far=False)
            measured += [(lesson.expert, row) for row in rows.split()]
        pages[key] = page
        names.append(lesson.expert)
    if not names:
        raise NothingError("no package brings any text")
    kept.clear()
    kept.update(pages)
    nobody = page_of(_nobody(lessons, forms_of(pages.values()), foreign))
    taught = list(pages.values())
    whole, judge = learn(taught, nobody), learn(taught, nobody, early=True)
    pairs = zip(names, taught, strict=True)
    late = _some([(name, row) for name, page in pairs for row in page.late_rows()])
    measured = _some(measured)
    scores = [
        head.scores([row for _, row in texts]) for head, texts in ((whole, measured), (judge, late))
    ]
    routes = [*((name, "") for name in names), (BACKGROUND, "")]
    truth = [name for name, _ in (*measured, *late)]
    thresholds, measures = calibrate(np.concatenate(scores), truth, routes)
    facts = HeadFacts(
        key=key_of(lessons),
        routes=routes,
        scales=[STEP] * len(routes),
        biases=[0.0] * len(routes),
        thresholds=thresholds,
        measures=measures,
    )
    return encode_head(facts, whole.pack())


def _nobody(
    lessons: Sequence[Lesson], taken: set[bytes], foreign: Sequence[str] | None
) -> list[Example]:
    """Return the texts that are for nobody."""
    if foreign is None:
        return [each for each in background(lessons) if form(each.text) not in taken]
    return [Example(text, (BACKGROUND, "")) for text in foreign]


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
        return _Model(quantize(train(rows, truth, self.routes)), meaning)


def _said(texts: Sequence[Example]) -> list[NDArray[np.int64]] | None:
    """Return the words of each text, where it is known what words mean."""
    known = vectors()
    return known.rows_of(each.text for each in texts) if known else None


def _judged(
    taught: _Taught, examples: Sequence[Example], whole: _Model, foreseen: Sequence[Example]
) -> tuple[Floats, list[str]]:
    """Return scores of texts that were not learned when they were scored, and whom each is for.

    Files of calibration are judged by the whole. Of packages without one, a fifth of their texts is
    judged by a sibling that learned the others.
    """
    parts: list[Floats] = []
    truth: list[str] = []
    if foreseen:
        parts.append(whole.scores(foreseen))
        truth += [each.route[0] for each in foreseen]
    late = np.array([each.late for each in examples])
    if late.any():
        parts.append(taught.learn(~late).scores([each for each in examples if each.late]))
        truth += [each.route[0] for each in examples if each.late]
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


def _some(measured: Sequence[tuple[str, Ints]]) -> list[tuple[str, Ints]]:
    """Return as many texts as thousands of experts can be measured on in a second, evenly drawn."""
    step = max(1, len(measured) // MOST_MEASURED)
    return list(measured[::step])


def _routes(learned: Sequence[Example]) -> list[Route]:
    """Return the routes in order, the background last.

    An expert is one route if its sub-routes have too few texts each to tell them apart, and all are
    where there are too many routes.
    """
    counts = Counter(each.route for each in learned)
    parts = Counter(expert for expert, _ in counts)
    texts = Counter(each.route[0] for each in learned)
    many = len(counts) >= MOST_IN_LANES
    routes = {
        (expert, "" if many or texts[expert] < FEWEST_EACH * parts[expert] else part)
        for expert, part in counts
    }
    return [*sorted(routes), (BACKGROUND, "")]


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
