"""Examples of one kind: inputs with the number of their label; frozen, torch-free."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.step import Step

NONE, UNLABELLED = -1, -2
Input = str | NDArray[np.float32]
_WORDS = re.compile(r"[^\W_]+")
_DIGIT = re.compile(r"\d")


class Problem(StrEnum):
    """What the checks look for."""

    UNLABELLED = "unlabelled"
    IMBALANCED = "imbalanced"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    LEAKING = "leaking"
    EMPTY = "empty"


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs, the number of each one's label (`NONE`: of none, `UNLABELLED`), and its slice."""

    inputs: Sequence[Input]
    labels: NDArray[np.int64]
    slices: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def where(self, mask: NDArray[np.bool_]) -> "Table":
        """Return the rows that `mask` marks."""
        places = np.flatnonzero(mask)
        return Table(
            [self.inputs[place] for place in places],
            self.labels[places],
            [self.slices[place] for place in places] if self.slices else (),
        )

    def __add__(self, other: "Table") -> "Table":
        slices = [*self.slices, *other.slices]
        whole = len(slices) == len(self) + len(other)
        return Table(
            [*self.inputs, *other.inputs],
            np.concatenate([self.labels, other.labels]),
            slices if whole else (),
        )


def unlabelled(inputs: Sequence[Input]) -> Table:
    """Return a table of inputs that nobody labelled."""
    return Table(list(inputs), np.full(len(inputs), UNLABELLED, np.int64))


@dataclass(frozen=True)
class Material:
    """Everything a run learns from and is judged on.

    `tuning` sets temperature and thresholds; `held` is seen by nobody before the proof. Where
    inputs are arrays, `pre` are the package's steps that make them of what a request brings.
    """

    labels: tuple[str, ...]
    train: Table
    transfer: Table
    tuning: Table
    held: Table
    named: str
    attribution: str = ""
    extra: dict[str, Table] = field(default_factory=dict)
    pre: tuple[Step, ...] = ()


def key_of(one: Input) -> bytes:
    """Return 16 bytes that stand for an input: the first half of its SHA-256."""
    if isinstance(one, str):
        data = b"t" + one.encode("utf-8", "surrogatepass")
    else:
        data = b"a" + repr(one.shape).encode() + np.ascontiguousarray(one, np.float32).tobytes()
    return hashlib.sha256(data).digest()[:16]


def normal_form(one: Input) -> str:
    """Return what two inputs share that are one and the same to a person.

    Texts: letters without case and accents, digits made alike. Arrays: their bytes.
    """
    if not isinstance(one, str):
        return key_of(one).hex()
    plain = unicodedata.normalize("NFKD", one.casefold())
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return _DIGIT.sub("0", " ".join(_WORDS.findall(plain)))
