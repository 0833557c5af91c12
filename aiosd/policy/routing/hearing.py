"""What a text is meant for: the head's scores as probabilities, through two gates.

First "is it any of these at all", by the best score over the background's; then "am I sure which",
by the calibrated probability. A text that is in scope and not sure is meant for one of a set.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from math import exp
from typing import NamedTuple

from aiosd.domain.decision import Gate, Gram, Near
from aiosd.policy.routing.head import Head, Scores

MOST_NEAR = 3
# Of thousands of experts so many are looked at, and so many are heard beside them.
_LIKELIEST = 16
_HEARD = 128


class Hearing(NamedTuple):
    """What the head makes of one text.

    `chances` are the probabilities of experts, given that it is any of them; `parts` the likeliest
    sub-route of each; `meant` who may be meant, the likeliest first, empty if it is none of them.
    """

    head: str
    chances: Mapping[str, float]
    parts: Mapping[str, str]
    gates: tuple[Gate, ...]
    meant: tuple[str, ...]
    scores: Scores | None = None
    first: Sequence[str] | None = None
    """The likeliest, in order, where that is known."""

    @property
    def nearest(self) -> tuple[Near, ...]:
        """The likeliest experts."""
        chances, part = self.chances, self.parts.get
        return tuple(
            [
                Near(expert=name, part=part(name, ""), probability=chances[name])
                for name in (_likeliest(chances) if self.first is None else self.first)
            ]
        )


def hear(head: Head, text: str, among: Collection[str] | None = None) -> Hearing:
    """Return what a text is meant for; with `among`, given that it is for one of these."""
    scores = head.read(text)
    key, logits, background = head.facts.key, scores.logits, head.background
    told = scores.told
    if told is None:
        nobody = logits[background]
        top = max(logits[:background] + logits[background + 1 :], default=-math.inf)
        chances, parts = _chances(head, logits, top, among)
    else:
        step = scores.step
        nobody, top = told.get(background, 0) * step, max([0, *told.values()]) * step
        chances, parts = _chances_of_many(head, scores, top, among)
    if not chances:
        return Hearing(key, {}, {}, (), (), scores)
    limits = head.facts.thresholds
    margin = top - nobody if scores.norm else -math.inf
    said = bool(scores.norm) and margin >= limits.scope
    first = _likeliest(chances)
    best = chances[first[0]]
    is_sure = best >= limits.sure
    if not said:
        meant: tuple[str, ...] = ()
    elif is_sure:
        meant = (first[0],)
    else:
        meant = (first[0], *[name for name in first[1:] if chances[name] >= limits.member])
    gates = (
        Gate(name="scope", value=margin, threshold=limits.scope, passed=said),
        Gate(name="sure", value=best, threshold=limits.sure, passed=is_sure),
    )
    return Hearing(key, chances, parts, gates, meant, scores, first)


def _likeliest(chances: Mapping[str, float]) -> list[str]:
    """Return the likeliest experts, in order; of equals, those that stand first there."""
    return sorted(chances, key=chances.__getitem__, reverse=True)[:MOST_NEAR]


def _chances(
    head: Head, logits: list[float], top: float, among: Collection[str] | None
) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Return the probability of each expert, given that it is any, and its likeliest sub-route.

    Experts come in the order of their names.
    """
    cold, routes = 1 / head.facts.thresholds.temperature, head.facts.routes
    if head.alone is not None and (among is None or head.experts.issubset(among)):
        masses = [exp((value - top) * cold) for value in logits[:-1]]
        total = sum(masses)
        chances = {expert: mass / total for expert, mass in zip(head.alone, masses, strict=True)}
        return chances, head.alone
    parts: dict[str, str] = {}
    mass: dict[str, float] = {}
    for expert, (first, last) in head.spans.items():
        if among is not None and expert not in among:
            continue
        if last - first == 1:
            mass[expert] = exp((logits[first] - top) * cold)
            parts[expert] = routes[first][1]
        else:
            mine = logits[first:last]
            parts[expert] = routes[first + mine.index(max(mine))][1]
            mass[expert] = sum([exp((value - top) * cold) for value in mine])
    total = sum(mass.values())
    if total <= 0:
        return {}, {}
    return {expert: value / total for expert, value in mass.items()}, parts


def _chances_of_many(
    head: Head, scores: Scores, top: float, among: Collection[str] | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the same of the likeliest of thousands of experts, each of one route."""
    background, cold = head.background, 1 / head.facts.thresholds.temperature
    told, count, step = scores.told or {}, len(head.facts.routes), scores.step
    # Most say nothing at all: only the others are put in order.
    spoken = sorted(told.values())
    found = spoken[-_HEARD:]
    # What is not heard one by one weighs at most as much as the least that is.
    unheard = exp(((found[0] * step if len(found) == _HEARD else 0.0) - top) * cold)
    each, base = step * cold, top * cold
    rest = sum([exp(value * each - base) for value in found])
    rest += (count - len(found)) * unheard
    least = max(1, spoken[-_LIKELIEST:][0]) if spoken else 1
    likeliest = sorted([place for place, value in told.items() if value >= least])
    likeliest.sort(key=told.__getitem__)
    mass: dict[str, float] = {}
    parts: dict[str, str] = {}
    for place in sorted(likeliest[-_LIKELIEST:]):
        expert, part = head.facts.routes[place]
        if place == background or (among is not None and expert not in among):
            continue
        mass[expert] = exp(told[place] * each - base)
        parts[expert] = part
    total = sum(mass.values()) if among is not None else max(rest, sum(mass.values()))
    if total <= 0:
        return {}, {}
    return {expert: value / total for expert, value in mass.items()}, parts


def explain(head: Head, text: str, hearing: Hearing, expert: str) -> tuple[Gram, ...]:
    """Return the n-grams that decided for an expert; none where the head does not know it."""
    first, last = head.spans.get(expert, (0, 0))
    route = (expert, hearing.parts.get(expert, ""))
    if hearing.scores is None or route not in head.facts.routes[first:last]:
        return ()
    place = head.facts.routes.index(route, first, last)
    return tuple(
        Gram(gram=gram, weight=weight) for gram, weight in head.decided(text, hearing.scores, place)
    )
