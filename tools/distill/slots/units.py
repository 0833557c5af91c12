"""Sentences as units (words, numbers, single marks) and slots as BIO tags over them.

Teacher and student cut a sentence into different tokens; units are what both have in common.
Tags: `O`, and for every slot `B-` at its first unit, `I-` at the others (Ramshaw, Marcus 1995).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools.train.home_command.labels import INTENTS, SLOTS, Example, Span

_UNIT = re.compile(r"[^\W_]+|[^\w\s]|_")
OUTSIDE = 0
TAGS = 1 + 2 * len(SLOTS)
_SLOT_AT = {slot: at for at, slot in enumerate(SLOTS)}
INTENT_AT = {intent: at for at, intent in enumerate(INTENTS)}


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a sentence: where each begins and ends."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "Units":
        """Cut a sentence."""
        found = [match.span() for match in _UNIT.finditer(text)]
        return cls(tuple(start for start, _ in found), tuple(end for _, end in found))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.starts)


def first_tag(slot: str) -> int:
    """Return the tag of a slot's first unit; the one after it is that of the others."""
    return 1 + 2 * _SLOT_AT[slot]


def tags_of(example: Example, units: Units) -> list[int] | None:
    """Return the tag of every unit; none where a slot does not begin and end with a unit."""
    tags = [OUTSIDE] * len(units)
    begins = {start: at for at, start in enumerate(units.starts)}
    ends = {end: at for at, end in enumerate(units.ends)}
    for span in example.spans:
        first, last = begins.get(span.start), ends.get(span.end)
        if first is None or last is None:
            return None
        tag = first_tag(span.slot)
        tags[first : last + 1] = [tag, *[tag + 1] * (last - first)]
    return tags


def spans_of(tags: Sequence[int], units: Units) -> tuple[Span, ...]:
    """Return the slots that the tags say; an `I-` after another slot begins one of its own."""
    spans: list[Span] = []
    before = OUTSIDE
    for tag, start, end in zip(tags, units.starts, units.ends, strict=True):
        if tag != OUTSIDE:
            first = tag - (tag - 1) % 2
            goes_on = tag != first and before in (first, first + 1)
            begin = spans.pop().start if goes_on else start
            spans.append(Span(begin, end, SLOTS[(tag - 1) // 2]))
        before = tag
    return tuple(spans)
