"""A sentence and its answer as tokens, with the tag of every unit of the sentence."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tools.distill.slots.units import Units, tags_of
from tools.train.home_command.encoding import encode, token_starts
from tools.train.home_command.labels import Example
from tools.train.home_command.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Reading:
    """One example: `tokens`, of which the first `prompt` are given.

    `places` are those of the units' first tokens, `tags` their tags. `openings` says of every slot
    of the answer at which token its name stands and with which unit its value begins.
    """

    tokens: tuple[int, ...]
    prompt: int
    places: tuple[int, ...]
    tags: tuple[int, ...]
    openings: tuple[tuple[int, int], ...]


def read(
    example: Example, vocabulary: Vocabulary, chance: random.Random | None = None, drop: float = 0.0
) -> Reading | None:
    """Return an example as the student reads it; none where the labels cannot be written."""
    whole = encode(example, vocabulary, chance, drop)
    units = Units.of(example.text)
    tags = tags_of(example, units)
    if whole is None or tags is None:
        return None
    sentence = list(whole.tokens[1 : whole.prompt - 1])
    starts = token_starts(example.text, sentence, vocabulary)
    places = tuple(1 + _holding(starts, start) for start in units.starts)
    names = [
        at
        for at, token in enumerate(whole.tokens)
        if at >= whole.prompt
        and vocabulary.pieces[token].text.endswith('":"')
        and at > whole.prompt
    ]
    begins = [units.starts.index(span.start) for span in example.spans]
    openings = tuple(zip(names, begins, strict=True))
    return Reading(whole.tokens, whole.prompt, places, tuple(tags), openings)


def _holding(starts: Mapping[int, int], place: int) -> int:
    """Return the token that begins at a character, or the last one that begins before it."""
    while place not in starts:
        place -= 1
    return starts[place]
