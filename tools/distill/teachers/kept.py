"""Kept escalations as a teacher: what went up and came back, in plain lines of `tools.teaching`.

A line whose answer is one label of the recipe, alone or as `label` of a JSON map, is a labelled
row; every other line is counted and left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.distill.fault import TeacherError
from tools.distill.table import NONE, Table


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


def table_of(path: Path, labels: Sequence[str]) -> tuple[Table, int]:
    """Return what a file teaches, as labelled rows, and how many of its lines teach nothing.

    An answer `none` says that no label fits.

    Raises:
        TeacherError: it cannot be read, or no line of it is a lesson.
    """
    lessons, odd = read_kept(path)
    known = {each.text: at for each in lessons if (at := _number(each.answer, labels)) is not None}
    if not known:
        raise TeacherError(f"{path}: none of {len(lessons)} answers is a label of the recipe")
    numbers = np.array(list(known.values()), np.int64)
    slices = ["kept"] * len(known)
    return Table(list(known), numbers, slices), odd + len(lessons) - len(known)


def _number(answer: str, labels: Sequence[str]) -> int | None:
    return NONE if label_of(answer, ["none"]) == 0 else label_of(answer, labels)
