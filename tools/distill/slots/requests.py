"""Requests of our own writing for the labelled corpora's intents; for training only.

Some seventy labelled sentences an intent are few. A line of the file is a template: words,
`{slot=value}` for a labelled value, `{slot}` for one that is drawn, `(a|b)` and `[a]`. It stands
under `[source intent]` and is labelled as that corpus labels.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.distill.slots.names import lists_of
from tools.train.home_command.augmentation import Segment, joined
from tools.train.home_command.corpora import normal_form
from tools.train.home_command.corpus import Corpus
from tools.train.home_command.labels import INTENTS, SLOTS, Example
from tools.train.home_command.templates import Node, parse

FILE = Path(__file__).parent.parent / "recipes" / "home-command.requests.txt"
VALUES = FILE.with_name("home-command.values.txt")
"""Values of SNIPS' slots that none of its sentences has."""
NEW = 0.5
"""How often a drawn value is one of `VALUES`, where there are some of its slot."""
_HEAD = re.compile(r"\[(hwu64|snips) (\w+)\]")
Pools = Mapping[tuple[str, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One template of an intent, as a corpus labels it."""

    intent: str
    source: str
    node: Node


def requests_of(text: str) -> list[Request]:
    """Read the file's text.

    Raises:
        ValueError: a line has no intent or a slot that there is not; the message has the line.
    """
    found: list[Request] = []
    head: tuple[str, ...] = ()
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if named := _HEAD.fullmatch(line):
            head = named.groups()
            continue
        if not head or head[1] not in INTENTS:
            raise ValueError(f"{line!r} stands under no intent that there is")
        node = parse(line)
        unknown = slots_in(node) - set(SLOTS)
        if unknown:
            raise ValueError(f"{line!r} has slots that there are not: {sorted(unknown)}")
        found.append(Request(head[1], head[0], node))
    return found


def slots_in(node: Node) -> set[str]:
    """Return the names of a template's slots, and what is no part of the notation."""
    if node.kind in ("rule", "perm"):
        return {f"{node.kind} {node.value}"}
    own = {node.value.partition("=")[0]} if node.kind == "list" else set[str]()
    return own.union(*(slots_in(each) for each in node.children))


@dataclass(frozen=True)
class Requests:
    """Draws sentences of the templates; `known` are the corpora's values, `new` our own."""

    requests: Sequence[Request]
    known: Pools
    new: Mapping[str, Sequence[str]]
    held_out: frozenset[str]

    @classmethod
    def over(cls, corpus: Corpus) -> "Requests":
        """Read the files; values are those of a corpus's training sentences."""
        requests = requests_of(FILE.read_text(encoding="utf-8"))
        return cls(requests, _values_of(corpus.train), lists_of(VALUES), corpus.held_out)

    def sentences(self, count: int, chance: random.Random) -> list[Example]:
        """Return at most so many sentences: every line as often as the next, none held out."""
        found: list[Example] = []
        while len(found) < count:
            order = chance.sample(self.requests, len(self.requests))
            found += [self._drawn(each, chance) for each in order[: count - len(found)]]
        return [each for each in found if normal_form(each.text) not in self.held_out]

    def _drawn(self, request: Request, chance: random.Random) -> Example:
        parts: list[Segment] = []
        for text, slot in self._expanded(request.node, request, chance):
            piece = re.sub(r"\s+", " ", text)
            if piece.startswith(" ") and (not parts or parts[-1][0].endswith(" ")):
                piece = piece[1:]
            if piece:
                parts.append((piece, slot))
        whole = Example("", request.intent, (), request.source)
        return joined(parts, whole)

    def _expanded(self, node: Node, request: Request, chance: random.Random) -> list[Segment]:
        if node.kind == "text":
            return [(node.value, None)]
        if node.kind == "alt":
            return self._expanded(chance.choice(node.children), request, chance)
        if node.kind == "seq":
            return [
                part for each in node.children for part in self._expanded(each, request, chance)
            ]
        slot, _, value = node.value.partition("=")
        return [(value.strip() or self._value(slot, request, chance), slot)]

    def _value(self, slot: str, request: Request, chance: random.Random) -> str:
        new = self.new.get(slot, ()) if request.source == "snips" else ()
        known = self.known.get((request.intent, slot)) or self.known.get(("", slot), ())
        if new and (not known or chance.random() < NEW):
            return chance.choice(new)
        if not known:
            raise ValueError(
                f"{request.source} {request.intent} has no value of {slot}: write one, {{{slot}=…}}"
            )
        return chance.choice(known)


def _values_of(examples: Sequence[Example]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for each in examples:
        for span in each.spans:
            value = each.text[span.start : span.end]
            found.setdefault((each.intent, span.slot), []).append(value)
            found.setdefault(("", span.slot), []).append(value)
    return found
