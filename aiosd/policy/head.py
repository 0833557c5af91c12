"""The joint text head: one int8 weight for each place and route, evaluated without NumPy.

A head is a file: a magic word, the length of a MessagePack header, the header, and the table, place
by place. It is a cache: made by `aiosd.fitter` from what the packages declare, safe to delete.

The weights of a place are the 16-bit lanes of one long number, so that adding up the rows of a text
is adding numbers; an offset keeps lanes from going below zero.
"""

import math
import struct
from dataclasses import dataclass
from heapq import nlargest

import msgspec

from aiosd.policy.lexical import PLACES, grams, normal, places

MAGIC = b"aiosd-head\x01\n"
BACKGROUND = ""
_LENGTH = struct.Struct("<I")
_OFFSET = 128
# A lane of 16 bits holds 257 weights of at most 255.
_CHUNK = 256
# Enough for any owner's board, and a table of 4 MiB; many more experts are another kind of table.
MOST_ROUTES = 256


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


@dataclass(frozen=True)
class Scores:
    """What a head says of one text: its places, and the score of each route."""

    places: list[int]
    logits: list[float]
    norm: float


class Head:
    """A head in memory."""

    def __init__(self, facts: HeadFacts, table: bytes) -> None:
        """Lay out the table for adding.

        Raises:
            HeadError: sizes contradict each other.
        """
        count = len(facts.routes)
        sizes = {len(facts.scales), len(facts.biases), count}
        if len(sizes) != 1 or len(table) != PLACES * count or not 0 < count <= MOST_ROUTES:
            raise HeadError(f"{count} routes, {len(table)} bytes of weights")
        self.facts = facts
        self._count = count
        self._width = width = 2 * count
        lanes = bytearray(2 * len(table))
        lanes[::2] = table.translate(_LIFTED)
        view, make = memoryview(lanes), int.from_bytes
        self._rows = [make(view[at : at + width], "little") for at in range(0, len(lanes), width)]
        self.background = facts.routes.index((BACKGROUND, ""))
        self.experts = frozenset(expert for expert, _ in facts.routes if expert)

    def read(self, text: str) -> Scores:
        """Return the scores of a text."""
        found = places(normal(text))
        rows, count = self._rows, self._count
        sums = [0] * count
        for start in range(0, len(found), _CHUNK):
            total = sum([rows[place] for place in found[start : start + _CHUNK]])
            lanes = memoryview(total.to_bytes(self._width, "little")).cast("H")
            sums = [one + other for one, other in zip(sums, lanes, strict=True)]
        norm = 1 / math.sqrt(len(found)) if found else 0.0
        lift, facts = _OFFSET * len(found), self.facts
        logits = [
            (value - lift) * scale * norm + bias
            for value, scale, bias in zip(sums, facts.scales, facts.biases, strict=True)
        ]
        return Scores(found, logits, norm)

    def decided(
        self, text: str, scores: Scores, route: int, most: int = 5
    ) -> list[tuple[str, float]]:
        """Return the n-grams that added most to a route's score, with what they added.

        N-grams in one place cannot be told apart; the longest one of the text stands for them.
        """
        shift, factor, rows = 16 * route, self.facts.scales[route] * scores.norm, self._rows
        weights = [((rows[place] >> shift & 0xFFFF) - _OFFSET, place) for place in scores.places]
        best = [(weight, place) for weight, place in nlargest(most, weights) if weight > 0]
        names = grams(normal(text), [place for _, place in best])
        return [(names[place], weight * factor) for weight, place in best]


# int8 as it lies in the file → the weight plus 128.
_LIFTED = bytes((byte + _OFFSET) & 0xFF for byte in range(256))


def encode_head(facts: HeadFacts, table: bytes) -> bytes:
    """Return the bytes of a head; `table` holds int8, place by place."""
    header = msgspec.msgpack.encode(facts)
    return MAGIC + _LENGTH.pack(len(header)) + header + table


def decode_facts(data: bytes) -> tuple[HeadFacts, int]:
    """Return the header of a head, and where its table begins.

    Raises:
        HeadError: this is no head of this version.
    """
    start = len(MAGIC) + _LENGTH.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise HeadError("no head of this version")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    try:
        return msgspec.msgpack.decode(data[start : start + length], type=HeadFacts), start + length
    except msgspec.DecodeError as error:
        raise HeadError(str(error)) from error


def decode_head(data: bytes) -> Head:
    """Return the head in `data`.

    Raises:
        HeadError: this is no head of this version, or a damaged one.
    """
    facts, start = decode_facts(data)
    return Head(facts, data[start:])
