"""Builds `aiosd/fitter/meanings.bin`: what some ten thousand words mean, from a sentence encoder.

    python -m tools.train.meanings --teacher DIR --words FILE --common FILE --asked FILE
        --assets DIR [--work DIR]

Each word's vector is what the teacher says of the word alone (as model2vec does it), turned and
cut to `DIMS`, times how much the word tells; both are then learned: sums of words are to be as
near to each other as the teacher finds whole texts (relational distillation, Park et al. 2019).
The texts are those of HWU64, BANKING77 and SNIPS and what `utterances.py` gathers, without their
labels and without any that `routing_dev` or CLINC150 asks in the same words. The words are those of
the texts, the teacher's most frequent, a list of common words (wordfreq's first 20,000 of English),
and those of a dictionary (american-english-small of Debian's wamerican-small) that the teacher
knows in two pieces, without most that are derived.
"""

import argparse
import csv
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.fitter.meanings import FILE, Vectors, pack_vectors
from aiosd.policy.routing.lexical import hash_of, normal, spoken
from tools.train.minilm import MiniLm

Floats = NDArray[np.float32]

DIMS = 128
STEPS, BATCH, RATE, OWN_RATE = 2000, 384, 3e-3, 0.3
TEACHER_HEAT, STUDENT_HEAT = 0.05, 0.1
FREQUENT, PIECES = 9000, 2
# Of two pieces, what is derived from another word is left out: it is rare, and the list is long.
_DERIVED = re.compile(r"(?:ed|ing|ings|er|ers|est|ly|ness|nesses|i[sz]es|i[sz]ation)$")
_USUAL = re.compile(r"[a-z]+(?:'[a-z]+)?")
# Of the two large sets so many texts are learned from: more cost an hour, and change little.
BANKING, SNIPS = 3000, 1500
# A word's first weight is Arora et al.'s (2017); frequencies are Zipf's, by the teacher's order.
COMMON = 1e-3
ZIPF = 0.07


def texts(assets: Path, gathered: Sequence[str] = ()) -> list[str]:
    """Return the texts that are learned from, each once: none that the router is judged by."""
    folder = assets / "text"
    judged = {bare(text) for text in _judged_by(folder)}
    chance = random.Random(0)  # noqa: S311 - the same texts for the same seed
    found: dict[str, str] = {}
    groups = (
        (_hwu(folder), None),
        (_banking(folder), BANKING),
        (_snips(folder), SNIPS),
        (gathered, None),
    )
    for group, most in groups:
        every = list(group)
        if most is not None:
            chance.shuffle(every)
        apart = {" ".join(text.lower().split()): text for text in reversed(every)}
        for text in list(reversed(apart.values()))[:most]:
            form = normal(text)
            if form and bare(text) not in judged:
                found.setdefault(form, text)
    return list(found.values())


def bare(text: str) -> str:
    """Return a text in normal form without its signs: what is said alike is one."""
    return re.sub(r"[^\w\s]", "", normal(text))


def _judged_by(folder: Path) -> Iterator[str]:
    """Yield the texts of `routing_dev.jsonl`, and every one of CLINC150, learned from or not."""
    for line in (folder / "routing" / "routing_dev.jsonl").read_text().splitlines():
        yield json.loads(line)["text"]
    for rows in json.loads((folder / "clinc150" / "train.json").read_text()).values():
        for text, _ in rows:
            yield text


def _hwu(folder: Path) -> Iterator[str]:
    """Yield the texts of HWU64."""
    for path in sorted((folder / "hwu64").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)["text"]


def _banking(folder: Path) -> Iterator[str]:
    """Yield the texts of BANKING77."""
    with (folder / "banking77" / "train.csv").open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            yield row["text"]


def _snips(folder: Path) -> Iterator[str]:
    """Yield the texts of SNIPS."""
    for path in sorted((folder / "snips").glob("*_full.json")):
        data = path.read_bytes()
        try:
            groups = json.loads(data.decode("utf-8"))
        except UnicodeDecodeError:
            groups = json.loads(data.decode("latin-1"))
        for group in groups.values():
            for each in group:
                yield "".join(part["text"] for part in each["data"]).strip()


