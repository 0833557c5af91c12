"""A sentence and its answer as tokens, with the tag of every unit of the sentence."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tools.distill.slots.intents import INTENT_ALONE
from tools.distill.slots.units import Units, tags_of
from tools.train.home_command.encoding import Sequence, encode, encode_steps, token_starts
from tools.train.home_command.labels import Example
from tools.train.home_command.vocabulary import Vocabulary

SLOTS_UNSURE = "slots unsure"
"""The tag of an example whose slots are not sure enough to be written."""
INTENT_WEIGHT, FIXED_WEIGHT = 2.0, 0.2
"""What the intent counts in the loss, and the two tokens about it that never change."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One example: `tokens`, of which the first `prompt` are given.

    `places` are those of the units' first tokens, `tags` their tags. `openings` says of every slot
    of the answer at which token its name stands and with which unit its value begins. `weights` are
    those of the answer's tokens in the loss.
    """

    tokens: tuple[int, ...]
    prompt: int
    places: tuple[int, ...]
    tags: tuple[int, ...]
    openings: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]


def read(
    example: Example, vocabulary: Vocabulary, chance: random.Random | None = None, drop: float = 0.0
) -> Reading | None:
    """Return an example as the student reads it; none where the labels cannot be written."""
    whole = encode(example, vocabulary, chance, drop)
    if INTENT_ALONE in example.tags:
        return whole and _intent_alone(whole)
    units = Units.of(example.text)
    tags = tags_of(example, units)
    if whole is None or tags is None:
        return None
    sentence = list(whole.tokens[1 : whole.prompt - 1])
    starts = token_starts(example.text, sentence, vocabulary)
    places = tuple(1 + _holding(starts, start) for start in units.starts)
    if SLOTS_UNSURE in example.tags:
        return replace(_intent_alone(whole), places=places, tags=tuple(tags))
    names = [
        at
        for at, token in enumerate(whole.tokens)
        if at >= whole.prompt
        and vocabulary.pieces[token].text.endswith('":"')
        and at > whole.prompt
    ]
    begins = [units.starts.index(span.start) for span in example.spans]
    openings = tuple(zip(names, begins, strict=True))
    fixed = (FIXED_WEIGHT, INTENT_WEIGHT, FIXED_WEIGHT)
    weights = (*fixed, *[1.0] * (len(whole.tokens) - whole.prompt - len(fixed)))
    return Reading(whole.tokens, whole.prompt, places, tuple(tags), openings, weights)


def _intent_alone(whole: Sequence) -> Reading:
    """Cut an answer after its intent; the words of the sentence are left without tags."""
    weights = (FIXED_WEIGHT, INTENT_WEIGHT)
    return Reading(whole.tokens[: whole.prompt + 2], whole.prompt, (), (), (), weights)


def read_steps(example: Example, vocabulary: Vocabulary, weight: float) -> Reading | None:
    """Return the steps to an answer as a reading of its own: which part of a sentence is what.

    The sentence ends with another stop, so that the student knows which of the two is wanted.
    """
    steps = encode_steps(example, vocabulary)
    if steps is None:
        return None
    weights = (weight,) * (len(steps.tokens) - steps.prompt)
    return Reading(steps.tokens, steps.prompt, (), (), (), weights)


def _holding(starts: Mapping[int, int], place: int) -> int:
    """Return the token that begins at a character, or the last one that begins before it."""
    while place not in starts:
        place -= 1
    return starts[place]
