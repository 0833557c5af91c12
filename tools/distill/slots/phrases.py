"""More ways to say what Home Assistant's templates say; for training only.

A template of ours is read with the rules of its family. No sentence of one has the frame of a
held-out template: the same words around the same slots. So what is held out stays unseen.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tools.distill.slots.names import more_names
from tools.train.home_command.augmentation import segments_of
from tools.train.home_command.corpora import normal_form
from tools.train.home_command.corpus import Corpus, templates_of
from tools.train.home_command.homes import Homes
from tools.train.home_command.labels import Example
from tools.train.home_command.templates import Template, TemplateBook, parse

FILE = Path(__file__).parent.parent / "recipes" / "home-command.phrases.txt"
FRAMES = 12_000
"""How many sentences of the held-out templates are sampled for their frames."""
_HEAD = re.compile(r"\[(\w+) (\w+) (\w+)\]")
_CLASS = "<class>"


def phrases_of(book: TemplateBook) -> list[Template]:
    """Read the file; a phrase of a class is one of every class that its family has."""
    found: list[Template] = []
    head: tuple[str, ...] = ()
    rules: list[Template] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if named := _HEAD.fullmatch(line):
            head = named.groups()
            rules = [each for each in book.templates if each.family == head[1]]
            continue
        intent, family, domain = head
        found += [
            Template(intent, family, line, domain, parse(line), each.rules)
            for each in (rules if _CLASS in line else rules[:1])
        ]
    return found


def frame_of(example: Example) -> str:
    """Return a sentence's words with its slots' names in place of their values."""
    return normal_form(
        "".join(f" {slot} " if slot else text for text, slot in segments_of(example))
    )


@dataclass(frozen=True)
class Phrases:
    """Samples sentences of the phrases, with the names of a corpus and of the lists."""

    corpus: Corpus

    @cached_property
    def _homes(self) -> Homes:
        return replace(self.corpus.homes, more=more_names())

    @cached_property
    def templates(self) -> list[Template]:
        """The phrases as templates."""
        return phrases_of(self.corpus.homes.book)

    @cached_property
    def _held_out(self) -> frozenset[str]:
        book = self.corpus.homes.book
        chance = random.Random(self.corpus.seed)  # noqa: S311 - no secret
        held_out = templates_of(book, held_out=True)
        sampled = Homes(book).generate(held_out, FRAMES, chance)
        return frozenset(frame_of(each) for each in sampled)

    def sentences(self, count: int, chance: random.Random) -> list[Example]:
        """Return at most so many sentences, none with a held-out frame."""
        found = self._homes.generate(self.templates, count, chance)
        return self.apart(found)

    def apart(self, found: Sequence[Example]) -> list[Example]:
        """Leave out what has a held-out frame, or is a held-out sentence."""
        return [
            each
            for each in found
            if frame_of(each) not in self._held_out
            and normal_form(each.text) not in self.corpus.held_out
        ]