def vocabulary(
    teacher: MiniLm, learned: list[str], listed: list[str], common: Sequence[str] = ()
) -> list[str]:
    """Return the words, the teacher's own in its order first."""
    plain = re.compile(r"[a-z]+")
    own = [piece for piece in teacher.pieces if plain.fullmatch(piece)][:FREQUENT]
    counts = Counter(word for text in learned for word in spoken(normal(text)))
    said = [word for word, count in counts.items() if count > 1]
    more = [
        word
        for word in listed
        if plain.fullmatch(word)
        and len(teacher.split(word)) <= (1 if _DERIVED.search(word) else PIECES)
    ]
    usual = [word for word in common if _USUAL.fullmatch(word)]
    return list(dict.fromkeys([*own, *said, *usual, *more]))


class Student:
    """Word vectors that learn from the teacher's view of texts."""

    def __init__(self, alone: Floats, words: list[str], teacher: MiniLm, dims: int) -> None:
        """Begin with what the teacher says of each word alone."""
        centred = alone - alone.mean(axis=0)
        self._base = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        rank = np.array([teacher.pieces.get(word, len(teacher.pieces)) for word in words])
        frequency = ZIPF / np.maximum(rank - 1995, 1)  # the first word of this vocabulary is there
        self._usual = np.log(COMMON / (COMMON + frequency)).astype(np.float32)
        spread = (np.log(frequency) - np.log(frequency).mean()) / 3
        ones = np.ones(len(words))
        self._facts = np.column_stack([self._base, spread, ones]).astype(np.float32)
        _, sizes, axes = np.linalg.svd(self._base[:8000], full_matrices=False)
        turn = axes[:dims].T * (sizes[0] / sizes[:dims]) ** 0.3
        self.parts: dict[str, Floats] = {
            "turn": turn.astype(np.float32),
            "own": np.zeros((len(words), dims), np.float32),
            "tells": np.zeros(self._facts.shape[1], np.float32),
            "weight": np.zeros(len(words), np.float32),
        }

    def table(self) -> Floats:
        """Return the vectors."""
        every = np.arange(len(self._usual))
        return self._directions(every) * self._weights(every)[:, None]

    def _directions(self, words: NDArray[np.int64]) -> Floats:
        found: Floats = self._base[words] @ self.parts["turn"] + self.parts["own"][words]
        return found

    def _weights(self, words: NDArray[np.int64]) -> Floats:
        told = self._facts[words] @ self.parts["tells"]
        found: Floats = np.exp(self._usual[words] + told + self.parts["weight"][words])
        return found

    def slopes(
        self, said: list[NDArray[np.int64]], near: Floats
    ) -> tuple[dict[str, Floats], float]:
        """Return the slope of the loss for each part, and the loss, for texts as rows of words.

        `near` is how near the teacher finds each two of them, as probabilities by row.
        """
        used, column = np.unique(np.concatenate(said), return_inverse=True)
        directions, weights = self._directions(used), self._weights(used)
        counts = np.zeros((len(said), len(used)), np.float32)
        owners = np.repeat(np.arange(len(said)), [len(rows) for rows in said])
        np.add.at(counts, (owners, column), 1)
        sums = counts @ (directions * weights[:, None])
        length = np.linalg.norm(sums, axis=1, keepdims=True) + 1e-6
        unit = sums / length
        scores = unit @ unit.T / STUDENT_HEAT
        mine = _rows_softmax(scores)
        loss = float(-(near * np.log(mine + 1e-12)).sum(axis=1).mean())
        pull = (mine - near) / len(said) / STUDENT_HEAT
        back = (pull + pull.T) @ unit
        back = (back - unit * (unit * back).sum(axis=1, keepdims=True)) / length
        rows_back = counts.T @ back
        told = (rows_back * directions).sum(axis=1) * weights
        gate = np.zeros_like(self.parts["weight"])
        gate[used] = told
        own = np.zeros_like(self.parts["own"])
        own[used] = rows_back * weights[:, None]
        slopes = {
            "turn": self._base[used].T @ own[used],
            "own": own,
            "tells": self._facts[used].T @ told,
            "weight": gate,
        }
        return {name: slope.astype(np.float32) for name, slope in slopes.items()}, loss


def _rows_softmax(scores: Floats) -> Floats:
    """Return the probabilities of each row, without the diagonal."""
    np.fill_diagonal(scores, -1e9)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Floats = raised / raised.sum(axis=1, keepdims=True)
    return found


