"""What a text is meant for: the head's scores as probabilities, through two gates.

First "is it any of these at all", by the best score over the background's; then "am I sure which",
by the calibrated probability. A text that is in scope and not sure is meant for one of a set.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from aiosd.domain.decision import Gate, Gram, Near
from aiosd.policy.head import Head, Scores

MOST_NEAR = 3


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
    facts, background = head.facts, head.background
    limits = facts.thresholds
    best: dict[str, float] = {}
    parts: dict[str, str] = {}
    mass: dict[str, float] = {}
    top = max(
        (value for place, value in enumerate(scores.logits) if place != background),
        default=-math.inf,
    )
    for place, (expert, part) in enumerate(facts.routes):
        if place == background or (among is not None and expert not in among):
            continue
        value = scores.logits[place]
        mass[expert] = mass.get(expert, 0.0) + math.exp((value - top) / limits.temperature)
        if value > best.get(expert, -math.inf):
            best[expert], parts[expert] = value, part
    total = sum(mass.values())
    if total <= 0:
        return Hearing(facts.key, {}, {}, (), (), scores)
    chances = {expert: value / total for expert, value in mass.items()}
    margin = top - scores.logits[background] if scores.places else -math.inf
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
    return Hearing(facts.key, chances, parts, (scope, sure), meant, scores)


def explain(head: Head, text: str, hearing: Hearing, expert: str) -> tuple[Gram, ...]:
    """Return the n-grams that decided for an expert; none where the head does not know it."""
    route = (expert, hearing.parts.get(expert, ""))
    if hearing.scores is None or route not in head.facts.routes:
        return ()
    place = head.facts.routes.index(route)
    return tuple(
        Gram(gram=gram, weight=weight) for gram, weight in head.decided(text, hearing.scores, place)
    )
