"""Kept escalations teach what they were answered; other lines are counted, not believed."""

import json
from pathlib import Path

import numpy as np
import pytest

from tools.distill.fault import TeacherError
from tools.distill.recipe import DataPart
from tools.distill.safety import LABELS, read_safety
from tools.distill.teachers.kept import label_of, read_kept, table_of


def line(text: str, answer: object) -> str:
    return json.dumps(
        {"at": 1.0, "messages": [{"role": "user", "content": text}], "answer": answer}
    )


def kept(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "teaching.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_kept_answer_is_a_label_and_the_newest_of_a_text_holds(tmp_path: Path) -> None:
    path = kept(
        tmp_path,
        line("a", "ham"),
        line("a", "spam"),
        line("b", '{"label": "Ham"}'),
        line("c", "none"),
    )
    table, odd = table_of(path, ("ham", "spam"))
    assert list(table.inputs) == ["a", "b", "c"]
    assert table.labels.tolist() == [1, 0, -1]
    assert odd == 0


def test_odd_lines_are_counted(tmp_path: Path) -> None:
    path = kept(tmp_path, line("a", "ham"), "{", line("b", "no idea"), line(" ", "ham"), "{}")
    assert table_of(path, ("ham", "spam"))[1] == 4


def test_sealed_lines_are_to_be_opened_first(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"tools\.teaching open"):
        read_kept(kept(tmp_path, '{"sealed": "abc"}'))


def test_a_file_without_a_lesson_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="none of 1 answers"):
        table_of(kept(tmp_path, line("a", "no idea")), ("ham",))
    with pytest.raises(TeacherError, match="No such file"):
        table_of(tmp_path / "none", ("ham",))


@pytest.mark.parametrize("answer", ["", "{", "[1]", "{}", "ham and eggs"])
def test_an_answer_that_is_no_label_is_none(answer: str) -> None:
    assert label_of(answer, ("ham", "spam")) is None


@pytest.mark.assets
def test_the_filters_held_out_sentences_share_no_form_with_what_is_learned(assets: Path) -> None:
    material = read_safety(assets, DataPart(source="safety"))
    assert material.labels == LABELS
    counts = np.bincount(material.held.labels)
    assert (counts >= 50).all()
