"""The whole training and held-out material."""

from __future__ import annotations

import random
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from pathlib import Path

from tools.train.home_command.chance import dice
from tools.train.home_command.corpora import (
    normal_form,
    partition,
    read_clinc,
    read_hwu64,
    read_other,
    read_snips,
)
from tools.train.home_command.homes import HELD_OUT_SHARE, Homes, held_out_value
from tools.train.home_command.labels import Example
from tools.train.home_command.templates import Template, TemplateBook

HOME_TEST, HOME_DEV = 1500, 200
_NAME_SLOTS = frozenset(
    {"area", "conversation_command", "floor", "item", "list_name", "message", "name",
     "place_name", "search_query"}
)  # fmt: skip
_QUERY_SLOTS = frozenset({"artist", "album", "track", "playlist", "genre", "entity_name"})


@dataclass(frozen=True, slots=True)
class Corpus:
    """Examples by part; Home Assistant sentences are sampled anew for every epoch."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    auxiliary: tuple[tuple[str, str], ...]
    homes: Homes
    held_out: frozenset[str]
    seed: int

    @classmethod
    def read(cls, assets: Path, seed: int) -> Corpus:
        """Read all sources below ``assets`` and split them."""
        text = assets / "text"
        labelled = [
            *read_hwu64(text / "hwu64"),
            *read_snips(text / "snips"),
            *read_other(text / "clinc150", text / "banking77"),
        ]
        parts: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
        for example in labelled:
            parts[partition(example.text)].append(example)
        book = TemplateBook.read(text / "ha_intents" / "sentences" / "en")
        homes = Homes(book, extra=_open_values(parts["train"]))
        rng = dice(seed)
        dev = homes.generate(templates_of(book, held_out=False), HOME_DEV, rng)
        test = held_out_homes(book, rng)
        dev_part, test_part = [*parts["dev"], *dev], [*parts["test"], *test]
        kept = frozenset(normal_form(e.text) for e in (*dev_part, *test_part))
        auxiliary = [row for row in read_clinc(text / "clinc150") if partition(row[0]) == "train"]
        train = [e for e in parts["train"] if normal_form(e.text) not in kept]
        return cls(
            tuple(train), tuple(dev_part), tuple(test_part), tuple(auxiliary), homes, kept, seed
        )

    def home_sentences(
        self, count: int, rng: random.Random, more: Mapping[str, Items[str]] | None = None
    ) -> list[Example]:
        """Sample Home Assistant sentences of the training templates and names, and of ``more``."""
        templates = templates_of(self.homes.book, held_out=False)
        homes = replace(self.homes, more=more or {})
        found = homes.generate(templates, count, rng)
        return [e for e in found if normal_form(e.text) not in self.held_out]


def templates_of(book: TemplateBook, *, held_out: bool) -> list[Template]:
    """Return the templates that are for training, or those that are held out."""
    return [t for t in book.templates if (t.identity < HELD_OUT_SHARE) == held_out]


def held_out_homes(book: TemplateBook, rng: random.Random) -> list[Example]:
    """Sample sentences with unseen names: half on seen, half on unseen templates."""
    homes = Homes(book, held_out_names=True)
    found: list[Example] = []
    for held_out, tag in ((True, "template"), (False, "names")):
        part = homes.generate(templates_of(book, held_out=held_out), HOME_TEST, rng)
        part = [e for e in part if held_out or _has_unseen_name(e)][: HOME_TEST // 2]
        found += [Example(e.text, e.intent, e.spans, "ha", frozenset({tag})) for e in part]
    return list({normal_form(e.text): e for e in found}.values())


def _has_unseen_name(example: Example) -> bool:
    slots = example.slots().items()
    return any(name in _NAME_SLOTS and held_out_value(value) for name, value in slots)


def _open_values(examples: Items[Example]) -> dict[str, list[str]]:
    texts = [e.text.lower() for e in examples if e.source == "hwu64" and len(e.text) < 60]
    queries = [
        e.text[s.start : s.end].lower()
        for e in examples
        if e.intent in ("play_music", "SearchCreativeWork")
        for s in e.spans
        if s.slot in _QUERY_SLOTS or s.slot == "object_name"
    ]
    nouns = sorted({
        e.text[s.start : s.end].lower()
        for e in examples
        for s in e.spans
        if s.slot in ("food_type", "served_dish", "ingredient", "event_name", "name", "list_name")
    })  # fmt: skip
    return {
        "message": texts,
        "search_query": queries,
        "shopping_list_item": nouns,
        "timer_name": nouns,
    }
