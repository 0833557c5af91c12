"""Text → features: normalize, hash n-grams, look words up; imported in worker processes only.

Each step is a class made from its spec and the package's folder and called with the value before
it; `STEPS` maps the specs to them.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize, TextWordIds, TextWordpiece
from aiosd.domain.step import Step
from aiosd.pipelines.surface import surface_facts
from aiosd.pipelines.vocabulary import load_vocabulary, load_word_ids

FIELD = "input.text"

_FNV_BASIS = 0x811C9DC5
_FNV_PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_WORD_MARK = 0x1F
_SPACE = 0x20
_LONGEST_GRAM = 8
_RAW_FACTOR = 4
_MARKS_ON_END = 30

_WORD = re.compile(r"\w+(?:'\w+)*")
_DIGIT = re.compile(r"\d")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"'})
_CHARACTER_CLASS = re.compile(r"\[\^?(?:\\.|[^\]\[\\])+\]\+?")


class NormalizeStep:
    """`text.normalize`: str → str."""

    def __init__(self, step: TextNormalize, folder: Path) -> None:
        """Check the spec; no file of `folder` is needed.

        Raises:
            PackageError: `max_chars` is negative or too small to keep a head and a tail.
        """
        del folder
        if step.max_chars < 0 or 0 < step.max_chars < 8:  # noqa: PLR2004 - a head and a tail of 3
            raise PackageError(f"text.normalize: max_chars is {step.max_chars}: 0 or at least 8")
        self._step = step

    def __call__(self, value: object) -> str:
        """Return the normal form of the text.

        Raises:
            InvalidError: the text holds nothing but white space, or is not valid Unicode.
        """
        text, limit = as_text(value), self._step.max_chars
        if limit:
            text = _head_and_tail(text, limit * _RAW_FACTOR)
        text = unicodedata.normalize("NFKC", _stream_safe(text)).translate(_QUOTES)
        if self._step.lower:
            # Once more: lower case of a few letters is not in normal form (İ gives i and a dot).
            text = unicodedata.normalize("NFKC", text.lower())
        if self._step.digits == "zero":
            text = _DIGIT.sub("0", text)
        text = " ".join(text.split())
        if limit:
            text = _head_and_tail(text, limit)
        if not text:
            raise InvalidError(
                "the text is empty; send at least one visible character", field=FIELD
            )
        return text


class HashNgramsStep:
    """`text.hash_ngrams`: str → float32 (1, 2**bits + number of surface facts)."""

    def __init__(self, step: TextHashNgrams, folder: Path) -> None:
        """Check the spec; no file of `folder` is needed.

        Raises:
            PackageError: a range of n-grams or a number of bits is out of bounds.
        """
        del folder
        for name, span in (("chars", step.chars), ("words", step.words)):
            if span and not (len(span) == 2 and 1 <= span[0] <= span[1] <= _LONGEST_GRAM):  # noqa: PLR2004 - a pair
                raise PackageError(
                    f"text.hash_ngrams: {name} is {span}: "
                    f"[shortest, longest] within 1..{_LONGEST_GRAM}, or []"
                )
        if not step.chars and not step.words:
            raise PackageError("text.hash_ngrams: chars and words are both empty")
        self._step = step

    def __call__(self, value: object) -> NDArray[np.float32]:
        """Return the features of the text.

        Raises:
            InvalidError: the text is empty, holds no n-gram of these lengths, or is not valid
                Unicode.
        """
        step, text = self._step, as_text(value)
        if not text:
            raise InvalidError(
                "the text is empty; send at least one visible character", field=FIELD
            )
        size = 1 << step.bits
        features = np.zeros((1, size + len(step.surface)), np.float32)
        hashes = ngram_hashes(text.lower() if step.lower else text, step.chars, step.words)
        if not len(hashes):
            raise InvalidError(
                f"the text {text[:20]!r} is too short for this expert; send at least one word",
                field=FIELD,
            )
        places, counts = np.unique(
            (hashes ^ (hashes >> step.bits)) & (size - 1), return_counts=True
        )
        features[0, places] = _weights(counts, step)
        if step.surface:
            features[0, size:] = surface_facts(text, step.surface) * step.surface_scale
        return features


class WordIdsStep:
    """`text.word_ids`: str → (1, length) ids of whole words."""

    def __init__(self, step: TextWordIds, folder: Path) -> None:
        """Load the vocabulary.

        Raises:
            PackageError: the vocabulary is bad, or the pattern is more than a set of characters.
        """
        if not _CHARACTER_CLASS.fullmatch(step.pattern):
            raise PackageError(
                f"text.word_ids: pattern {step.pattern!r}: "
                "one set of characters, as in [^a-z]+, is allowed"
            )
        try:
            self._split = re.compile(step.pattern).split
        except re.error as error:
            raise PackageError(f"text.word_ids: pattern {step.pattern!r}: {error}") from error
        if step.length < 1 + (step.start is not None):
            raise PackageError(f"text.word_ids: length is {step.length}: no room for a word")
        self._step = step
        self._ids = load_word_ids(folder, step.file)

    def __call__(self, value: object) -> NDArray[np.int32] | NDArray[np.float32]:
        """Return the ids of the first words, padded at the end."""
        step = self._step
        ids = [] if step.start is None else [step.start]
        for word in self._split(as_text(value)):
            if len(ids) == step.length:
                break
            if word:
                ids.append(self._ids.get(word, step.unknown))
        ids += [step.pad] * (step.length - len(ids))
        if step.dtype == "float32":
            return np.array([ids], np.float32)
        return np.array([ids], np.int32)


class WordpieceStep:
    """`text.wordpiece`: str → int32 (1, length): [CLS] pieces [SEP] [PAD] …, as BERT does."""

    def __init__(self, step: TextWordpiece, folder: Path) -> None:
        """Load the vocabulary.

        Raises:
            PackageError: the vocabulary is bad or lacks one of [PAD] [UNK] [CLS] [SEP].
        """
        self._step = step
        self._ids = load_vocabulary(folder, step.file)
        missing = [mark for mark in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if mark not in self._ids]
        if missing:
            raise PackageError(
                f"{step.file} lacks {' '.join(missing)}", path=str(folder / step.file)
            )
        if step.length < 3:  # noqa: PLR2004 - [CLS], one piece, [SEP]
            raise PackageError(f"text.wordpiece: length is {step.length}: at least 3")

    def __call__(self, value: object) -> NDArray[np.int32]:
        """Return the ids of the first pieces, padded at the end."""
        room = self._step.length - 2
        pieces: list[int] = []
        for word in bert_words(as_text(value), lower=self._step.lower):
            if len(pieces) >= room:
                break
            pieces += self._pieces(word)
        row = np.full((1, self._step.length), self._ids["[PAD]"], np.int32)
        ids = [self._ids["[CLS]"], *pieces[:room], self._ids["[SEP]"]]
        row[0, : len(ids)] = ids
        return row

    def _pieces(self, word: str, longest: int = 100) -> list[int]:
        """Cut a word into the longest known pieces from the left, or give [UNK] for all of it."""
        pieces, start = [], 0
        if len(word) > longest:
            return [self._ids["[UNK]"]]
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                found = self._ids.get(mark + word[start:end])
                if found is not None:
                    pieces.append(found)
                    start = end
                    break
            else:
                return [self._ids["[UNK]"]]
        return pieces


STEPS: dict[type[Step], Callable[..., Callable[[object], object]]] = {
    TextNormalize: NormalizeStep,
    TextHashNgrams: HashNgramsStep,
    TextWordIds: WordIdsStep,
    TextWordpiece: WordpieceStep,
}


def as_text(value: object) -> str:
    """Return the value as a text that UTF-8 can hold.

    Raises:
        InvalidError: the value is not a text, or the text holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise InvalidError(f"a text is needed, not {type(value).__name__}", field="input")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidError(
            f"character {error.start} of the text is half of a surrogate pair; send valid UTF-8",
            field=FIELD,
        ) from error
    return value


