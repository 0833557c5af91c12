"""Who answers what rightly: public outcomes of two models, and mixes whose answers are simulated.

Public: what RouteLLM (Ong et al. 2024, github.com/lm-sys/RouteLLM, Apache-2.0) kept of Mixtral-8x7B
and GPT-4 on MMLU and GSM8K, from a folder with `mmlu/*.csv` and `gsm8k/*.csv`. Simulated: texts of
routing_dev.jsonl, each with the expert that it is for and a draw of whether that one, and the layer
above, would be right; the rates are written below, and are nobody's measurement of a whole system.
"""

import csv
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.eval.sets import NOBODY, Labelled

# How often the one on the board, and the layer above, answer rightly. Skills: what a narrow expert
# with a good card has (sms-spam 0.988, digits 0.983); the rest: a text model of half a billion
# weights, as its makers publish such (GSM8K 0.4, MMLU 0.45), and a large one.
SKILL = 0.99
RIGHT: dict[str, tuple[float, float]] = {
    "home": (SKILL, 0.95),
    "weather": (SKILL, 0.95),
    "media": (SKILL, 0.95),
    "restaurant": (SKILL, 0.95),
    "banking": (0.95, 0.95),
    "shell": (0.80, 0.95),
    "smalltalk": (0.90, 0.97),
    "math": (0.40, 0.95),
    "knowledge": (0.45, 0.86),
    "open_ended": (0.30, 0.95),
    NOBODY: (0.0, 0.90),
}
MIXES: dict[str, dict[str, int]] = {
    "narrow device skills": {"home": 98, "weather": 98, "media": 98, "restaurant": 98, NOBODY: 8},
    "mixed": dict.fromkeys(RIGHT, 60),
    "open chat": {"open_ended": 60, "knowledge": 60, "math": 60, "smalltalk": 20},
}
MMLU_TEXTS = 4000


@dataclass(frozen=True)
class Outcome:
    """One request: whether the small and the large model were right; `topic` is what it is of."""

    text: str
    topic: str
    small: bool
    large: bool


def read_public(folder: Path) -> dict[str, list[Outcome]]:
    """Return the public sets that are there."""
    found: dict[str, list[Outcome]] = {}
    csv.field_size_limit(sys.maxsize)
    for name in ("mmlu", "gsm8k"):
        rows = []
        for path in sorted((folder / name).glob("*.csv")):
            topic = path.stem.removeprefix("mmlu_")
            with path.open(encoding="utf-8", newline="") as lines:
                for row in csv.DictReader(lines):
                    right = [row[each] == "True" for each in list(row)[1:3]]
                    rows.append(Outcome(row["prompt"], topic, *right))
        if rows:
            random.Random(0).shuffle(rows)  # noqa: S311 - the same order for the same seed
            found[name] = rows[:MMLU_TEXTS]
    return found


def mix_of(name: str, rows: Sequence[Labelled], seed: int = 5) -> list[tuple[Labelled, Outcome]]:
    """Return the requests of a mix, with their simulated outcomes."""
    chance = random.Random(seed)  # noqa: S311 - simulated, the same for the same seed
    drawn: list[tuple[Labelled, Outcome]] = []
    for route, count in MIXES[name].items():
        mine = [row for row in rows if row.expert == route]
        chance.shuffle(mine)
        small, large = RIGHT[route]
        drawn += [
            (
                row,
                Outcome(row.text, route, chance.random() < small, chance.random() < large),
            )
            for row in mine[:count]
        ]
    return drawn
