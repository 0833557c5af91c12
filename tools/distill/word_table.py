"""The run of a static table: an encoder of sentences teaches vectors of words, added up for a text.

The words' first vectors are what the teacher says of each alone (as model2vec does it); then their
sums learn to be as near to each other as the teacher finds whole texts (Park et al. 2019). Judged
on texts that nothing was learned from: how often the text that the teacher holds the nearest is
among the few that the table holds the nearest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.meanings import pack_vectors
from aiosd.policy.routing.lexical import normal, spoken
from tools.distill import report
from tools.distill.proof import Contender, Proof, Right, gain
from tools.distill.recipe import Recipe
from tools.distill.run_book import RunBook
from tools.distill.spec import StaticTable
from tools.distill.teachers.spec import Transformer
from tools.distill.teachers.transformer import Encoder, folder_of
from tools.train import meanings
from tools.train.minilm import MiniLm

Floats = NDArray[np.float32]
NEAREST = 5
HELD_EVERY = 10
"""Every so-manieth text is held out."""


class Reads(Protocol):
    """What says where texts lie."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of length one for each."""
        ...


def press_table(recipe: Recipe, book: RunBook, assets: Path) -> Proof:
    """Carry out a recipe of a static table."""
    spec, asked = recipe.student, recipe.teacher
    if not isinstance(spec, StaticTable) or not isinstance(asked, Transformer):
        raise TypeError("a static table learns from a transformer")
    folder = folder_of(asked.path, assets)
    Encoder(folder, asked.sha256)  # looks at the digest
    teacher = MiniLm(folder)
    texts = meanings.texts(assets)
    listed = Path(spec.words).read_text(encoding="utf-8").split() if spec.words else []
    words = meanings.vocabulary(teacher, texts, listed)
    alone = meanings.remembered(book.folder / "words.npz", teacher, words)
    seen = meanings.remembered(book.folder / "texts.npz", teacher, texts)
    held = np.arange(len(texts)) % HELD_EVERY == 0
    place = {word: number for number, word in enumerate(words)}
    said = [rows_of(text, place) for text in texts]
    student = meanings.Student(alone, words, teacher, spec.dims)
    plain = student.table()
    kept = [each for each, apart in zip(said, held, strict=True) if not apart]
    meanings.learn(student, kept, seen[~held])
    book.package.mkdir(exist_ok=True)
    made = meanings.pack(words, student.table())
    (book.package / "meanings.bin").write_bytes(pack_vectors(made))
    judged = Judged(seen[held], [each for each, apart in zip(said, held, strict=True) if apart])
    proof = _proof(recipe, judged, {"student": student.table(), "alone": plain})
    book.write("card.json", json.dumps(proof.plain(), indent=1) + "\n")
    (book.package / "README.md").write_text(
        f"# {recipe.name}\n\n{report.markdown(proof)}\n", "utf-8"
    )
    print(report.markdown(proof))
    return proof


def rows_of(text: str, place: dict[str, int]) -> NDArray[np.int64]:
    """Return the rows of a text's words, without those that have none."""
    return np.array([place[word] for word in spoken(normal(text)) if word in place], np.int64)


@dataclass(frozen=True, eq=False)
class Judged:
    """Held-out texts: where the teacher sees them, and their words' rows."""

    seen: Floats
    said: Sequence[NDArray[np.int64]]

    def right(self, table: Floats) -> Right:
        """Say of each text whether the teacher's nearest other one is among the table's few."""
        sums = np.stack([table[rows].sum(axis=0) for rows in self.said])
        unit = sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9)
        theirs, ours = self.seen @ self.seen.T, unit @ unit.T
        for scores in (theirs, ours):
            np.fill_diagonal(scores, -2.0)
        best = theirs.argmax(axis=1)
        few = np.argsort(-ours, axis=1, kind="stable")[:, :NEAREST]
        found: Right = (few == best[:, None]).any(axis=1)
        return found


def _proof(recipe: Recipe, judged: Judged, tables: dict[str, Floats]) -> Proof:
    right = {name: judged.right(table) for name, table in tables.items()}
    count = len(judged.seen)
    one = {name: Contender(name, int(rows.sum()), count) for name, rows in right.items()}
    return Proof(
        recipe.name,
        recipe.task,
        f"{count} texts held out, every {HELD_EVERY}th",
        f"the teacher's nearest text is among the {NEAREST} nearest",
        Contender("teacher", count, count),
        one["student"],
        one["alone"],
        gain(right["student"], right["alone"]),
        gain(right["student"], np.ones(count, np.bool_)),
        [],
        {},
        ["There are no labels; in their place stand the teacher's vectors of words alone."],
    )