def fnv1a(data: bytes, state: int = _FNV_BASIS) -> int:
    """Return the FNV-1a hash (32 bit) of `data`, continuing from `state` (Fowler, Noll, Vo)."""
    for byte in data:
        state = ((state ^ byte) * _FNV_PRIME) & _MASK
    return state


def ngram_hashes(text: str, chars: list[int], words: list[int]) -> NDArray[np.uint32]:
    """Return the FNV-1a hashes of all n-grams of a text, as uint32 (number of n-grams,).

    Character n-grams are hashed as UTF-8, over the text with one space before and after it. Word
    n-grams are hashed as the byte 0x1F and the words joined by one space, so that a word and the
    same characters fall into different places.
    """
    parts = [np.zeros(0, np.uint32)]
    if chars:
        parts += _character_hashes(f" {text} ", chars[0], chars[1])
    if words:
        parts.append(np.fromiter(_word_hashes(text, words[0], words[1]), np.uint32))
    return np.concatenate(parts)


def bert_words(text: str, *, lower: bool) -> list[str]:
    """Cut a text as BERT does: at white space, around punctuation and around CJK characters.

    With `lower`, letters become lower case and lose their accents. Control characters vanish.
    """
    if lower:
        text = unicodedata.normalize("NFD", _stream_safe(text).lower())
        text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    return "".join(map(_bert_character, text)).split()


