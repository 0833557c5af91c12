"""Names of places and persons that take the place of those in labelled sentences.

Whether "Hooksett" is a town or a land stands in no sentence, and the labelled ones name too few of
either. A sentence that names one place may name any other, of another kind too; and what is put on
a playlist is a performer or a piece of music, which only the name tells.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tools.distill.slots.names import FILE, lists_of
from tools.train.home_command.augmentation import joined, segments_of
from tools.train.home_command.labels import Example

PLACES = {"city": 0.45, "region": 0.25, "country": 0.3}
"""The kinds of places, and how often each is put in."""
EXCHANGED = 0.6
"""The share of the places that are exchanged."""
MUSIC = ("artist", "entity_name")
MUSIC_EXCHANGED = 0.35
PERSON = 0.4
"""The share of the performers that are a first and a last name of the lists."""
PERSON_NAMES = ("first", "last")
_MARKED = ("artist", "song", "track", "album", "tune", " by ", "music", "singer", "band")


@cache
def place_names() -> dict[str, tuple[str, ...]]:
    """Read the names by kind."""
    return lists_of(FILE.with_name("home-command.places.txt"))


@dataclass(frozen=True)
class Exchange:
    """Puts names of `lists`, and music of `music`, into labelled sentences of SNIPS."""

    lists: Mapping[str, Sequence[str]]
    music: Mapping[str, Sequence[str]]

    @classmethod
    def over(cls, examples: Sequence[Example]) -> "Exchange":
        """Collect the performers and the pieces of music of labelled sentences."""
        kinds = {"artist": "artist", **dict.fromkeys(("entity_name", "track", "album"), MUSIC[1])}
        found: dict[str, list[str]] = {each: [] for each in MUSIC}
        for each in examples:
            for span in each.spans:
                if each.source == "snips" and span.slot in kinds:
                    found[kinds[span.slot]].append(each.text[span.start : span.end])
        return cls(place_names(), found)

    def change(self, example: Example, chance: random.Random) -> Example:
        """Return a copy with other names, or the example itself."""
        if example.source != "snips":
            return example
        if example.intent == "AddToPlaylist":
            return self._with_music(example, chance)
        places = [span.slot for span in example.spans if span.slot in PLACES]
        if not places or chance.random() >= EXCHANGED:
            return example
        kinds = {each: each for each in places}
        if len(places) == 1:
            kinds[places[0]] = chance.choices(list(PLACES), list(PLACES.values()))[0]
        return _put(example, kinds, {each: chance.choice(self.lists[each]) for each in PLACES})

    def _with_music(self, example: Example, chance: random.Random) -> Example:
        kinds = [span.slot for span in example.spans if span.slot in MUSIC]
        outside = "".join(text for text, slot in segments_of(example) if slot is None).lower()
        if (
            len(kinds) != 1
            or any(each in outside for each in _MARKED)
            or chance.random() >= MUSIC_EXCHANGED
        ):
            return example
        names = {each: chance.choice(self.music[each]) for each in MUSIC if self.music[each]}
        if chance.random() < PERSON:
            names["artist"] = " ".join(chance.choice(self.lists[each]) for each in PERSON_NAMES)
        return _put(example, {kinds[0]: chance.choice(list(names))}, names)


def _put(example: Example, kinds: Mapping[str, str], names: Mapping[str, str]) -> Example:
    """Return the example with a new kind and name where a slot of `kinds` stands."""
    parts = []
    for text, slot in segments_of(example):
        if slot in kinds:
            name = names[kinds[slot]]
            parts.append((name.lower() if text.islower() else name, kinds[slot]))
        else:
            parts.append((text, slot))
    return joined(parts, example)
