"""What a text is meant for: the head's scores as probabilities, through two gates.

First "is it any of these at all", by the best score over the background's; then "am I sure which",
by the calibrated probability. A text that is in scope and not sure is meant for one of a set.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import exp

from aiosd.domain.decision import Gate, Gram, Near
from aiosd.policy.routing.head import Head, Scores
from aiosd.policy.routing.weights import MOST_IN_LANES

MOST_NEAR = 3
# Of thousands of experts so many are looked at, and so many are heard beside them.
_LIKELIEST = 16
_HEARD = 128
_AUDIBLE = 1e-9


@dataclass(frozen=True)
class Hearing:
    """What the head makes of one text.

    `chances` are the probabilities of experts, given that it is any of them; `parts` the likeliest
    sub-route of each; `meant` who may be meant, the likeliest first, empty if it is none of them.
    """

    head: str
    chances: dict[str, float]
    parts: dict[str, str]
    gates: tuple[Gate, ...]
    meant: tuple[str, ...]
    scores: Scores | None = field(default=None, repr=False)

    @property
    def nearest(self) -> tuple[Near, ...]:
        """The likeliest experts."""
        ranked = sorted(self.chances.items(), key=lambda each: (-each[1], each[0]))[:MOST_NEAR]
        return tuple(
            Near(expert=name, part=self.parts.get(name, ""), probability=chance)
            for name, chance in ranked
        )


def hear(head: Head, text: str, among: Collection[str] | None = None) -> Hearing:
    """Return what a text is meant for; with `among`, given that it is for one of these."""
    scores = head.read(text)
    key, logits, background = head.facts.key, scores.logits, head.background
    top = max(logits[:background] + logits[background + 1 :], default=-math.inf)
    chances, parts = _chances(head, logits, top, among)
    if not chances:
        return Hearing(key, {}, {}, (), (), scores)
    limits = head.facts.thresholds
    margin = top - logits[background] if scores.places else -math.inf
    said = bool(scores.places) and margin >= limits.scope
    scope = Gate(name="scope", value=margin, threshold=limits.scope, passed=said)
    ranked = sorted(chances, key=lambda name: (-chances[name], name))
    first = chances[ranked[0]]
    sure = Gate(name="sure", value=first, threshold=limits.sure, passed=first >= limits.sure)
    if not scope.passed:
        meant: tuple[str, ...] = ()
    elif sure.passed:
        meant = (ranked[0],)
    else:
        rest = [name for name in ranked[1:MOST_NEAR] if chances[name] >= limits.member]
        meant = (ranked[0], *rest)
    return Hearing(key, chances, parts, (scope, sure), meant, scores)


def _chances(
    head: Head, logits: Sequence[float], top: float, among: Collection[str] | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the probability of each expert, given that it is any, and its likeliest sub-route."""
    if len(logits) > MOST_IN_LANES:
        return _chances_of_many(head, logits, top, among)
    cold, routes = 1 / head.facts.thresholds.temperature, head.facts.routes
    parts: dict[str, str] = {}
    mass: dict[str, float] = {}
    for expert, first, last in head.spans:
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
    head: Head, logits: Sequence[float], top: float, among: Collection[str] | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the same of the likeliest of thousands of experts, each of one route."""
    background, temperature = head.background, head.facts.thresholds.temperature
    # Most say nothing at all: only the others are put in order.
    told = [place for place, value in enumerate(logits) if value]
    told.sort(key=logits.__getitem__)
    found = [logits[place] for place in told[-_HEARD:]]
    # What is not heard one by one weighs at most as much as the least that is.
    unheard = exp(((found[0] if len(found) == _HEARD else 0.0) - top) / temperature)
    rest = sum([exp((value - top) / temperature) for value in found])
    rest += (len(logits) - len(found)) * unheard
    mass: dict[str, float] = {}
    parts: dict[str, str] = {}
    for place in told[-_LIKELIEST:]:
        expert, part = head.facts.routes[place]
        audible = logits[place] >= _AUDIBLE and place != background
        if not audible or (among is not None and expert not in among):
            continue
        mass[expert] = exp((logits[place] - top) / temperature)
        parts[expert] = part
    total = sum(mass.values()) if among is not None else max(rest, sum(mass.values()))
    if total <= 0:
        return {}, {}
    return {expert: value / total for expert, value in mass.items()}, parts


def explain(head: Head, text: str, hearing: Hearing, expert: str) -> tuple[Gram, ...]:
    """Return the n-grams that decided for an expert; none where the head does not know it."""
    route = (expert, hearing.parts.get(expert, ""))
    if hearing.scores is None or route not in head.facts.routes:
        return ()
    place = head.facts.routes.index(route)
    return tuple(
        Gram(gram=gram, weight=weight) for gram, weight in head.decided(text, hearing.scores, place)
    )
