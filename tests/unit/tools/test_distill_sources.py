"""Readers of data: few labels of many, and splits that are the same on every machine."""

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tools.distill import sources
from tools.distill.recipe import Recipe
from tools.distill.table import UNLABELLED, Material, normal_form

NOTHING = Path("/nonexistent")


def recipe(**data: object) -> Recipe:
    plain = {
        "name": "few",
        "task": "text.classify",
        "data": data,
        "teacher": {"kind": "scikit"},
        "student": {"kind": "text-classifier"},
        "method": {"names": ["logit-matching"]},
        "training": {"epochs": 1},
        "package": {"words": "few.words.toml"},
    }
    return msgspec.convert(plain, Recipe)


def written(folder: Path) -> Path:
    lines = [f"train\tkind{at % 2}\tsentence number {chr(97 + at)}" for at in range(20)]
    lines += ["tuning\tkind0\ttuned", "held\tkind1\theld out"]
    path = folder / "rows.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_with_each_the_other_rows_lose_their_label_and_none_its_text(tmp_path: Path) -> None:
    path = str(written(tmp_path))
    whole = sources.load(recipe(source="rows", path=path), NOTHING)
    few = sources.load(recipe(source="rows", path=path, each=3), NOTHING)
    assert list(np.bincount(few.train.labels)) == [3, 3]
    assert len(few.transfer) == 14
    assert set(few.transfer.labels) == {UNLABELLED}
    texts = {*few.train.inputs, *few.transfer.inputs}
    assert texts == set(whole.train.inputs)
    again = sources.load(recipe(source="rows", path=path, each=3), NOTHING)
    assert list(again.train.inputs) == list(few.train.inputs)


def forms(material: Material, *names: str) -> set[str]:
    return {normal_form(one) for name in names for one in getattr(material, name).inputs}


def test_banking_questions_are_cut_by_their_digest_and_none_is_in_two_parts(tmp_path: Path) -> None:
    folder = tmp_path / "text" / "banking77"
    folder.mkdir(parents=True)
    things, times = ("card", "money", "pin", "cash", "transfer"), ("now", "today", "tonight")
    texts = [
        f"{verb} my {a} {b}" for verb in ("find", "stop", "send") for a in things for b in times
    ]
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category"])
        for at, text in enumerate(texts):
            writer.writerow([text, f"k{at % 2}"])
    found = sources.load(recipe(source="banking77"), tmp_path)
    assert found.labels == ("k0", "k1")
    assert len(found.tuning) == 2 * sources.TUNED_EACH
    parts = [forms(found, name) for name in ("train", "tuning", "held")]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(texts)


def test_the_fifth_fold_of_hwu64_is_held_out(tmp_path: Path) -> None:
    folder = tmp_path / "text" / "hwu64"
    folder.mkdir(parents=True)
    for fold in range(1, 6):
        lines = [
            json.dumps({"text": f"{word} of fold {chr(96 + fold)}", "intent": intent})
            for intent in ("a", "b")
            for word in (f"wake {intent}", f"play {intent}", f"stop {intent}")
        ]
        (folder / f"kfold_{fold}_test.jsonl").write_text("\n".join(lines) + "\n")
    found = sources.load(recipe(source="hwu64"), tmp_path)
    assert len(found.held) == 6
    assert all(str(one).endswith("fold e") for one in found.held.inputs)
    assert not any(str(one).endswith("fold e") for one in found.train.inputs)


def test_half_of_what_tunes_clinc_has_no_twin_and_nothing_held_tunes(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra train")
    folder = tmp_path / "text" / "clinc150"
    folder.mkdir(parents=True)
    alone = ("wake me", "rouse us early", "start buzzer please", "beep beep later on", "ring soon")
    twins = {
        "alarm": [*alone, *(f"set an alarm for {hour} in the morning" for hour in range(20))],
        "tea": [f"please brew a cup of tea number {cup} for me" for cup in range(25)],
    }
    lists = {
        "train": [[text, label] for label, texts in twins.items() for text in texts],
        "oos_train": [[f"who was king number {at}", "oos"] for at in range(25)],
        "val": [["Wake me!", "alarm"], ["some tea would be nice", "tea"]],
        "oos_val": [["who was queen", "oos"]],
    }
    (folder / "train.json").write_text(json.dumps(lists))
    (folder / "domains.json").write_text(json.dumps({"home": ["alarm"], "kitchen": ["tea"]}))
    found = sources.load(recipe(source="clinc150"), tmp_path)
    mine = [str(one) for one in np.array(found.tuning.inputs)[found.tuning.labels == 0]]
    lone = [one for one in mine if one in alone]
    assert "wake me" not in mine
    assert len(mine) in (7, 8)
    assert len(lone) >= 3
    # Questions for a king are all twins of each other, so that only the plain draw has some.
    assert (found.tuning.labels == -1).sum() == 16
    assert forms(found, "held").isdisjoint(forms(found, "train", "tuning"))
    assert forms(found, "tuning").isdisjoint(forms(found, "train"))
