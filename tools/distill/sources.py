"""Readers of data by name: what a recipe's `data.source` and `data.transfer` may say.

Each brings its fixed split. `held` is never learned from, nor chosen by; `tuning` sets temperature
and thresholds; both are kept out of every transfer text by normal form.
"""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.distill.checks import without_leaks, without_repeats
from tools.distill.fault import DataError, RecipeError
from tools.distill.recipe import DataPart, Recipe
from tools.distill.table import (
    NONE,
    UNLABELLED,
    Material,
    Table,
    key_of,
    normal_form,
    unlabelled,
)
from tools.distill.teachers.kept import table_of
from tools.distill.texts import TRANSFERS

TUNED_EACH = 4
CLINC_TUNED, CLINC_FOREIGN = 8, 16
SEED_TUNING = 7


def load(recipe: Recipe, assets: Path) -> Material:
    """Return the material of a recipe, its transfer texts added.

    Raises:
        RecipeError: a reader has no such name.
        DataError: a file is not there or not what it should be.
    """
    part = recipe.data
    try:
        material = _reader(SOURCES, part.source)(assets, part)
        texts = [text for name in part.transfer for text in _reader(TRANSFERS, name)(assets)]
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        raise DataError(f"the data of {part.source} cannot be read: {error}") from None
    if part.each:
        material = _forgotten(material, part.each, recipe.seed)
    for name in part.kept:
        lessons, odd = table_of(Path(name), material.labels)
        print(f"{name}: {len(lessons)} kept answers teach, {odd} lines do not")
        lessons = without_leaks(lessons, material.held, material.tuning, material.train)
        material = replace(material, train=material.train + lessons)
    most = part.transfer_most - len(material.transfer)
    if not texts or most <= 0:
        return material
    table = without_repeats(unlabelled([" ".join(text.split()) for text in texts if text.strip()]))
    known = (material.held, material.tuning, material.train, material.transfer)
    table = without_leaks(table, *known)
    order = np.random.default_rng(recipe.seed).permutation(len(table))[:most]
    chosen = np.zeros(len(table), np.bool_)
    chosen[order] = True
    return replace(material, transfer=material.transfer + table.where(chosen))


def _forgotten(material: Material, each: int, seed: int) -> Material:
    """Return the material with so many labelled rows of each label; the others are transfer."""
    chance = np.random.default_rng(seed)
    train = material.train
    kept = np.zeros(len(train), np.bool_)
    for label in np.unique(train.labels):
        kept[chance.permutation(np.flatnonzero(train.labels == label))[:each]] = True
    rest = unlabelled(train.where(~kept).inputs)
    return replace(material, train=train.where(kept), transfer=material.transfer + rest)


def _reader(readers: dict[str, Callable], name: str) -> Callable:  # type: ignore[type-arg]
    if name not in readers:
        raise RecipeError(f"data has no reader {name!r}; there are {', '.join(sorted(readers))}")
    return readers[name]


