"""Text → places in a hashed table of n-grams: what the router sees of a text.

Two and four characters, one word and two, hashed by FNV-1a as `text.hash_ngrams` of the experts
does it (Fowler, Noll, Vo), each place once. With three and five characters as well it hears no
better and takes half as long again (docs/router.md). In plain Python, because the daemon carries no
NumPy: the n-grams of one length are hashed together from those one shorter, one step of the hash
each.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

BITS = 14
PLACES = 1 << BITS
# How many characters the n-grams have.
SIZES = (2, 4)
# A text counts by its head and its tail: what is asked stands at one of the two.
MOST_CHARACTERS = 384
_RAW_FACTOR = 2

# FNV-1a's, for 32 bits.
BASIS = 0x811C9DC5
PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_WORD_MARK = 0x1F
_SPACE = 0x20
_LANE, _LANE_BYTES = 64, 8
_FULL = (1 << _LANE) - 1
_EACH, _LONGEST = len(SIZES), SIZES[-1]
# The bits that each of the two n-grams that begin with a character has in its lane.
_SHARE = 32
_LAST_PLACE = PLACES - 1
# Of what is no n-gram, because the text is over.
_NO_PLACE = PLACES
_WORD = re.compile(r"\w+(?:'\w+)*")
_DIGIT = re.compile(r"\d")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"'})


def normal(text: str) -> str:
    """Return the normal form of a text: NFKC, lower case, digits as 0, single spaces, cut."""
    text = _cut(text, MOST_CHARACTERS * _RAW_FACTOR)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    text = _DIGIT.sub("0", text.lower())
    return _cut(" ".join(text.split()), MOST_CHARACTERS)


class Seen(NamedTuple):
    """What was seen of a text: its places, each once, and what to name them by.

    `grams` are the places of its character n-grams as `_characters` has them, `hashes` those of its
    words as `words` has them.
    """

    places: Collection[int]
    grams: Sequence[int]
    hashes: list[int]

    @property
    def words(self) -> list[int]:
        """The hashes of the words alone, in order."""
        return alone(self.hashes)


def places(text: str) -> list[int]:
    """Return the places of a text in normal form, each once, in no order that means anything."""
    return list(seen(text).places)


def seen(text: str) -> Seen:
    """Return what is seen of a text in normal form."""
    if not text:
        return Seen((), (), [])
    hashes, lanes = words(text), _characters(f" {text} ")
    found = set(lanes)
    found.update([(value ^ (value >> BITS)) & _LAST_PLACE for value in hashes])
    found.discard(_NO_PLACE)
    return Seen(found, lanes, hashes)


def alone(hashes: list[int]) -> list[int]:
    """Return the hashes of the words alone, of what `words` returns."""
    return hashes[:1] + hashes[1::2]


def spoken(text: str) -> list[str]:
    """Return the words of a text in normal form, in the order of `alone`."""
    return _WORD.findall(text)


def hash_of(word: str) -> int:
    """Return the hash of a word in normal form, as `alone` has it."""
    return _fold(_AT_WORD, word)


def grams(text: str, wanted: Iterable[int], what: Seen | None = None) -> dict[int, str]:
    """Return the longest n-gram of a text in normal form in each of these places, to explain them.

    Of words and characters in one place the characters are named: no more is known. `what` is what
    was seen of the text, if that is known already.
    """
    if not text:
        return {}
    what = what or seen(text)
    spaced = f" {text} "
    lanes = [(size, what.grams[place::_EACH]) for place, size in enumerate(SIZES)][::-1]
    said: list[int] = []
    found: dict[int, str] = {}
    for place in wanted:
        for size, lane in lanes:
            if place in lane:
                start = lane.index(place)
                found[place] = spaced[start : start + size]
                break
        else:
            said = said or [_place(value) for value in what.hashes]
            if place in said:
                found[place] = _word_names(text)[said.index(place)]
    return found


def _cut(text: str, most: int) -> str:
    """Return at most `most` characters: the head, one space, and the tail."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half].rstrip()} {text[half + 1 - most :].lstrip()}"


