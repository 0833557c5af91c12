"""The joint text head: int8 weights of places for routes, evaluated without NumPy.

A head is a file: a magic word, the length of a MessagePack header, the header, the weights, and
where there is one the table of what words mean (`meaning.py`). It is a cache: made by
`aiosd.fitter` from what the packages declare, safe to delete.
"""

import math
import struct
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import _CacheInfo as CacheInfo
from functools import lru_cache, partial
from itertools import chain, groupby, pairwise
from typing import Generic, NamedTuple, TypeVar

import msgspec

from aiosd.policy.routing.lexical import (
    MASK,
    PAIR_SHIFT,
    Grams,
    normal,
    seen,
    spoken,
)
from aiosd.policy.routing.meaning import Bytes, Meaning, MeaningFacts, Sums
from aiosd.policy.routing.weights import LANE_BYTES, LIFT, Lanes, Postings, Told, add_up, lay_out

MAGIC = b"aiosd-head\x03\n"
BACKGROUND = ""
_LENGTH = struct.Struct("<I")
# Words' rows are remembered, the last that were said, because people say the same again and again:
# so many bytes, the most that a word takes, and none of longer words. A row is a function of its
# word, so that nobody can tell what is remembered.
REMEMBERED_BYTES = 1_572_864
LONGEST_REMEMBERED = 24
_ENTRY_BYTES = 512
_LANE_BITS = 8 * LANE_BYTES


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
    """What a head says of one text: the score of each route, and what words mean.

    `norm` is one over the root of how many places the text has, 0 if none. Where there are
    thousands of routes there are no `logits`, but steps of the score, `told` by route where they
    are not 0, each of them `step`.
    """

    logits: list[float]
    norm: float
    meant: Sums | None = None
    told: Mapping[int, int] | None = None
    step: float = 0.0


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
            meaning = Meaning(meant, data, end, count) if meant else None
            weights = lay_out(bytes(data[start:end]), count)
        except ValueError as error:
            raise HeadError(str(error)) from error
        self.facts = facts
        self._weights, self._meaning = weights, meaning
        self._voice: _Few | _Many
        if isinstance(weights, Lanes):
            self._voice = _Few(facts, weights, meaning)
        elif meaning or len(set(facts.scales)) > 1 or any(facts.biases):
            raise HeadError("of thousands of routes each counts alike")
        else:
            self._voice = _Many(facts.scales[0], weights)
        self.background = facts.routes.index((BACKGROUND, ""))
        self.spans = _spans(facts.routes)
        self.experts = frozenset(self.spans)
        # Where each expert is one route, its place is that of its name here.
        self.alone: dict[str, str] | None = None
        if len(self.spans) == count - 1 == self.background:
            self.alone = dict(facts.routes[:-1])

    def read(self, text: str) -> Scores:
        """Return the scores of a text."""
        return self._voice.read(spoken(normal(text)))

    def remembered(self) -> CacheInfo:
        """Tell how many words' rows are remembered, of how many at most."""
        return self._voice.words.held()

    def decided(
        self, text: str, scores: Scores, route: int, most: int = 5
    ) -> list[tuple[str, float]]:
        """Return the n-grams that added most to a route's score, with what they added.

        What is in one place is added up, and named by the longest of it. A word that counts by what
        it means has `~` before it.
        """
        factor = self.facts.scales[route] * scores.norm
        grams = Grams(normal(text))
        times = grams.times(far=scores.told is None)
        weights = self._weights.of(times, route)
        steps = [
            (weight * count, place)
            for (place, count), weight in zip(times.items(), weights, strict=True)
        ]
        steps.sort(reverse=True)
        said = [(grams.name(place), step * factor) for step, place in steps[:most]]
        if self._meaning is not None and scores.meant is not None:
            shares = self._meaning.of(grams.hashes, scores.meant, route)
            meant: defaultdict[str, float] = defaultdict(float)
            for word, share in zip(grams.words, shares, strict=True):
                meant[f"~{word}"] += share
            said += meant.items()
        said.sort(key=lambda each: -each[1])
        return [each for each in said[:most] if each[1] > 0]


