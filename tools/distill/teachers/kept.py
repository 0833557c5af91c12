"""Kept escalations as a teacher: what went up and came back, in plain lines of `tools.teaching`.

A line whose answer is one label of the recipe, alone or as `label` of a JSON map, teaches; every
other line is counted and left out.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.distill.fault import NonsenseError, TeacherError
from tools.distill.table import Input

# How sure the teacher is taken to be of the one label that it said.
SURE = 0.98


@dataclass(frozen=True)
class Lesson:
    """One escalation: what was asked, what came back."""

    text: str
    answer: str


def read_kept(path: Path) -> tuple[list[Lesson], int]:
    """Return the lessons of a file, the newest of each text, and how many lines are none.

    Raises:
        TeacherError: the file cannot be read, or its lines are still sealed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TeacherError(f"{path}: {error.strerror}") from None
    found: dict[str, Lesson] = {}
    odd = 0
    for line in lines:
        try:
            row = json.loads(line)
            if "sealed" in row:
                raise TeacherError(
                    f"{path} is sealed: open it with `python -m tools.teaching open`"
                )
            text, answer = str(row["messages"][-1]["content"]), row["answer"]
        except (ValueError, KeyError, IndexError, TypeError):
            odd += 1
            continue
        if not isinstance(answer, str) or not text.strip():
            odd += 1
            continue
        found[text] = Lesson(text, answer)
    return list(found.values()), odd


def label_of(answer: str, labels: Sequence[str]) -> int | None:
    """Return the number of the label that an answer is, or nothing."""
    clean = answer.strip()
    if clean.startswith("{"):
        try:
            clean = str(json.loads(clean).get("label", ""))
        except ValueError:
            return None
    clean = clean.strip().strip("\"'`.").lower()
    return next((at for at, name in enumerate(labels) if clean == name.lower()), None)


class KeptTeacher:
    """Answers only what it was asked before."""

    batch = 1

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        """Read the file.

        Raises:
            TeacherError: it cannot be read, or no line of it is a lesson.
        """
        lessons, self.odd = read_kept(path)
        self._classes = len(labels)
        self._known = {
            each.text: at for each in lessons if (at := label_of(each.answer, labels)) is not None
        }
        self.odd += len(lessons) - len(self._known)
        if not self._known:
            raise TeacherError(f"{path}: none of {len(lessons)} answers is a label of the recipe")
        digest = hashlib.sha256(json.dumps(sorted(self._known.items())).encode()).hexdigest()
        self.fingerprint = f"kept {digest[:16]}"

    @property
    def texts(self) -> list[str]:
        """The texts it has an answer to."""
        return list(self._known)

    def logits(self, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Return logits (inputs, labels): sure of what was answered.

        Raises:
            NonsenseError: it was never asked one of these.
        """
        rows = []
        for one in inputs:
            label = self._known.get(str(one))
            if label is None:
                raise NonsenseError("never asked")
            shares = np.full(self._classes, (1 - SURE) / max(1, self._classes - 1))
            shares[label] = SURE
            rows.append(np.log(shares))
        return np.stack(rows).astype(np.float32)
