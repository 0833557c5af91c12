"""The data of the evaluation, in named splits, as packages would bring it.

`train` is learned from; `val` and `oos_val` of CLINC150 are only measured on, and nothing was
chosen by them. `routing_dev.jsonl` is split in five by the digest of each text.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiosd.policy.routing.lessons import Lesson, TextFile

NOBODY = "none"


@dataclass(frozen=True)
class Labelled:
    """A text, the expert it is for ("none": for nobody), and the sub-route."""

    text: str
    expert: str
    part: str = ""


@dataclass(frozen=True)
class Clinc:
    """CLINC150 with its ten domains as experts and its 150 intents as their sub-routes."""

    train: list[Labelled]
    val: list[Labelled]
    oos_train: list[str]
    oos_val: list[str]


def read_clinc(assets: Path) -> Clinc:
    """Return CLINC150."""
    folder = assets / "text" / "clinc150"
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rows = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    inside = {
        name: [Labelled(text, of[intent], intent) for text, intent in rows[name]]
        for name in ("train", "val")
    }
    outside = {name: [text for text, _ in rows[name]] for name in ("oos_train", "oos_val")}
    return Clinc(inside["train"], inside["val"], outside["oos_train"], outside["oos_val"])


def read_dev(assets: Path, folds: int = 5) -> list[list[Labelled]]:
    """Return the texts of routing_dev.jsonl in folds."""
    path = assets / "text" / "routing" / "routing_dev.jsonl"
    found: list[list[Labelled]] = [[] for _ in range(folds)]
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        digest = hashlib.sha256(row["text"].encode()).digest()
        found[digest[1] % folds].append(Labelled(row["text"], row["route"]))
    return found


def draw(rows: Sequence[Labelled], each: int, seed: int) -> list[Labelled]:
    """Return so many texts of each expert, spread evenly over its sub-routes."""
    chance = np.random.default_rng(seed)
    drawn: list[Labelled] = []
    for expert in sorted({row.expert for row in rows}):
        parts: dict[str, list[Labelled]] = {}
        for row in rows:
            if row.expert == expert:
                parts.setdefault(row.part, []).append(row)
        shuffled = [[part[at] for at in chance.permutation(len(part))] for part in parts.values()]
        longest = max(map(len, shuffled))
        turns = [part[turn] for turn in range(longest) for part in shuffled if turn < len(part)]
        drawn += turns[:each]
    return drawn


def lessons(rows: Iterable[Labelled], folder: Path, *, parts: bool) -> list[Lesson]:
    """Return the lessons of packages that bring these texts, with their sub-routes or without."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        if row.expert != NOBODY:
            texts.setdefault(row.expert, []).append(f"{row.part if parts else ''}\t{row.text}")
    made = []
    for expert, lines in texts.items():
        data = ("\n".join(" ".join(line.split("\n")) for line in lines) + "\n").encode()
        path = Path(tempfile.mkstemp(prefix=f"{expert}-", suffix=".tsv", dir=folder)[1])
        path.write_bytes(data)
        file = TextFile(sha256=hashlib.sha256(data).hexdigest(), path=str(path))
        made.append(Lesson(expert=expert, examples=file))
    return made
