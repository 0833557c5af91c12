"""Facts about the surface of a text that n-grams miss: links, phone numbers, capitals, length."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.pre_steps import SurfaceFact

_LINK = re.compile(
    r"https?:|www\.|\b[a-z0-9-]{2,63}\.(?:com|net|org|info|biz|co|uk|tv|me|ly|io)\b", re.IGNORECASE
)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.\w")
_PHONE = re.compile(r"(?<!\d)\+?\d(?:[ -]?\d){9,12}(?!\d)")
_SHORT_CODE = re.compile(r"(?<!\d)\d{5,6}(?!\d)")
_MONEY = re.compile(r"[£$€¥₹]|\b(?:gbp|usd|eur|inr)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_LONG = 3


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _shouted(text: str) -> float:
    words = [word for word in _WORD.findall(text) if len(word) >= _LONG]
    return _share(sum(word.isupper() for word in words), len(words))


def _capitals(text: str) -> float:
    return _share(sum(map(str.isupper, text)), sum(map(str.isalpha, text)))


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


_FACTS: dict[SurfaceFact, Callable[[str], float]] = {
    "link": lambda text: float(bool(_LINK.search(text))),
    "email": lambda text: float(bool(_EMAIL.search(text))),
    "phone": lambda text: float(bool(_PHONE.search(text))),
    "short_code": lambda text: float(bool(_SHORT_CODE.search(text))),
    "money": lambda text: float(bool(_MONEY.search(text))),
    "digit_share": lambda text: _share(_digits(text), len(text)),
    "digits": lambda text: min(1.0, _digits(text) / 30),
    "capital_share": _capitals,
    "shouted_share": _shouted,
    "exclamations": lambda text: min(1.0, text.count("!") / 4),
    "questions": lambda text: min(1.0, text.count("?") / 4),
    "length": lambda text: min(1.0, len(text) / 200),
    "words": lambda text: min(1.0, len(text.split()) / 40),
}


def surface_facts(text: str, names: Sequence[SurfaceFact]) -> NDArray[np.float32]:
    """Return the named facts of a text as float32 (number of names,), each in 0..1.

    `link`, `email`, `phone` (10 to 13 digits), `short_code` (5 or 6 digits) and `money` (a sign or
    a code of a currency) are 0 or 1; `digit_share` is of all characters, `capital_share` of all
    letters, `shouted_share` of the words of three letters or more; `digits`, `exclamations`,
    `questions`, `length` and `words` are counts over 30, 4, 4, 200 and 40, at most 1.
    """
    return np.array([_FACTS[name](text) for name in names], np.float32)