def clinc150(assets: Path, _part: DataPart) -> Material:
    """CLINC150: `train` and `oos_train` to learn, eight of each intent to tune, `val` held.

    Sentences of one list resemble each other, so that half of what tunes has no twin in `train`
    (plain draws alone flatter, twinless ones alone are harder than another list).
    """
    from tools.train.splits import carve, twins_by_class  # noqa: PLC0415 - needs scipy

    folder = assets / "text" / "clinc150"
    lists = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    labels = sorted({label for _, label in lists["train"]})
    number = {label: at for at, label in enumerate(labels)}

    def table(*names: str) -> Table:
        rows = [row for name in names for row in lists[name]]
        return Table(
            [text for text, _ in rows],
            np.array([number.get(label, NONE) for _, label in rows], np.int64),
            [domain_of.get(label, "none") for _, label in rows],
        )

    known = table("train", "oos_train")
    held = table("val", "oos_val")
    groups = twins_by_class([str(each) for each in known.inputs], known.labels)
    tuned = carve(groups, known.labels, CLINC_TUNED // 2, SEED_TUNING)
    chance = np.random.default_rng(SEED_TUNING)
    for label in range(NONE, len(labels)):
        mine = np.flatnonzero((known.labels == label) & ~tuned)
        count = CLINC_TUNED - CLINC_TUNED // 2 if label > NONE else CLINC_FOREIGN
        tuned[chance.permutation(mine)[:count]] = True
    tuning = without_leaks(known.where(tuned), held)
    # A sentence of `val` that `train` has too would prove nothing.
    train = without_leaks(known.where(~tuned), held, tuning)
    return Material(
        tuple(labels),
        train,
        unlabelled([]),
        tuning,
        held,
        "CLINC150 val and oos_val",
        "CLINC150, S. Larson et al. 2019, CC BY 3.0",
    )


def banking77(assets: Path, _part: DataPart) -> Material:
    """BANKING77 `train`, cut by the digest of each question: two tenths held, four a label tune."""
    path = assets / "text" / "banking77" / "train.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(" ".join(row["text"].split()), row["category"]) for row in csv.DictReader(file)]
    held = [key_of(normal_form(text))[0] % 10 < 2 for text, _ in rows]
    return _cut(rows, np.array(held), "BANKING77", "I. Casanueva et al. 2020, CC BY 4.0")


def hwu64(assets: Path, _part: DataPart) -> Material:
    """HWU64: its fifth fold held, four of each intent to tune, the other folds to learn."""
    rows, held = [], []
    for path in sorted((assets / "text" / "hwu64").glob("kfold_*_test.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.append((" ".join(row["text"].split()), row["intent"]))
            held.append("kfold_5" in path.name)
    return _cut(rows, np.array(held), "HWU64", "X. Liu et al. 2019, CC BY 4.0")


def _cut(
    rows: list[tuple[str, str]], held: NDArray[np.bool_], name: str, attribution: str
) -> Material:
    """Return the material of labelled texts of which some are held."""
    labels = sorted({label for _, label in rows})
    whole = _table([text for text, _ in rows], [label for _, label in rows], labels)
    judged = without_repeats(whole.where(held))
    learned = without_leaks(without_repeats(whole.where(~held)), judged)
    chance = np.random.default_rng(SEED_TUNING)
    tuned = np.zeros(len(learned), np.bool_)
    for label in range(len(labels)):
        mine = chance.permutation(np.flatnonzero(learned.labels == label))
        tuned[mine[: min(TUNED_EACH, len(mine) // 2)]] = True
    tuning = learned.where(tuned)
    train = without_leaks(learned.where(~tuned), tuning)
    named = f"{name}, {len(judged)} held-out sentences"
    return Material(
        tuple(labels), train, unlabelled([]), tuning, judged, named, f"{name}, {attribution}"
    )


def messages(assets: Path, part: DataPart) -> Material:
    """Short messages, spam or ham: see `messages.py`."""
    from tools.distill.messages import read_messages  # noqa: PLC0415 - only for this source

    return read_messages(assets, part)


def rows(_assets: Path, part: DataPart) -> Material:
    """A file of the owner's, a line each: split, tab, label, tab, text; split names the table.

    Splits are train, transfer, tuning and held; a label `-` says that nobody labelled the row,
    `none` that it is of none of the labels.
    """
    path = Path(part.path)
    found: dict[str, list[tuple[str, str]]] = {
        "train": [],
        "transfer": [],
        "tuning": [],
        "held": [],
    }
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split("\t", 2)
        if len(cells) != 3 or cells[0] not in found:
            raise DataError(f"{path}, line {number}: not split, label and text between tabs")
        found[cells[0]].append((cells[1], cells[2]))
    labels = sorted({label for label, _ in found["train"]} - {"-", "none"})
    return Material(
        tuple(labels),
        *(
            _table([text for _, text in found[name]], [label for label, _ in found[name]], labels)
            for name in ("train", "transfer", "tuning", "held")
        ),
        named=f"{path.name}, {len(found['held'])} held-out rows",
    )


def _table(texts: list[str], said: list[str], labels: Sequence[str]) -> Table:
    special = {"-": UNLABELLED, "none": NONE}
    number = {**{label: at for at, label in enumerate(labels)}, **special}
    numbers = np.array([number.get(label, UNLABELLED) for label in said], np.int64)
    return Table(texts, numbers, said)


def safety(assets: Path, part: DataPart) -> Material:
    """Requests to refuse, to keep on the board, or neither: see `safety.py`."""
    from tools.distill.safety import read_safety  # noqa: PLC0415 - only for this source

    return read_safety(assets, part)


def keyword(assets: Path, part: DataPart) -> Material:
    """Command words spoken by espeak-ng, judged on recorded ones: see `voices.py`."""
    from tools.distill.voices import read_keywords  # noqa: PLC0415 - only for this source

    return read_keywords(assets, Path(part.path))


def digits(_assets: Path, _part: DataPart) -> Material:
    """Pictures of handwritten digits: see `pictures.py`."""
    from tools.distill.pictures import read_digits  # noqa: PLC0415 - torch

    return read_digits()


SOURCES: dict[str, Callable[[Path, DataPart], Material]] = {
    "clinc150": clinc150,
    "banking77": banking77,
    "hwu64": hwu64,
    "sms-spam": messages,
    "rows": rows,
    "safety": safety,
    "keyword": keyword,
    "digits": digits,
}
