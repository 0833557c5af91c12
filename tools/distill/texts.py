"""Texts by name that a teacher reads without their labels: what `data.transfer` may say."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path


def hwu64(assets: Path) -> Iterator[str]:
    """The sentences of HWU64 (CC BY 4.0)."""
    for path in sorted((assets / "text" / "hwu64").glob("kfold_*_test.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield str(json.loads(line)["text"])


def snips(assets: Path) -> Iterator[str]:
    """The sentences of SNIPS (CC0)."""
    for path in sorted((assets / "text" / "snips").glob("train_*_full.json")):
        for records in json.loads(path.read_text(encoding="latin-1")).values():
            for record in records:
                yield "".join(str(part["text"]) for part in record["data"])


def banking77(assets: Path) -> Iterator[str]:
    """The questions of BANKING77 (CC BY 4.0)."""
    path = assets / "text" / "banking77" / "train.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["text"]


def clinc_texts(assets: Path) -> Iterator[str]:
    """The sentences of CLINC150 `train`, without their labels (CC BY 3.0)."""
    lists = json.loads((assets / "text" / "clinc150" / "train.json").read_text(encoding="utf-8"))
    for name in ("train", "oos_train"):
        for text, _ in lists[name]:
            yield str(text)


def comments(assets: Path) -> Iterator[str]:
    """Comments on a blog (Apache-2.0)."""
    path = assets / "text" / "comment_spam" / "lmblog_comments.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            yield max(row, key=len)


TRANSFERS: dict[str, Callable[[Path], Iterator[str]]] = {
    "hwu64": hwu64,
    "snips": snips,
    "banking77": banking77,
    "clinc150": clinc_texts,
    "comments": comments,
}