def _spans(routes: Sequence[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Return where the routes of each expert begin and end.

    Raises:
        HeadError: they do not stand together.
    """
    spans: dict[str, tuple[int, int]] = {}
    for expert, places in groupby(enumerate(routes), lambda each: each[1][0]):
        group = [place for place, _ in places]
        if expert in spans:
            raise HeadError("routes of one expert lie apart")
        if expert:
            spans[expert] = group[0], group[-1] + 1
    return spans


class _Spoken(NamedTuple):
    """A word where there is a lane for each route: its row, and its parts of its pairs' hashes."""

    row: int
    before: int
    after: int
    long_before: int


class _Few:
    """Adds up words and pairs where there is a lane for each route.

    A row has 32-bit lanes: how many places it has, then the sum for each route; above them lie the
    lanes of what the word means.
    """

    def __init__(self, facts: HeadFacts, weights: Lanes, meaning: Meaning | None) -> None:
        self._facts, self._weights, self._meaning = facts, weights, meaning
        self._split = LANE_BYTES * (1 + len(facts.routes))
        self._size = self._split + (meaning.lanes_bytes if meaning else 0)
        self.words = _Words(partial(_spoken, weights, meaning, 8 * self._split), self._size)

    def read(self, words: list[str]) -> Scores:
        """Return the scores of a text's words."""
        facts, meaning, split = self._facts, self._meaning, self._split
        if not words:
            return Scores([*facts.biases], 0.0)
        said = self.words.rows(words)
        total = sum([each[0] for each in said])
        # As `neighbours` and `over_one` have them, written out.
        places = [(one[1] + other[2] & MASK) >> PAIR_SHIFT for one, other in pairwise(said)]
        places += [
            (one[3] + other[2] & MASK) >> PAIR_SHIFT
            for one, other in zip(said, said[2:], strict=False)
        ]
        raw = memoryview(total.to_bytes(self._size, "little"))
        count, *lanes = raw[:split].cast("I").tolist()
        norm, lift = 1 / math.sqrt(count + len(places)), LIFT * len(said)
        logits = [
            (lane + pair - lift) * scale * norm + bias
            for lane, pair, scale, bias in zip(
                lanes, self._weights.sums(places), facts.scales, facts.biases, strict=True
            )
        ]
        meant = meaning.sums(raw[split:]) if meaning else None
        if meaning and meant:
            logits = meaning.add_to(logits, meant)
        return Scores(logits, norm, meant)


def _spoken(weights: Lanes, meaning: Meaning | None, above: int, word: str) -> _Spoken:
    """Return what a word says; what it means lies so many bits up."""
    what = seen(word)
    row = len(what.places) | weights.row(what.places) << _LANE_BITS
    if meaning is not None:
        row |= meaning.row(what.hash) << above
    return _Spoken(row, what.before, what.after, what.long_before)


class _Told(NamedTuple):
    """The same where most of thousands of routes say nothing: `told` are those that do."""

    size: int
    before: int
    after: int
    told: Told


class _Many:
    """Adds up words and neighbours where most of thousands of routes say nothing of them.

    A pair over a word speaks for some routes by chance: without those it hears better.
    """

    def __init__(self, scale: float, weights: Postings) -> None:
        self._scale, self._weights = scale, weights
        most = weights.most * 2 * (LONGEST_REMEMBERED + 1)
        self.words = _Words(partial(_told, weights), 4 * most)

    def read(self, words: list[str]) -> Scores:
        """Return the scores of a text's words."""
        if not words:
            return Scores([], 0.0, told={})
        said = self.words.rows(words)
        places = [(one.before + other.after & MASK) >> PAIR_SHIFT for one, other in pairwise(said)]
        norm = 1 / math.sqrt(sum([each.size for each in said]) + len(places))
        told = add_up(chain([each.told for each in said], map(self._weights.at, places)))
        return Scores([], norm, None, told, self._scale * norm)


def _told(weights: Postings, word: str) -> _Told:
    """Return what a word says."""
    what = seen(word)
    told = weights.row(what.places)
    return _Told(len(what.places), what.before, what.after, told)


_Row = TypeVar("_Row")


class _Words(Generic[_Row]):
    """Rows of words, of which the last that were said are remembered."""

    def __init__(self, make: Callable[[str], _Row], row_bytes: int) -> None:
        """Take what makes a row of at most so many bytes."""
        self._make = make
        # Python keeps 15 bits in two bytes.
        most = REMEMBERED_BYTES // (row_bytes * 16 // 15 + _ENTRY_BYTES)
        self._known = lru_cache(max(1, most))(make)

    def held(self) -> CacheInfo:
        """Tell how many rows are remembered."""
        return self._known.cache_info()

    def rows(self, words: Sequence[str]) -> list[_Row]:
        """Return the rows of some words, in order; there is at least one."""
        known, make = self._known, self._make
        if max(map(len, words)) <= LONGEST_REMEMBERED:
            return [*map(known, words)]
        return [known(word) if len(word) <= LONGEST_REMEMBERED else make(word) for word in words]


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
