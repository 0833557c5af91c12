"""What both students read: labelled sentences, changed and recombined anew in every epoch."""

import random
from dataclasses import dataclass
from functools import cached_property

from tools.distill.slots.intents import intents_alone
from tools.distill.slots.names import more_names
from tools.distill.slots.phrases import Phrases
from tools.distill.slots.places import Exchange
from tools.distill.slots.requests import Requests
from tools.train.home_command.augmentation import Augmenter
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.labels import OTHER, Example

PARTS = 4
"""An epoch is cut into so many; after each a checkpoint is written."""
VALUES_FROM = 12_000
"""How many requests are drawn for their slots' values."""


@dataclass(frozen=True)
class Mixture:
    """How many sentences of each source an epoch has; HWU64 and SNIPS are read so many times.

    So is what CLINC150 says of HWU64's intents. `requests` are of our own writing.
    """

    hwu64: int = 2
    snips: int = 1
    home: int = 9000
    other: int = 1200
    phrases: int = 0
    clinc150: int = 0
    requests: int = 0


@dataclass(frozen=True)
class Sentences:
    """The training part of the corpora as a source of changed sentences."""

    corpus: Corpus
    mixture: Mixture
    seed: int

    @cached_property
    def _augmenter(self) -> Augmenter:
        """Give sentences other values: those of the corpora and, with requests, of requests."""
        chance = random.Random(self.seed)  # noqa: S311 - no secret
        labelled = [e for e in self.corpus.train if e.source != "other"]
        if self.mixture.requests:
            labelled += self._requests.sentences(VALUES_FROM, chance)
        return Augmenter.over(labelled)

    @cached_property
    def _exchange(self) -> Exchange:
        return Exchange.over(self.corpus.train)

    @cached_property
    def _phrases(self) -> Phrases:
        return Phrases(self.corpus)

    @cached_property
    def _requests(self) -> Requests:
        return Requests.over(self.corpus)

    def each_request(self) -> list[Example]:
        """Return a sentence of each line of the requests."""
        chance = random.Random(self.seed)  # noqa: S311 - no secret
        return self._requests.sentences(len(self._requests.requests), chance)

    def epoch(self, number: int) -> list[Example]:
        """Return a part of an epoch in a chance order; the same number gives the same."""
        chance = random.Random(self.seed * 1009 + number // PARTS)  # noqa: S311 - no secret
        other = [e for e in self.corpus.train if e.intent == OTHER]
        chosen = chance.sample(other, min(self.mixture.other, len(other)))
        copies = {"hwu64": self.mixture.hwu64, "snips": self.mixture.snips}
        for example in self.corpus.train:
            chosen += [example] * copies.get(example.source, 0)
        chosen += [*intents_alone(self.corpus)] * self.mixture.clinc150
        chosen += self.corpus.home_sentences(self.mixture.home, chance, more_names())
        if self.mixture.phrases:
            chosen += self._phrases.sentences(self.mixture.phrases, chance)
        if self.mixture.requests:
            chosen += self._requests.sentences(self.mixture.requests, chance)
        chance.shuffle(chosen)
        return [
            self._augmenter.change(self._exchange.change(example, chance), chance)
            for example in chosen[number % PARTS :: PARTS]
        ]
