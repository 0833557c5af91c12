"""What a student is worth beside its teacher and beside one that learned from labels alone.

All on the same held-out rows: shares with Wilson's interval, the difference of two students by a
paired bootstrap and McNemar's exact test, the expected calibration error, and every slice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from tools.train.card import wilson

DRAWS = 10_000
# Rows of one set alone need no table of sets.
MANY = 2
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Gain:
    """How much better one is than the other on the same rows; `low` to `high` hold 95 %.

    `won` rows only the first had right, `lost` only the second; `p` is McNemar's, two-sided.
    """

    value: float
    low: float
    high: float
    won: int
    lost: int
    p: float

    @property
    def is_sure(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low > 0.0


def gain(first: Right, second: Right, seed: int = 0) -> Gain:
    """Return how much more often `first` is right than `second`, row by row.

    Percentile interval of a paired bootstrap over rows (Efron, Tibshirani 1993).

    Raises:
        ValueError: they are not of the same rows, or there are none.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError("a gain needs the same rows of both, and at least one")
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    count = len(first)
    chance = np.random.default_rng(seed)
    # Only the numbers of won and lost rows matter: their joint law is multinomial.
    draws = chance.multinomial(count, [won / count, lost / count, 1 - (won + lost) / count], DRAWS)
    differences = (draws[:, 0] - draws[:, 1]) / count
    low, high = np.quantile(differences, [0.025, 0.975])
    return Gain((won - lost) / count, float(low), float(high), won, lost, mcnemar(won, lost))


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test (1947): a binomial with chance one half."""
    total = won + lost
    if not total:
        return 1.0
    # Whole numbers until the end: the terms are too large and too small for floats.
    term = tail = 1
    for each in range(1, min(won, lost) + 1):
        term = term * (total - each + 1) // each
        tail += term
    return min(1.0, 2 * tail / 2**total)


def difference(
    first: NDArray[np.float64], second: NDArray[np.float64], seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean difference of paired figures, and its 95 % bootstrap interval."""
    rest = first - second
    chance = np.random.default_rng(seed)
    means = np.array(
        [rest[chance.integers(0, len(rest), len(rest))].mean() for _ in range(DRAWS // 5)]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(rest.mean()), float(low), float(high)


def calibration_error(scores: NDArray[np.float32], right: Right, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal width (Guo et al. 2017)."""
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    return float(
        sum(
            abs(float(right[place == one].mean()) - float(scores[place == one].mean()))
            * float((place == one).mean())
            for one in np.unique(place)
        )
    )


@dataclass(frozen=True)
class Slice:
    """One part of the held-out rows: how many, and the share right of teacher and both students."""

    name: str
    count: int
    teacher: float
    student: float
    labels_only: float

    @property
    def lost(self) -> float:
        """What the student lost of its teacher."""
        return self.teacher - self.student


def by_slice(
    names: Sequence[str], teacher: Right, student: Right, labels_only: Right
) -> list[Slice]:
    """Return every slice, that which lost most first."""
    array = np.array(names)
    found = [
        Slice(
            str(name),
            int(mine.sum()),
            float(teacher[mine].mean()),
            float(student[mine].mean()),
            float(labels_only[mine].mean()),
        )
        for name in np.unique(array)
        if (mine := array == name).any()
    ]
    return sorted(found, key=lambda each: (-each.lost, each.name))


@dataclass(frozen=True)
class Part:
    """One of the sets that the held-out rows were put together from.

    Rows right of teacher, student and labels alone, the student's calibration error on it, and its
    gain over labels alone.
    """

    name: str
    count: int
    right: tuple[int, int, int]
    error: float
    over_labels: Gain


def by_set(
    slices: Sequence[str],
    right: tuple[Right, Right, Right],
    scores: NDArray[np.float32],
    seed: int = 0,
) -> list[Part]:
    """Return each set: what stands before a colon in every slice, where that names two or more.

    `right` are teacher, student and labels alone, `scores` the student's.
    """
    cut = [name.partition(": ") for name in slices]
    names = np.array([name for name, colon, _ in cut if colon])
    if len(names) < len(slices) or len(np.unique(names)) < MANY:
        return []
    return [
        Part(
            str(name),
            int((mine := names == name).sum()),
            (int(right[0][mine].sum()), int(right[1][mine].sum()), int(right[2][mine].sum())),
            calibration_error(scores[mine], right[1][mine]),
            gain(right[1][mine], right[2][mine], seed),
        )
        for name in np.unique(names)
    ]


@dataclass(frozen=True)
class Contender:
    """The figures of a teacher or a student: `right` of `count`, and named others."""

    name: str
    right: int
    count: int
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share that is right."""
        return self.right / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson(self.right, self.count)


@dataclass(frozen=True)
class Proof:
    """All that a run proves; `measure` says what "right" counts, `engine` how fast and large."""

    recipe: str
    task: str
    held: str
    measure: str
    teacher: Contender
    student: Contender
    labels_only: Contender
    over_labels: Gain
    under_teacher: Gain
    slices: list[Slice]
    engine: dict[str, float | str]
    notes: list[str] = field(default_factory=list)
    sets: list[Part] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Say in one sentence whether the teacher was worth it."""
        found = self.over_labels
        span = f"{100 * found.low:+.2f} to {100 * found.high:+.2f} points"
        if found.is_sure:
            return (
                f"The student beats one of the same size that learned from labels alone by "
                f"{100 * found.value:.2f} points ({span}, McNemar p {found.p:.2g})."
            )
        return (
            f"THE STUDENT DOES NOT BEAT one of the same size that learned from labels alone: "
            f"{100 * found.value:+.2f} points ({span}, McNemar p {found.p:.2g})."
        )

    def plain(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {**asdict(self), "verdict": self.verdict}