def learn(student: Student, said: list[NDArray[np.int64]], seen: Floats) -> None:
    """Teach the student, by Adam (Kingma and Ba 2015) with steps that fall to nothing."""
    chance = np.random.default_rng(0)
    first = {name: np.zeros_like(part) for name, part in student.parts.items()}
    second = {name: np.zeros_like(part) for name, part in student.parts.items()}
    for step in range(1, STEPS + 1):
        drawn = chance.choice(len(said), BATCH, replace=False)
        near = _rows_softmax(seen[drawn] @ seen[drawn].T / TEACHER_HEAT)
        slopes, loss = student.slopes([said[each] for each in drawn], near)
        rate = RATE * (1 - step / STEPS)
        for name, slope in slopes.items():
            decay = np.float32(0.0 if name in {"turn", "own"} else 1e-3)
            pull = slope + decay * student.parts[name]
            first[name] = np.float32(0.9) * first[name] + np.float32(0.1) * pull
            second[name] = np.float32(0.99) * second[name] + np.float32(0.01) * pull * pull
            up = first[name] / np.float32(1 - 0.9**step)
            size = np.sqrt(second[name] / np.float32(1 - 0.99**step)) + np.float32(1e-6)
            mine = rate * (OWN_RATE if name == "own" else 1.0)
            student.parts[name] -= np.float32(mine) * up / size
        if step % 100 == 0:
            print(f"step {step}: loss {loss:.4f}", flush=True)


def pack(words: list[str], table: Floats) -> Vectors:
    """Return the vectors in int8; the longest half per cent are cut to what fits."""
    rows: dict[int, int] = {}
    for place, word in enumerate(words):
        rows.setdefault(hash_of(word), place)
    hashes = np.array(sorted(rows), np.uint32)
    table = table[[rows[int(each)] for each in hashes]]
    scale = np.percentile(np.abs(table).max(axis=1), 99.5) / 127
    return Vectors(hashes, np.rint(np.clip(table / scale, -127, 127)).astype(np.int8))


def remembered(path: Path, teacher: MiniLm, what: list[str]) -> Floats:
    """Return what the teacher says of these; what it was asked before is in the file."""
    known: dict[str, Floats] = {}
    if path.exists():
        kept = np.load(path, allow_pickle=False)
        known = dict(zip(kept["of"].tolist(), kept["vectors"], strict=True))
    missing = [each for each in what if each not in known]
    for at in range(0, len(missing), 1000):
        part = missing[at : at + 1000]
        known.update(zip(part, teacher.encode(part).astype(np.float16), strict=True))
        np.savez(path, of=np.array(list(known)), vectors=np.stack(list(known.values())))
        print(f"{path.name}: {len(missing) - at - len(part)} left", flush=True)
    return np.stack([known[each] for each in what]).astype(np.float32)


def main() -> None:
    """Build the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="model.safetensors, vocab.txt")
    parser.add_argument("--words", type=Path, required=True, help="a dictionary")
    parser.add_argument("--common", type=Path, required=True, help="common words")
    parser.add_argument("--asked", type=Path, required=True, help="what utterances.py wrote")
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build"))
    parser.add_argument("--dims", type=int, default=DIMS)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    teacher = MiniLm(options.teacher)
    learned = texts(options.assets, options.asked.read_text(encoding="utf-8").splitlines())
    lists = [path.read_text(encoding="utf-8").split() for path in (options.words, options.common)]
    words = vocabulary(teacher, learned, *lists)
    print(f"{len(words)} words, {len(learned)} texts", flush=True)
    alone = remembered(options.work / "words.npz", teacher, words)
    seen = remembered(options.work / "texts.npz", teacher, learned)
    place = {word: number for number, word in enumerate(words)}
    said = [
        np.array(
            [place[word] for word in dict.fromkeys(spoken(normal(text))) if word in place], np.int64
        )
        for text in learned
    ]
    known = [number for number, rows in enumerate(said) if len(rows)]
    student = Student(alone, words, teacher, options.dims)
    learn(student, [said[number] for number in known], seen[known])
    made = pack(words, student.table())
    options.out.write_bytes(pack_vectors(made))
    print(f"{options.out}: {len(made.hashes)} words, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
