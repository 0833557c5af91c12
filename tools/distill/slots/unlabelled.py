"""Texts without labels, and what the teacher says of them.

They are CLINC150's sentences for training, and variations of the labelled sentences and of
requests of our own writing. None is a held-out sentence. Where the teacher is unsure of its slots,
its intent and its tags are learned, and no answer after the intent.
"""

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tools.distill.slots.reading import SLOTS_UNSURE
from tools.distill.slots.tagger import Shares, Tagger, answer_of, asked, sureness
from tools.distill.slots.units import Units
from tools.distill.slots.variations import Variations
from tools.train.home_command.augmentation import Augmenter
from tools.train.home_command.corpora import normal_form
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.labels import Example

VARIATIONS = {"hwu64": 6}
"""How many of each labelled sentence of a source there are."""
OF_REQUESTS = 2
"""How many variations of each request of our own writing."""
LONGEST = 120
"""Characters; longer texts are few and cost most."""
SURE = 0.6
"""An answer is learned whole where the shares of its parts, multiplied, are this at least."""


@dataclass(frozen=True, eq=False)
class Taught:
    """Texts in a chance order, each with the teacher's shares."""

    texts: Sequence[str]
    shares: Sequence[Shares]

    def part(self, number: int, size: int) -> list[tuple[Example, Shares]]:
        """Return so many of them, those after the ones of the part before, round and round."""
        places = (at % len(self.texts) for at in range(number * size, (number + 1) * size))
        return [(example_of(self.texts[at], self.shares[at]), self.shares[at]) for at in places]

    def state(self) -> bytes:
        """Return all of it, the shares of all texts one after the other."""
        file = io.BytesIO()
        shares = self.shares
        parts = [
            torch.cat([each.tags for each in shares]),
            torch.cat([each.tag_shares for each in shares]),
            torch.stack([each.intents for each in shares]),
            torch.stack([each.intent_shares for each in shares]),
        ]
        torch.save([list(self.texts), [len(each.tags) for each in shares], parts], file)
        return file.getvalue()

    @classmethod
    def of(cls, state: bytes) -> "Taught":
        """Read such a state."""
        texts, units, (tags, tag_shares, *intents) = torch.load(
            io.BytesIO(state), weights_only=True
        )
        parts = zip(tags.split(units), tag_shares.split(units), *intents, strict=True)
        return cls(texts, [Shares(*each) for each in parts])


def ask(
    net: Tagger,
    given: tuple[Corpus, Sequence[Example]],
    seed: int,
    tick: Callable[[float], None],
    most: int,
) -> Taught:
    """Gather texts from a corpus and requests, and ask the teacher about at most so many."""
    texts = texts_of(*given, net, seed)[:most]
    return Taught(texts, asked(net, texts, tick))


def texts_of(corpus: Corpus, requests: Sequence[Example], net: Tagger, seed: int) -> list[str]:
    """Return the texts, no two of one normal form, in a chance order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    found = [text for text, _ in corpus.auxiliary]
    commands = [each for each in corpus.train if each.source in VARIATIONS]
    variations = Variations.over(commands, net)
    augmenter = Augmenter.over(commands)
    varied = [each for each in commands for _ in range(VARIATIONS[each.source])]
    varied += [each for each in requests if each.source in VARIATIONS for _ in range(OF_REQUESTS)]
    found += [variations.change(augmenter.change(each, chance), chance) for each in varied]
    kept: dict[str, str] = {}
    for text in found:
        form = normal_form(text)
        if form and form not in corpus.held_out and len(text) <= LONGEST:
            kept.setdefault(form, text)
    texts = [each for each in kept.values() if len(Units.of(each))]
    chance.shuffle(texts)
    return texts


def example_of(text: str, shares: Shares) -> Example:
    """Return a text with the teacher's answer as its labels."""
    intent, spans = answer_of(shares, text)
    tags = frozenset[str]() if sureness(shares) >= SURE else frozenset({SLOTS_UNSURE})
    return Example(text, intent, spans, "taught", tags)
