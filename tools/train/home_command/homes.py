"""Sampling of Home Assistant sentences over made-up homes."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tools.train.home_command import households as hh
from tools.train.home_command.labels import Example, canonical_example
from tools.train.home_command.numerals import in_words
from tools.train.home_command.templates import Template, TemplateBook

HELD_OUT_SHARE = 0.15
_RANGES = {
    "brightness": (0, 100), "temperature": (10, 32), "position": (0, 100), "volume": (0, 100),
    "timer_seconds": (1, 100), "timer_minutes": (1, 100), "timer_hours": (1, 24),
}  # fmt: skip
_DOMAIN_NAMES: Mapping[str, tuple[str, ...]] = {
    "light": hh.LIGHT_ENTITIES, "cover": hh.COVERS, "lock": hh.LOCKS, "media_player": hh.PLAYERS,
    "climate": hh.CLIMATES, "scene": hh.SCENES, "script": hh.SCRIPTS, "vacuum": hh.VACUUMS,
    "valve": hh.VALVES, "todo": hh.LISTS, "person": hh.PEOPLE, "sensor": hh.SENSORS,
    "binary_sensor": hh.SENSORS, "weather": hh.PLACES, "homeassistant": hh.SWITCHABLE,
}  # fmt: skip
_LISTS: Mapping[str, tuple[str, ...]] = {
    "area": hh.AREAS, "floor": hh.FLOORS, "zone": hh.ZONES, "shopping_list_item": hh.ITEMS,
    "todo_list_item": hh.TODOS, "timer_name": hh.TIMERS, "message": hh.MESSAGES,
    "search_query": hh.QUERIES, "timer_command": hh.COMMANDS,
}  # fmt: skip
_OPEN = frozenset({"search_query", "message", "shopping_list_item", "timer_name", "timer_command"})


def held_out_value(value: str) -> bool:
    """Say whether a name is kept for the held-out sentences."""
    if value in hh.NEVER_SEEN or value in hh.ALWAYS_SEEN:
        return value in hh.NEVER_SEEN
    return hashlib.sha256(b"name|" + value.encode()).digest()[0] < 256 * HELD_OUT_SHARE


def _number(name: str, rng: random.Random) -> str:
    number = rng.randint(*_RANGES[name])
    if rng.random() < 0.35:
        return in_words(number, rng.choice((" ", " ", "-")))
    half = name == "temperature" and rng.random() < 0.1
    return f"{number}.5" if half else str(number)


@dataclass(frozen=True, slots=True)
class Homes:
    """A sampler; ``extra`` adds open values such as song titles or messages.

    ``more`` adds names by list or domain (``thing`` and ``light_word`` are what has neither); with
    none of them the same dice give the same sentences as ever.
    """

    book: TemplateBook
    held_out_names: bool = False
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def _pick(self, pool: Sequence[str], rng: random.Random) -> str:
        fitting = [v for v in pool if held_out_value(v) == self.held_out_names]
        return rng.choice(fitting or pool)

    def value(self, name: str, template: Template, rng: random.Random) -> str | None:
        """Choose a value for a template's list, or none where the list itself has values."""
        if name == "name":
            return self._name(template, rng)
        if name in _LISTS:
            extra = self.extra.get(name, ())
            if extra and name in _OPEN and rng.random() < 0.6:
                return rng.choice(extra)
            return self._pick((*_LISTS[name], *self.more.get(name, ())), rng)
        if name == "color" and rng.random() < 0.1:
            return rng.choice(hh.EXTRA_COLORS)
        return _number(name, rng) if name in _RANGES else None

    def _name(self, template: Template, rng: random.Random) -> str:
        if template.family.startswith("light_HassTurn"):
            return self._pick((*hh.LIGHTS, *self.more.get("light_word", ())), rng)
        things = (*hh.SWITCHABLE, *self.more.get("thing", ()))
        own = _DOMAIN_NAMES.get(template.domain, ())
        kind = "thing" if own is hh.SWITCHABLE or not own else template.domain
        pool = things if kind == "thing" else (*own, *self.more.get(kind, ()))
        if template.family == "homeassistant_HassGetState":
            pool = (*things, *hh.SENSORS, *self.more.get("sensor", ()))
        extra = self.extra.get("name", ())
        if extra and template.domain not in ("person", "weather") and rng.random() < 0.12:
            return rng.choice(extra)
        return self._pick(pool, rng)

    def generate(
        self, templates: Sequence[Template], count: int, rng: random.Random
    ) -> list[Example]:
        """Sample ``count`` distinct sentences, balanced over intents and then files."""
        tree: dict[str, dict[str, list[Template]]] = defaultdict(lambda: defaultdict(list))
        for template in templates:
            tree[template.intent][template.family].append(template)
        intents = sorted(tree)
        weights = [
            sum(len(t) ** 0.5 for t in tree[i].values()) if len(tree[i]) > 1
            else len(next(iter(tree[i].values()))) ** 0.5
            for i in intents
        ]  # fmt: skip
        seen: set[str] = set()
        found: list[Example] = []
        for _ in range(count * 5):
            if len(found) >= count:
                break
            families = tree[rng.choices(intents, weights)[0]]
            names = sorted(families)
            family = rng.choices(names, [len(families[n]) ** 0.5 for n in names])[0]
            template = rng.choice(families[family])
            example = self.book.sample(template, self.value, rng)
            if example.text not in seen and len(example.text) <= 120:
                seen.add(example.text)
                found.append(canonical_example(example))
        return found