def _bert_character(char: str) -> str:
    """Return the character, one space for white space, nothing for control, spaced if alone."""
    if char.isspace():
        return " "
    if char.isalnum() and char < "⺀":
        return char
    category = unicodedata.category(char)
    if category in {"Cc", "Cf"} or char == "�":
        return ""
    ascii_sign = char.isascii() and not char.isalnum()
    if ascii_sign or category.startswith("P") or _is_cjk(ord(char)):
        return f" {char} "
    return char


def _is_cjk(code: int) -> bool:
    """Say whether the character is an ideograph of the blocks that BERT cuts apart."""
    return (
        0x4E00 <= code <= 0x9FFF  # noqa: PLR2004 - blocks of Unicode
        or 0x3400 <= code <= 0x4DBF  # noqa: PLR2004 - likewise
        or 0x20000 <= code <= 0x2CEAF  # noqa: PLR2004 - likewise
        or 0xF900 <= code <= 0xFAFF  # noqa: PLR2004 - likewise
        or 0x2F800 <= code <= 0x2FA1F  # noqa: PLR2004 - likewise
    )


def _stream_safe(text: str) -> str:
    """Drop what exceeds 30 combining marks on one letter (the limit of Unicode's annex 15).

    No language has that many, and putting marks in order takes time in the square of their number.
    """
    if text.isascii():
        return text
    kept, run = [], 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        if run <= _MARKS_ON_END:
            kept.append(char)
    return "".join(kept)


def _head_and_tail(text: str, limit: int) -> str:
    """Return at most `limit` characters: the head, one space, and the tail."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head].rstrip()} {text[head + 1 - limit :].lstrip()}"


def _weights(counts: NDArray[np.intp], step: TextHashNgrams) -> NDArray[np.float32]:
    """Return the weight of each place from how many n-grams fell into it."""
    weights = counts.astype(np.float32)
    if step.weight == "binary":
        weights = np.ones_like(weights)
    elif step.weight == "log":
        weights = 1.0 + np.log(weights)
    if step.norm == "l2":
        weights /= np.sqrt(np.dot(weights, weights))
    return weights


def _character_hashes(text: str, shortest: int, longest: int) -> Iterator[NDArray[np.uint32]]:
    """Yield the hashes of the n-grams of each length, all of one length at a time."""
    data = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.uint32)
    if len(data) == len(text):
        columns, lengths = [data], None
    else:
        starts = np.flatnonzero((data & 0xC0) != 0x80)  # noqa: PLR2004 - UTF-8's followers
        lengths = np.diff(starts, append=len(data))
        padded = np.concatenate([data, np.zeros(3, np.uint32)])
        columns = [padded[starts + place] for place in range(int(lengths.max()))]
    states = np.full(len(text), _FNV_BASIS, np.uint32)
    prime = np.uint32(_FNV_PRIME)
    for size in range(1, min(longest, len(text)) + 1):
        if size > 1:
            states = states[:-1]
        for place, column in enumerate(columns):
            folded = (states ^ column[size - 1 :]) * prime
            if place == 0 or lengths is None:
                states = folded
            else:
                states = np.where(lengths[size - 1 :] > place, folded, states)
        if size >= shortest:
            yield states


def _word_hashes(text: str, shortest: int, longest: int) -> Iterator[int]:
    """Yield the hashes of the word n-grams, each continued from the one a word shorter."""
    first = fnv1a(bytes([_WORD_MARK]))
    space = bytes([_SPACE])
    open_states: list[int] = []
    for word in _WORD.findall(text):
        data = word.encode("utf-8")
        states = [fnv1a(data, fnv1a(space, state)) for state in open_states]
        open_states = [fnv1a(data, first), *states][:longest]
        yield from open_states[shortest - 1 :]
        open_states = open_states[: longest - 1]
