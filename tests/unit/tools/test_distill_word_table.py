"""A static table learns where its teacher sees whole texts, and is judged on others."""

# ruff: noqa: ANN401 - what is imported late has no types

import importlib
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def flow() -> Any:
    pytest.importorskip("transformers", reason="needs the extra distill")
    return importlib.import_module("tools.distill.word_table")


def test_a_table_that_sees_texts_as_the_teacher_does_is_always_right(flow: Any) -> None:
    chance = np.random.default_rng(0)
    table = chance.normal(size=(30, 8)).astype(np.float32)
    said = [chance.integers(0, 30, 4) for _ in range(40)]
    sums = np.stack([table[rows].sum(axis=0) for rows in said])
    judged = flow.Judged((sums / np.linalg.norm(sums, axis=1, keepdims=True)), said)
    assert judged.right(table).all()
    assert judged.right(chance.normal(size=(30, 8)).astype(np.float32)).mean() < 0.6


def test_a_text_of_unknown_words_has_no_rows_and_is_judged_all_the_same(flow: Any) -> None:
    place = {"light": 0, "on": 1}
    assert flow.rows_of("Light on, zzyzx!", place).tolist() == [0, 1]
    rows = [flow.rows_of("zzyzx", place), flow.rows_of("light", place), flow.rows_of("on", place)]
    judged = flow.Judged(np.eye(3, dtype=np.float32), rows)
    assert judged.right(np.eye(2, 4, dtype=np.float32)).shape == (3,)


def test_what_is_learned_brings_the_table_nearer_to_its_teacher(
    flow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanings = importlib.import_module("tools.train.meanings")
    monkeypatch.setattr(meanings, "STEPS", 120)
    monkeypatch.setattr(meanings, "RATE", 0.05)
    monkeypatch.setattr(meanings, "OWN_RATE", 1.0)
    monkeypatch.setattr(meanings, "BATCH", 48)
    chance = np.random.default_rng(1)
    words = [f"word{at}" for at in range(60)]

    class Teacher:
        def __init__(self) -> None:
            self.pieces = {word: 2000 + at for at, word in enumerate(words)}

    truth = chance.normal(size=(60, 12)).astype(np.float32)
    alone = truth + 1.5 * chance.normal(size=truth.shape).astype(np.float32)
    said = [chance.integers(0, 60, 5) for _ in range(400)]
    sums = np.stack([truth[rows].sum(axis=0) for rows in said])
    seen = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    student = meanings.Student(alone, words, Teacher(), 12)
    judged = flow.Judged(seen[:100], said[:100])
    before = judged.right(student.table()).mean()
    meanings.learn(student, said[100:], seen[100:])
    assert judged.right(student.table()).mean() > before + 0.05