def _characters(text: str) -> list[int]:
    """Return the places of all character n-grams: for each character those that begin with it.

    The shortest first, always one of each size; `_NO_PLACE` where the text is over before.

    Each n-gram of a length has one 64-bit lane of a long number. A state of 32 bits times FNV's
    prime of 25 bits stays within its lane, so that one step of the hash is taken for all n-grams of
    a length at once, at the speed of long multiplication. Where UTF-8 takes several bytes for a
    character, lanes that have no such byte keep their state. The places of all sizes share a lane
    in the end.
    """
    count = len(text)
    few = _few(count)
    if text.isascii():
        states, low, data = few.basis, few.low, _spread(text.encode())
        packed, shift = 0, 0
        for size in range(1, _LONGEST + 1):
            states = ((states ^ data) * PRIME) & low
            data >>= _LANE
            if size in SIZES:
                packed |= ((states ^ (states >> BITS)) & few.kept) << shift
                shift += _SHARE
    else:
        packed = _of_several_bytes(text, few)
    found = memoryview(packed.to_bytes(count * _LANE_BYTES, "little")).cast("I").tolist()
    for place, size in enumerate(SIZES):
        # The last characters begin none that is as long.
        over = min(size - 1, count)
        found[(count - over) * _EACH + place :: _EACH] = [_NO_PLACE] * over
    return found


def _of_several_bytes(text: str, few: "_Few") -> int:
    """Return the packed lanes of a text whose characters are several bytes of UTF-8."""
    states, low, packed, shift = few.basis, few.low, 0, 0
    parts = [char.encode("utf-8", "surrogatepass") for char in text]
    columns = [
        (
            _spread(bytes(part[place] if place < len(part) else 0 for part in parts)),
            _spread(bytes(place < len(part) for part in parts)) * _FULL,
        )
        for place in range(max(map(len, parts)))
    ]
    for size in range(1, _LONGEST + 1):
        past = (size - 1) * _LANE
        for place, (data, there) in enumerate(columns):
            folded = ((states ^ (data >> past)) * PRIME) & low
            states = states ^ ((states ^ folded) & (there >> past)) if place else folded
        if size in SIZES:
            packed |= ((states ^ (states >> BITS)) & few.kept) << shift
            shift += _SHARE
    return packed


def _spread(data: bytes) -> int:
    """Return a number with each byte in a lane of its own, the first one lowest."""
    lanes = bytearray(_LANE_BYTES * len(data))
    lanes[::_LANE_BYTES] = data
    return int.from_bytes(lanes, "little")


class _Few(NamedTuple):
    """For so many lanes: where states begin, and what of each is kept as a state and as a place."""

    basis: int
    low: int
    kept: int


@lru_cache(MOST_CHARACTERS + 3)
def _few(count: int) -> _Few:
    """Return the numbers for so many lanes."""
    ones = _spread(b"\1" * count)
    return _Few(ones * BASIS, ones * _MASK, ones * _LAST_PLACE)


def _place(value: int) -> int:
    """Return where a hash falls."""
    return (value ^ (value >> BITS)) & _LAST_PLACE


def words(text: str) -> list[int]:
    """Return the hashes of all words, each but the first followed by that of it and the one before.

    A hash begins with a byte that no text has, so that a word is not the same characters.
    """
    found: list[int] = []
    state = 0
    for word in _WORD.findall(text):
        alone, after = _begun(word)
        found.append(alone)
        if state:
            found.append(_fold(state, word))
        state = after
    return found


def _word_names(text: str) -> list[str]:
    """Return the words and pairs in the order of `_words`."""
    found: list[str] = []
    before = ""
    for word in _WORD.findall(text):
        found += [word, f"{before} {word}"] if before else [word]
        before = word
    return found


@lru_cache(4096)
def _begun(word: str) -> tuple[int, int]:
    """Return the hash of a word alone, and with the space after it: what a pair begins with."""
    alone = _fold(_AT_WORD, word)
    return alone, ((alone ^ _SPACE) * PRIME) & _MASK


@lru_cache(4096)
def _fold(state: int, part: str) -> int:
    """Return the FNV-1a hash of a part as UTF-8, continued from `state`.

    Remembered, because people use the same words again and again.
    """
    for byte in part.encode("utf-8", "surrogatepass"):
        state = ((state ^ byte) * PRIME) & _MASK
    return state


_AT_WORD = ((BASIS ^ _WORD_MARK) * PRIME) & _MASK
