"""Random changes of labelled sentences that keep the labels right."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tools.train.home_command.labels import OTHER, Example, Span
from tools.train.home_command.numerals import WORDS, in_words

Segment = tuple[str, str | None]
_OPEN_SLOTS = frozenset(
    {"album", "artist", "audiobook_name", "business_name", "city", "definition_word",
     "entity_name", "event_name", "food_type", "game_name", "geographic_poi", "item",
     "list_name", "movie_name", "name", "news_topic", "object_name", "person", "place_name",
     "playlist", "podcast_name", "poi", "radio_name", "restaurant_name", "search_query",
     "served_dish", "track", "audiobook_author", "party_size_description", "area"}
)  # fmt: skip
_BEFORE = (
    "please", "can you", "could you", "would you", "hey", "ok", "okay", "can you please",
    "could you please", "i want you to", "i'd like you to", "hi", "hey there", "so", "now",
    "i need you to", "go ahead and", "just", "would you please", "kindly",
)  # fmt: skip
_AFTER = ("please", "for me", "now", "thanks", "thank you", "for me please", "right now")
_ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "cr", "dr", "fl", "gr", "kr", "pl", "pr",
           "sh", "sk", "sl", "st", "th", "tr")  # fmt: skip
_VOWELS = (*"aeiouy", "ai", "ea", "ee", "ie", "oo", "ou")
_CODAS = ("", "", *"bdgklmnprstx", "ck", "ld", "ll", "mp", "nd", "ng", "nt", "rd", "rk", "rn",
          "ss", "st", "th")  # fmt: skip


def pseudo_word(rng: random.Random) -> str:
    """Make up a word."""
    syllables = rng.choice((1, 2, 2, 3))
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
    )


def segments_of(example: Example) -> list[Segment]:
    """Cut a sentence at its slots."""
    parts: list[Segment] = []
    at = 0
    for span in example.spans:
        parts.append((example.text[at : span.start], None))
        parts.append((example.text[span.start : span.end], span.slot))
        at = span.end
    parts.append((example.text[at:], None))
    return parts


def joined(parts: Iterable[Segment], example: Example) -> Example:
    """Make an example of segments with the intent of ``example``."""
    text = ""
    spans: list[Span] = []
    for piece, slot in parts:
        if slot is not None and piece:
            spans.append(Span(len(text), len(text) + len(piece), slot))
        text += piece
    lead = len(text) - len(text.lstrip())
    if lead:
        spans = [Span(s.start - lead, s.end - lead, s.slot) for s in spans]
    return Example(text.strip(), example.intent, tuple(spans), example.source, example.tags)


@dataclass
class Augmenter:
    """Changes sentences with values and words seen in the training part."""

    values: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    words: list[str] = field(default_factory=list)

    @classmethod
    def over(cls, examples: Sequence[Example]) -> Augmenter:
        """Collect slot values and words of ``examples``."""
        augmenter = cls()
        words: set[str] = set()
        for example in examples:
            for span in example.spans:
                value = example.text[span.start : span.end]
                augmenter.values[example.intent, span.slot].append(value)
                augmenter.values["", span.slot].append(value)
            words.update(re.findall(r"[^\W\d_]{3,}", example.text.lower()))
        augmenter.words = sorted(words)
        return augmenter

    def novel(self, rng: random.Random) -> str:
        """Make up a value of seen and unseen words."""
        count = rng.choice((1, 1, 2, 2, 2, 3, 4))
        words = [
            pseudo_word(rng) if rng.random() < 0.4 else rng.choice(self.words) for _ in range(count)
        ]
        if rng.random() < 0.05:
            words.append(str(rng.randint(1, 3000)))
        return " ".join(words)

    def change(self, example: Example, rng: random.Random) -> Example:
        """Return a changed copy; about a third stay almost as they are."""
        parts = segments_of(example)
        if rng.random() < 0.65:
            parts = [self._swapped(p, example, rng) for p in parts]
        if rng.random() < 0.25:
            parts = [_renumbered(p, rng) for p in parts]
        if rng.random() < 0.12:
            parts = _misspelt(parts, rng)
        if rng.random() < 0.10 and example.intent != OTHER:
            parts = _shortened(parts, rng)
        if rng.random() < 0.15:
            parts = _polite(parts, rng)
        return joined(_cased(parts, rng), example)

    def _swapped(self, part: Segment, example: Example, rng: random.Random) -> Segment:
        text, slot = part
        if slot is None:
            return part
        chance = rng.random()
        if slot in _OPEN_SLOTS and chance < (0.15 if example.source == "ha" else 0.25):
            novel = self.novel(rng)
            return (novel.title() if text[:1].isupper() else novel), slot
        if chance < 0.65 and example.source != "ha":
            pool = self.values[example.intent, slot]
            if slot in _OPEN_SLOTS and len(pool) < 150 and rng.random() < 0.4:
                pool = self.values["", slot]
            return rng.choice(pool or [text]), slot
        return part


def _renumbered(part: Segment, rng: random.Random) -> Segment:
    text, slot = part

    def spell(match: re.Match[str]) -> str:
        return in_words(int(match[0]))

    def digits(match: re.Match[str]) -> str:
        return str(WORDS[match[0].lower()])

    if rng.random() < 0.5:
        text = re.sub(r"(?<![\w.:,$-])\d{1,2}(?![\w.:,-])", spell, text)
    else:
        found = "|".join(sorted(WORDS, key=len, reverse=True))
        text = re.sub(rf"(?<![\w-])(?:{found})(?![\w-])", digits, text, flags=re.IGNORECASE)
        if slot is None and rng.random() < 0.5:
            text = re.sub(r"^ percent\b", rng.choice(("%", " %")), text)
    return text, slot


def _misspelt(parts: list[Segment], rng: random.Random) -> list[Segment]:
    places = [
        (at, m.start(), m.end())
        for at, (text, slot) in enumerate(parts)
        if slot is None or rng.random() < 0.3
        for m in re.finditer(r"[^\W\d_]{4,}", text)
    ]
    if not places:
        return parts
    at, start, end = rng.choice(places)
    text, slot = parts[at]
    where = rng.randrange(start + 1, end - 1)
    kind = rng.randrange(3)
    if kind == 0:
        text = text[:where] + text[where + 1] + text[where] + text[where + 2 :]
    elif kind == 1:
        text = text[:where] + text[where + 1 :]
    else:
        text = text[:where] + text[where] + text[where:]
    return [*parts[:at], (text, slot), *parts[at + 1 :]]


def _shortened(parts: list[Segment], rng: random.Random) -> list[Segment]:
    places = [
        (at, m.start(), m.end())
        for at, (text, slot) in enumerate(parts)
        if slot is None
        for m in re.finditer(r"\b(?:the|a|an|my|me|is|are|please|of|for|to|that|some)\b ?", text)
    ]
    if not places:
        return parts
    at, start, end = rng.choice(places)
    text, slot = parts[at]
    return [*parts[:at], (text[:start] + text[end:], slot), *parts[at + 1 :]]


def _polite(parts: list[Segment], rng: random.Random) -> list[Segment]:
    if rng.random() < 0.6:
        return [(rng.choice(_BEFORE) + rng.choice((" ", " ", ", ")), None), *parts]
    return [*parts, (" " + rng.choice(_AFTER), None)]


def _cased(parts: list[Segment], rng: random.Random) -> list[Segment]:
    chance = rng.random()
    if chance < 0.25:
        parts = [(text.lower(), slot) for text, slot in parts]
    elif chance < 0.27:
        parts = [(text.upper(), slot) for text, slot in parts]
    elif chance < 0.33:
        parts = [(text.title() if slot else text, slot) for text, slot in parts]
    if rng.random() < 0.15:
        for at, (text, slot) in enumerate(parts):
            if text:
                parts[at] = (text[0].upper() + text[1:], slot)
                break
    last = "".join(text for text, _ in parts)[-1:]
    if rng.random() < 0.15 and last.isalnum():
        parts = [*parts, (rng.choice(".?!.?,"), None)]
    return parts
