"""Asking a teacher about everything once: through the cache, again where it fails, with a count."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import NonsenseError, TeacherError, UnansweredError
from tools.distill.logit_cache import LogitCache
from tools.distill.progress import Progress
from tools.distill.table import Input, key_of
from tools.distill.top_k import compress

# So many questions without one answer, and the teacher as a whole is taken to be gone.
HOPELESS = 32


class ClassTeacher(Protocol):
    """A teacher that has a logit for every label."""

    @property
    def fingerprint(self) -> str:
        """Return what its answers depend on."""
        ...

    @property
    def batch(self) -> int:
        """Return how many inputs it takes at once."""
        ...

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels).

        Raises:
            UnansweredError: not this time; may be asked again.
            NonsenseError: what came is no answer; may be asked again.
        """
        ...


@dataclass(frozen=True)
class Patience:
    """How often one question is asked, and the seconds before it is asked again (doubling)."""

    tries: int = 3
    wait: float = 1.0
    sleep: Callable[[float], None] = time.sleep


@dataclass
class Told:
    """How the asking went: answered now, known before, skipped in all, and asked again."""

    answered: int = 0
    known: int = 0
    skipped: int = 0
    retried: int = 0

    def line(self) -> str:
        """Return it as a line for people."""
        return (
            f"{self.answered} answered, {self.known} known before, {self.retried} asked again, "
            f"{self.skipped} without a usable answer"
        )


def ask(
    teacher: ClassTeacher,
    inputs: Sequence[Input],
    cache: LogitCache,
    k: int,
    *,
    patience: Patience,
    progress: Progress,
) -> Told:
    """Have every input answered, or known to be without an answer.

    A question that fails is asked `patience.tries` times and then skipped: training leaves it out,
    and no later run asks it again.

    Raises:
        TeacherError: the first `HOPELESS` questions all failed; they are not kept as skipped.
        BudgetError: the teacher may not cost more; what was answered is kept.
    """
    told = Told()
    seen: dict[bytes, Input] = {}
    for one in inputs:
        seen.setdefault(key_of(one), one)
    open_ones = [(key, one) for key, one in seen.items() if key not in cache]
    told.known = len(seen) - len(open_ones)
    failed: list[bytes] = []
    for start in range(0, len(open_ones), teacher.batch):
        part = open_ones[start : start + teacher.batch]
        for key, row in _answers(teacher, part, told, patience):
            if row is None:
                failed.append(key)
            else:
                cache.put(key, compress(row[None], k))
                told.answered += 1
            if not told.answered and len(failed) >= HOPELESS:
                raise TeacherError(
                    f"the teacher answered none of its first {HOPELESS} questions; see that it is "
                    "there and that the recipe names its labels as it does"
                )
        progress.show((start + len(part)) / len(open_ones))
    if failed and not told.answered and not told.known:
        raise TeacherError(f"the teacher answered none of {len(failed)} questions")
    for key in failed:
        cache.skip(key)
    cache.sync()
    told.skipped = cache.skipped(seen)
    progress.end()
    return told


def _answers(
    teacher: ClassTeacher,
    part: list[tuple[bytes, Input]],
    told: Told,
    patience: Patience,
) -> list[tuple[bytes, NDArray[np.float32] | None]]:
    """Ask a part at once; where that fails each question alone, so that one costs only itself."""
    for attempt in range(patience.tries):
        if attempt:
            told.retried += 1
            patience.sleep(patience.wait * 2 ** (attempt - 1))
        try:
            rows = _checked(teacher, [one for _, one in part])
        except (UnansweredError, NonsenseError):
            if len(part) > 1:
                break
            continue
        return [(key, row) for (key, _), row in zip(part, rows, strict=True)]
    if len(part) == 1:
        return [(part[0][0], None)]
    return [found for each in part for found in _answers(teacher, [each], told, patience)]


def _checked(teacher: ClassTeacher, inputs: list[Input]) -> NDArray[np.float32]:
    """Return the teacher's rows.

    Raises:
        NonsenseError: they are not one for each question, or not numbers.
    """
    rows = teacher.logits(inputs)
    if len(rows) != len(inputs) or not np.isfinite(rows).all():
        raise NonsenseError("not one finite row for each question")
    return rows
