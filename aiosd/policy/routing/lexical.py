"""Text → places in a hashed table of n-grams: what the router sees of a text.

Characters 2 to 5 and words 1 to 2, hashed by FNV-1a as `text.hash_ngrams` of the experts does it
(Fowler, Noll, Vo), each place once. In plain Python, because the daemon carries no NumPy:
the n-grams of one length are hashed together from those one shorter, one step of the hash each.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterable
from functools import lru_cache

BITS = 14
PLACES = 1 << BITS
SHORTEST, LONGEST = 2, 5
# A text counts by its head and its tail: what is asked stands at one of the two.
MOST_CHARACTERS = 384
_RAW_FACTOR = 2

# FNV-1a's, for 32 bits.
BASIS = 0x811C9DC5
PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_WORD_MARK = 0x1F
_SPACE = 0x20
_LANE = 64
_FULL = (1 << _LANE) - 1
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


def places(text: str) -> list[int]:
    """Return the places of a text in normal form, each once, in no order that means anything."""
    return seen(text)[0]


def seen(text: str) -> tuple[list[int], list[int]]:
    """Return the places of a text in normal form, and the hashes of its words in order."""
    if not text:
        return [], []
    mask, hashes = PLACES - 1, words(text)
    found = {(value ^ (value >> BITS)) & mask for value in hashes}
    found.update(*_characters(f" {text} "))
    return list(found), alone(hashes)


def alone(hashes: list[int]) -> list[int]:
    """Return the hashes of the words alone, of what `words` returns."""
    return hashes[:1] + hashes[1::2]


def spoken(text: str) -> list[str]:
    """Return the words of a text in normal form, in the order of `alone`."""
    return _WORD.findall(text)


def hash_of(word: str) -> int:
    """Return the hash of a word in normal form, as `alone` has it."""
    return _fold(_AT_WORD, word)


def grams(text: str, wanted: Iterable[int]) -> dict[int, str]:
    """Return the longest n-gram of a text in normal form in each of these places, to explain them.

    Of words and characters in one place the characters are named: no more is known.
    """
    if not text:
        return {}
    spaced = f" {text} "
    lanes = list(enumerate(_characters(spaced), SHORTEST))[::-1]
    said = [_place(value) for value in words(text)]
    found: dict[int, str] = {}
    for place in wanted:
        for size, lane in lanes:
            if place in lane:
                start = lane.index(place)
                found[place] = spaced[start : start + size]
                break
        else:
            if place in said:
                found[place] = _word_names(text)[said.index(place)]
    return found


def _cut(text: str, most: int) -> str:
    """Return at most `most` characters: the head, one space, and the tail."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half].rstrip()} {text[half + 1 - most :].lstrip()}"


def _characters(text: str) -> list[list[int]]:
    """Return the places of all character n-grams, the shortest first, each kind in order.

    Each n-gram of a length has one 64-bit lane of a long number.

    A state of 32 bits times FNV's prime of 25 bits stays within its lane, so that one step of the
    hash is taken for all n-grams of a length at once, at the speed of long multiplication. Where
    UTF-8 takes several bytes for a character, lanes that have no such byte keep their state.
    """
    count = len(text)
    ones = _ones(count)
    states, low = ones * BASIS, ones * _MASK
    columns = _columns(text, ones)
    found: list[list[int]] = []
    for size in range(1, min(LONGEST, count) + 1):
        past = (size - 1) * _LANE
        for place, (data, there) in enumerate(columns):
            folded = ((states ^ (data >> past)) * PRIME) & low
            states = states ^ ((states ^ folded) & (there >> past)) if place else folded
        if size >= SHORTEST:
            folded = (states ^ (states >> BITS)) & (ones * (PLACES - 1))
            lanes = memoryview(folded.to_bytes(count * 8, "little")).cast("Q")
            found.append(lanes[: count - size + 1].tolist())
    return found


def _columns(text: str, ones: int) -> list[tuple[int, int]]:
    """Return the first, second ... byte of each character in its lane, and where there is one."""
    if text.isascii():
        return [(_spread(text.encode()), ones * _FULL)]
    parts = [char.encode("utf-8", "surrogatepass") for char in text]
    return [
        (
            _spread(bytes(part[place] if place < len(part) else 0 for part in parts)),
            _spread(bytes(place < len(part) for part in parts)) * _FULL,
        )
        for place in range(max(map(len, parts)))
    ]


def _spread(data: bytes) -> int:
    """Return a number with each byte in a lane of its own, the first one lowest."""
    return int.from_bytes(array("Q", list(data)).tobytes(), "little")


@lru_cache(MOST_CHARACTERS + 3)
def _ones(count: int) -> int:
    """Return a number with a 1 in each of so many lanes."""
    return _spread(b"\1" * count)


def _place(value: int) -> int:
    """Return where a hash falls."""
    return (value ^ (value >> BITS)) & (PLACES - 1)


def words(text: str) -> list[int]:
    """Return the hashes of all words, each but the first followed by that of it and the one before.

    A hash begins with a byte that no text has, so that a word is not the same characters.
    """
    found: list[int] = []
    state = 0
    for word in _WORD.findall(text):
        alone = _fold(_AT_WORD, word)
        found.append(alone)
        if state:
            found.append(_fold(state, word))
        state = ((alone ^ _SPACE) * PRIME) & _MASK
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
def _fold(state: int, part: str) -> int:
    """Return the FNV-1a hash of a part as UTF-8, continued from `state`.

    Remembered, because people use the same words again and again.
    """
    for byte in part.encode("utf-8", "surrogatepass"):
        state = ((state ^ byte) * PRIME) & _MASK
    return state


_AT_WORD = ((BASIS ^ _WORD_MARK) * PRIME) & _MASK
