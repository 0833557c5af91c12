"""What is wrong with the data, found before anything is trained on it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tools.distill.fault import DataError
from tools.distill.table import NONE, UNLABELLED, Input, Material, Problem, Table, normal_form

# A class with fewer examples than this share of the largest one's is said to be rare.
RARE = 0.02
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One problem: how often, a few examples, and whether training must not begin."""

    problem: Problem
    count: int
    where: str
    examples: tuple[str, ...]
    stops: bool

    def line(self) -> str:
        """Return it as a line for people."""
        word = "stops" if self.stops else "noted"
        shown = "; ".join(self.examples)
        return f"{word}: {self.problem} × {self.count} in {self.where}: {shown}"


def check(material: Material) -> list[Finding]:
    """Return every problem of the data; those that make the proof void stop the run.

    Unlabelled, empty and leaking rows stop it, and so does a label of which there is no example;
    duplicates, conflicts and rare classes are noted.
    """
    found = [
        *_unlabelled(material.train, "train"),
        *_unlabelled(material.held, "held"),
        *_empty(material),
        *_leaks(material),
        *_repeats(material.train),
        *_balance(material),
    ]
    return [each for each in found if each.count]


def hold(findings: Iterable[Finding], allowed: Iterable[Problem]) -> None:
    """Do nothing if nothing stops the run but what the recipe allows by name.

    Raises:
        DataError: something does; every such finding is in the message.
    """
    lines = [each.line() for each in findings if each.stops and each.problem not in set(allowed)]
    if lines:
        raise DataError(
            "the data would make the proof void:\n  "
            + "\n  ".join(lines)
            + "\nmend it, or name it under data.allow"
        )


def _unlabelled(table: Table, where: str) -> list[Finding]:
    places = np.flatnonzero(table.labels == UNLABELLED)
    return [_finding(Problem.UNLABELLED, [table.inputs[at] for at in places], where, stops=True)]


def _empty(material: Material) -> list[Finding]:
    found = []
    for where in ("train", "transfer", "tuning", "held"):
        table: Table = getattr(material, where)
        blank = [each for each in table.inputs if _is_blank(each)]
        found.append(_finding(Problem.EMPTY, blank, where, stops=True))
    if not len(material.train) or not len(material.held):
        found.append(Finding(Problem.EMPTY, 1, "train or held", ("there are no rows",), stops=True))
    return found


def _is_blank(one: Input) -> bool:
    """Tell whether there is nothing to learn from: no text, or not a number."""
    return not one.strip() if isinstance(one, str) else not bool(np.isfinite(one).all())


def _leaks(material: Material) -> list[Finding]:
    known = {normal_form(one): "train" for one in material.train.inputs}
    known |= {
        form: "transfer"
        for one in material.transfer.inputs
        if (form := normal_form(one)) not in known
    }
    known |= {
        form: "tuning" for one in material.tuning.inputs if (form := normal_form(one)) not in known
    }
    leaks: dict[str, list[Input]] = {}
    for one in material.held.inputs:
        where = known.get(normal_form(one))
        if where is not None:
            leaks.setdefault(f"{where} and held", []).append(one)
    return [_finding(Problem.LEAKING, rows, at, stops=True) for at, rows in leaks.items()]


def _repeats(table: Table) -> list[Finding]:
    seen: dict[str, int] = {}
    twice: list[Input] = []
    at_odds: list[Input] = []
    for one, label in zip(table.inputs, table.labels, strict=True):
        form = normal_form(one)
        if form not in seen:
            seen[form] = int(label)
        elif seen[form] == int(label):
            twice.append(one)
        else:
            at_odds.append(one)
    return [
        _finding(Problem.DUPLICATE, twice, "train", stops=False),
        _finding(Problem.CONFLICTING, at_odds, "train", stops=False),
    ]


def _balance(material: Material) -> list[Finding]:
    counts = Counter(int(each) for each in material.train.labels if each > NONE)
    most = max(counts.values(), default=0)
    missing = [name for at, name in enumerate(material.labels) if not counts[at]]
    rare = [
        f"{name} ({counts[at]} of {most})"
        for at, name in enumerate(material.labels)
        if 0 < counts[at] < RARE * most
    ]
    return [
        _finding(Problem.IMBALANCED, missing, "train: no example of a label", stops=True),
        _finding(Problem.IMBALANCED, rare, "train: rare labels", stops=False),
    ]


def _finding(problem: Problem, rows: list[Input], where: str, *, stops: bool) -> Finding:
    shown = tuple(
        (one if isinstance(one, str) else f"array {one.shape}")[:60] for one in rows[:SHOWN]
    )
    return Finding(problem, len(rows), where, shown, stops)


def without_leaks(table: Table, *held: Table) -> Table:
    """Return the rows of `table` that no table of `held` has, by normal form."""
    known = {normal_form(one) for each in held for one in each.inputs}
    return table.where(np.array([normal_form(one) not in known for one in table.inputs], bool))


def without_repeats(table: Table) -> Table:
    """Return the rows of which nothing like them came before."""
    seen: set[str] = set()
    keep = []
    for one in table.inputs:
        form = normal_form(one)
        keep.append(form not in seen)
        seen.add(form)
    return table.where(np.array(keep, bool))
