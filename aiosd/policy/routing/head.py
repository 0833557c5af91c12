"""The joint text head: int8 weights of places for routes, evaluated without NumPy.

A head is a file: a magic word, the length of a MessagePack header, the header, the weights, and
where there is one the table of what words mean (`meaning.py`). It is a cache: made by
`aiosd.fitter` from what the packages declare, safe to delete.
"""

import math
import struct
from itertools import groupby
from typing import NamedTuple

import msgspec

from aiosd.policy.routing.lexical import Seen, grams, normal, seen, spoken
from aiosd.policy.routing.meaning import Bytes, Meaning, MeaningFacts, Sums
from aiosd.policy.routing.weights import Postings, lay_out

MAGIC = b"aiosd-head\x02\n"
BACKGROUND = ""
_LENGTH = struct.Struct("<I")


class HeadError(Exception):
    """The bytes are no head of this version."""


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How often an expert gets its own calibration texts: those that come to it, of so many."""

    right: int
    count: int


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on texts that the head has not learned from."""

    texts: int = 0
    accuracy: float = 0.0
    calibration_error: float = 0.0
    kept: float = 0.0
    """The share of texts of some expert that pass the scope gate."""
    experts: dict[str, Accuracy] = msgspec.field(default_factory=dict)


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of calibration.

    `temperature` softens the scores into probabilities; a text is in scope if its best score is
    over the background's by `scope`; its expert is sure from a probability of `sure`; below that
    all with `member` or more may be meant.
    """

    temperature: float = 1.0
    scope: float = -math.inf
    sure: float = 1.0
    member: float = 0.0


class HeadFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a head; routes are (expert, sub-route), the background's is ("", "")."""

    key: str
    routes: list[tuple[str, str]]
    scales: list[float]
    biases: list[float]
    thresholds: Thresholds
    measures: Measures
    meaning: MeaningFacts | None = None


class Scores(NamedTuple):
    """What a head says of one text: what it saw, the score of each route, and what words mean.

    `told` are the scores that are not 0, by route, where most of thousands are.
    """

    seen: Seen
    logits: list[float]
    norm: float
    meant: Sums | None = None
    told: dict[int, float] | None = None


class Head:
    """A head in memory."""

    def __init__(self, facts: HeadFacts, data: Bytes, start: int = 0) -> None:
        """Lay out the weights for adding (`weights.py`), from `start` on.

        What words mean stays where it is.

        Raises:
            HeadError: sizes contradict each other, or routes are in no order.
        """
        count = len(facts.routes)
        if {len(facts.scales), len(facts.biases)} != {count}:
            raise HeadError(f"{count} routes, {len(facts.scales)} scales")
        meant = facts.meaning
        end = max(start, len(data) - (meant.size if meant else 0))
        try:
            self._meaning = Meaning(meant, data, end, count) if meant else None
            self._weights = lay_out(bytes(data[start:end]), count)
        except ValueError as error:
            raise HeadError(str(error)) from error
        self.facts = facts
        weights = self._weights
        self._postings = weights if isinstance(weights, Postings) else None
        alike = len(set(facts.scales)) == 1 and not any(facts.biases)
        self._scale = facts.scales[0] if alike else None
        self.background = facts.routes.index((BACKGROUND, ""))
        # Of each expert: where its routes lie.
        self.spans = [
            (expert, (group := list(places))[0][0], group[-1][0] + 1)
            for expert, places in groupby(enumerate(facts.routes), lambda each: each[1][0])
            if expert
        ]
        if len({expert for expert, _, _ in self.spans}) < len(self.spans):
            raise HeadError("routes of one expert lie apart")
        self.experts = frozenset(expert for expert, _, _ in self.spans)
        # Where each expert is one route, its place is that of its name here.
        self.alone: dict[str, str] | None = None
        if len(self.spans) == count - 1 == self.background:
            self.alone = dict(facts.routes[:-1])

    def read(self, text: str) -> Scores:
        """Return the scores of a text."""
        what, facts = seen(normal(text)), self.facts
        found = what.places
        norm = 1 / math.sqrt(len(found)) if found else 0.0
        if self._postings and self._scale is not None and self._meaning is None:
            return self._told(what, self._postings, self._scale * norm, norm)
        sums = self._weights.sums(found)
        if self._scale is not None:
            factor = self._scale * norm
            logits = [value and value * factor for value in sums]
        else:
            logits = [
                value * scale * norm + bias
                for value, scale, bias in zip(sums, facts.scales, facts.biases, strict=True)
            ]
        meant = None
        if self._meaning is not None:
            meant = self._meaning.sums(what.words)
            if meant is not None:
                logits = self._meaning.add_to(logits, meant)
        return Scores(what, logits, norm, meant)

    def _told(self, what: Seen, postings: Postings, factor: float, norm: float) -> Scores:
        """Return the scores of a text, most of which are 0."""
        told = {route: total * factor for route, total in postings.told(what.places).items()}
        logits = [0.0] * len(self.facts.routes)
        for route, score in told.items():
            logits[route] = score
        return Scores(what, logits, norm, None, told)

    def decided(
        self, text: str, scores: Scores, route: int, most: int = 5
    ) -> list[tuple[str, float]]:
        """Return the n-grams that added most to a route's score, with what they added.

        N-grams in one place cannot be told apart; the longest one of the text stands for them.
        A word that counts by what it means has `~` before it.
        """
        factor = self.facts.scales[route] * scores.norm
        what = scores.seen
        weights = self._weights.of(what.places, route)
        least = max(1, *sorted(weights)[-most:][:1]) if weights else 1
        told = [each for each in zip(weights, what.places, strict=True) if each[0] >= least]
        best = sorted(told, reverse=True)[:most]
        form = normal(text)
        names = grams(form, [place for _, place in best], what)
        said = [(names[place], weight * factor) for weight, place in best]
        if self._meaning is not None and scores.meant is not None:
            shares = self._meaning.of(what.words, scores.meant, route)
            meant = dict(zip(spoken(form), shares, strict=False))
            said += [(f"~{word}", share) for word, share in meant.items() if share > 0]
            said.sort(key=lambda each: -each[1])
        return said[:most]


def encode_head(facts: HeadFacts, table: bytes) -> bytes:
    """Return the bytes of a head; `table` holds int8, place by place."""
    header = msgspec.msgpack.encode(facts)
    return MAGIC + _LENGTH.pack(len(header)) + header + table


def decode_facts(data: Bytes) -> tuple[HeadFacts, int]:
    """Return the header of a head, and where its table begins.

    Raises:
        HeadError: this is no head of this version.
    """
    start = len(MAGIC) + _LENGTH.size
    if len(data) < start or bytes(data[: len(MAGIC)]) != MAGIC:
        raise HeadError("no head of this version")
    (length,) = _LENGTH.unpack(data[len(MAGIC) : start])
    try:
        return msgspec.msgpack.decode(data[start : start + length], type=HeadFacts), start + length
    except msgspec.DecodeError as error:
        raise HeadError(str(error)) from error


def decode_head(data: Bytes) -> Head:
    """Return the head in `data`; what words mean is left there, and looked up word by word.

    Raises:
        HeadError: this is no head of this version, or a damaged one.
    """
    facts, start = decode_facts(data)
    return Head(facts, data, start)
