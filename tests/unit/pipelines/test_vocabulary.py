"""Vocabulary files."""

from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.pipelines.vocabulary import load_vocabulary, load_word_ids


def write(folder: Path, text: str) -> tuple[Path, str]:
    (folder / "vocab.txt").write_text(text, encoding="utf-8")
    return folder, "vocab.txt"


def test_words_alone_are_numbered_by_their_line(tmp_path: Path) -> None:
    place = write(tmp_path, "a\nb\r\nc\n")
    assert load_vocabulary(*place) == {"a": 0, "b": 1, "c": 2}
    assert load_word_ids(*place) == {"a": 0, "b": 1, "c": 2}


def test_words_with_ids_keep_them(tmp_path: Path) -> None:
    assert load_word_ids(*write(tmp_path, "<PAD> 0\nx 7\n")) == {"<PAD>": 0, "x": 7}


@pytest.mark.parametrize("line", ["b", "b x", "b -1", "b ²", "", " 3"])
def test_a_line_without_an_id_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(PackageError, match="line 2"):
        load_word_ids(*write(tmp_path, f"a 0\n{line}\nc 2\n"))


def test_an_empty_file_is_a_bad_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="empty"):
        load_vocabulary(*write(tmp_path, ""))


def test_a_file_that_is_not_utf8_is_a_bad_package(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(PackageError, match="UTF-8"):
        load_vocabulary(tmp_path, "vocab.txt")
