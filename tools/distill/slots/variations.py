"""Labelled sentences made strange: other words, other values; only a teacher can say what they ask.

A word gives way to one that is near to it in the teacher's word vectors, a value to one of a slot
of another name, a word is left out (data augmentation for distillation: Jiao et al. 2020,
"TinyBERT", section 3). The labels of the sentence may be wrong then and are left behind.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tools.distill.slots.tagger import Tagger
from tools.train.home_command.augmentation import joined, segments_of
from tools.train.home_command.labels import Example

NEAR = 8
"""How many words are near to one."""
OTHER_WORD, LEFT_OUT, OTHER_VALUE = 0.25, 0.04, 0.3
_WORD = re.compile(r"[^\W\d_]+")
_KINDS = (
    {"artist", "track", "album", "entity_name", "playlist", "genre", "object_name", "movie_name",
     "audiobook_name", "podcast_name", "radio_name", "game_name"},
    {"city", "region", "country", "poi", "geographic_poi", "restaurant_name", "location_name",
     "place_name", "business_name", "object_location_type"},
    {"cuisine", "served_dish", "food_type", "restaurant_type", "drink_type", "ingredient"},
    {"time", "date", "timeofday", "time_range", "general_frequency"},
    {"person", "relation", "event_name", "list_name", "definition_word", "news_topic"},
    {"area", "floor", "name", "device_class"},
)  # fmt: skip
"""Slots whose values take each other's places."""
_KIND_OF = {slot: at for at, kind in enumerate(_KINDS) for slot in kind}


@dataclass(frozen=True)
class Variations:
    """Changes sentences with words that are near each other and values of like kinds."""

    near: Mapping[str, Sequence[str]]
    values: Mapping[int, Sequence[str]]

    @classmethod
    def over(cls, examples: Sequence[Example], net: Tagger) -> "Variations":
        """Collect the values of labelled sentences, and what is near to their words."""
        values: dict[int, list[str]] = {}
        for each in examples:
            for span in each.spans:
                if span.slot in _KIND_OF:
                    said = each.text[span.start : span.end]
                    values.setdefault(_KIND_OF[span.slot], []).append(said)
        said = {word.lower() for each in examples for word in _WORD.findall(each.text)}
        return cls(near_words(net, said), values)

    def change(self, example: Example, chance: random.Random) -> str:
        """Return a changed sentence."""
        parts = []
        for text, slot in segments_of(example):
            pool = self.values.get(_KIND_OF.get(slot or "", -1))
            if pool and chance.random() < OTHER_VALUE:
                value = chance.choice(pool)
                parts.append((value.lower() if text.islower() else value, slot))
            else:
                parts.append((text, slot))
        text = joined(parts, example).text
        return " ".join(_WORD.sub(lambda word: self._word(word[0], chance), text).split())

    def _word(self, word: str, chance: random.Random) -> str:
        drawn = chance.random()
        if drawn < LEFT_OUT:
            return ""
        if drawn > LEFT_OUT + OTHER_WORD or word.lower() not in self.near:
            return word
        found = chance.choice(self.near[word.lower()])
        return found.title() if word[:1].isupper() else found


@torch.no_grad()
def near_words(net: Tagger, words: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the whole words whose vectors are the nearest to those of `words`."""
    known = {
        word: at for word, at in net.words.get_vocab().items() if re.fullmatch(r"[a-z]{2,}", word)
    }
    names = sorted(known)
    table: Tensor = net.encoder.embeddings.word_embeddings.weight[[known[each] for each in names]]
    table = torch.nn.functional.normalize(table)
    asked = [at for at, each in enumerate(names) if each in words]
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(asked), 512):
        rows = asked[start : start + 512]
        nearest = (table[rows] @ table.T).topk(NEAR + 1).indices.tolist()
        for row, near in zip(rows, nearest, strict=True):
            found[names[row]] = tuple(names[each] for each in near if each != row)[:NEAR]
    return found
